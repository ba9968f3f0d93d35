package untorn_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/walstage"
)

// durable appends records one by one and returns their ends.
func durable(t testing.TB, e *untorn.Engine, n int, size int) (starts, ends []untorn.LSN) {
	t.Helper()
	for i := range n {
		s, end, err := e.AppendSync(ctx, []byte(strings.Repeat(string(rune('a'+i%26)), size)))
		if err != nil {
			t.Fatal(err)
		}
		starts, ends = append(starts, s), append(ends, end)
	}
	return starts, ends
}

func openSim(t testing.TB, o untorn.Options) *untorn.Engine {
	t.Helper()
	e, err := untorn.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func replayed(t testing.TB, e *untorn.Engine) (list []untorn.LSN) {
	t.Helper()
	for r, err := range e.Replay(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r.Start)
	}
	return list
}

func closed(t testing.TB, e *untorn.Engine) {
	t.Helper()
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestEarlierCutsCountWhileOneIsMade: what an earlier TruncateAfter cut off is refused also while the next
// one is under way.
func TestEarlierCutsCountWhileOneIsMade(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	e := openSim(t, onSim(d))
	f, err := e.OpenFile(ctx, "t", untorn.FileOptions{Create: true, PageSize: 4096, Pages: 4})
	if err != nil {
		t.Fatal(err)
	}
	_, ends := durable(t, e, 4, 300)
	if err := e.TruncateAfter(ctx, ends[1]); err != nil {
		t.Fatal(err)
	}
	_, newer := durable(t, e, 4, 300)
	atSuper := make(chan struct{}, 16)
	d.Inject(func(op *ring.Op) (f sim.Fault) {
		if f.Hold = op.Kind == ring.Write && op.File.Name() == "/db/super"; f.Hold {
			atSuper <- struct{}{}
		}
		return f
	})
	made := make(chan error, 1)
	go func() { made <- e.TruncateAfter(ctx, newer[1]) }()
	<-atSuper
	for lsn, want := range map[untorn.LSN]error{ends[3]: untorn.ErrCut, newer[3]: untorn.ErrCut, newer[0]: nil} {
		_, err := f.WritePagesAsync(ctx, []untorn.PageWrite{{No: 1, LSN: lsn, Data: make([]byte, 4096)}}, untorn.Accepted)
		if !errors.Is(err, want) {
			t.Errorf("while it is made, a page at %d: %v, want %v", lsn, err, want)
		}
	}
	d.ClearFaults()
	d.Release(nil)
	if err := <-made; err != nil {
		t.Error(err)
	}
}

// TestTruncateAfter: a cut is refused where a page or a checkpoint relies on what would be gone, also
// after the directory was opened again, and what was cut stays cut.
func TestTruncateAfter(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	e := openSim(t, onSim(d))
	f, err := e.OpenFile(ctx, "t", untorn.FileOptions{Create: true, PageSize: 4096, Pages: 4})
	if err != nil {
		t.Fatal(err)
	}
	starts, ends := durable(t, e, 10, 300)
	write := func(f *untorn.File, lsn untorn.LSN) error {
		return f.WritePages(ctx, []untorn.PageWrite{{No: 1, LSN: lsn, Data: make([]byte, 4096)}}, untorn.Durable)
	}
	if err := write(f, ends[4]); err != nil {
		t.Fatal(err)
	}
	if err := e.Checkpoint(ctx, ends[2], nil); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		lsn  untorn.LSN
		want error
	}{
		"below a page":    {ends[3], untorn.ErrCutRefused},
		"below the redo":  {ends[1], untorn.ErrCutRefused},
		"inside a record": {starts[6] + 20, walstage.ErrNoRecord},
		"beyond the log":  {e.EndLSN() + 1, untorn.ErrLSNBeyondLog},
	} {
		if err := e.TruncateAfter(ctx, c.lsn); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.TruncateAfter(ctx, ends[6]); err != nil {
		t.Fatal(err)
	}
	if err := write(f, ends[8]); !errors.Is(err, untorn.ErrCut) {
		t.Errorf("a page made from a record that was cut off: %v", err)
	}
	more, newer := durable(t, e, 2, 300)
	both := []untorn.PageWrite{{No: 1, LSN: ends[8], Data: make([]byte, 4096)}, {No: 2, LSN: newer[1], Data: make([]byte, 4096)}}
	if err := f.WritePages(ctx, both, untorn.Durable); !errors.Is(err, untorn.ErrCut) {
		t.Errorf("a page made from a record that was cut off, beside a newer one: %v", err)
	}
	if err := write(f, e.EndLSN()); err != nil {
		t.Errorf("a page made from a record behind the cut: %v", err)
	}
	check := func(when string) {
		t.Helper()
		got := replayed(t, e)
		want := append(starts[3:7:7], more...)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: replayed %v, want %v", when, got, want)
		}
		for lsn, want := range map[untorn.LSN]untorn.Status{starts[4]: walstage.StatusPresent,
			starts[7]: walstage.StatusCut, more[0]: walstage.StatusPresent, e.EndLSN() + 1<<20: walstage.StatusNever} {
			if s, err := e.Status(ctx, lsn); s != want || err != nil {
				t.Errorf("%s: %d is %v, %v, want %v", when, lsn, s, err, want)
			}
		}
		if _, err := e.ReadAt(ctx, starts[8]); !errors.Is(err, untorn.ErrCut) {
			t.Errorf("%s: reading what was cut off: %v", when, err)
		}
	}
	check("at once")
	page := e.EndLSN()
	durable(t, e, 1, 10)
	more = append(more, replayed(t, e)[6])
	closed(t, e)
	e = openSim(t, onSim(d))
	check("closed and opened")
	if err := e.TruncateAfter(ctx, more[1]); !errors.Is(err, untorn.ErrCutRefused) {
		t.Errorf("the page at %d was forgotten by a close: %v", page, err)
	}
	if err := e.TruncateAfter(ctx, page); err != nil { // the last record goes
		t.Errorf("after a close it is known that no page is above: %v", err)
	}
	more = more[:2]
	check("cut again")
	d2 := d.Crash()
	d.PowerOff()
	_ = e.Close(ctx)
	e = openSim(t, onSim(d2))
	check("after a crash")
	_, last := durable(t, e, 2, 10)
	d3 := d2.Crash()
	d2.PowerOff()
	_ = e.Close(ctx)
	e = openSim(t, onSim(d3))
	if err := e.TruncateAfter(ctx, last[0]); !errors.Is(err, untorn.ErrCutRefused) {
		t.Errorf("after a crash nobody knows how new pages are: %v", err)
	}
	if err := e.Checkpoint(ctx, e.DurableLSN(), nil); err != nil {
		t.Fatal(err)
	}
	closed(t, e)
}

