package bench

import (
	"context"
	"time"

	"github.com/untorn/untorn/stages"
)

// watcher looks on while clients run: it takes the time series, samples inboxes, and notices when
// nothing moves.
type watcher struct {
	s       *session
	cancel  context.CancelCauseFunc
	failed  chan error
	series  []Sample
	inbox   map[string]*mean
	moved   time.Time
	last    uint64
	stalled bool
}

type mean struct{ sum, n float64 }

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
	step := min(max(d/60, 50*time.Millisecond), time.Second)
	w.series = make([]Sample, 0, int(d/step)+8)
	w.inbox = map[string]*mean{}
	last, at, n := from.pages+from.reads, from.at, 0
	for _, k := range w.s.clients {
		k.worst.Store(0)
	}
	begin := time.Now()
	return w.every(ctx, d, step, func() {
		now := time.Now()
		pages, worst := w.progress()
		w.series = append(w.series, Sample{
			Second:         now.Sub(from.at).Seconds(),
			PagesPerSecond: ratio(float64(pages-last), now.Sub(at).Seconds()),
			MaxLatency:     micros(worst),
		})
		last, at = pages, now
		if now.Sub(begin) >= d*time.Duration(n)/inboxSamples {
			n++
			w.sampleInboxes(w.s.t.counts().stages)
		}
	})
}

// every calls f each step until d is over, ctx ends or a client fails.
func (w *watcher) every(ctx context.Context, d, step time.Duration, f func()) error {
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
		case err := <-w.failed:
			return err
		case <-tick.C:
		}
		if pages, _ := w.peek(); pages != w.last {
			w.last, w.moved = pages, time.Now()
		} else if time.Since(w.moved) > stallAfter && w.s.c.Rate == 0 {
			w.stalled = true
			w.cancel(ErrStalled)
			return ErrStalled
		}
		if f != nil {
			f()
		}
	}
}

func (w *watcher) peek() (pages uint64, worst time.Duration) {
	for _, k := range w.s.clients {
		pages += k.pages.Load() + k.readPages.Load()
		worst = max(worst, time.Duration(k.worst.Load()))
	}
	return pages, worst
}

// progress is peek, and starts the search for the worst call anew.
func (w *watcher) progress() (pages uint64, worst time.Duration) {
	pages, worst = w.peek()
	for _, k := range w.s.clients {
		k.worst.Store(0)
	}
	return pages, worst
}

func (w *watcher) sampleInboxes(st []stages.StageStats) {
	for i := range st {
		m := w.inbox[st[i].Name]
		if m == nil {
			m = &mean{}
			w.inbox[st[i].Name] = m
		}
		m.sum += float64(st[i].InboxDepth)
		m.n++
	}
}
