package bench

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn/ring"
)

// slowRing completes one op every 10 us, the newest first, so that writes are in flight whenever a
// flush begins.
type slowRing struct {
	ring.Ring
	ops     chan *ring.Op
	writes  int // completed
	flushes int
	fail    error
}

func newSlowRing(t *testing.T, fail error) *slowRing {
	r := &slowRing{ops: make(chan *ring.Op, 64), fail: fail}
	t.Cleanup(func() { close(r.ops) })
	go r.run()
	return r
}

func (r *slowRing) Submit(ops ...*ring.Op) {
	for _, op := range ops {
		r.ops <- op
	}
}

// run is the drive, in the virtual time of a synctest bubble.
func (r *slowRing) run() {
	service := time.NewTicker(10 * time.Microsecond)
	defer service.Stop()
	var waiting []*ring.Op
	for {
		select {
		case op, open := <-r.ops:
			if !open {
				return
			}
			waiting = append(waiting, op)
		case <-service.C:
			if n := len(waiting); n > 0 {
				last := waiting[n-1]
				waiting = waiting[:n-1]
				r.complete(last)
			}
		}
	}
}

func (r *slowRing) complete(op *ring.Op) {
	if op.Err = r.fail; op.Kind == ring.Write {
		r.writes++
	} else {
		r.flushes++
	}
	op.Done <- op
}

func TestLoadCountsWhatAFlushCovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const depth, every = 16, 8
		comps := make(chan *ring.Op, depth+1)
		r := newSlowRing(t, nil)
		s := newStream(nil, make([]buffer, depth), func() int64 { return 0 }, comps)
		s.every, s.ahead = every, 4*every
		took, err := load(t.Context(), r, comps, 50*time.Millisecond, s)
		if err != nil || took < 50*time.Millisecond {
			t.Fatal(took, err)
		}
		if r.flushes < 100 || s.done < 1000 {
			t.Fatalf("%d flushes, %d done", r.flushes, s.done)
		}
		if s.done > r.writes || s.done < r.writes-5*every {
			t.Fatalf("%d writes count as flushed, %d were completed", s.done, r.writes)
		}
		if len(s.free) != depth {
			t.Fatalf("%d of %d buffers came back", len(s.free), depth)
		}
	})
}

// TestRateOfASlowDrive: however little is done while it is measured, what is in flight at the begin and
// at the end is not taken for slowness. The drive completes an op every 10 us.
func TestRateOfASlowDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const depth = 16
		for _, c := range []struct {
			every, ahead int
			d            time.Duration
			want         float64
		}{
			{0, 0, 100 * time.Microsecond, 100_000}, // less than one turn of what is in flight
			{0, 0, 10 * time.Millisecond, 100_000},
			{8, 32, 0, 8. / 9 * 100_000},
			{8, 32, 500 * time.Microsecond, 8. / 9 * 100_000},
			{8, 32, 50 * time.Millisecond, 8. / 9 * 100_000},
		} {
			comps := make(chan *ring.Op, depth+1)
			s := newStream(nil, make([]buffer, depth), func() int64 { return 0 }, comps)
			s.every, s.ahead = c.every, c.ahead
			r := newSlowRing(t, nil)
			for range 20 { // what an earlier load left behind holds nothing up
				if _, err := load(t.Context(), r, comps, c.d, s); err != nil {
					t.Fatal(err)
				}
				if got := s.perSecond(); got < 0.9*c.want || got > 1.1*c.want {
					t.Errorf("%v, a flush every %d: %.0f writes/s, want %.0f", c.d, c.every, got, c.want)
				}
			}
		}
	})
}

// TestLoadThatStalls: where nothing may begin any more the load ends, and does not wait for nothing.
func TestLoadThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		comps := make(chan *ring.Op, 5)
		s := newStream(nil, make([]buffer, 4), func() int64 { return 0 }, comps)
		s.may = func() bool { return s.begun < 10 }
		if _, err := load(t.Context(), newSlowRing(t, nil), comps, time.Hour, s); !errors.Is(err, errStalled) {
			t.Fatal(err)
		}
	})
}

func TestLoadEndsWithTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		comps := make(chan *ring.Op, 5)
		broken := errors.New("broken")
		r := newSlowRing(t, broken)
		s := newStream(nil, make([]buffer, 4), func() int64 { return 0 }, comps)
		if _, err := load(t.Context(), r, comps, time.Minute, s); !errors.Is(err, broken) {
			t.Fatal(err)
		}
	})
}
