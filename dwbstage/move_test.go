package dwbstage

import (
	"testing"
	"testing/synctest"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// withMoving runs f against a stage whose file is in mode atomic.
func withMoving(t *testing.T, f func(*rig)) {
	withStage(t, func(c *Config) { c.Files = 1 }, func(r *rig) {
		r.file.Doublewrite, r.file.Atomic = false, true
		f(r)
	})
}

func (r *rig) refusal(ref stages.Refusal) {
	r.s.Refusals() <- ref
	synctest.Wait()
}

// drain reports whether the mark of the file has been handed on, behind n batches.
func (r *rig) drain(n int) bool {
	synctest.Wait()
	for {
		select {
		case m := <-r.out:
			if m.Batch != nil {
				n--
			}
			if m.Drain == r.file {
				if n != 0 {
					r.t.Errorf("the mark came %d batches too early", n)
				}
				return true
			}
		default:
			return false
		}
	}
}

func heldPage(no page.No, v byte) stages.PageWrite {
	buf := make([]byte, 16384)
	buf[0] = v
	return stages.PageWrite{No: no, CRC: page.ImageCRC(buf), Frame: aligned.Frame{Buf: buf}}
}

// region returns which version of which page the submitted region holds.
func (r *rig) region(ops []*ring.Op) map[page.No]byte {
	r.t.Helper()
	m := map[page.No]byte{}
	for _, op := range ops {
		if op.Vec == nil {
			continue
		}
		h, err := DecodeAny(op.Vec[0][:r.s.cfg.Geometry.Block], r.s.cfg.Geometry)
		if err != nil {
			r.t.Fatal(err)
		}
		var data []byte
		for _, b := range op.Vec[1:] {
			data = append(data, b...)
		}
		for i, s := range h {
			m[s.Page.No] = data[i*16384]
		}
	}
	return m
}

// DecodeAny finds the region a header says it is of.
func DecodeAny(block []byte, g Geometry) (slots []Slot, err error) {
	for i := range g.Regions {
		var h *Header
		if h, err = Decode(block, g, EngineID{}, i); err == nil {
			return h.Slots, nil
		}
	}
	return nil, err
}

// TestMove: the order in which a file comes into the doublewrite buffer. What went the old way is
// handed on before the mark, also when it waits for the log; no region is submitted in between; what
// comes back goes first, unless a newer image of the page is there.
func TestMove(t *testing.T) {
	withMoving(t, func(r *rig) {
		r.write(stages.Durable, 0, 1, 1)
		if bs := r.handed(); len(bs) != 1 || bs[0].Region >= 0 || len(r.ring.take()) != 0 {
			t.Fatal("a page of an atomic file goes to its destination at once")
		}
		r.write(stages.Durable, 100, 2, 2) // beyond what the log holds
		r.refusal(stages.Refusal{File: r.file})
		r.write(stages.Durable, 0, 3, 3)
		if r.drain(0) || len(r.ring.take()) != 0 {
			t.Fatal("marked with a page of the file still here, or its next one doublewritten")
		}
		r.log.reach(100)
		if !r.drain(1) {
			t.Fatal("not marked")
		}
		r.write(stages.Durable, 0, 4, 1)
		if ops := r.ring.take(); len(ops) != 0 {
			t.Fatalf("%s before the old way is known to be empty", kinds(ops))
		}
		r.refusal(stages.Refusal{File: r.file, Held: true, Pages: []stages.PageWrite{heldPage(1, 1), heldPage(2, 2)}})
		got := map[page.No]byte{}
		for range 6 {
			ops := r.ring.take()
			for no, v := range r.region(ops) {
				if got[no] != 0 {
					t.Errorf("page %d is written twice", no)
				}
				got[no] = v
			}
			finish(nil, ops...)
		}
		if len(got) != 3 || got[1] != 4 || got[2] != 2 || got[3] != 3 {
			t.Fatalf("the regions hold %v", got)
		}
		if r.frames.n != 0 {
			t.Errorf("%d frames were given back", r.frames.n)
		}
	})
}

// TestMoveKeepsOrder: a write that waits for room does not overtake an older image that came back.
func TestMoveKeepsOrder(t *testing.T) {
	withMoving(t, func(r *rig) {
		other := &stages.File{ID: 2, Name: "b", PageSize: 16384, Format: page.Native{}, Doublewrite: true}
		moving := r.file
		r.refusal(stages.Refusal{File: moving})
		if !r.drain(0) {
			t.Fatal("not marked")
		}
		// Fill both batches of the other way: 4 pages each. Of page 4 a newer image is there.
		r.write(stages.Accepted, 0, 7, 4)
		r.file = other
		for no := range page.No(7) {
			r.write(stages.Accepted, 0, 1, no)
		}
		r.file = moving
		_, taken := r.write(stages.Accepted, 0, 9, 5)
		if len(taken) != 0 {
			t.Fatal("there was room; the test wants none")
		}
		r.refusal(stages.Refusal{File: moving, Held: true, Pages: []stages.PageWrite{heldPage(4, 6), heldPage(5, 8)}})
		var seen []byte
		for range 12 {
			ops := r.ring.take()
			for no, v := range r.region(ops) {
				if v == 6 {
					t.Errorf("an older image of page %d follows a newer one", no)
				}
				if v > 7 {
					seen = append(seen, v)
				}
			}
			finish(nil, ops...)
			for _, b := range r.handed() {
				r.s.Credits() <- stages.Credit{Batch: b}
				synctest.Wait()
			}
			select {
			case w := <-r.persist:
				r.s.Credits() <- stages.Credit{Durable: w}
				synctest.Wait()
			default:
			}
		}
		if len(taken) != 1 || len(seen) == 0 || seen[len(seen)-1] != 9 {
			t.Errorf("of page 5 the regions held %v in this order; taken %v", seen, len(taken))
		}
	})
}

// TestMoveBorrowsFrames: a newer write that replaces a queued one whose frame is datastage's does not
// give that frame back; Abandon does not either.
func TestMoveBorrowsFrames(t *testing.T) {
	withMoving(t, func(r *rig) {
		r.refusal(stages.Refusal{File: r.file})
		// Another file keeps the buffer from being submitted: it is still moving.
		r.s.moves.draining++
		r.refusal(stages.Refusal{File: r.file, Held: true, Pages: []stages.PageWrite{heldPage(1, 1)}})
		r.write(stages.Accepted, 0, 2, 1)
		r.write(stages.Accepted, 0, 3, 1)
		if r.frames.n != 1 {
			t.Errorf("%d frames were given back, want that of version 2", r.frames.n)
		}
	})
}
