package walstage

import (
	"context"
	"path/filepath"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Repair makes what Scan found true on the disk (I8). Nothing that was read is proof of durability:
// the page cache may hold what a failed flush lost. So the groups beyond the evidence are written
// again, byte for byte, and flushed; then the rest of the last segment is zeroed and flushed, the header
// of a torn group first, and later segments are removed. It may crash anywhere and run again with the
// same result: the groups keep their bytes, and what is discarded was judged to be no evidence.
func (d *Dir) Repair(ctx context.Context, t *Tail) error {
	switch {
	case d.readOnly:
		return &Error{Op: "repair", File: d.o.Dir, Err: ErrReadOnly}
	case t == nil || t != d.tail:
		return &Error{Op: "repair", File: d.o.Dir, Err: ErrOrder}
	}
	if err := d.putFetched(ctx, t); err != nil {
		return err
	}
	if err := d.rewrite(ctx, t); err != nil {
		return err
	}
	if !t.Clean && !d.o.Mutants.Has(stages.TailReturns) {
		if err := d.zeroTail(ctx, t); err != nil {
			return err
		}
	}
	if err := d.dropLater(t); err != nil {
		return err
	}
	if t.Cut != nil {
		if err := d.resume(ctx, t); err != nil {
			return err
		}
	}
	d.repaired = true
	return nil
}

// resume makes the segment in which a log goes on that was given up from some point on. It begins
// above every LSN ever issued, and its number follows that of the last one kept.
func (d *Dir) resume(ctx context.Context, t *Tail) error {
	s, err := createSegment(ctx, &d.o, t.at.seg.seq+1, t.Cut.To, t.Cut.Epoch, nil)
	if err != nil {
		return err
	}
	d.segs.mu.Lock()
	d.segs.list = append(d.segs.list, s)
	d.segs.mu.Unlock()
	t.at, t.chain, t.Cut = place{s, int64(d.o.Block)}, 0, nil
	return nil
}

// rewrite writes the groups beyond the evidence again and flushes their files.
func (d *Dir) rewrite(ctx context.Context, t *Tail) error {
	w := newWalker(&d.o, 0)
	d.segs.borrow(w.win)
	defer d.segs.giveBack(w.win)
	var last *segment
	for _, g := range t.beyond {
		if err := ctx.Err(); err != nil {
			return err
		}
		if last != nil && last != g.at.seg {
			if err := last.flush(&d.o, ring.DataSync); err != nil {
				return err
			}
		}
		last = g.at.seg
		again, err := w.groupAt(g.at)
		if err == nil && again.crc != g.crc {
			err = damaged("the group is not the one the scan saw")
		}
		if err != nil {
			return g.at.seg.err("rewrite group", g.at.off, err)
		}
		b, err := w.win.bytes(g.at.seg, g.at.off, int64(again.length))
		if err != nil {
			return err
		}
		op := ring.Op{Kind: ring.Write, File: g.at.seg.file, Off: g.at.off, Buf: b}
		if err := d.o.Ring.Do(&op); err != nil {
			return g.at.seg.err("rewrite group", g.at.off, err)
		}
	}
	if last == nil {
		return nil
	}
	return last.flush(&d.o, ring.DataSync)
}

// zeroTail discards what lies behind the end in the last segment, whatever it reads as, and brings a
// file that was cut back to its length.
func (d *Dir) zeroTail(ctx context.Context, t *Tail) error {
	s := t.at.seg
	kind := ring.DataSync
	if s.size < s.length {
		if err := s.file.Preallocate(0, s.length); err != nil {
			return &Error{Op: "preallocate", File: s.name, Err: err}
		}
		s.size, kind = s.length, ring.Sync
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.Cut == nil { // no reader looks at what a cut gave up, and it may be there that nothing can be read
		if err := d.behead(t.at); err != nil {
			return err
		}
	}
	zeros := aligned.Zeros(int(min(zeroPiece, s.length-t.at.off)), d.o.Block)
	if err := s.zero(&d.o, zeros, t.at.off, s.length); err != nil {
		return err
	}
	return s.flush(&d.o, kind)
}

// behead makes the header of the group at the end of the log unreadable before the rest of it is
// zeroed. What a torn group lacks may be zeros: with the header still there, a crash in the middle of
// the zeroing could make it whole, and the next recovery would keep what this one has discarded (I8).
// The rest of the block is written as it is, so that nothing else changes if this write tears.
func (d *Dir) behead(at place) error {
	if at.off+int64(d.o.Block) > at.seg.length {
		return nil
	}
	op := ring.Op{Kind: ring.Read, File: at.seg.file, Off: at.off, Buf: aligned.Alloc(d.o.Block, d.o.Block)}
	if err := readError(at.seg, d.o.Ring.Do(&op), at.off); err != nil {
		return err
	}
	header := op.Buf[:sector]
	if allZero(header) {
		return nil
	}
	clear(header)
	op = ring.Op{Kind: ring.Write, File: at.seg.file, Off: at.off, Buf: op.Buf}
	if err := d.o.Ring.Do(&op); err != nil {
		return at.seg.err("discard group", at.off, err)
	}
	return at.seg.flush(&d.o, ring.DataSync)
}

// sector is the least that a drive writes whole; a group's header lies within the first.
const sector = 512

const zeroPiece = aligned.MaxZeros

// dropLater removes the segments behind the last one. After a clean close the one prepared next
// stays: nothing was ever written to it.
func (d *Dir) dropLater(t *Tail) error {
	list := d.segs.list
	keep := 0
	for keep < len(list) && list[keep].seq <= t.at.seg.seq {
		keep++
	}
	if keep < len(list) && t.Clean {
		if s := list[keep]; s.seq == t.at.seg.seq+1 && s.formatted && s.first == t.at.seg.end() &&
			s.size >= s.length {
			keep++
		}
	}
	if keep == len(list) {
		return nil
	}
	for i := len(list) - 1; i >= keep; i-- {
		path := filepath.Join(d.o.Dir, list[i].name)
		if err := d.o.FS.Remove(path); err != nil {
			return &Error{Op: "remove", File: path, Err: err}
		}
		d.segs.list = list[:i]
		if err := list[i].file.Close(); err != nil {
			return &Error{Op: "close", File: path, Err: err}
		}
	}
	if err := d.o.FS.SyncDir(d.o.Dir); err != nil {
		return &Error{Op: "flush directory", File: d.o.Dir, Err: err}
	}
	return nil
}
