package datastage

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// withAtomic runs f against a stage whose file a is in mode atomic, and b is not.
func withAtomic(t *testing.T, f func(*rig, chan stages.Refusal)) {
	withStage(t, 0, func(r *rig) {
		ref := make(chan stages.Refusal, 4)
		r.s.cfg.Refusals = ref // before the first message: the stage has not looked yet
		r.a.Atomic = true
		f(r, ref)
	})
}

// direct sends pages that have no copy.
func (r *rig) direct(f *stages.File, v byte, level stages.Level, nos ...uint64) (*stages.Call, *stages.Batch) {
	return r.send(f, -1, v, level, false, nos...)
}

func (r *rig) send(f *stages.File, region int, v byte, level stages.Level, borrowed bool, nos ...uint64) (*stages.Call, *stages.Batch) {
	b := &stages.Batch{Region: region, Entries: make([]stages.Entry, 0, len(nos))}
	c := stages.NewCall()
	c.Reset(level, len(nos))
	for _, no := range nos {
		buf := make([]byte, 4096)
		buf[0] = v
		e := b.Add(f, &stages.PageWrite{No: page.No(no), Frame: aligned.Frame{Buf: buf, Fixed: 1}, W: stages.Waiter{Call: c}})
		e.Borrowed = borrowed
	}
	r.s.Inbox() <- stages.Msg{Batch: b}
	synctest.Wait()
	return c, b
}

func (r *rig) readOne(f *stages.File, no uint64) byte {
	r.t.Helper()
	c := stages.NewCall()
	c.Reset(stages.Durable, 1)
	rd := &stages.Read{File: f, Pages: []stages.ReadPage{{No: page.No(no), Buf: make([]byte, 4096)}}, Call: c}
	r.s.Inbox() <- stages.Msg{Read: rd}
	synctest.Wait()
	if !c.Finished() || !rd.Pages[0].Fresh {
		r.t.Fatalf("page %d is not served from memory", no)
	}
	return rd.Pages[0].Buf[0]
}

func (r *rig) drain(f *stages.File) {
	r.s.Inbox() <- stages.Msg{Drain: f}
	synctest.Wait()
}

// TestRefusedWriteGoesBack: one refusal of several writes in flight. The file is held at once, the
// rest of what is in flight lands, and then, behind the mark, everything held goes back in one piece;
// it stays readable and unacknowledged until its page comes at S2.
func TestRefusedWriteGoesBack(t *testing.T) {
	withAtomic(t, func(r *rig, ref chan stages.Refusal) {
		durable, b1 := r.direct(r.a, 1, stages.Durable, 1, 2)
		protected, _ := r.direct(r.a, 3, stages.Protected, 3)
		r.direct(r.a, 9, stages.Durable, 1)
		newer, b4 := r.direct(r.a, 4, stages.Durable, 1) // waits for version 1 (I9)
		for _, op := range r.ring.ops {
			if op.Flags != ring.Atomic || op.Fixed != 0 || op.Vec != nil {
				t.Fatalf("not one plain atomic buffer: flags %d, fixed %d", op.Flags, op.Fixed)
			}
		}
		r.ring.complete(t, ring.Write, "a", 1, syscall.EINVAL)
		if x := <-ref; x.File != r.a || x.Held {
			t.Fatalf("%+v", x)
		}
		if r.a.Refused.Load() != 1 || r.a.Moved.Load() == nil || r.p.Err() != nil {
			t.Fatal("not counted, or poisoned")
		}
		late, _ := r.direct(r.a, 5, stages.Durable, 5) // was on its way
		if r.ring.inFlight(ring.Write, "a", 1) || r.ring.inFlight(ring.Write, "a", 5) {
			t.Fatal("a write of a file that moves was submitted")
		}
		r.drain(r.a)
		if len(ref) != 0 {
			t.Fatal("sent back with writes of it in flight")
		}
		r.ring.complete(t, ring.Write, "a", 2, nil)
		r.ring.complete(t, ring.Write, "a", 3, syscall.EOPNOTSUPP)
		x := <-ref
		got := map[page.No]byte{}
		for _, p := range x.Pages {
			got[p.No] = p.Frame.Buf[0]
			if p.W.Call != nil {
				t.Error("the waiters went along")
			}
		}
		if !x.Held || len(got) != 3 || got[1] != 4 || got[3] != 3 || got[5] != 5 {
			t.Fatalf("held: %v", got)
		}
		if r.readOne(r.a, 1) != 4 || r.readOne(r.a, 3) != 3 || r.readOne(r.a, 5) != 5 {
			t.Error("reads do not find the newest image")
		}
		for _, c := range []*stages.Call{durable, protected, newer, late} {
			r.want(c, false, "held")
		}
		// They come back at S2: 1 and 3 as they were, 5 in a newer version.
		c, _ := r.send(r.a, 0, 4, stages.Protected, true, 1, 3)
		r.want(protected, true, "its page is at S2")
		r.want(newer, false, "at S2 only")
		_ = c
		r.send(r.a, 1, 6, stages.Durable, false, 5)
		for _, op := range r.ring.ops {
			if op.Kind == ring.Write && op.Flags != 0 {
				t.Errorf("atomic after the move: page at %d", op.Off)
			}
		}
		for _, no := range []int64{1, 3, 5} {
			r.ring.complete(t, ring.Write, "a", no, nil)
		}
		for r.ring.inFlight(ring.DataSync, "a", 0) {
			r.ring.complete(t, ring.DataSync, "a", 0, nil)
		}
		time.Sleep(30 * time.Millisecond) // idle
		synctest.Wait()
		for r.ring.inFlight(ring.DataSync, "a", 0) {
			r.ring.complete(t, ring.DataSync, "a", 0, nil)
		}
		for i, c := range []*stages.Call{durable, protected, newer, late} {
			if !c.Finished() {
				t.Errorf("call %d was never acknowledged", i)
			}
		}
		r.wantOut(7, "all batches are safe")
		if st := r.s.slot(r.a.Slot); st.unflushed != 0 || st.waited != 0 || r.s.index.Len() != 0 {
			t.Errorf("left behind: %d unflushed, %d waited for, %d pages", st.unflushed, st.waited, r.s.index.Len())
		}
		if b1.Entries[0].Frame.Buf == nil || b4.Entries[0].Frame.Buf != nil {
			t.Error("version 1 keeps its frame, and version 4's went to the entry that borrowed it")
		}
	})
}

