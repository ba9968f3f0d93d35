package untorn_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/walstage"
)

// smallLog are options for a log of many small segments.
func smallLog(t testing.TB) untorn.Options {
	o := small(t)
	o.SegmentBytes = 64 << 10
	return o
}

// appendSome appends n durable records of about a block each.
func appendSome(t testing.TB, e *untorn.Engine, n int) {
	t.Helper()
	for range n {
		_, end, err := e.Append(make([]byte, 3500))
		if err == nil {
			err = e.WaitDurable(ctx, end)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// fillLog appends until the log refuses.
func fillLog(t testing.TB, e *untorn.Engine) error {
	t.Helper()
	for range 10000 {
		_, end, err := e.Append(make([]byte, 3500))
		if err == nil {
			err = e.WaitDurable(ctx, end)
		}
		if err != nil {
			return err
		}
	}
	t.Fatal("the log is never full")
	return nil
}

func checkpoint(t testing.TB, e *untorn.Engine) {
	t.Helper()
	if err := e.Checkpoint(ctx, e.DurableLSN(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestHoldKeepsTheLog(t *testing.T) {
	e := open(t, smallLog(t))
	appendSome(t, e, 10)
	at := e.DurableLSN()
	a, err := e.Hold("slow", at)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Hold("slower", 0)
	if err != nil {
		t.Fatal(err)
	}
	appendSome(t, e, 100)
	checkpoint(t, e)
	r := e.Retention()
	if r.Begin != 0 || r.KeptBy != "slower" || len(r.Holders) != 2 || r.Holders[0].Name != "slower" || r.Holders[0].Blocking == 0 {
		t.Errorf("with two holders: %+v", r)
	}
	b.Release()
	if r = e.Retention(); r.Begin > at || r.KeptBy != "slow" {
		t.Errorf("with one: %+v", r)
	}
	if _, err := e.ReadAt(ctx, at); err != nil && !errors.Is(err, walstage.ErrNoRecord) {
		t.Errorf("what is held cannot be read: %v", err)
	}
	if err := a.Advance(e.DurableLSN()); err != nil {
		t.Fatal(err)
	}
	if r = e.Retention(); r.Begin <= at || r.KeptBy != "" {
		t.Errorf("with none in the way: %+v", r)
	}
	if _, err := e.Hold("late", at); !errors.Is(err, walstage.ErrTruncated) {
		t.Errorf("a hold of what is gone: %v", err)
	}
	a.Release()
	mustClose(t, e)
}

// warnings are what an engine warns of.
type warnings chan string

func (w warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler           { return w }
func (w warnings) WithGroup(string) slog.Handler                { return w }

func (w warnings) Handle(_ context.Context, r slog.Record) error {
	select {
	case w <- r.Message:
	default: // there is enough to wake who waits for one
	}
	return nil
}

func TestHoldIsEvicted(t *testing.T) {
	for name, set := range map[string]func(*untorn.Options){
		"bytes": func(o *untorn.Options) { o.HoldMaxBytes = 200 << 10 },
		"age":   func(o *untorn.Options) { o.HoldMaxAge = time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			o := smallLog(t)
			set(&o)
			told := make(warnings, 16)
			o.Logger = slog.New(told)
			e := open(t, o)
			h, err := e.Hold("forgotten", 0)
			if err != nil {
				t.Fatal(err)
			}
			idle, err := e.Hold("up to date", 0)
			if err != nil {
				t.Fatal(err)
			}
			appendSome(t, e, 100)
			if err := idle.Advance(e.DurableLSN()); err != nil {
				t.Fatal(err)
			}
			checkpoint(t, e)
			for h.Err() == nil { // by age: a timer
				<-told
			}
			var gone *untorn.EvictedError
			if err := h.Err(); !errors.As(err, &gone) || !errors.Is(err, untorn.ErrEvicted) || gone.Name != "forgotten" || gone.Why == "" {
				t.Errorf("%v", err)
			}
			if err := h.Advance(e.DurableLSN()); !errors.Is(err, untorn.ErrEvicted) {
				t.Errorf("advanced: %v", err)
			}
			if r := e.Retention(); r.Begin == 0 || r.Evicted != 1 || len(r.Holders) != 1 {
				t.Errorf("%+v", r)
			}
			if err := idle.Err(); err != nil {
				t.Errorf("who keeps nothing back was evicted: %v", err)
			}
			h.Release()
			mustClose(t, e)
		})
	}
}

// TestFullLogIsEmptied: a log at its bound refuses the caller, still takes the engine's own records,
// and a checkpoint empties it.
func TestFullLogIsEmptied(t *testing.T) {
	o := smallLog(t)
	o.MaxLogBytes = 4 * o.SegmentBytes
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 4})
	for range 3 {
		if err := fillLog(t, e); !errors.Is(err, untorn.ErrLogFull) || errors.Is(err, untorn.ErrNoSpace) {
			t.Fatal(err)
		}
		if p := e.Stats().Log.Pressure; p != walstage.PressureFull {
			t.Errorf("pressure %v", p)
		}
		if err := f.Grow(ctx, f.Pages()+1); err != nil {
			t.Errorf("an engine record does not fit into the headroom: %v", err)
		}
		if err := f.WritePages(ctx, []untorn.PageWrite{{No: 1, LSN: e.DurableLSN(), Data: make([]byte, f.PageSize())}}, untorn.Durable); err != nil {
			t.Errorf("a page cannot be written: %v", err)
		}
		checkpoint(t, e)
		appendSome(t, e, 5)
	}
	mustClose(t, e)
	mustClose(t, open(t, o))
}

// TestFullDiskIsEmptied: the same where the disk is what is full, on a simulated one.
func TestFullDiskIsEmptied(t *testing.T) {
	d := sim.New(sim.Config{Capacity: 4 << 20})
	o := onSim(d)
	e := open(t, o)
	if err := fillLog(t, e); !errors.Is(err, untorn.ErrLogFull) || !errors.Is(err, untorn.ErrNoSpace) {
		t.Fatal(err)
	}
	if err := e.Err(); err != nil {
		t.Fatal("poisoned by a full disk:", err)
	}
	checkpoint(t, e)
	appendSome(t, e, 60)
	mustClose(t, e)
	mustClose(t, open(t, o))
}

// TestBlockedAppend: with LogFull a checkpoint ends the wait, and so does Close.
func TestBlockedAppend(t *testing.T) {
	o := smallLog(t)
	o.MaxLogBytes = 3 * o.SegmentBytes
	o.LogFull = walstage.FullBlock
	full := make(chan walstage.Event, 64)
	o.OnLogPressure = func(x walstage.Event) { full <- x }
	e := open(t, o)
	results := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			_, _, err = e.Append(make([]byte, 3500))
		}
		results <- err
	}()
	for n := 0; n < 3; {
		if x := <-full; x.Pressure == walstage.PressureFull {
			checkpoint(t, e)
			n++
		}
	}
	for x := range full {
		if x.Pressure == walstage.PressureFull {
			break
		}
	}
	mustClose(t, e)
	if err := <-results; !errors.Is(err, untorn.ErrClosed) {
		t.Error(err)
	}
}

// tape is an archive in memory that can fail.
type tape struct {
	mu   sync.Mutex
	fail error
	ends []untorn.LSN
	did  chan struct{}
}

func (a *tape) Archive(_ context.Context, s *walstage.Finished) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() {
		select {
		case a.did <- struct{}{}:
		default:
		}
	}()
	if a.fail != nil {
		return a.fail
	}
	a.ends = append(a.ends, s.End)
	return nil
}

// TestArchiveKeepsTheLog: no segment is let go before it is archived, whatever checkpoints say;
// archiving is tried again, shown, and goes on where it was after a reopen.
func TestArchiveKeepsTheLog(t *testing.T) { synctest.Test(t, archiveKeeps) }

func archiveKeeps(t *testing.T) {
	o := onSim(sim.New(sim.Config{Seed: 1}))
	o.SegmentBytes = 64 << 10
	broken := errors.New("the tape is broken")
	a := &tape{fail: broken, did: make(chan struct{}, 1)}
	o.Archive = a
	e := open(t, o)
	appendSome(t, e, 100)
	checkpoint(t, e)
	<-a.did
	<-a.did // and again
	r := e.Retention()
	if r.Begin != 0 || r.KeptBy != "archive" || r.Archive == nil || r.Archive.Failures == 0 || r.Archive.Lag < 300000 {
		t.Errorf("%+v %+v", r, r.Archive)
	}
	a.mu.Lock()
	a.fail = nil
	a.mu.Unlock()
	time.Sleep(time.Minute) // it is tried again after 30 s, at the most
	if r = e.Retention(); r.KeptBy != "" || r.Begin == 0 || r.Archive.Err != nil || r.Archive.Lag > 2*o.SegmentBytes {
		t.Errorf("%+v %+v", r, r.Archive)
	}
	mustClose(t, e)
	a.mu.Lock()
	for i, end := range a.ends {
		if want := untorn.LSN(int64(i+1) * o.SegmentBytes); end != want {
			t.Errorf("segment %d ends at %d, want %d", i, end, want)
		}
	}
	a.mu.Unlock()
	e = open(t, o)
	appendSome(t, e, 30)
	<-a.did
	mustClose(t, e)
}
