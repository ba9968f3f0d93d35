package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// session is a target with its clients, ready for measured intervals.
type session struct {
	c        Config
	dirs     []*scratch // the first has the data
	log, dwb *scratch   // of these, if they are elsewhere
	copies   string     // where the bound's copies go, if those of the pages lie elsewhere
	t        target
	kind     string // of the bound: the work the mode cannot do without
	opened   time.Time
	contents *contents
	ledger   []uint64
	clients  []*client
	phase    atomic.Int32
	fillCost float64
	direct   bool // I/O bypasses the page cache
}

// ErrStalled is a target that acknowledged nothing for stallAfter.
var ErrStalled = errors.New("no acknowledgement")

const stallAfter = 30 * time.Second

// newSession makes directory, target and clients. c has been validated and has its defaults.
func newSession(ctx context.Context, c Config) (s *session, err error) {
	s = &session{c: c, contents: newContents(c.Seed, c.Zeros)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}()
	root, err := newScratch(c.Dir, c.Keep)
	if err != nil {
		return s, err
	}
	s.dirs = append(s.dirs, root)
	if err := s.places(root); err != nil {
		return s, err
	}
	s.ledger = make([]uint64, c.pages())
	if err := s.openTarget(ctx, root); err != nil {
		return s, err
	}
	s.opened = time.Now()
	for i := range c.Clients {
		s.clients = append(s.clients, newClient(&s.c, i, s.t.worker(i), s.contents, s.ledger))
	}
	s.fillCost = fillCost(s.contents, c.PageBytes)
	return s, nil
}

// places makes the directories of log and copies that the user wants elsewhere, and refuses what there
// is no room for, before anything is written.
func (s *session) places(root *scratch) error {
	data, log, copies := s.c.needs()
	for _, p := range []struct {
		dir  string
		need int64
		to   **scratch
	}{{s.c.WALDir, log, &s.log}, {s.c.DWBDir, copies, &s.dwb}} {
		if p.dir == "" {
			data += p.need
			continue
		}
		d, err := newScratch(p.dir, s.c.Keep)
		if err != nil {
			return err
		}
		s.dirs = append(s.dirs, d)
		if err := d.room(p.need); err != nil {
			return err
		}
		*p.to = d
	}
	return root.room(data)
}

// needs is about what a run takes: for pages and the bound's file of them, for the log, and for the
// copies, the bound's too.
func (c *Config) needs() (data, log, copies int64) {
	batches, bytes := cmp.Or(c.Batches, batchesInFlight), cmp.Or(c.BatchBytes, engineBatch)
	data = c.SizeBytes + min(c.SizeBytes, maxRandomBytes) + 64<<20
	if c.Mode.engine() {
		log = 128 << 20 // segments that are in use and made ahead
	}
	if c.LogBytes > 0 || c.Mode.logsImages() {
		log += c.CheckpointBytes
	}
	copies = seqFileBytes + int64(batches+2)*int64(bytes)
	if !c.Mode.engine() {
		copies = seqFileBytes + int64(c.Clients)*int64(c.Batch+1)*int64(c.PageBytes)
	}
	return data, log, copies
}

func (s *session) openTarget(ctx context.Context, root *scratch) error {
	dir, err := root.sub("engine")
	if err != nil {
		return err
	}
	var places [2]string
	for i, d := range []*scratch{s.log, s.dwb} {
		if d == nil {
			continue
		}
		if places[i], err = d.sub("engine"); err != nil {
			return err
		}
	}
	if s.dwb != nil {
		if s.copies, err = s.dwb.sub("bound"); err != nil {
			return err
		}
	}
	if !s.c.Mode.engine() {
		s.t, err = newNaiveTarget(ctx, &s.c, dir, cmp.Or(places[1], dir))
		return err
	}
	s.t, err = newEngineTarget(ctx, &s.c, engineOptions(&s.c, dir, places[0], places[1]))
	return err
}

