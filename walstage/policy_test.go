package walstage

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/stages"
)

// acceptedSoFar is a mark: what Append had returned for.
type acceptedSoFar struct{ records int }

// recordAsync appends with policy async, never waiting, through a switch of segments.
func recordAsync(t *testing.T, seed uint64, bound int64, m stages.Mutant) (*sim.Log, []Record) {
	d := sim.New(sim.Config{Seed: seed, Sector: 4096})
	o := simOptions(d, CommitDSync)
	if err := Create(bg, o, 1); err != nil {
		t.Fatal(err)
	}
	o.Policy, o.LossBytes, o.LossTime, o.Mutants = PolicyAsync, bound, time.Hour, m
	d.Record()
	l := start(t, o, 2)
	d.Mark(acceptedSoFar{})
	var all []Record
	for i := range 60 {
		n := 100 + (i*377+int(seed)*91)%900
		if i == 30 {
			n = int(bound) + 500 // alone more than may be lost
		}
		data := []byte(record(i, n))
		s, e, err := l.Append(0, data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Record{Start: s, End: e, Data: data})
		d.Mark(acceptedSoFar{len(all)})
		if err := l.WaitCommit(bg, e); err != nil {
			t.Fatal(err)
		}
	}
	if a := l.Stats().AtRisk; a.MaxBytes > bound+508+frameSize && m == 0 {
		t.Errorf("at risk were %d bytes, at most %d may be", a.MaxBytes, bound)
	}
	log := d.Log()
	d.PowerOff()
	_ = l.Close(bg)
	return log, all
}

// worstLoss cuts the power everywhere and returns the most bytes of accepted records that were gone.
func worstLoss(t *testing.T, log *sim.Log, all []Record) (worst int64, states int) {
	x := sim.Explore{Exhaustive: 2, Items: 4, Samples: 4, Max: 8}
	for at, p := range log.Points(log.Cuts()) {
		n := -1
		for _, m := range log.Marks(at) {
			n = m.(acceptedSoFar).records
		}
		if n < 0 {
			continue
		}
		for choice, d := range p.States(x) {
			states++
			dir, tail, err := openSim(d, known{})
			if err != nil {
				t.Fatalf("cut at %d, %s: %v", at, p.Describe(choice), err)
			}
			lost := int64(0)
			for _, r := range all[:n] {
				if r.End > tail.Last {
					lost += int64(r.End - r.Start)
				}
			}
			worst = max(worst, lost)
			if err := dir.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return worst, states
}

// TestAsyncLoss: whatever a power cut leaves, no more than LossBytes of what Append had returned for is
// gone, and some is, or the policy would be sync. With the bound broken the same test must notice.
func TestAsyncLoss(t *testing.T) {
	const bound = 3000
	seeds, broken := uint64(4), int64(0)
	if testing.Short() || raceEnabled {
		seeds = 1
	}
	for seed := range seeds {
		log, all := recordAsync(t, seed, bound, 0)
		worst, states := worstLoss(t, log, all)
		t.Logf("seed %d: %d states, worst loss %d of at most %d bytes", seed, states, worst, bound)
		if worst > bound || worst == 0 {
			t.Errorf("seed %d: a crash took %d bytes of accepted records, at most %d may go", seed, worst, bound)
		}
		log, all = recordAsync(t, seed, bound, stages.AsyncUnbounded)
		worst, _ = worstLoss(t, log, all)
		broken = max(broken, worst)
	}
	if broken <= bound {
		t.Errorf("with the bound broken no crash took more than %d bytes: this test cannot fail", broken)
	}
}

// asyncSpan appends for a while on a drive that takes slow for each write, and returns the longest
// span of time whose records were accepted and not durable.
func asyncSpan(t *testing.T, limit, slow time.Duration, m stages.Mutant) (worst time.Duration, risk AtRisk) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		o := small(d)
		o.Policy, o.LossTime, o.Mutants = PolicyAsync, limit, m
		l := newLog(t, o)
		d.setHook(func(op *ring.Op, _ string) error {
			if op.Flags&ring.DSync != 0 {
				time.Sleep(slow)
			}
			return nil
		})
		type accepted struct {
			end page.LSN
			at  time.Time
		}
		var open []accepted
		for i := range 300 {
			_, end := mustAppend(t, l, record(i, 40))
			open = append(open, accepted{end, time.Now()})
			for len(open) > 0 && open[0].end <= l.Durable() {
				open = open[1:]
			}
			if len(open) > 0 {
				worst = max(worst, open[len(open)-1].at.Sub(open[0].at))
			}
			time.Sleep(time.Millisecond)
		}
		// Nobody waits and nothing more comes: what is left is flushed all the same.
		time.Sleep(limit + 2*slow)
		if m == 0 && l.Durable() != l.End() {
			t.Errorf("idle for long, durable %d, end %d", l.Durable(), l.End())
		}
		risk = l.Stats().AtRisk
		mustClose(t, l)
	})
	return worst, risk
}

