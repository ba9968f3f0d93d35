package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn/page"
)

// phase of an interval.
type phase = int32

const (
	warming phase = iota
	measuring
	stopping
)

// client is one caller. What others read is in progress, on cache lines of its own.
type client struct {
	_ [64]byte
	progress
	_ [64]byte

	c        *Config
	w        worker
	picker   *picker
	contents *contents
	versions []uint64 // of the pages from lo on: the last one written
	lo       uint64
	sched    schedule
	coin     *rand.Rand

	nos    []page.No
	step   *stepper
	rstep  *stepper // of reads
	writes *hdrhistogram.Histogram
	reads  *hdrhistogram.Histogram
	lag    *hdrhistogram.Histogram
	seen   error // a read that did not return what was written last
	see    func(int, []byte)
}

// progress is written by the client only, and read by everybody.
type progress struct {
	pages, calls, readPages atomic.Uint64
	late, take, fill, put   atomic.Int64 // callTime
}

func newClient(c *Config, i int, w worker, cont *contents, ledger []uint64) *client {
	lo, n := share(uint64(len(ledger)), i, c.Clients)
	k := &client{
		c: c, w: w, picker: newPicker(c.Dist, c.Hot, lo, n, c.Seed, i), contents: cont,
		versions: ledger[lo : lo+n], lo: lo, nos: make([]page.No, c.Batch), step: newStepper(ofWrites),
		rstep: newStepper(ofReads),
		coin:  rand.New(rand.NewPCG(c.Seed+1, uint64(i))),
	}
	k.see = k.check
	k.reset(0, newSteps(0))
	return k
}

// reset makes it ready for another interval, an open loop if there is a rate.
func (k *client) reset(rate float64, all *steps) {
	k.step.join(all)
	k.rstep.join(all)
	k.writes = newHistogram()
	k.reads, k.lag = nil, nil
	if k.c.Reads > 0 {
		k.reads = newHistogram()
	}
	if rate > 0 {
		k.lag = newHistogram()
	}
}

// run is the client's loop. A call neither allocates nor locks.
func (k *client) run(ctx context.Context, ph *atomic.Int32, stop <-chan struct{}) error {
	for ph.Load() != stopping {
		at := k.sched.next(stop)
		if ph.Load() == stopping {
			k.sched.back()
			break
		}
		read := k.reading()
		if k.lag != nil {
			late := max(0, time.Since(at))
			if !read {
				k.late.Add(int64(late))
			}
			if ph.Load() == measuring {
				record(k.lag, late)
			}
		}
		k.picker.fill(k.nos)
		var err error
		if read {
			err = k.read(ctx)
		} else {
			err = k.write(ctx)
		}
		if err != nil {
			return err
		}
		took := time.Since(at)
		if read {
			k.readPages.Add(uint64(len(k.nos)))
		} else {
			k.pages.Add(uint64(len(k.nos)))
			k.calls.Add(1)
		}
		// An open loop's call that is under way when the interval ends was due in it: it counts, too.
		if p := ph.Load(); p == measuring || p == stopping && k.sched.every > 0 {
			k.timed(read, took)
		}
	}
	return nil
}

// reading says whether the next call reads.
func (k *client) reading() bool { return k.reads != nil && k.coin.IntN(100) < k.c.Reads }

// timed counts a call by what it took.
func (k *client) timed(read bool, took time.Duration) {
	h, step := k.writes, k.step
	if read {
		h, step = k.reads, k.rstep
	}
	record(h, took)
	step.record(took)
}

// finish ends an interval, after run. Calls of an open loop that should have begun before its end and
// did not get to count as well: they have waited at least until then.
func (k *client) finish(end time.Time) {
	k.sched.overdue(end, func(waited time.Duration) { k.timed(k.reading(), waited) })
	k.step.leave()
	k.rstep.leave()
}

func (k *client) write(ctx context.Context) error {
	begin := time.Now()
	bufs, err := k.w.take(ctx, len(k.nos))
	if err != nil {
		return err
	}
	taken := time.Now()
	for i, no := range k.nos {
		v := &k.versions[uint64(no)-k.lo]
		*v++
		k.contents.fill(bufs[i], no, *v)
	}
	filled := time.Now()
	err = k.w.put(ctx, k.nos)
	k.take.Add(int64(taken.Sub(begin)))
	k.fill.Add(int64(filled.Sub(taken)))
	k.put.Add(int64(time.Since(filled)))
	return err
}

func (k *client) read(ctx context.Context) error {
	if err := k.w.get(ctx, k.nos, k.see); err != nil {
		return err
	}
	return k.seen
}

// check compares an image with what this client wrote last: nobody else writes its pages (I9).
func (k *client) check(i int, image []byte) {
	no := k.nos[i]
	got, err := k.contents.check(image, no)
	want := k.versions[uint64(no)-k.lo]
	if err == nil && got != want {
		err = fmt.Errorf("%w: page %d: version %d was read, %d had been written", errContents, no, got, want)
	}
	if err != nil && k.seen == nil {
		k.seen = fmt.Errorf("%w: %w", ErrVerify, err)
	}
}
