package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// lostMark is what an abandoned page begins with (see MarkLost).
const lostMark = "untorn: this page was lost; see untornctl recover -accept-loss\n"

// MarkLost makes buf an image that no format takes for a page, and that a person can read.
func MarkLost(buf []byte) {
	clear(buf)
	copy(buf, lostMark)
}

// IsLost reports whether buf is what MarkLost makes.
func IsLost(buf []byte) bool {
	return len(buf) > len(lostMark) && string(buf[:len(lostMark)]) == lostMark
}

// Apply carries the plan out. When it returns nil every destination it wrote is flushed; the
// caller then makes super carry a watermark past every region, durably, before anything else is
// written (I7). It may be cut off anywhere and planned and applied again (I8).
//
// With acceptLoss, lost pages are marked unreadable; without it a plan that loses pages is a
// *LostError and changes nothing.
func (p *Plan) Apply(ctx context.Context, acceptLoss bool) error {
	if err := p.Refuse(acceptLoss); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.rewriteRegions(); err != nil {
		return err
	}
	return p.writeDestinations(ctx)
}

// Refuse is a *LostError if the plan loses pages and that is not accepted.
func (p *Plan) Refuse(acceptLoss bool) error {
	if len(p.Report.Lost) > 0 && !acceptLoss {
		return &LostError{p.Report.Lost}
	}
	return nil
}

// rewriteRegions writes every region that will be used again, in place and byte for byte, and
// flushes: what was read may be known to the page cache alone. Only then does I1 allow the
// destinations to be overwritten.
func (p *Plan) rewriteRegions() error {
	if p.in.Mutants.Has(stages.RecoveryNoFlush) || len(p.use) == 0 {
		return nil
	}
	g := p.in.Geometry
	for i := range g.Regions {
		h, ok := p.use[i]
		if !ok {
			continue
		}
		img := p.ev.images[i]
		offs := g.HeaderOffsets()
		for _, off := range offs {
			h.Encode(img[off:off+g.Block], g)
		}
		if err := p.in.Ring.Do(&ring.Op{Kind: ring.Write, File: p.in.DWB, Off: g.RegionOffset(i), Buf: img}); err != nil {
			return fmt.Errorf("rewriting doublewrite region %d: %w", i, err)
		}
	}
	if err := p.in.Ring.Do(&ring.Op{Kind: ring.DataSync, File: p.in.DWB}); err != nil {
		return fmt.Errorf("flush of the doublewrite file: %w", err)
	}
	return nil
}

func (p *Plan) writeDestinations(ctx context.Context) error {
	writes := p.lanes
	dirty := map[*stages.File]bool{}
	for _, x := range p.installs {
		err := p.write(writes, x, dirty, func(buf []byte) error {
			if x.image == nil {
				MarkLost(buf)
			} else {
				copy(buf, x.image)
			}
			return nil
		})
		if err != nil {
			return errors.Join(err, writes.drain())
		}
	}
	err := p.restoreImages(ctx, writes, dirty)
	if err == nil {
		err = p.rewrite(writes, dirty)
	}
	if err != nil {
		return errors.Join(err, writes.drain())
	}
	if err := writes.drain(); err != nil { // a flush covers what has completed
		return err
	}
	byID := func(a, b *stages.File) int { return cmp.Compare(a.ID, b.ID) } // a run's operations come again
	for _, f := range slices.SortedFunc(maps.Keys(dirty), byID) {
		if err := p.in.Ring.Do(&ring.Op{Kind: ring.DataSync, File: f.IO}); err != nil {
			return fmt.Errorf("flush of %s: %w", f.Called(), err)
		}
	}
	return nil
}

// write installs one page, which fill puts into the buffer it gets.
func (p *Plan) write(writes *lanes, x install, dirty map[*stages.File]bool, fill func([]byte) error) error {
	l, err := writes.next(x.file.PageSize)
	if err != nil {
		return err
	}
	if err := fill(l.buf); err != nil {
		return err
	}
	l.op = ring.Op{Kind: ring.Write, File: x.file.IO, Off: x.file.Offset(x.no), Buf: l.buf}
	l.then = func(l *lane) error {
		if l.op.Err != nil {
			return fmt.Errorf("installing page %d of %s: %w", x.no, x.file.Called(), l.op.Err)
		}
		p.Report.Installed++
		return nil
	}
	dirty[x.file] = true
	writes.start(l)
	return nil
}
