package walstage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// LostGroup is what Options.Fetch is asked for: the group that begins here is damaged, or cannot be
// read, and something says that it had been durable.
type LostGroup struct {
	Segment string // file name
	Offset  int64  // in the segment
	LSN     page.LSN
	Records int // 0 = not known
	Err     *CorruptError
}

// fetched is a group that came from elsewhere: Repair puts it in its place.
type fetched struct {
	at place
	b  []byte
}

// fetch asks for the group that should be at p. What comes is believed only when it is the very group:
// header, payload and padding, place and LSN, epoch, and the chain from the group before. Readers of
// the directory see it from now on; on the disk it is only after Repair.
func (d *Dir) fetch(ctx context.Context, w *walker, t *Tail, p place, e *CorruptError) error {
	if d.o.Fetch == nil || !p.seg.formatted || p.off >= p.seg.length {
		return e
	}
	if _, again := p.seg.patch[p.off]; again {
		return e // it did not help: never ask for one group twice
	}
	lost := LostGroup{Segment: p.seg.name, Offset: p.off, LSN: p.lsn(), Records: e.Records, Err: e}
	b, err := d.o.Fetch(ctx, lost)
	if err == nil {
		err = w.fits(p, b)
	}
	if err != nil {
		return errors.Join(e, &Error{Op: "fetch group", File: p.seg.name, LSN: p.lsn(), Err: err})
	}
	b = slices.Clone(b)
	if p.seg.patch == nil {
		p.seg.patch = map[int64][]byte{}
	}
	p.seg.patch[p.off] = b
	t.fetched = append(t.fetched, fetched{p, b})
	t.Fetched++
	return nil
}

// fits checks bytes from elsewhere against the place they are to go to.
func (w *walker) fits(p place, b []byte) error {
	if len(b) < w.o.Block || len(b)%w.o.Block != 0 {
		return damaged("%d bytes are no group", len(b))
	}
	h, err := decodeGroupHeader(b, w.o.Block)
	if err != nil {
		return err
	}
	switch {
	case h.id != w.o.EngineID:
		return ErrForeign
	case h.seq != p.seg.seq || h.off != uint64(p.off) || h.lsn != p.lsn() || int(h.length) != len(b) ||
		p.off+int64(h.length) > p.seg.length:
		return damaged("a group of %d bytes at segment %d, offset %d, LSN %d", h.length, h.seq, h.off, h.lsn)
	case w.linked && h.prev != w.chain:
		return damaged("it does not follow the group before: chain %08x, not %08x", h.prev, w.chain)
	case h.epoch < max(w.epoch, p.seg.epoch):
		return damaged("epoch %d after epoch %d", h.epoch, max(w.epoch, p.seg.epoch))
	}
	return checkPayload(&h, b[groupHeaderSize:])
}

// putFetched writes the groups that came from elsewhere and flushes their segments.
func (d *Dir) putFetched(ctx context.Context, t *Tail) error {
	for _, f := range t.fetched {
		if err := ctx.Err(); err != nil {
			return err
		}
		op := ring.Op{Kind: ring.Write, File: f.at.seg.file, Off: f.at.off, Buf: aligned.Alloc(len(f.b), d.o.Block)}
		copy(op.Buf, f.b)
		if err := d.o.Ring.Do(&op); err != nil {
			return f.at.seg.err("write fetched group", f.at.off, err)
		}
		if err := f.at.seg.flush(&d.o, ring.DataSync); err != nil {
			return err
		}
	}
	for _, f := range t.fetched {
		f.at.seg.patch = nil
	}
	t.fetched = nil
	return nil
}

// GroupBytes reads the group at an offset of a copy of a segment, an archived one say, for
// Options.Fetch. It checks what can be checked of a group by itself.
func GroupBytes(r io.ReaderAt, offset int64, block int) ([]byte, error) {
	if block < minBlock {
		return nil, fmt.Errorf("wal: a block of %d bytes", block)
	}
	b := make([]byte, block)
	if _, err := r.ReadAt(b, offset); err != nil {
		return nil, err
	}
	h, err := decodeGroupHeader(b, block)
	if err != nil {
		return nil, err
	}
	b = make([]byte, h.length)
	if _, err := r.ReadAt(b, offset); err != nil {
		return nil, err
	}
	return b, checkPayload(&h, b[groupHeaderSize:])
}
