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
	s.meter.InFlight(len(b.Entries))
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
	g := s.cfg.Geometry
	front, second := b.Front[:g.Block], b.Front[g.Block:]
	clear(front)
	putFixed(front, g, s.cfg.Engine, a.Region, len(b.Entries), seq, a.F, w)
	for i := range b.Entries {
		e := &b.Entries[i]
		slot := Slot{Page: e.Page, LSN: e.LSN, CRC: e.CRC, Len: uint32(len(e.Frame.Buf))}
		if e.File.ForeignLSN {
			slot.Flags |= FlagForeignLSN
		}
		putSlot(front, i, &slot)
	}
	sealHeader(front)
	copy(second, front)
}

// submitRegion writes header, pages and header again in one request: where a batch fills its region
// the last copy stands at the region's end, otherwise the second of the two at its beginning is the
// other one.
func (s *Stage) submitRegion(b *stages.Batch) {
	g := s.cfg.Geometry
	b.Vec = append(b.Vec[:0], b.Front)
	var prev *aligned.Frame
	for i := range b.Entries {
		f := &b.Entries[i].Frame
		b.Vec = appendMerged(b.Vec, prev, f)
		prev = f
	}
	if b.Bytes == g.Batch {
		b.Vec = append(b.Vec, b.Front[:g.Block])
	}
	alone := b.Bytes <= loneBytes && s.regions.Unflushed() == 1
	if !alone || !s.cfg.Lone && !s.cfg.DSync {
		b.Step = nil // with others on their way the ring is quicker
	}
	if s.write != nil && b.Step == s.write.Step {
		b.Step = nil // its caller waits for the rest to be taken, which may need this very batch
	}
	var flags ring.Flags
	if s.cfg.DSync || alone && s.cfg.Lone {
		flags = ring.DSync
	}
	b.Op = ring.Op{
		Kind: ring.Write, Flags: flags, File: s.cfg.File, Off: g.RegionOffset(b.Region), Vec: b.Vec,
		Done: s.comps, Tag: tagWrite, Ctx: b,
	}
	b.Writing = true
	if b.Step != nil && b.Step.Offer(&b.Op) {
		return
	}
	s.submit(&b.Op)
}

// loneBytes is the most a batch has that may be made durable by its own write where nothing else
// waits for a flush: one request instead of two in a row, and the caller may run it itself.
const loneBytes = 128 << 10

// submit keeps the argument list out of the heap: the ring is an interface, and a list made for the
// call would escape through it.
func (s *Stage) submit(op *ring.Op) {
	s.op[0] = op
	s.cfg.Ring.Submit(s.op[:]...)
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
	b.Writing = false
	if op.Flags&ring.DSync != 0 {
		s.regions.Synced(b.Num) // it covers its own bytes, which are all of the batch
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
		if !s.regions.Flushed(b.Num) && !(s.cfg.Mutants.Has(stages.DestBeforeFlush) && !b.Writing) {
			break
		}
		n++
		var told *stages.Waiter
		for i := range b.Entries {
			told = b.Entries[i].Acked(stages.Protected, told)
		}
		// A caller who ran the step is told last: then it runs next, before the destination write.
		alone := b.Step != nil
		if !alone {
			told.Tell()
		}
		took := time.Since(b.Since)
		s.meter.Service(took, len(b.Entries))
		s.meter.Spend(&stages.PageTime{stages.InDoublewrite: took * time.Duration(len(b.Entries))})
		if s.cfg.Mutants.Has(stages.ReuseEarly) {
			s.regions.Retire(b.Num)
		}
		s.toData(b)
		if alone {
			told.Tell()
		}
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
