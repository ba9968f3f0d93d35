package dwbstage

import (
	"cmp"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// refuse answers a Write after poison.
func (s *Stage) refuse(w *stages.Write) {
	for i := range w.Pages {
		s.scratch = append(s.scratch[:0], w.Pages[i].Frame)
		s.cfg.Frames.Put(s.scratch) // no copy of it was submitted
		if c := w.Pages[i].W.Call; c != nil {
			c.Fail(s.cfg.Poison.Err())
			c.Complete(1)
		}
	}
	w.Taken <- struct{}{}
}

func (s *Stage) drop() {
	if s.write != nil {
		w := s.write
		s.write = nil
		for i := s.writePos; i < len(w.Pages); i++ {
			s.scratch = append(s.scratch[:0], w.Pages[i].Frame)
			s.cfg.Frames.Put(s.scratch)
		}
		w.Taken <- struct{}{} // its waiters learn of the poison themselves
	}
}

// take moves pages of the current Write into the open batch, as far as there is room.
func (s *Stage) take() {
	if len(s.moves.back) > 0 { // older
		return
	}
	w := s.write
	way := 1
	if w.File.Doublewrite || w.File.Atomic && s.moves.moved[w.File.Slot] == w.File {
		way = 0
	}
	for s.writePos < len(w.Pages) {
		p := &w.Pages[s.writePos]
		id := page.ID{File: w.File.ID, No: p.No}
		if e := s.index.Get(id); e != nil && e.Batch == s.filling[way] && e.Batch != nil {
			// S0: a newer write replaces the queued one, and its acknowledgement serves both.
			s.scratch = append(s.scratch[:0], e.Frame)
			e.Batch.Set(e, p)
			if e.Borrowed {
				e.Borrowed = false
			} else {
				s.cfg.Frames.Put(s.scratch)
			}
			e.Batch.Step = cmp.Or(e.Batch.Step, w.Step)
			s.writePos++
			continue
		}
		b := s.open(way, w.File.PageSize)
		if b == nil {
			return
		}
		s.index.Put(id, b.Add(w.File, p))
		if w.Sent != 0 {
			b.Arrived.Add(1, w.Sent, w.Held)
		}
		b.Step = cmp.Or(b.Step, w.Step)
		s.writePos++
	}
	s.write = nil
	w.Taken <- struct{}{}
}

// open returns the batch that has room for one more page, or nil.
func (s *Stage) open(way, bytes int) *stages.Batch {
	b := s.filling[way]
	if b != nil && len(b.Entries) < cap(b.Entries) && b.Bytes+bytes <= s.cfg.Geometry.Batch {
		return b
	}
	if b != nil {
		if s.sealed[way] != nil {
			return nil
		}
		s.sealed[way], s.filling[way] = b, nil
	}
	n := len(s.free[way])
	if n == 0 {
		return nil
	}
	b = s.free[way][n-1]
	s.free[way] = s.free[way][:n-1]
	if b.Entries == nil {
		slots := s.cfg.Geometry.MaxSlots()
		b.Entries = make([]stages.Entry, 0, slots)
		if way == 0 {
			b.Vec = make([][]byte, 0, slots+2)
		}
	}
	s.filling[way] = b
	return b
}
