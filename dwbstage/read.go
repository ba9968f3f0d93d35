package dwbstage

import (
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// read serves what this stage holds and passes the rest on (I9: the newest accepted image).
func (s *Stage) read(r *stages.Read) {
	left := 0
	for i := range r.Pages {
		p := &r.Pages[i]
		image := s.image(r.File, p.No)
		if image == nil {
			left++
			continue
		}
		p.Fresh = true
		if s.dead { // accepted, never acknowledged, and nobody knows what became of it
			p.Err = s.cfg.Poison.Err()
			continue
		}
		copy(p.Buf, image)
	}
	if left > 0 {
		// The pages found are completed by datastage with the rest: the Read is its from here on.
		s.out <- stages.Msg{Read: r}
		return
	}
	r.Call.Complete(len(r.Pages))
}

// image is the newest accepted image of a page among what this stage holds.
func (s *Stage) image(f *stages.File, no page.No) []byte {
	// What is left of a Write that is only partly in a batch is newer than anything in one.
	if w := s.write; w != nil && w.File == f {
		for i := len(w.Pages) - 1; i >= s.writePos; i-- {
			if w.Pages[i].No == no {
				return w.Pages[i].Frame.Buf
			}
		}
	}
	if e := s.index.Get(page.ID{File: f.ID, No: no}); e != nil {
		return e.Frame.Buf
	}
	return nil
}

// barrier adds a waiter to every write this stage holds and passes the barrier on.
func (s *Stage) barrier(b *stages.Barrier) {
	add := func(batch *stages.Batch) {
		if batch == nil {
			return
		}
		for i := range batch.Entries {
			if e := &batch.Entries[i]; b.File == nil || e.File == b.File {
				b.Call.Add(1)
				e.Wait(&stages.Waiter{Call: b.Call})
			}
		}
	}
	for _, batch := range s.inFlight {
		add(batch)
	}
	for way := range s.filling {
		add(s.sealed[way])
		add(s.filling[way])
	}
	s.out <- stages.Msg{Barrier: b}
}
