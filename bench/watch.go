package bench

import (
	"context"
	"time"
)

// watcher looks on while clients run: it takes the time series, samples inboxes, and notices when
// nothing moves.
type watcher struct {
	s       *session
	rate    float64 // 0 = closed loop
	cancel  context.CancelCauseFunc
	failed  chan error
	series  series
	inbox   map[string]*mean
	memory  Memory
	moved   time.Time
	last    uint64
	stalled bool
}

type mean struct{ sum, n, most float64 }

// inboxSamples is how often the engine's statistics are asked for in an interval. Each asking
// allocates a little, and allocations are measured.
const inboxSamples = 12

// wait lets the warm-up pass.
func (w *watcher) wait(ctx context.Context, d time.Duration) error {
	w.moved = time.Now()
	return w.every(ctx, d, min(max(d, time.Millisecond), 100*time.Millisecond), nil)
}

// watch lets the interval pass.
func (w *watcher) watch(ctx context.Context, from snapshot, d time.Duration) error {
	step := stepOf(d)
	w.series.begin(d, from.at, from.pages, from.reads)
	w.inbox = map[string]*mean{}
	n := 0
	begin := time.Now()
	return w.every(ctx, d, step, func() {
		now := time.Now()
		if !w.series.tick(now, w.written(), w.read()) {
			return
		}
		if now.Sub(begin) >= d*time.Duration(n)/inboxSamples {
			n++
			w.sample(w.s.t.counts())
		}
	})
}

// every calls f each step until d is over, ctx ends, a client fails or nothing moves.
func (w *watcher) every(ctx context.Context, d, step time.Duration, f func()) error {
	return every(ctx, d, step, w.failed, func() error {
		if pages := w.written() + w.read(); pages != w.last {
			w.last, w.moved = pages, time.Now()
		} else if time.Since(w.moved) > stallAfter && w.rate == 0 {
			w.stalled = true
			w.cancel(ErrStalled)
			return ErrStalled
		}
		if f != nil {
			f()
		}
		return nil
	})
}

// every calls f each step until d is over, ctx ends, f fails or something else does.
func every(ctx context.Context, d, step time.Duration, failed <-chan error, f func() error) error {
	over := time.NewTimer(d)
	defer over.Stop()
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-over.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-tick.C:
		}
		if err := f(); err != nil {
			return err
		}
	}
}

// written and read are the pages that were.
func (w *watcher) written() (n uint64) {
	for _, k := range w.s.clients {
		n += k.pages.Load()
	}
	return n
}

func (w *watcher) read() (n uint64) {
	for _, k := range w.s.clients {
		n += k.readPages.Load()
	}
	return n
}

// sample looks at inboxes and memory.
func (w *watcher) sample(c counts) {
	for i := range c.stages {
		st := &c.stages[i]
		m := w.inbox[st.Name]
		if m == nil {
			m = &mean{}
			w.inbox[st.Name] = m
		}
		depth := float64(st.InboxDepth)
		m.sum, m.n, m.most = m.sum+depth, m.n+1, max(m.most, depth)
	}
	w.memory.sample(c.memory)
}
