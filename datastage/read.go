package datastage

import (
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// startRead starts the next page of the oldest Read: from memory when a write of the page is in
// flight, otherwise from the file, which a write of that page then waits for (I9).
func (s *Stage) startRead() {
	r := s.reads
	p := &r.Pages[r.Pos]
	// Off the queue before its last page completes: after that the Read is its caller's again.
	if r.Pos++; r.Pos == len(r.Pages) {
		if s.reads = r.Next; s.reads == nil {
			s.lastRead = nil
		}
	}
	if p.Fresh { // dwbstage had it
		r.Call.Complete(1)
		return
	}
	id := page.ID{File: r.File.ID, No: p.No}
	if at := s.index.Get(id); at != nil && at.newest != nil {
		p.Fresh = true
		if s.dead {
			p.Err = s.cfg.Poison.Err()
		} else {
			copy(p.Buf, at.newest.Frame.Buf)
		}
		r.Call.Complete(1)
		return
	}
	ro := s.readOps
	s.readOps = ro.next
	ro.read, ro.page, ro.at = r, p, s.place(id)
	ro.at.readers++
	ro.op = ring.Op{
		Kind: ring.Read, File: r.File.IO, Off: r.File.Offset(p.No), Buf: p.Buf, Fixed: p.Fixed,
		Done: s.comps, Tag: tagRead, Ctx: ro,
	}
	s.inFlight++
	s.group = append(s.group, &ro.op)
	if len(s.group) == s.cfg.Group {
		s.handOver()
	}
}

func (s *Stage) readDone(op *ring.Op) {
	ro := op.Ctx.(*readOp)
	call, p, at := ro.read.Call, ro.page, ro.at
	ro.read, ro.page, ro.at = nil, nil, nil
	ro.next, s.readOps = s.readOps, ro
	if at.readers--; at.readers == 0 {
		s.arm(at)
		s.settle(at)
	}
	p.Err = op.Err // a failed read is no durability failure: the engine goes on
	call.Complete(1)
}
