package dwbstage

import (
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// moves are the files whose atomic writes were refused, on their way into the doublewrite buffer
// (stages.Refusal says how, and why in this order).
type moves struct {
	refusals chan stages.Refusal
	moved    []*stages.File   // by slot
	draining int              // files that datastage has not finished the old way of
	unmarked []*stages.File   // of these, the ones whose last pages have not been handed on
	back     []stages.Refusal // pages that came back and are in no batch yet
	backPos  int              // of back[0]
}

func (m *moves) init(files int) {
	m.refusals = make(chan stages.Refusal, 2*files)
	m.moved = make([]*stages.File, files)
}

func (m *moves) any() bool { return len(m.unmarked)+len(m.back) > 0 }

// Refusals is where datastage sends what came of refused writes.
func (s *Stage) Refusals() chan<- stages.Refusal { return s.moves.refusals }

func (s *Stage) refused(r stages.Refusal) {
	m := &s.moves
	if !r.Held {
		m.moved[r.File.Slot] = r.File
		m.draining++
		m.unmarked = append(m.unmarked, r.File)
		return
	}
	m.draining--
	// A newer image that is here supersedes the one that is held. Now is the time to look: no region
	// has been submitted since the move began, so whatever is newer is still in the index.
	keep := r.Pages[:0]
	for i := range r.Pages {
		if s.index.Get(page.ID{File: r.File.ID, No: r.Pages[i].No}) == nil {
			keep = append(keep, r.Pages[i])
		}
	}
	r.Pages = keep
	m.back = append(m.back, r)
}

// move hands on what a moving file still has on the old way, behind it the mark, and puts what came
// back into batches. It reports whether anything moved.
func (s *Stage) move() (moved bool) {
	m := &s.moves
	keep := m.unmarked[:0]
	for _, f := range m.unmarked {
		if holds(s.filling[1], f) || holds(s.sealed[1], f) { // for want of the log: it will be
			keep = append(keep, f)
			continue
		}
		s.out <- stages.Msg{Drain: f}
	}
	m.unmarked = keep
	for len(m.back) > 0 {
		r := &m.back[0]
		for ; m.backPos < len(r.Pages); m.backPos++ {
			p := &r.Pages[m.backPos]
			b := s.open(0, r.File.PageSize)
			if b == nil {
				return moved
			}
			e := b.Add(r.File, p)
			e.Borrowed = true
			s.index.Put(e.Page, e)
			moved = true
		}
		m.back, m.backPos, moved = m.back[1:], 0, true
	}
	return moved
}

func holds(b *stages.Batch, f *stages.File) bool {
	if b == nil {
		return false
	}
	for i := range b.Entries {
		if b.Entries[i].File == f {
			return true
		}
	}
	return false
}
