package datastage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// fakeRing keeps every op until the test completes it.
type fakeRing struct {
	mu  sync.Mutex
	ops []*ring.Op
}

func (f *fakeRing) Submit(ops ...*ring.Op) {
	f.mu.Lock()
	f.ops = append(f.ops, ops...)
	f.mu.Unlock()
}
func (f *fakeRing) Do(*ring.Op) error            { panic("not used") }
func (f *fakeRing) Register([]byte) (int, error) { return 0, nil }
func (f *fakeRing) Info() ring.Info              { return ring.Info{} }
func (f *fakeRing) Close() error                 { return nil }
func (f *fakeRing) String() (s string) {
	for _, op := range f.ops {
		s += fmt.Sprintf("%s:%s@%d ", op.File.Name(), op.Kind, op.Off/4096)
	}
	return s
}

// complete finishes the oldest op that fits and returns it.
func (f *fakeRing) complete(t *testing.T, kind ring.Kind, file string, no int64, err error) {
	t.Helper()
	f.mu.Lock()
	for i, op := range f.ops {
		if op.Kind == kind && op.File.Name() == file && (kind == ring.DataSync || op.Off == no*4096) {
			f.ops = append(f.ops[:i:i], f.ops[i+1:]...)
			f.mu.Unlock()
			op.Err = err
			op.Done <- op
			synctest.Wait()
			return
		}
	}
	f.mu.Unlock()
	t.Fatalf("no %s of %s page %d in flight: %s", kind, file, no, f)
}

func (f *fakeRing) inFlight(kind ring.Kind, file string, no int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, op := range f.ops {
		if op.Kind == kind && op.File.Name() == file && (kind == ring.DataSync || op.Off == no*4096) {
			return true
		}
	}
	return false
}

type fakeFile string

func (f fakeFile) Fd() uintptr  { return 0 }
func (f fakeFile) Name() string { return string(f) }

type rig struct {
	t    *testing.T
	ring *fakeRing
	s    *Stage
	out  chan *stages.Batch
	p    *stages.Poison
	a, b *stages.File
}

// withStage runs f against a stage on a fake ring, in virtual time.
func withStage(t *testing.T, mutants stages.Mutant, f func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, ring: &fakeRing{}, out: make(chan *stages.Batch, 16), p: stages.NewPoison()}
		r.s = New(Config{
			Ring: r.ring, Depth: 8, Group: 4, Inbox: 4, Pages: 64, Files: 2, Idle: 20 * time.Millisecond,
			Out: r.out, Poison: r.p, Mutants: mutants,
		})
		mk := func(id int, name string) *stages.File {
			return &stages.File{ID: page.FileID(id), Slot: id - 1, Name: name, IO: fakeFile(name), PageSize: 4096, Format: page.Native{}}
		}
		r.a, r.b = mk(1, "a"), mk(2, "b")
		var g stages.Group
		g.Go("destination", func() { r.s.Run(context.Background()) })
		f(r)
		r.s.Stop()
		g.Wait()
	})
}

// batch sends pages of a file, each filled with v; the call is complete when they are at S4.
func (r *rig) batch(f *stages.File, v byte, level stages.Level, nos ...uint64) (*stages.Call, *stages.Batch) {
	b := &stages.Batch{Region: 0, Entries: make([]stages.Entry, 0, len(nos))}
	c := stages.NewCall()
	c.Reset(level, len(nos))
	for _, no := range nos {
		buf := make([]byte, 4096)
		buf[0] = v
		w := &stages.PageWrite{No: page.No(no), Frame: aligned.Frame{Buf: buf}}
		if level == stages.Durable {
			w.W.Call = c
		}
		b.Add(f, w)
	}
	r.s.Inbox() <- stages.Msg{Batch: b}
	synctest.Wait()
	return c, b
}

func (r *rig) want(c *stages.Call, done bool, when string) {
	r.t.Helper()
	if c.Finished() != done {
		r.t.Fatalf("%s: acknowledged %v, want %v; in flight: %s", when, c.Finished(), done, r.ring)
	}
}

