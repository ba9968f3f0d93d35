package walstage

import (
	"context"
	"iter"
	"slices"

	"github.com/untorn/untorn/page"
)

// Record is one record of the log. A page whose LSN is End or more has it already.
type Record struct {
	Start, End page.LSN
	Epoch      uint64
	Kind       uint8  // 0 = the user's
	Data       []byte // valid until the next step of the iteration
}

// source is what a reader walks: the segments, and how far the log is durable right now.
type source struct {
	o     *Options
	segs  *segments
	limit func() page.LSN
}

// Replay yields, in order, the records that start at or after from, up to the end Scan found. It
// ends with the first error.
func (d *Dir) Replay(ctx context.Context, from page.LSN) iter.Seq2[Record, error] {
	return d.source().replay(ctx, from)
}

// ReadAt reads the record that starts at lsn. Its Data is the caller's.
func (d *Dir) ReadAt(ctx context.Context, lsn page.LSN) (Record, error) {
	return d.source().readAt(ctx, lsn)
}

func (d *Dir) source() source {
	return source{&d.o, d.segs, func() page.LSN {
		if d.tail == nil {
			return 0
		}
		return d.tail.End
	}}
}

func (s source) fail(op string, lsn page.LSN, err error) error {
	return &Error{Op: op, File: s.o.Dir, LSN: lsn, Err: err}
}

func (s source) replay(ctx context.Context, from page.LSN) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := s.walk(ctx, from, readAhead, func(r Record) bool { return yield(r, nil) })
		if err != nil {
			yield(Record{}, err)
		}
	}
}

func (s source) readAt(ctx context.Context, lsn page.LSN) (Record, error) {
	if lsn >= s.limit() {
		return Record{}, s.fail("read record", lsn, ErrLSNBeyondLog)
	}
	if s.segs.void(lsn, 0) != nil {
		return Record{}, s.fail("read record", lsn, ErrCut)
	}
	var found Record
	err := s.walk(ctx, lsn, 16<<10, func(r Record) bool {
		if r.Start == lsn {
			found = r
			found.Data = slices.Clone(r.Data)
		}
		return false
	})
	if err == nil && found.Data == nil {
		err = s.fail("read record", lsn, ErrNoRecord)
	}
	return found, err
}

// walk calls visit with each record from from on until it returns false or the durable log ends. It
// holds a reference on the segment it is in, so that the file is not recycled under it.
func (s source) walk(ctx context.Context, from page.LSN, ahead int64, visit func(Record) bool) error {
	limit := s.limit()
	cut := s.segs.erased(from)
	if cut != nil {
		from = cut.To
	}
	if from >= limit {
		return nil
	}
	seen := func(r Record) bool { return s.segs.void(r.Start, r.Kind) != nil || visit(r) }
	seg := s.segs.acquire(from)
	defer func() { s.segs.release(seg) }()
	if seg == nil && cut != nil {
		return nil // nothing came after the cut yet
	}
	if seg == nil {
		return s.fail("replay", from, s.segs.missing())
	}
	after := func(g *segment) *segment {
		next := s.segs.acquire(g.end())
		if next != nil {
			s.segs.release(seg)
			seg = next
		}
		return next
	}
	w := newWalker(s.o, ahead)
	s.segs.borrow(w.win)
	defer s.segs.giveBack(w.win)
	p := place{seg, s.segs.near(seg, seg.off(from), s.o.Block)}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if limit = s.limit(); p.lsn() >= limit {
			return nil
		}
		if c := s.segs.erased(p.lsn()); c != nil {
			next := s.segs.acquire(c.To)
			if next == nil {
				return nil // the log was cut, and nothing came after it yet
			}
			s.segs.release(seg)
			seg, w.linked = next, false
			p = place{seg, int64(s.o.Block)}
			continue
		}
		w.win.until = limit
		if p.off < p.seg.length && p.lsn() < from {
			q, err := s.skip(w, p, from)
			if err != nil {
				return err
			}
			p = q
		}
		g, at, err := w.step(p, after)
		if err != nil {
			return at.seg.err("replay", at.off, err)
		}
		if more, err := visitGroup(&g, from, seen); err != nil || !more {
			return err
		}
		p = g.next()
	}
}

// skip passes over groups that end at or before from by their headers alone.
func (s source) skip(w *walker, p place, from page.LSN) (place, error) {
	for p.off < p.seg.length {
		h, err := w.headerAt(p)
		if err != nil {
			if isDamage(err) {
				return p, nil // the walk says what it is, or goes on in the next segment
			}
			return p, err
		}
		if h.lsn+page.LSN(h.length) > from {
			return p, nil
		}
		w.chain, w.epoch, w.linked = h.crc, h.epoch, true
		p.off += int64(h.length)
	}
	return p, nil
}

func visitGroup(g *foundGroup, from page.LSN, visit func(Record) bool) (more bool, err error) {
	lsn := g.lsn + groupHeaderSize
	for rest := g.payload; len(rest) > 0; {
		kind, data, err := decodeFrame(rest)
		if err != nil {
			return false, err
		}
		n := frameSize + len(data)
		end := lsn + page.LSN(n)
		if lsn >= from && !visit(Record{lsn, end, g.epoch, kind, data[:len(data):len(data)]}) {
			return false, nil
		}
		lsn, rest = end, rest[n:]
	}
	return true, nil
}
