package untorn

import (
	"sync"
	"time"

	"github.com/untorn/untorn/ring"
)

// SlowIO says whether submitted I/O has stopped coming back. Nothing has failed then, and nothing is
// acknowledged: callers wait, and nobody else would tell why.
type SlowIO struct {
	// Since is for how long nothing has come back although something is in flight, once that is
	// longer than Options.SlowIO; 0 = all is well.
	Since time.Duration
	// Episodes counts such times, Longest is the longest that ended or is going on.
	Episodes uint64
	Longest  time.Duration
}

const defaultSlowIO = 5 * time.Second

// progress watches the counters of one ring.
type progress struct {
	completed uint64
	since     time.Time // of the last completion seen, or of the last time that nothing was in flight
	slow      bool
}

// observe takes a reading and returns for how long nothing came back, and whether that has just
// become longer than limit or has just ended.
func (p *progress) observe(now time.Time, s ring.Stats, limit time.Duration) (stuck time.Duration, began, ended bool) {
	if s.Completed != p.completed || s.Submitted <= s.Completed || p.since.IsZero() {
		ended = p.slow
		if ended {
			stuck = now.Sub(p.since)
		}
		p.completed, p.since, p.slow = s.Completed, now, false
		return stuck, false, ended
	}
	stuck = now.Sub(p.since)
	if stuck < limit {
		return 0, false, false
	}
	began = !p.slow
	p.slow = true
	return stuck, began, false
}

// watchdog is the engine's account of slow I/O.
type watchdog struct {
	mu    sync.Mutex
	stats SlowIO
	stop  chan struct{}
	ended chan struct{}
}

func (w *watchdog) snapshot() SlowIO {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// note keeps the figures of one look at all rings: the longest that one of them is stuck, and how
// many have just got stuck.
func (w *watchdog) note(now, longest time.Duration, began int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Since = now
	w.stats.Longest = max(w.stats.Longest, longest)
	w.stats.Episodes += uint64(began)
}

// startWatchdog looks at the rings a few times in Options.SlowIO.
func (e *Engine) startWatchdog() {
	limit := e.o.SlowIO
	if limit < 0 {
		return
	}
	e.watchdog.stop, e.watchdog.ended = make(chan struct{}), make(chan struct{})
	go e.watch(limit, e.watchdog.stop, e.watchdog.ended)
}

// stopWatchdog ends it and waits for that; the rings may be closed afterwards.
func (e *Engine) stopWatchdog() {
	if e.watchdog.stop != nil {
		close(e.watchdog.stop)
		<-e.watchdog.ended
		e.watchdog.stop = nil
	}
}

func (e *Engine) watch(limit time.Duration, stop <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	seen := make([]progress, len(e.rings))
	t := time.NewTicker(max(limit/4, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		now := time.Now()
		var stuck, longest time.Duration
		begun := 0
		for i, r := range e.rings {
			s, ok := r.(ring.StatsRing)
			if !ok {
				continue
			}
			x := s.Stats()
			d, began, over := seen[i].observe(now, x, limit)
			longest = max(longest, d)
			switch {
			case over:
				e.o.Logger.Info("I/O comes back again", "dir", e.o.Dir, "after", d.Round(time.Millisecond))
				continue
			case began:
				begun++
				e.o.Logger.Warn("no I/O has come back for a while: nothing has failed, but callers wait",
					"dir", e.o.Dir, "for", d.Round(time.Millisecond), "in_flight", x.Submitted-x.Completed)
			}
			stuck = max(stuck, d)
		}
		e.watchdog.note(stuck, longest, begun)
	}
}