// TestTruncateAfterCrash cuts the power at every operation of a cut of a log without pages, as a Raft
// log is: the next open has all of it or the cut one, and may cut again at once.
func TestTruncateAfterCrash(t *testing.T) {
	d := sim.New(sim.Config{Seed: 3})
	e := openSim(t, onSim(d))
	starts, ends := durable(t, e, 12, 700)
	d.Record()
	d.Mark("begins")
	if err := e.TruncateAfter(ctx, ends[5]); err != nil {
		t.Fatal(err)
	}
	d.Mark("done")
	next, _ := durable(t, e, 2, 50)
	d.Mark("more")
	log := d.Log()
	d.PowerOff()
	_ = e.Close(ctx)
	kept := starts[:6]
	allowed := map[string][][]untorn.LSN{
		"begins": {starts, kept},
		"done":   {kept, append(kept[:6:6], next[0]), append(kept[:6:6], next...)},
		"more":   {append(kept[:6:6], next...)},
	}
	states, max := 0, 6
	if testing.Short() {
		max = 2
	}
	for at, p := range log.Points(log.Cuts()) {
		phase := ""
		for _, m := range log.Marks(at) {
			phase = m.(string)
		}
		if phase == "" {
			continue
		}
		for choice, disk := range p.States(sim.Explore{Exhaustive: 2, Items: 3, Samples: 3, Max: max}) {
			states++
			e, err := untorn.Open(ctx, onSim(disk))
			if err != nil {
				t.Fatalf("cut at %d, %s: %v", at, p.Describe(choice), err)
			}
			got, ok := replayed(t, e), false
			for _, want := range allowed[phase] {
				ok = ok || fmt.Sprint(got) == fmt.Sprint(want)
			}
			if !ok {
				t.Fatalf("%s, cut at %d, %s: replayed %v", phase, at, p.Describe(choice), got)
			}
			if err := e.TruncateAfter(ctx, ends[2]); err != nil {
				t.Fatalf("cut at %d, %s: cutting again: %v", at, p.Describe(choice), err)
			}
			s, _ := durable(t, e, 1, 10)
			if s[0] < ends[11] && fmt.Sprint(got) != fmt.Sprint(kept) || len(replayed(t, e)) != 4 {
				t.Fatalf("cut at %d, %s: a record at %d, %d had been issued", at, p.Describe(choice), s[0], ends[11])
			}
			closed(t, e)
		}
	}
	t.Log(states, "states")
}

// rotten closes an engine with durable records and damages one of them.
func rotten(t *testing.T, d *sim.Disk, bad int) (starts, ends []untorn.LSN) {
	t.Helper()
	o := onSim(d)
	o.SegmentBytes = 64 << 10
	e := openSim(t, o)
	if _, err := e.OpenFile(ctx, "t", untorn.FileOptions{Create: true, PageSize: 4096, Pages: 4}); err != nil {
		t.Fatal(err)
	}
	starts, ends = durable(t, e, 40, 3000)
	closed(t, e)
	corruptRecord(t, d, starts[bad])
	return starts, ends
}