func (r *rig) wantOut(n int, when string) {
	r.t.Helper()
	if len(r.out) != n {
		r.t.Fatalf("%s: %d batches went to reclaim, want %d", when, len(r.out), n)
	}
}

// TestFlushGenerations is I2: a flush covers what was reaped before it was submitted, of its own
// file, and nothing else.
func TestFlushGenerations(t *testing.T) {
	withStage(t, 0, func(r *rig) {
		c1, _ := r.batch(r.a, 1, stages.Durable, 1)
		c2, _ := r.batch(r.a, 2, stages.Durable, 2)
		c3, _ := r.batch(r.b, 3, stages.Durable, 1)
		r.want(c1, false, "submitted")
		r.ring.complete(t, ring.Write, "a", 1, nil)
		r.want(c1, false, "written, not flushed")
		r.ring.complete(t, ring.Write, "a", 2, nil) // during the flush of page 1
		r.ring.complete(t, ring.Write, "b", 1, nil)
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.want(c1, true, "flushed")
		r.want(c2, false, "written during that flush")
		r.want(c3, false, "another file's page")
		r.wantOut(1, "one batch is safe")
		r.ring.complete(t, ring.DataSync, "b", 0, nil)
		r.want(c3, true, "its own file's flush")
		r.want(c2, false, "another file's flush")
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.want(c2, true, "the next flush")
		r.wantOut(3, "all are safe")
	})
}

// TestSyncForOthers is I2 and I5 for what is written past the stages: the flush is datastage's own, one
// at a time; one in flight does not cover it, a later one does, also with a batch half written; a
// failed one never answers.
func TestSyncForOthers(t *testing.T) {
	ask := func(r *rig, f *stages.File) *stages.Call {
		c := stages.NewCall()
		c.Reset(stages.Durable, 1)
		r.s.Inbox() <- stages.Msg{Sync: &stages.Sync{File: f, Call: c}}
		synctest.Wait()
		return c
	}
	withStage(t, 0, func(r *rig) {
		w, _ := r.batch(r.a, 1, stages.Durable, 1)
		r.ring.complete(t, ring.Write, "a", 1, nil) // its flush is in flight
		r.batch(r.a, 2, stages.Accepted, 2, 3)
		c := ask(r, r.a)
		if n := len(r.ring.ops); n != 3 {
			t.Fatalf("two flushes of one file at a time: %s", r.ring)
		}
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.want(w, true, "its own flush")
		r.want(c, false, "a flush that was in flight before")
		r.ring.complete(t, ring.DataSync, "a", 0, nil) // not kept back by the batch being written
		r.want(c, true, "the next flush")
		b := ask(r, r.b) // a file with nothing of ours
		r.ring.complete(t, ring.DataSync, "b", 0, errors.New("EIO"))
		r.want(b, false, "a failed flush")
		if r.p.Err() == nil {
			t.Error("no poison")
		}
		r.ring.complete(t, ring.Write, "a", 2, nil)
		r.ring.complete(t, ring.Write, "a", 3, nil)
	})
}

// TestSyncFileRangeIsNoFlush: the mutant that takes writeback for a flush is seen to acknowledge
// what no flush covers.
func TestSyncFileRangeIsNoFlush(t *testing.T) {
	withStage(t, stages.SyncFileRange, func(r *rig) {
		c, _ := r.batch(r.a, 1, stages.Durable, 1)
		r.ring.complete(t, ring.Write, "a", 1, nil)
		r.want(c, true, "the mutant acknowledges without a flush")
	})
}

