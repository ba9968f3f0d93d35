package bench

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn/page"
)

func TestScheduleTakesTurns(t *testing.T) {
	start := time.Unix(0, 0)
	const clients = 4
	var at []time.Duration
	var s [clients]schedule
	for i := range s {
		s[i] = newSchedule(start, 1000, 10, i, clients) // 100 calls a second in all
	}
	for range 3 {
		for i := range s {
			at = append(at, s[i].due().Sub(start))
		}
	}
	for i, d := range at {
		if want := time.Duration(i) * 10 * time.Millisecond; d != want {
			t.Fatalf("call %d is due at %v, want %v", i, d, want)
		}
	}
}

func TestClosedLoopNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(time.Now(), 0, 10, 0, 1)
		begin := time.Now()
		for range 5 {
			if got := s.next(nil); !got.Equal(begin) {
				t.Fatalf("waited %v", got.Sub(begin))
			}
		}
	})
}

// slowOnce is a worker one of whose calls takes long.
type slowOnce struct {
	bufs  [][]byte
	calls int
	slow  time.Duration
	each  time.Duration
}

func (w *slowOnce) take(context.Context, int) ([][]byte, error) { return w.bufs, nil }
func (w *slowOnce) give()                                       {}
func (w *slowOnce) get(context.Context, []page.No, func(int, []byte)) error {
	return nil
}

func (w *slowOnce) put(context.Context, []page.No) error {
	if w.calls++; w.calls == 3 {
		time.Sleep(w.slow)
	}
	time.Sleep(w.each)
	return nil
}

// openLoop has a client call w every 10 ms until d is over, which is at end; it has yet to finish.
func openLoop(t *testing.T, w *slowOnce, d time.Duration) (k *client, end time.Time) {
	c := Config{Clients: 1, Batch: 1, Rate: 100, SizeBytes: 1 << 20}.withDefaults()
	w.bufs = [][]byte{make([]byte, c.PageBytes)}
	k = newClient(&c, 0, w, newContents(1, 0), make([]uint64, 64))
	k.reset(c.Rate, newSteps(time.Second))
	k.sched = newSchedule(time.Now(), c.Rate, c.Batch, 0, 1)
	var ph atomic.Int32
	ph.Store(measuring)
	stop, done := make(chan struct{}), make(chan error)
	go func() { done <- k.run(t.Context(), &ph, stop) }()
	time.Sleep(d)
	end = time.Now()
	ph.Store(stopping)
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return k, end
}

// A call every 10 ms, one of which takes 100 ms: nine more calls are late because of it, and count
// from when they were meant to begin. Measured from when they did begin, only one would be slow.
func TestOpenLoopLeavesNoLatencyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, end := openLoop(t, &slowOnce{slow: 100 * time.Millisecond, each: time.Millisecond}, 505*time.Millisecond)
		k.finish(end)
		if n := k.writes.TotalCount(); n < 49 || n > 51 {
			t.Fatalf("%d calls were timed, 50 or 51 were due", n)
		}
		slow := 0
		for _, b := range k.writes.Distribution() {
			if b.From > int64(5*time.Millisecond/tick) {
				slow += int(b.Count)
			}
		}
		if slow < 10 || slow > 12 {
			t.Fatalf("%d calls took longer than 5 ms, 10 to 12 were delayed", slow)
		}
		if got := k.lag.Max(); got < int64(85*time.Millisecond/tick) {
			t.Fatalf("the latest call began %v late", time.Duration(got)*tick)
		}
	})
}

// Calls that never got their turn are not left out either.
func TestOpenLoopCountsWhatIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, end := openLoop(t, &slowOnce{each: 400 * time.Millisecond}, 795*time.Millisecond)
		k.finish(end)
		if n := k.writes.TotalCount(); n < 78 || n > 82 {
			t.Fatalf("%d calls were counted, 80 were due", n)
		}
	})
}

// A call that is under way when the interval ends was due in it, and so were those behind it; what is
// due while it goes on after the end was not. All of them are in the steps, too, and half are reads.
func TestOpenLoopEndsWithTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, end := openLoop(t, &slowOnce{each: time.Second}, 105*time.Millisecond)
		k.c.Reads, k.reads = 50, newHistogram()
		k.finish(end)
		// Due at 0, 10, ... 100 ms; the first takes a second, the others had waited 95, 85, ... 5 ms.
		if n := k.writes.TotalCount() + k.reads.TotalCount(); n != 11 {
			t.Errorf("%d calls were counted, 11 were due", n)
		}
		if k.reads.TotalCount() == 0 || k.writes.TotalCount() < 2 {
			t.Errorf("%d reads, %d writes, of which half should read", k.reads.TotalCount(), k.writes.TotalCount())
		}
		if got := time.Duration(k.writes.Max()) * tick; got < time.Second {
			t.Errorf("the longest call took %v, the first took a second", got)
		}
		if n := k.step.all.latency(ofWrites, 0).Calls + k.step.all.latency(ofReads, 0).Calls; n != 11 {
			t.Errorf("%d calls are in the steps, 11 were counted", n)
		}
	})
}

func TestLongWaitsAreNotCutShort(t *testing.T) {
	h := newHistogram()
	record(h, 10*time.Minute)
	if got := latency(h, false).Max; got < 599e6 || got > 601e6 {
		t.Errorf("10 minutes became %s", Micros(got))
	}
	all := newSteps(time.Second)
	p := newStepper(ofWrites)
	p.join(all)
	p.record(10 * time.Minute)
	p.leave()
	if got := all.latency(ofWrites, 0).MaxLatency; got < 590e6 || got > 610e6 {
		t.Errorf("in a step, 10 minutes became %s", Micros(got))
	}
}
