package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/untorn/untorn"
)

// pageWorker owns every of-th page of a file: it alone writes and reads them, so it knows what a
// read has to give.
type pageWorker struct {
	c      *child
	f      *untorn.File
	tag    uint32
	id, of uint64
	rng    *rand.Rand
	newest map[uint64]seenPage // accepted, by page
	pend   []pending
	buf    []byte
}

// pending is a write that has been accepted.
type pending struct {
	p     *untorn.Pending
	pages map[uint64]version // the last of each page
	level untorn.Level
	seq   uint64 // of its record, 0 if none
	hasID bool
}

func newPageWorker(c *child, f *untorn.File, tag uint32, seen []seenPage, id,
	of uint64) *pageWorker {
	w := &pageWorker{
		c: c, f: f, tag: tag, id: id, of: of, rng: c.j.rand(1000 + uint64(tag)<<8 + id),
		newest: map[uint64]seenPage{}, buf: make([]byte, f.PageSize()),
	}
	for no := id; no < uint64(len(seen)); no += of {
		w.newest[no] = seen[no]
	}
	return w
}

func (w *pageWorker) loop(ctx context.Context) error {
	for !w.c.stopped() {
		var err error
		switch x := w.rng.IntN(100); {
		case x < 72:
			err = w.write(ctx, 1+w.rng.IntN(12))
		case x < 92:
			err = w.read(ctx)
		case x < 96:
			err = w.sync(ctx)
		default:
			err = w.drain(ctx, 0)
		}
		if err != nil {
			return err
		}
	}
	return w.drain(ctx, 0)
}

// pick chooses one of the worker's pages: half of the time one of a few, so that the same page is
// in flight more than once.
func (w *pageWorker) pick() (uint64, bool) {
	n := (w.f.Pages() + w.of - 1 - w.id) / w.of
	if n == 0 {
		return 0, false
	}
	if w.rng.IntN(2) == 0 {
		n = min(n, 5)
	}
	return w.id + w.rng.Uint64N(n)*w.of, true
}

// levels are weighted towards those whose promise can be checked.
var levels = []untorn.Level{
	untorn.Durable, untorn.Durable, untorn.Durable, untorn.Protected, untorn.Protected,
	untorn.Protected, untorn.Logged, untorn.Accepted,
}

func (w *pageWorker) write(ctx context.Context, n int) error {
	level := levels[w.rng.IntN(len(levels))]
	nos := make([]uint64, 0, n)
	for range n {
		if no, ok := w.pick(); ok {
			nos = append(nos, no)
		}
	}
	if len(nos) == 0 {
		w.c.pause(1e6)
		return nil
	}
	w.c.order.RLock()
	p, err := w.submit(ctx, nos, level)
	w.c.order.RUnlock()
	if w.c.full(err) {
		return w.drain(ctx, 0)
	}
	if err != nil {
		return err
	}
	w.pend = append(w.pend, p)
	keep := 0
	if w.rng.IntN(3) > 0 { // pipelined
		keep = 6
	}
	return w.drain(ctx, keep)
}

// submit logs a record of the change, says what it starts, and passes the pages to the engine.
func (w *pageWorker) submit(ctx context.Context, nos []uint64, level untorn.Level) (pending,
	error) {
	c := w.c
	out := pending{level: level, pages: map[uint64]version{}}
	var lsn untorn.LSN
	if w.rng.IntN(10) > 0 { // else hints: a new image without a record keeps the page's LSN
		last, end, err := c.append(1, w.rng.Uint64())
		if err != nil {
			return out, err
		}
		lsn, out.seq, out.hasID = end, last, true
	}
	ws := make([]untorn.PageWrite, len(nos))
	evs := make([]event, len(nos))
	alloc := w.rng.IntN(2) == 0
	if alloc {
		mem := make([][]byte, len(nos))
		if err := w.f.Alloc(ctx, mem); err != nil {
			return out, err
		}
		for i := range mem {
			ws[i].Data = mem[i]
		}
	}
	for i, no := range nos {
		v := c.version()
		if !alloc {
			ws[i].Data = make([]byte, w.f.PageSize())
		}
		old := w.newest[no]
		ws[i].No, ws[i].LSN = untorn.PageNo(no), max(lsn, old.lsn)
		ws[i].Unrecorded = true // no record has the contents: mode fullpage logs them all
		putPage(ws[i].Data, c.j.Seed, w.tag, no, v)
		evs[i] = event{kind: evPage, tag: w.tag, page: no, version: v, a: uint64(ws[i].LSN)}
		w.newest[no] = seenPage{version: v, lsn: ws[i].LSN}
		out.pages[no] = v
	}
	c.to.emit(evs...)
	var err error
	if out.p, err = w.f.WritePagesAsync(ctx, ws, level); err != nil {
		return out, fmt.Errorf("write: %w", err)
	}
	return out, nil
}

// drain waits for the oldest writes until only keep are under way, and reports each.
func (w *pageWorker) drain(ctx context.Context, keep int) error {
	for len(w.pend) > keep {
		p := w.pend[0]
		w.pend = slices.Delete(w.pend, 0, 1)
		if err := p.p.Wait(ctx); err != nil {
			return fmt.Errorf("wait for %s: %w", p.level, err)
		}
		switch p.level {
		case untorn.Durable, untorn.Protected:
			w.ack(p.pages, p.level)
		case untorn.Logged:
			if p.hasID {
				w.c.to.emit(event{kind: evRecordAck, page: p.seq})
			}
		}
	}
	return nil
}

func (w *pageWorker) ack(pages map[uint64]version, level untorn.Level) {
	evs := make([]event, 0, len(pages))
	for no, v := range pages {
		evs = append(evs, event{kind: evPageAck, level: uint8(level), tag: w.tag, page: no,
			version: v})
	}
	w.c.to.emit(evs...)
}

// sync makes everything this worker has passed on durable.
func (w *pageWorker) sync(ctx context.Context) error {
	if err := w.f.Sync(ctx); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	pages := map[uint64]version{}
	for no, p := range w.newest {
		if !p.bad {
			pages[no] = p.version
		}
	}
	w.ack(pages, untorn.Durable)
	return nil
}

// read checks I9: the newest accepted image, whatever is in flight.
func (w *pageWorker) read(ctx context.Context) error {
	no, ok := w.pick()
	if !ok {
		return nil
	}
	want := w.newest[no]
	r := []untorn.PageRead{{No: untorn.PageNo(no), Data: w.buf}}
	err := w.f.ReadPages(ctx, r)
	if want.bad && (err == nil || errors.Is(err, untorn.ErrPageDamaged)) {
		return nil
	}
	if err != nil && (r[0].Err == nil || errors.Is(err, untorn.ErrPoisoned)) { // the call's failure, not the page's
		return fmt.Errorf("read: %w", err)
	}
	got, ev := judgePage(&r[0], w.tag, w.c.j)
	switch {
	case got.bad:
		w.wrong("a read of page %d of %s: %s", no, w.f.Name(), ev.text)
	case got.version != want.version:
		w.wrong("a read of page %d of %s gives version %s, the newest accepted is %s (I9)", no,
			w.f.Name(), got.version, want.version)
	case got.lsn != want.lsn:
		w.wrong("a read of page %d of %s gives LSN %d, it was written with %d", no, w.f.Name(),
			got.lsn, want.lsn)
	}
	return nil
}

func (w *pageWorker) wrong(format string, a ...any) {
	w.c.to.emit(event{kind: evWrong, text: fmt.Sprintf(format, a...)})
}