// TestOrderPerPage is I9: one destination write of a page at a time, in order.
func TestOrderPerPage(t *testing.T) {
	withStage(t, 0, func(r *rig) {
		c1, _ := r.batch(r.a, 1, stages.Durable, 7)
		c2, _ := r.batch(r.a, 2, stages.Durable, 7)
		if len(r.ring.ops) != 1 || r.ring.ops[0].Buf[0] != 1 {
			t.Fatalf("in flight: %s", r.ring)
		}
		r.ring.complete(t, ring.Write, "a", 7, nil)
		if !r.ring.inFlight(ring.Write, "a", 7) {
			t.Fatalf("the second write does not follow: %s", r.ring)
		}
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.want(c1, true, "the first was flushed")
		r.want(c2, false, "the second was not")
		r.ring.complete(t, ring.Write, "a", 7, nil)
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.want(c2, true, "both")
		r.wantOut(2, "both")
	})
	withStage(t, stages.ReorderPage, func(r *rig) {
		r.batch(r.a, 1, stages.Durable, 7)
		r.batch(r.a, 2, stages.Durable, 7)
		if len(r.ring.ops) != 2 {
			t.Errorf("the mutant keeps the order")
		}
		r.ring.complete(t, ring.Write, "a", 7, nil)
		r.ring.complete(t, ring.Write, "a", 7, nil)
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
	})
}

// TestSupersede: a write that was never submitted when a newer one reached S2 is not written, and
// its acknowledgement and its batch complete with the newer one's.
func TestSupersede(t *testing.T) {
	withStage(t, 0, func(r *rig) {
		c1, _ := r.batch(r.a, 1, stages.Durable, 7)
		c2, _ := r.batch(r.a, 2, stages.Durable, 7)
		c3, _ := r.batch(r.a, 3, stages.Durable, 7, 8)
		r.ring.complete(t, ring.Write, "a", 7, nil)
		if op := r.ring.ops[0]; op.Off == 7*4096 && op.Buf[0] != 3 {
			t.Errorf("image %d is written, want the newest", op.Buf[0])
		}
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.want(c1, true, "flushed")
		r.want(c2, false, "superseded by what is not flushed")
		r.wantOut(1, "the first batch")
		r.ring.complete(t, ring.Write, "a", 7, nil)
		r.ring.complete(t, ring.Write, "a", 8, nil)
		for r.ring.inFlight(ring.DataSync, "a", 0) {
			r.ring.complete(t, ring.DataSync, "a", 0, nil)
		}
		r.want(c2, true, "with the newer one")
		r.want(c3, true, "itself")
		r.wantOut(3, "all three")
	})
}

func (r *rig) read(f *stages.File, no uint64) (*stages.Read, []byte) {
	c := stages.NewCall()
	c.Reset(stages.Durable, 1)
	rd := &stages.Read{File: f, Call: c, Pages: []stages.ReadPage{{No: page.No(no), Buf: make([]byte, 4096)}}}
	r.s.Inbox() <- stages.Msg{Read: rd}
	synctest.Wait()
	return rd, rd.Pages[0].Buf
}

// TestReads is I9: a write waits for a read in flight, and a read finds the newest image from S2 on.
func TestReads(t *testing.T) {
	withStage(t, 0, func(r *rig) {
		r1, _ := r.read(r.a, 5)
		c, _ := r.batch(r.a, 9, stages.Durable, 5)
		if r.ring.inFlight(ring.Write, "a", 5) {
			t.Fatal("a write was submitted beside a read of the page")
		}
		r2, buf := r.read(r.a, 5)
		if !r2.Call.Finished() || buf[0] != 9 {
			t.Fatal("a read does not find the image in memory")
		}
		r.ring.complete(t, ring.Read, "a", 5, nil)
		if !r1.Call.Finished() || !r.ring.inFlight(ring.Write, "a", 5) {
			t.Fatalf("the write does not follow the read: %s", r.ring)
		}
		r.ring.complete(t, ring.Write, "a", 5, nil)
		if r3, buf := r.read(r.a, 5); !r3.Call.Finished() || buf[0] != 9 {
			t.Fatal("a written page is not served from memory")
		}
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.want(c, true, "flushed")
		r4, _ := r.read(r.a, 5)
		bad := errors.New("bad sector")
		r.ring.complete(t, ring.Read, "a", 5, bad)
		if !r4.Call.Finished() || r4.Pages[0].Err != bad || r.p.Err() != nil {
			t.Errorf("a failed read: %v, poison %v", r4.Pages[0].Err, r.p.Err())
		}
	})
}