func TestAsyncTime(t *testing.T) {
	const limit = 10 * time.Millisecond
	for _, slow := range []time.Duration{0, 3 * time.Millisecond, 40 * time.Millisecond} {
		worst, risk := asyncSpan(t, limit, slow, 0)
		t.Logf("writes of %v: span %v, %+v", slow, worst, risk)
		if worst > limit {
			t.Errorf("writes of %v: records accepted over %v were at risk together", slow, worst)
		}
		if late := slow > limit; late != (risk.Late > 0) {
			t.Errorf("writes of %v: %d groups counted as late, oldest %v", slow, risk.Late, risk.MaxAge)
		}
		if risk.MaxAge > limit/2+slow+slow {
			t.Errorf("writes of %v: something was at risk for %v", slow, risk.MaxAge)
		}
	}
	if worst, _ := asyncSpan(t, limit, 40*time.Millisecond, stages.AsyncUnbounded); worst <= limit {
		t.Errorf("with the bound broken the span was %v: this test cannot fail", worst)
	}
}

// TestNeverFlushes: policy never flushes nothing on its own, and everything when somebody waits, also
// for what was written long ago (I3).
func TestNeverFlushes(t *testing.T) {
	for depth := 1; depth <= 3; depth += 2 {
		d := newFakeDisk()
		o := small(d)
		o.Policy, o.InFlight, o.Depth = PolicyNever, 3, depth
		l := newLog(t, o)
		d.mu.Lock() // the supplier is at work
		flushes := d.flushes
		d.mu.Unlock()
		before := l.Durable()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := range 40 {
					_, end := mustAppend(t, l, record(i*100+j, 700))
					if err := l.WaitCommit(bg, end); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		// Creating segments flushes them; groups do not.
		d.mu.Lock()
		segs := 3 * (int(l.segs.count()) + 1)
		if n := d.flushes - flushes; n > segs {
			t.Errorf("%d flushes, segments take at most %d", n, segs)
		}
		d.mu.Unlock()
		if l.Durable() != before {
			t.Errorf("durable moved to %d without a flush", l.Durable())
		}
		ch := make(chan struct{}, 1)
		if err := l.NotifyDurable(l.End()/2, ch); err != nil {
			t.Fatal(err)
		}
		<-ch
		if l.Durable() < l.End()/2 {
			t.Errorf("a page waited for %d, durable is %d", l.End()/2, l.Durable())
		}
		mustWait(t, l, l.End())
		if a := l.Stats().AtRisk; a.Bytes != 0 || a.MaxBytes == 0 {
			t.Errorf("all is durable: %+v", a)
		}
		end := l.End()
		dead := l
		defer func() { _ = dead.Close(bg) }()
		d = d.crash(rand.New(rand.NewPCG(1, 1)))
		_, tail := scan(t, small(d), Evidence{})
		if tail.Last != end {
			t.Errorf("waited for %d, a crash left %d: %v", end, tail.Last, tail.Reason)
		}
	}
}

// TestNeverFlushFails: a flush that fails poisons, and is not tried again (I5).
func TestNeverFlushFails(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.Policy = PolicyNever
	l := newLog(t, o)
	for i := range 40 {
		mustAppend(t, l, record(i, 700))
	}
	d.setHook(func(op *ring.Op, name string) error {
		if op.Kind == ring.DataSync {
			return errMedium
		}
		return nil
	})
	before := l.Durable()
	if err := l.WaitDurable(bg, l.End()); !errors.Is(err, errMedium) {
		t.Errorf("the wait said %v", err)
	}
	if err := l.WaitDurable(bg, l.End()); !errors.Is(err, errMedium) || l.Durable() != before {
		t.Errorf("the next wait said %v, durable moved from %d to %d", err, before, l.Durable())
	}
	if err := l.WaitCommit(bg, l.End()); !errors.Is(err, errMedium) {
		t.Errorf("a commit after the failure said %v", err)
	}
	if err := l.Close(bg); !errors.Is(err, errMedium) {
		t.Errorf("close said %v", err)
	}
}

func TestPolicyOptions(t *testing.T) {
	d := newFakeDisk()
	for _, c := range []struct {
		name string
		o    func(*Options)
		ok   bool
	}{
		{"sync", func(o *Options) {}, true},
		{"async", func(o *Options) { o.Policy = PolicyAsync }, true},
		{"async with bounds", func(o *Options) { o.Policy, o.LossBytes, o.LossTime = PolicyAsync, 1, 1 }, true},
		{"sync with bounds", func(o *Options) { o.LossBytes = 1 }, false},
		{"never with bounds", func(o *Options) { o.Policy, o.LossTime = PolicyNever, 1 }, false},
		{"negative", func(o *Options) { o.Policy, o.LossBytes = PolicyAsync, -1 }, false},
		{"unknown", func(o *Options) { o.Policy = 3 }, false},
	} {
		o := small(d)
		c.o(&o)
		if err := o.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