// TestQueuedWritesAreHeld: what was queued for submission when the file began to move is held, too.
func TestQueuedWritesAreHeld(t *testing.T) {
	withAtomic(t, func(r *rig, ref chan stages.Refusal) {
		r.direct(r.a, 1, stages.Accepted, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10) // 8 are submitted
		for no := range int64(8) {
			r.ring.complete(t, ring.Write, "a", no+1, syscall.EINVAL)
		}
		if r.ring.inFlight(ring.Write, "a", 9) || r.ring.inFlight(ring.Write, "a", 10) {
			t.Error("submitted after a refusal")
		}
		r.drain(r.a)
		<-ref
		if x := <-ref; len(x.Pages) != 10 || r.a.Refused.Load() != 8 {
			t.Errorf("%d pages held, %d refused", len(x.Pages), r.a.Refused.Load())
		}
	})
}

// TestMoveOnDemand: a file that is told to move does, with nothing refused and nothing in flight.
func TestMoveOnDemand(t *testing.T) {
	withAtomic(t, func(r *rig, ref chan stages.Refusal) {
		r.direct(r.a, 1, stages.Accepted, 1)
		r.ring.complete(t, ring.Write, "a", 1, nil)
		why := syscall.ENODEV
		r.s.Inbox() <- stages.Msg{Move: &stages.Move{File: r.a, Why: why}}
		r.s.Inbox() <- stages.Msg{Move: &stages.Move{File: r.a, Why: why}} // once is enough
		r.drain(r.a)
		if len(ref) != 2 {
			t.Fatalf("%d messages", len(ref))
		}
		if a, b := <-ref, <-ref; a.Held || !b.Held || len(b.Pages) != 0 || *r.a.Moved.Load() != why || r.a.Refused.Load() != 0 {
			t.Errorf("%+v, %+v", a, b)
		}
		// The mark of a file that is gone is answered all the same.
		r.direct(r.b, 1, stages.Accepted, 1)
		gone := &stages.File{ID: 9, Slot: r.b.Slot}
		r.drain(gone)
		if x := <-ref; x.File != gone || !x.Held {
			t.Errorf("%+v", x)
		}
		if !r.ring.inFlight(ring.Write, "b", 1) {
			t.Error("the file that has its slot was disturbed")
		}
	})
}

// TestOtherErrorsPoison: only what was not written is written again.
func TestOtherErrorsPoison(t *testing.T) {
	withAtomic(t, func(r *rig, ref chan stages.Refusal) {
		c, _ := r.direct(r.a, 1, stages.Durable, 1)
		r.ring.complete(t, ring.Write, "a", 1, syscall.EIO)
		if r.p.Err() == nil || len(ref) != 0 || c.Finished() {
			t.Error("EIO of an atomic write")
		}
	})
	withAtomic(t, func(r *rig, ref chan stages.Refusal) {
		r.batch(r.b, 1, stages.Durable, 1)
		r.ring.complete(t, ring.Write, "b", 1, syscall.EINVAL) // not atomic
		if r.p.Err() == nil || len(ref) != 0 {
			t.Error("EINVAL of a plain write")
		}
	})
}