// corruptRecord flips a bit behind the start of a record.
func corruptRecord(t *testing.T, d *sim.Disk, start untorn.LSN) {
	t.Helper()
	p, err := walstage.OpenPeek(ctx, walstage.Options{FS: d.FS(), Ring: d.Ring(), Dir: "/db/wal"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, s := range p.Segments() {
		if s.Err == nil && start >= s.First && start < s.First+untorn.LSN(s.Length) {
			if err := d.Corrupt("/db/wal/"+s.Name, int64(start-s.First)+50, 4); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no segment holds %d", start)
}

// TestRecoverTo: a corrupt log stops every open until a point is named, and then goes on from there.
func TestRecoverTo(t *testing.T) {
	d := sim.New(sim.Config{Seed: 5})
	starts, ends := rotten(t, d, 20)
	o := onSim(d)
	_, err := untorn.Open(ctx, o)
	var bad *walstage.CorruptError
	if !errors.Is(err, untorn.ErrCorrupt) || !errors.As(err, &bad) || bad.Good != ends[19] || bad.IntactThrough != ends[39] {
		t.Fatalf("got %v", err)
	}
	for name, to := range map[string]untorn.LSN{"behind the damage": ends[30], "inside a record": ends[10] - 1} {
		o.RecoverTo = to
		if _, err := untorn.Open(ctx, o); !errors.Is(err, untorn.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.RecoverTo = bad.Good
	if r, err := untorn.DryRun(ctx, o); err != nil || len(r.Faults) == 0 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	if _, err := untorn.Open(ctx, onSim(d)); !errors.Is(err, untorn.ErrCorrupt) {
		t.Errorf("after a dry run: %v", err)
	}
	d.Record()
	e := openSim(t, o)
	if got := replayed(t, e); fmt.Sprint(got) != fmt.Sprint(starts[:20]) {
		t.Errorf("replayed %v", got)
	}
	d.Mark("recovered")
	s, _ := durable(t, e, 3, 100)
	if s[0] <= ends[39] {
		t.Errorf("a new record at %d, %d had been issued", s[0], ends[39])
	}
	for lsn, want := range map[untorn.LSN]untorn.Status{starts[5]: walstage.StatusPresent, starts[20]: walstage.StatusLost,
		starts[39]: walstage.StatusLost, ends[39] + 1: walstage.StatusNever, s[0]: walstage.StatusPresent} {
		if got, err := e.Status(ctx, lsn); got != want || err != nil {
			t.Errorf("%d is %v, %v, want %v", lsn, got, err, want)
		}
	}
	d.Mark("more")
	log := d.Log()
	closed(t, e)
	e = openSim(t, o) // still named: it has been done
	if got := replayed(t, e); fmt.Sprint(got) != fmt.Sprint(append(starts[:20:20], s...)) {
		t.Errorf("opened again: replayed %v", got)
	}
	for range 2 { // the second knows that the first let go of the log before the cut
		if err := e.Checkpoint(ctx, e.DurableLSN(), nil); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, e)
	if _, err := untorn.Open(ctx, o); !errors.Is(err, walstage.ErrNotCorrupt) {
		t.Errorf("with nothing to give up: %v", err)
	}
	crashesIn(t, log, o, starts[:20], s)
}

// crashesIn cuts the power at every operation of a recovery to a point: until it is in super the log
// is corrupt, as before; from then on every open finishes it.
func crashesIn(t *testing.T, log *sim.Log, o untorn.Options, kept, next []untorn.LSN) {
	states, corrupt, max := 0, 0, 4
	if testing.Short() {
		max = 1
	}
	for at, p := range log.Points(log.Cuts()) {
		recovered := false
		for range log.Marks(at) {
			recovered = true
		}
		for choice, disk := range p.States(sim.Explore{Exhaustive: 1, Items: 3, Samples: 3, Max: max}) {
			states++
			o.FS, o.NewRing, o.RecoverTo = onSim(disk).FS, onSim(disk).NewRing, 0
			e, err := untorn.Open(ctx, o)
			if errors.Is(err, untorn.ErrCorrupt) && !recovered {
				corrupt++
				var bad *walstage.CorruptError
				errors.As(err, &bad)
				o.RecoverTo = bad.Good
				e, err = untorn.Open(ctx, o)
			}
			if err != nil {
				t.Fatalf("cut at %d, %s: %v", at, p.Describe(choice), err)
			}
			got := replayed(t, e)
			ok := false
			for n := range len(next) + 1 {
				ok = ok || fmt.Sprint(got) == fmt.Sprint(append(kept[:20:20], next[:n]...))
			}
			if !ok {
				t.Fatalf("cut at %d, %s: replayed %v", at, p.Describe(choice), got)
			}
			durable(t, e, 2, 10)
			closed(t, e)
		}
	}
	if corrupt == 0 || corrupt == states {
		t.Errorf("%d of %d states were still corrupt", corrupt, states)
	}
	t.Log(states, "states,", corrupt, "still corrupt")
}