// TestReadBesideNewerWrite is I9: that an older write of a page became safe does not make the page's
// place a source while a newer write of it is in flight.
func TestReadBesideNewerWrite(t *testing.T) {
	withStage(t, 0, func(r *rig) {
		c1, _ := r.batch(r.a, 1, stages.Durable, 7)
		r.ring.complete(t, ring.Write, "a", 7, nil) // its flush is in flight
		r.batch(r.a, 2, stages.Durable, 7)
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.want(c1, true, "flushed")
		if rd, buf := r.read(r.a, 7); !rd.Call.Finished() || buf[0] != 2 {
			t.Fatalf("the read is not of the newest image; in flight: %s", r.ring)
		}
		r.ring.complete(t, ring.Write, "a", 7, nil)
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.wantOut(2, "both")
	})
}

// TestNobodyWaits: pages nobody waits for are flushed after the idle time, when pressed, and by a
// barrier.
func TestNobodyWaits(t *testing.T) {
	withStage(t, 0, func(r *rig) {
		r.batch(r.a, 1, stages.Accepted, 1)
		r.ring.complete(t, ring.Write, "a", 1, nil)
		if r.ring.inFlight(ring.DataSync, "a", 0) {
			t.Fatal("flushed with nobody asking")
		}
		<-time.After(25 * time.Millisecond) // virtual time
		synctest.Wait()
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.wantOut(1, "after the idle time")

		r.batch(r.a, 2, stages.Accepted, 2)
		r.s.Inbox() <- stages.Msg{Press: true}
		synctest.Wait()
		r.ring.complete(t, ring.Write, "a", 2, nil)
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.wantOut(2, "pressed")

		r.batch(r.a, 3, stages.Accepted, 3)
		r.batch(r.b, 4, stages.Accepted, 4)
		c := stages.NewCall()
		c.Reset(stages.Durable, 1)
		r.s.Inbox() <- stages.Msg{Barrier: &stages.Barrier{File: r.a, Call: c}}
		synctest.Wait()
		r.want(c, false, "barrier with a write in flight")
		r.ring.complete(t, ring.Write, "b", 4, nil)
		r.ring.complete(t, ring.Write, "a", 3, nil)
		r.want(c, false, "barrier before the flush")
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.want(c, true, "barrier")
	})
}

// TestPressHoldsUntilCovered: a flush that was pressed for may cover a part of what there was, and bring
// no batch back; nobody presses again then, so that the rest is flushed without being asked for.
func TestPressHoldsUntilCovered(t *testing.T) {
	withStage(t, 0, func(r *rig) { // a newer batch has what the older one still needs
		rd, _ := r.read(r.a, 7) // keeps the first write of page 7 waiting
		r.batch(r.a, 1, stages.Accepted, 1, 7)
		r.batch(r.a, 2, stages.Accepted, 7, 8)
		r.s.Inbox() <- stages.Msg{Press: true}
		synctest.Wait()
		r.ring.complete(t, ring.Write, "a", 1, nil) // the first batch is written, as far as it will be
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.wantOut(0, "the first batch needs page 7 of the second")
		r.ring.complete(t, ring.Read, "a", 7, nil)
		if !rd.Call.Finished() {
			t.Fatal("the read is not over")
		}
		r.ring.complete(t, ring.Write, "a", 7, nil)
		r.ring.complete(t, ring.Write, "a", 8, nil)
		if !r.ring.inFlight(ring.DataSync, "a", 0) {
			t.Fatal("what was pressed for is never flushed")
		}
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.wantOut(2, "both")
	})
	withStage(t, 0, func(r *rig) { // a batch came back: who needs more presses again
		r.batch(r.a, 1, stages.Accepted, 1)
		r.batch(r.a, 2, stages.Accepted, 2)
		r.s.Inbox() <- stages.Msg{Press: true}
		synctest.Wait()
		r.ring.complete(t, ring.Write, "a", 1, nil)
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.wantOut(1, "the first batch")
		r.ring.complete(t, ring.Write, "a", 2, nil)
		if r.ring.inFlight(ring.DataSync, "a", 0) {
			t.Fatal("flushed with nobody asking")
		}
	})
}