// close ends the target and removes the directories.
func (s *session) close(ctx context.Context) error {
	var errs []error
	if s.t != nil {
		errs = append(errs, s.t.close(ctx))
	}
	for _, d := range s.dirs {
		errs = append(errs, d.remove())
	}
	s.t, s.dirs = nil, nil
	return errors.Join(errs...)
}

// loadOf is what an interval is made of.
type loadOf struct {
	warm, measured time.Duration
	rate           float64 // open loop at so many pages a second; 0 = closed loop
	profile        io.Writer
}

// interval runs all clients for warm-up and then the time measured, and returns what they did in
// that. When ctx ends early the figures are of what there was, and the error is ctx's.
func (s *session) interval(ctx context.Context, l loadOf) (Interval, error) {
	hard, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := make(chan struct{})
	s.phase.Store(warming)
	begin := time.Now()
	var wg sync.WaitGroup
	failed := make(chan error, len(s.clients))
	all := newSteps(l.measured)
	for i, k := range s.clients {
		k.reset(l.rate, all)
		k.sched = newSchedule(begin, l.rate, s.c.Batch, i, len(s.clients))
		wg.Go(func() {
			if err := k.run(hard, &s.phase, stop); err != nil {
				failed <- err
			}
		})
	}
	w := &watcher{s: s, rate: l.rate, cancel: cancel, failed: failed, series: series{steps: all}}
	err := w.wait(ctx, l.warm)
	cold := err != nil
	s.t.fresh()
	before := s.snapshot()
	s.phase.Store(measuring)
	if err == nil {
		err = profiled(l.profile, func() error { return w.watch(ctx, before, l.measured) })
	}
	after := s.snapshot()
	w.series.step(after.at, after.pages, after.reads)
	s.phase.Store(stopping)
	close(stop)
	wg.Wait()
	for _, k := range s.clients {
		k.finish(after.at)
	}
	select {
	case e := <-failed:
		if err == nil {
			err = e
		}
	default:
	}
	if w.stalled {
		err = fmt.Errorf("%w for %v", ErrStalled, stallAfter)
	}
	if cold { // the interval never began
		return Interval{}, err
	}
	all.finish(w.series.samples)
	in := s.evaluate(before, after, w)
	in.hlog, in.begun = all.log(before.at, w.series.samples, after.at), before.at
	return in, err
}

// snapshot is everything that counts up, at one moment.
type snapshot struct {
	at      time.Time
	cpu     time.Duration
	mallocs uint64
	device  uint64
	target  counts
	pages   uint64
	calls   uint64
	reads   uint64
	time    callTime
	rss     int64
	heap    int64
}

func (s *session) snapshot() snapshot {
	var n snapshot
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	n.mallocs, n.heap, n.rss = m.Mallocs, heapInUse(&m), residentBytes()
	n.target = s.t.counts()
	n.device, _ = deviceBytes()
	for _, k := range s.clients {
		n.pages += k.pages.Load()
		n.calls += k.calls.Load()
		n.reads += k.readPages.Load()
		n.time.late += k.late.Load()
		n.time.take += k.take.Load()
		n.time.fill += k.fill.Load()
		n.time.put += k.put.Load()
	}
	n.cpu, n.at = cpuTime(), time.Now()
	return n
}

// fillCost is the CPU time, in microseconds, a client itself spends on a page: filling memory that
// held a page before and is not in the nearest cache.
func fillCost(c *contents, pageBytes int) float64 {
	const bytes = 16 << 20
	buf := make([]byte, bytes)
	n := bytes / pageBytes
	round := func(v uint64) {
		for i := range n {
			c.fill(buf[i*pageBytes:(i+1)*pageBytes], 7, v)
		}
	}
	round(1) // the first time round writes all of it
	start := time.Now()
	round(2)
	return micros(time.Since(start)) / float64(n)
}

// merged is all clients' histograms of one kind, or nil if there are none.
func merged[K any](clients []K, of func(K) *hdrhistogram.Histogram) *hdrhistogram.Histogram {
	var all *hdrhistogram.Histogram
	for _, k := range clients {
		h := of(k)
		if h == nil {
			return nil
		}
		if all == nil {
			all = newHistogram()
		}
		all.Merge(h)
	}
	return all
}
