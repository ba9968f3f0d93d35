package walstage

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
)

func TestJudgePressure(t *testing.T) {
	for _, c := range []struct {
		was     Pressure
		used    int64
		refused bool
		want    Pressure
	}{
		{PressureNone, 0, false, PressureNone},
		{PressureNone, 1199, false, PressureNone},
		{PressureNone, 1200, false, PressureHigh},
		{PressureHigh, 1199, false, PressureHigh}, // left lower than entered
		{PressureHigh, 1001, false, PressureHigh},
		{PressureHigh, 1000, false, PressureNone},
		{PressureHigh, 1600, false, PressureHigh}, // full only when something was refused
		{PressureHigh, 1600, true, PressureFull},
		{PressureNone, 100, true, PressureFull},
		{PressureFull, 1401, false, PressureFull},
		{PressureFull, 1400, false, PressureHigh},
		{PressureFull, 1001, false, PressureHigh},
		{PressureFull, 1000, false, PressureNone},
	} {
		if got := judgePressure(c.was, c.used, 1600, c.refused); got != c.want {
			t.Errorf("%v with %d of 1600, refused %v: %v, want %v", c.was, c.used, c.refused, got, c.want)
		}
	}
	for used, want := range map[int64]time.Duration{0: 0, 1200: 0, 1400: maxPause / 2, 1600: maxPause, 9999: maxPause} {
		if got := pauseAt(used, 1600); got != want {
			t.Errorf("pause with %d of 1600: %v, want %v", used, got, want)
		}
	}
}

// events collects what a log tells.
type events struct {
	mu   sync.Mutex
	seen []Event
	came chan struct{}
}

func newEvents() *events { return &events{came: make(chan struct{}, 64)} }

func (e *events) add(x Event) {
	e.mu.Lock()
	e.seen = append(e.seen, x)
	e.mu.Unlock()
	e.came <- struct{}{}
}

// await returns when the last event is p.
func (e *events) await(t *testing.T, p Pressure) Event {
	t.Helper()
	for range e.came {
		e.mu.Lock()
		last := e.seen[len(e.seen)-1]
		e.mu.Unlock()
		if last.Pressure == p {
			return last
		}
	}
	panic("not reached")
}

// TestFullHysteresis: a log that was full stays so until a truncation has made more room than one
// segment, and tells when it fills, is full, and is not any more.
func TestFullHysteresis(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.MaxBytes = 16 * o.SegmentBytes
	told := newEvents()
	o.Event = told.add
	l := newLog(t, o)
	n, err := fill(l, 0, 3000)
	if !errors.Is(err, ErrLogFull) || n < 16*15-8 {
		t.Fatal(n, err)
	}
	told.await(t, PressureFull)
	one := page.LSN(o.SegmentBytes)
	if err := l.TruncateBefore(one); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Append(0, []byte("x")); !errors.Is(err, ErrLogFull) {
		t.Errorf("a log of 16 segments takes records when one is free: %v", err)
	}
	if err := l.TruncateBefore(3 * one); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Append(0, []byte("x")); err != nil {
		t.Error("with three free:", err)
	}
	if err := l.TruncateBefore(8 * one); err != nil {
		t.Fatal(err)
	}
	if e := told.await(t, PressureNone); e.Oldest != 8*one || e.Used > e.Limit {
		t.Errorf("%+v", e)
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	i := slices.IndexFunc(told.seen, func(e Event) bool { return e.Pressure == PressureFull })
	if i < 1 || told.seen[i-1].Pressure != PressureHigh {
		t.Errorf("no warning came before: %+v", told.seen)
	}
	mustClose(t, l)
}

// TestFullBlock: appends in a full log wait for a truncation, engine records do not wait, and
// Unblock ends the waiting.
func TestFullBlock(t *testing.T) {
	for _, policy := range []Full{FullBlock, FullThrottle} {
		t.Run(policy.String(), func(t *testing.T) {
			d := newFakeDisk()
			o := small(d)
			o.MaxBytes = 3 * o.SegmentBytes
			o.Full = policy
			told := newEvents()
			o.Event = told.add
			l := newLog(t, o)
			results := make(chan error, 1)
			go func() {
				for i := range 100 { // more than fits
					_, end, err := l.Append(0, []byte(record(i, 3000)))
					if err == nil {
						err = l.WaitDurable(bg, end)
					}
					if err != nil {
						results <- err
						return
					}
				}
				results <- nil
			}()
			full := 0
			for done := false; !done; {
				select {
				case err := <-results:
					if err != nil {
						t.Fatal(err)
					}
					done = true
				case <-told.came:
					if l.Stats().Pressure != PressureFull {
						continue
					}
					full++
					if _, end, err := l.Append(1, []byte("of the engine")); err == nil {
						mustWait(t, l, end)
					} else {
						t.Error("the engine's record:", err)
					}
					if err := l.TruncateBefore(l.Durable()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if full == 0 {
				t.Error("it was never full")
			}
			s := l.Stats()
			if s.FullWaits == 0 || (policy == FullThrottle) != (s.Slowed > 0) {
				t.Errorf("%d appends waited, %d were slowed down", s.FullWaits, s.Slowed)
			}
			go func() {
				_, err := fill(l, 0, 3000)
				results <- err
			}()
			for l.Stats().Pressure != PressureFull {
				<-told.came
			}
			l.Unblock()
			if err := <-results; !errors.Is(err, ErrClosed) {
				t.Error("unblocked:", err)
			}
			mustClose(t, l)
		})
	}
}

// TestFullBlockNoSpace: with FullBlock a full disk is waited for.
func TestFullBlockNoSpace(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.Full = FullBlock
	told := newEvents()
	o.Event = told.add
	l := newLog(t, o)
	d.mu.Lock()
	room := d.free
	d.free = 0
	d.mu.Unlock()
	results := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			_, _, err = l.Append(0, []byte(record(i, 3000)))
		}
		results <- err
	}()
	if e := told.await(t, PressureFull); !errors.Is(e.Err, fsys.ErrNoSpace) {
		t.Errorf("%+v", e)
	}
	d.mu.Lock()
	d.free = room
	d.mu.Unlock()
	if err := <-results; err != nil {
		t.Error(err)
	}
	told.await(t, PressureNone)
	if l.o.Poison.Err() != nil {
		t.Error(l.o.Poison.Err())
	}
	mustClose(t, l)
}
