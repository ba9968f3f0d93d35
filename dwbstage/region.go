package dwbstage

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

func (s *Stage) submitDoublewrite() bool {
	if s.sealed[0] == nil && s.filling[0] == nil || s.moves.draining > 0 {
		return false
	}
	if s.regions.Next() != reclaim.Ready {
		if s.regions.NeedSuper() && !s.persisting {
			s.persisting = true
			s.persist <- s.regions.W()
		}
		return false
	}
	b := s.next(0)
	if b == nil {
		return false
	}
	// F and W go into the header at submission, not when the batch began to fill (I2).
	a := s.regions.Assign()
	b.Num, b.Region = a.Num, a.Region
	s.encode(b, a)
	s.left(b, 0)
	s.inFlight = append(s.inFlight, b)
	s.submitRegion(b)
	if s.cfg.Mutants.Has(stages.FlushNotCovering) && !s.cfg.DSync {
		s.regions.Reaped(b.Num)
	}
	return true
}

func (s *Stage) encode(b *stages.Batch, a reclaim.Assignment) {
	seq := reclaim.Seq{Epoch: s.cfg.Epoch, Num: a.Num}
	w := reclaim.Seq{Epoch: s.cfg.Epoch, Num: a.W}
	if s.cfg.Mutants.Has(stages.WatermarkLag) {
		w.Num = 0
	}
	clear(b.Front)
	putFixed(b.Front, s.cfg.Engine, a.Region, len(b.Entries), seq, a.F, w)
	for i := range b.Entries {
		e := &b.Entries[i]
		slot := Slot{Page: e.Page, LSN: e.LSN, CRC: e.CRC, Len: uint32(len(e.Frame.Buf))}
		if e.File.ForeignLSN {
			slot.Flags |= FlagForeignLSN
		}
		putSlot(b.Front, i, &slot)
	}
	sealHeader(b.Front)
	copy(b.Back, b.Front)
}

// submitRegion writes header, pages and header again. A full batch is one request; otherwise the
// second header, whose place is fixed so that it can be found without the first, is one of its own.
func (s *Stage) submitRegion(b *stages.Batch) {
	g := s.cfg.Geometry
	off := g.RegionOffset(b.Region)
	b.Vec = append(b.Vec[:0], b.Front)
	var prev *aligned.Frame
	for i := range b.Entries {
		f := &b.Entries[i].Frame
		b.Vec = appendMerged(b.Vec, prev, f)
		prev = f
	}
	var flags ring.Flags
	if s.cfg.DSync {
		flags = ring.DSync
	}
	full := b.Bytes == g.Batch
	if full {
		b.Vec = append(b.Vec, b.Back)
	}
	b.Ops[0] = ring.Op{
		Kind: ring.Write, Flags: flags, File: s.cfg.File, Off: off, Vec: b.Vec,
		Done: s.comps, Tag: tagWrite, Ctx: b,
	}
	b.Writing = 1
	if !full {
		b.Writing = 2
		b.Ops[1] = ring.Op{
			Kind: ring.Write, Flags: flags, File: s.cfg.File, Off: off + g.RegionBytes() - int64(g.Block),
			Buf: b.Back, Done: s.comps, Tag: tagWrite, Ctx: b,
		}
		s.submit(&b.Ops[0], &b.Ops[1])
		return
	}
	s.submit(&b.Ops[0])
}

// submit keeps the argument list out of the heap: the ring is an interface, and a list made for the
// call would escape through it.
func (s *Stage) submit(ops ...*ring.Op) {
	n := copy(s.ops[:], ops)
	s.cfg.Ring.Submit(s.ops[:n]...)
}

func (s *Stage) completed(op *ring.Op) {
	if op.Err != nil && op.Tag == tagFlush && s.cfg.Mutants.Has(stages.RetryFsync) {
		op.Err = s.cfg.Ring.Do(&ring.Op{Kind: ring.DataSync, File: s.cfg.File})
	}
	if op.Err != nil {
		s.cfg.Poison.Set(fmt.Errorf("doublewrite: %w", op.Err)) // I5
		s.dead = true
		return
	}
	if op.Tag == tagFlush {
		s.flushing = false
		s.meter.Flush(time.Since(s.flushBegun), s.flushPages)
		s.regions.FlushDone()
		return
	}
	b := op.Ctx.(*stages.Batch)
	if b.Writing--; b.Writing > 0 {
		return
	}
	if s.cfg.DSync {
		s.regions.Synced(b.Num) // both requests carried DSYNC: its own bytes, all of them
		return
	}
	if s.cfg.Mutants.Has(stages.AckEarly) {
		for i := range b.Entries {
			b.Entries[i].Ack(stages.Durable)
		}
	}
	if !s.cfg.Mutants.Has(stages.FlushNotCovering) {
		s.regions.Reaped(b.Num)
	}
}

// syncRegions submits one flush for whatever has been reaped (I1: it covers nothing else).
func (s *Stage) syncRegions() {
	if s.flushing || s.cfg.DSync || s.regions.FlushStart() == 0 {
		return
	}
	s.flushPages = 0
	for _, b := range s.inFlight {
		if s.regions.Covered(b.Num) {
			s.flushPages += len(b.Entries)
		}
	}
	if s.cfg.Mutants.Has(stages.SkipDWBFlush) {
		s.regions.FlushDone()
		return
	}
	s.flushing, s.flushBegun = true, time.Now()
	s.submit(&s.flush)
}

// handOn acknowledges S2 and passes flushed batches on in sequence order.
func (s *Stage) handOn() {
	n := 0
	for _, b := range s.inFlight {
		if !s.regions.Flushed(b.Num) && !(s.cfg.Mutants.Has(stages.DestBeforeFlush) && b.Writing == 0) {
			break
		}
		n++
		for i := range b.Entries {
			b.Entries[i].Ack(stages.Protected)
		}
		took := time.Since(b.Since)
		s.meter.Service(took, len(b.Entries))
		s.meter.Spend(&stages.PageTime{stages.InDoublewrite: took * time.Duration(len(b.Entries))})
		if s.cfg.Mutants.Has(stages.ReuseEarly) {
			s.regions.Retire(b.Num)
		}
		s.toData(b)
	}
	if n > 0 {
		s.inFlight = s.inFlight[:copy(s.inFlight, s.inFlight[n:])]
	}
}

// appendMerged appends buf to vec, or extends the last piece (never the header) where memory is
// adjacent: fewer pieces are cheaper for the kernel to pin.
func appendMerged(vec [][]byte, prev *aligned.Frame, f *aligned.Frame) [][]byte {
	if n := len(vec); prev != nil && prev.Joins(f) {
		last := vec[n-1]
		vec[n-1] = unsafe.Slice(&last[0], len(last)+len(f.Buf))
		return vec
	}
	return append(vec, f.Buf)
}
