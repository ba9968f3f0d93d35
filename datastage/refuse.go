package datastage

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/stages"
)

// move is how far a file has come from atomic writes to the doublewrite buffer (stages.Refusal).
//
//	begun    first refusal, or told to: what there is of the file, and what comes the old way, is held
//	drained  nothing more comes the old way
//	over     none of it is in flight: what is held went back to dwbstage
type move struct {
	inFlight             int // atomic writes
	begun, drained, over bool
}

// refused reports whether err means that an atomic write was not written at all. Anything else,
// a short write among it, leaves nobody knows what.
func refused(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOTSUP)
}

func writeError(e *stages.Entry) error {
	return fmt.Errorf("destination write of page %s of %s, LSN %d: %w", e.Page, e.File.Called(), e.LSN, e.Op.Err)
}

// atomicDone reaps an atomic write.
func (s *Stage) atomicDone(e *stages.Entry) {
	st := s.file(e.File)
	st.move.inFlight--
	switch {
	case e.Op.Err == nil:
		s.reaped(e)
	case refused(e.Op.Err) && s.cfg.Refusals != nil:
		s.refuse(st, e)
	default:
		s.fail(writeError(e))
		return
	}
	s.moveOn(st)
}

// refuse takes back a write that the kernel refused: nothing of it was written, so it waits again,
// as if it had never been submitted.
func (s *Stage) refuse(st *file, e *stages.Entry) {
	err := writeError(e)
	e.File.Refused.Add(1)
	s.beginMove(st, err)
	e.State, e.Op.File = stages.Waiting, nil
	p := s.index.Get(e.Page)
	p.active = nil
	n := p.newest
	switch {
	case n == e:
	case n != nil && n.State == stages.Waiting: // it could not be submitted beside this one (I9)
		if st.forget(e); e.Waited() && !n.Waited() {
			st.waited++
		}
		s.supersede(e, n)
	default:
		s.fail(fmt.Errorf("a newer write of the page overtook a refused one (I9): %w", err))
	}
}

// beginMove is the first step of a file's way to the doublewrite buffer.
func (s *Stage) beginMove(st *file, why error) {
	if st.move.begun || s.cfg.Refusals == nil {
		return
	}
	st.move.begun = true
	st.f.Moved.Store(&why)
	s.cfg.Refusals <- stages.Refusal{File: st.f} // has room
	if s.cfg.Moved != nil {
		s.cfg.Moved(st.f, why)
	}
}

// drained: dwbstage has handed on the last of f that comes the old way.
func (s *Stage) drained(f *stages.File) {
	st := s.slot(f.Slot)
	if st.f != f { // removed meanwhile, and another file has its slot
		s.cfg.Refusals <- stages.Refusal{File: f, Held: true}
		return
	}
	st.move.drained = true
	s.moveOn(st)
}

// moveOn hands what is held back to dwbstage, once, when nothing of the file is under way any more.
// The entries stay here, for reads, and keep their waiters, until their pages come back at S2.
func (s *Stage) moveOn(st *file) {
	m := &st.move
	if !m.begun || !m.drained || m.inFlight > 0 || m.over || s.dead {
		return
	}
	m.over = true
	r := stages.Refusal{File: st.f, Held: true}
	s.index.Each(func(p *place) {
		if e := p.newest; e != nil && e.File == st.f && e.State == stages.Waiting {
			r.Pages = append(r.Pages, stages.PageWrite{No: e.Page.No, LSN: e.LSN, CRC: e.CRC, Frame: e.Frame})
		}
	})
	s.cfg.Refusals <- r // has room
}

// supersede makes n complete what o was to: o is never written.
func (s *Stage) supersede(o, n *stages.Entry) {
	o.State = stages.Superseded
	n.Inherit(o)
	rest := n.Older
	o.Next, n.Older, o.Older = o.Older, o, nil
	if rest != nil {
		last := o
		for last.Next != nil {
			last = last.Next
		}
		last.Next = rest
	}
	o.Batch.Unreaped--
	s.wholeBatch(o.Batch)
}

// takeOver: n, at S2, supersedes o, which was held. What waits for S2 has it now (I4), and a
// borrowed frame changes hands.
func (s *Stage) takeOver(o, n *stages.Entry) {
	n.Ack(stages.Protected)
	if n.Borrowed {
		n.Borrowed, o.Frame = false, aligned.Frame{}
	}
}