// TestFailStop is I5: after a failed write or flush nothing is acknowledged, not even what another
// flush in flight covers, and a failed flush is not tried again.
func TestFailStop(t *testing.T) {
	eio := errors.New("EIO")
	withStage(t, 0, func(r *rig) {
		c1, _ := r.batch(r.a, 1, stages.Durable, 1)
		c2, _ := r.batch(r.b, 1, stages.Durable, 1)
		r.ring.complete(t, ring.Write, "a", 1, nil)
		r.ring.complete(t, ring.Write, "b", 1, nil)
		r.ring.complete(t, ring.DataSync, "a", 0, eio)
		if !errors.Is(r.p.Err(), eio) {
			t.Fatalf("poison: %v", r.p.Err())
		}
		r.ring.complete(t, ring.DataSync, "b", 0, nil)
		r.want(c1, false, "failed")
		r.want(c2, false, "after poison")
		r.wantOut(0, "nothing is reclaimed")
		if len(r.ring.ops) != 0 {
			t.Errorf("tried again: %s", r.ring)
		}
		if r1, _ := r.read(r.a, 1); !errors.Is(r1.Pages[0].Err, eio) {
			t.Errorf("read of a page in flight: %v", r1.Pages[0].Err)
		}
		r.read(r.a, 2)
		r.ring.complete(t, ring.Read, "a", 2, nil)
	})
	withStage(t, 0, func(r *rig) {
		c1, _ := r.batch(r.a, 1, stages.Durable, 1, 2)
		r.ring.complete(t, ring.Write, "a", 1, eio)
		r.ring.complete(t, ring.Write, "a", 2, nil)
		r.want(c1, false, "failed write")
		if !errors.Is(r.p.Err(), eio) || r.ring.inFlight(ring.DataSync, "a", 0) {
			t.Errorf("poison %v, in flight %s", r.p.Err(), r.ring)
		}
	})
}

// TestFlushesAreMeasured: pages are counted at the flush that covers them, and files that are
// flushed in one round together.
func TestFlushesAreMeasured(t *testing.T) {
	withStage(t, 0, func(r *rig) {
		r.batch(r.a, 1, stages.Durable, 1, 2, 3)
		for no := range int64(3) {
			r.ring.complete(t, ring.Write, "a", no+1, nil)
		}
		r.batch(r.a, 2, stages.Durable, 4) // written during that flush
		r.ring.complete(t, ring.Write, "a", 4, nil)
		time.Sleep(3 * time.Millisecond)
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		st := r.s.Stats()
		if q := st.FlushPages; q.Count != 2 || q.Max != 3 || q.Mean != 2 {
			t.Errorf("pages a flush: %+v", q)
		}
		if q := st.FlushFiles; q.Count != 2 || q.Max != 1 {
			t.Errorf("files a group: %+v", q)
		}
		// Three pages were 3 ms in their flush, and one before its own.
		if d := st.PageTime[stages.InFlush]; d != 4*3*time.Millisecond {
			t.Errorf("%v in flushes", d)
		}
		if st.Pages != 4 || st.Flushes != 2 {
			t.Errorf("%d pages, %d flushes", st.Pages, st.Flushes)
		}
		// Two files that nobody waits for are flushed together when they are asked to.
		r.s.ResetStats()
		r.batch(r.a, 3, stages.Accepted, 1)
		r.batch(r.b, 3, stages.Accepted, 1)
		r.ring.complete(t, ring.Write, "a", 1, nil)
		r.ring.complete(t, ring.Write, "b", 1, nil)
		r.s.Inbox() <- stages.Msg{Press: true}
		synctest.Wait()
		r.ring.complete(t, ring.DataSync, "a", 0, nil)
		r.ring.complete(t, ring.DataSync, "b", 0, nil)
		if q := r.s.Stats().FlushFiles; q.Count != 1 || q.Max != 2 {
			t.Errorf("files a group: %+v", q)
		}
	})
}
