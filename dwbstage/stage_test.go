package dwbstage

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
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

// take returns the ops in flight, which are the test's to finish.
func (f *fakeRing) take() []*ring.Op {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	ops := f.ops
	f.ops = nil
	return ops
}

func finish(err error, ops ...*ring.Op) {
	for _, op := range ops {
		op.Err = err
		op.Done <- op
	}
	synctest.Wait()
}

type fakeFile struct{}

func (fakeFile) Fd() uintptr  { return 0 }
func (fakeFile) Name() string { return "dwb" }

// fakeLog is durable through what the test says.
type fakeLog struct {
	mu      sync.Mutex
	durable page.LSN
	asked   []page.LSN
	waiting []chan<- struct{}
	mark    reclaim.Seq
}

func (l *fakeLog) Durable() page.LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}
func (l *fakeLog) NotifyDurable(lsn page.LSN, ch chan<- struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, lsn)
	l.waiting = append(l.waiting, ch)
}
func (l *fakeLog) SetWatermark(s reclaim.Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark = s
}
func (l *fakeLog) reach(lsn page.LSN) {
	l.mu.Lock()
	l.durable = lsn
	for _, ch := range l.waiting {
		ch <- struct{}{}
	}
	l.waiting = nil
	l.mu.Unlock()
	synctest.Wait()
}

type fakeFrames struct {
	n      int
	wants  chan struct{}
	wanted bool
}

func (f *fakeFrames) Put(fr []aligned.Frame) { f.n += len(fr) }
func (f *fakeFrames) Wants() <-chan struct{} { return f.wants }
func (f *fakeFrames) Wanted() bool           { return f.wanted }

type rig struct {
	t       *testing.T
	ring    *fakeRing
	log     *fakeLog
	frames  *fakeFrames
	out     chan stages.Msg
	persist chan uint64
	poison  *stages.Poison
	s       *Stage
	file    *stages.File
	step    *stages.Step // of the next writes
}

func withStage(t *testing.T, change func(*Config), f func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{
			t: t, ring: &fakeRing{}, log: &fakeLog{}, frames: &fakeFrames{wants: make(chan struct{}, 1)}, out: make(chan stages.Msg, 64),
			persist: make(chan uint64, 1), poison: stages.NewPoison(),
			file: &stages.File{ID: 1, Name: "a", PageSize: 16384, Format: page.Native{}, Doublewrite: true},
		}
		cfg := Config{
			Ring: r.ring, File: fakeFile{}, Geometry: Geometry{Block: 4096, Batch: 64 << 10, Regions: 3},
			Epoch: 5, InFlight: 2, Unsynced: 1, Direct: 2, Inbox: 8, Log: r.log, Frames: r.frames, Poison: r.poison,
		}
		if change != nil {
			change(&cfg)
		}
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.s = s
		s.Connect(r.out, r.persist)
		var g stages.Group
		g.Go("doublewrite", func() { s.Run(context.Background()) })
		f(r)
		r.poison.Set(errors.New("over"))
		s.Stop()
		g.Wait()
	})
}

// write sends one Write and returns the call and whether it was taken.
func (r *rig) write(level stages.Level, lsn page.LSN, v byte, nos ...page.No) (*stages.Call, chan struct{}) {
	c := stages.NewCall()
	c.Reset(level, len(nos))
	w := &stages.Write{File: r.file, Step: r.step}
	for _, no := range nos {
		buf := make([]byte, r.file.PageSize)
		buf[0] = v
		w.Pages = append(w.Pages, stages.PageWrite{
			No: no, LSN: lsn, CRC: page.ImageCRC(buf), Frame: aligned.Frame{Buf: buf}, W: stages.Waiter{Call: c},
		})
	}
	taken := make(chan struct{}, 1)
	w.Taken = taken
	r.s.Stamp(w)
	r.s.Inbox() <- stages.Msg{Write: w}
	synctest.Wait()
	return c, taken
}

// handed returns the batches handed on, and drops presses.
func (r *rig) handed() (bs []*stages.Batch) {
	synctest.Wait()
	for {
		select {
		case m := <-r.out:
			if m.Batch != nil {
				bs = append(bs, m.Batch)
			}
		default:
			return bs
		}
	}
}

func kinds(ops []*ring.Op) (s string) {
	for _, op := range ops {
		s += op.Kind.String() + " "
	}
	return s
}

// TestFlushBeforeHandingOn is I1: a batch goes on to its destinations only after a flush that was
// submitted when all its writes had been reaped; Protected is acknowledged at that moment (I4).
func TestFlushBeforeHandingOn(t *testing.T) {
	withStage(t, nil, func(r *rig) {
		c, _ := r.write(stages.Protected, 0, 1, 10, 11)
		ops := r.ring.take()
		if kinds(ops) != "write " {
			t.Fatalf("submitted: %s", kinds(ops))
		}
		h, err := r.header(ops[0], 0)
		if err != nil || h.Seq != (reclaim.Seq{Epoch: 5, Num: 1}) || len(h.Slots) != 2 {
			t.Fatalf("header %+v, %v", h, err)
		}
		if ops := r.ring.take(); len(ops) != 0 {
			t.Fatalf("%s with the write of the batch in flight", kinds(ops))
		}
		finish(nil, ops...)
		flush := r.ring.take()
		if kinds(flush) != "fdatasync " || c.Finished() || len(r.handed()) != 0 {
			t.Fatalf("after the writes: %s, acknowledged %v", kinds(flush), c.Finished())
		}
		finish(nil, flush...)
		if !c.Finished() || len(r.handed()) != 1 {
			t.Fatal("flushed, and not handed on")
		}
	})
	withStage(t, func(c *Config) { c.Mutants = stages.SkipDWBFlush }, func(r *rig) {
		r.write(stages.Protected, 0, 1, 10)
		finish(nil, r.ring.take()...)
		if len(r.handed()) != 1 {
			t.Error("the mutant waits for a flush")
		}
	})
}

// TestOneFlushAtATime is I1: what is reaped while a flush is in flight waits for the next one.
func TestOneFlushAtATime(t *testing.T) {
	withStage(t, func(c *Config) { c.Unsynced = 2 }, func(r *rig) {
		first, _ := r.write(stages.Protected, 0, 1, 10)
		finish(nil, r.ring.take()...)
		flush := r.ring.take()
		second, _ := r.write(stages.Protected, 0, 1, 11)
		finish(nil, r.ring.take()...)
		if ops := r.ring.take(); len(ops) != 0 {
			t.Fatalf("%s beside a flush in flight", kinds(ops))
		}
		finish(nil, flush...)
		if !first.Finished() || second.Finished() || len(r.handed()) != 1 {
			t.Fatalf("after the flush of the first batch: %v, %v", first.Finished(), second.Finished())
		}
		finish(nil, r.ring.take()...)
		if !second.Finished() || len(r.handed()) != 1 {
			t.Fatal("the second batch has been flushed, and is not handed on")
		}
	})
}

// header checks both copies at the beginning of a region's request, and returns the first.
func (r *rig) header(op *ring.Op, region int) (*Header, error) {
	g := r.s.cfg.Geometry
	if front := op.Vec[0]; len(front) != g.SlotsOffset() || !bytes.Equal(front[:g.Block], front[g.Block:]) {
		r.t.Error("the header is not there twice")
	}
	return Decode(op.Vec[0][:g.Block], g, EngineID{}, region)
}

// TestDSyncCoversItsOwnBytes: with DSYNC on a batch there is no flush to wait for. Where only lone
// batches have it, one that has company, or is large, takes the flush.
func TestDSyncCoversItsOwnBytes(t *testing.T) {
	withStage(t, func(c *Config) { c.DSync = true }, func(r *rig) {
		r.write(stages.Protected, 0, 1, 10)
		ops := r.ring.take()
		if len(ops) != 1 || ops[0].Flags&ring.DSync == 0 {
			t.Fatalf("%s, or without DSYNC", kinds(ops))
		}
		if len(r.handed()) != 0 {
			t.Error("handed on with its pages in flight")
		}
		finish(nil, ops...)
		if len(r.handed()) != 1 {
			t.Error("not handed on")
		}
	})
	lone := func(c *Config) {
		c.Lone, c.Unsynced, c.Geometry.Batch = true, 2, 256<<10
	}
	withStage(t, lone, func(r *rig) {
		r.write(stages.Protected, 0, 1, 10)
		first := r.ring.take()
		c, _ := r.write(stages.Protected, 0, 1, 11)
		second := r.ring.take()
		if first[0].Flags&ring.DSync == 0 || second[0].Flags&ring.DSync != 0 {
			t.Fatal("the first batch is alone, the second is not")
		}
		finish(nil, second...)
		flush := r.ring.take()
		if kinds(flush) != "fdatasync " {
			t.Fatalf("the second batch is written: %s", kinds(flush))
		}
		finish(nil, flush...)
		if c.Finished() || len(r.handed()) != 0 {
			t.Fatal("handed on before its elder")
		}
		finish(nil, first...)
		if !c.Finished() || len(r.handed()) != 2 {
			t.Fatal("both are durable, and not handed on")
		}
	})
	withStage(t, lone, func(r *rig) {
		r.write(stages.Protected, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		if ops := r.ring.take(); ops[0].Flags&ring.DSync != 0 {
			t.Error("a large batch carries its flush")
		}
	})
}

// TestFullBatchIsOneRequest: headers, pages and the header at the end in one vectored write.
func TestFullBatchIsOneRequest(t *testing.T) {
	withStage(t, nil, func(r *rig) {
		r.write(stages.Accepted, 0, 1, 0, 1, 2, 3)
		ops := r.ring.take()
		if len(ops) != 1 || ops[0].Len() != int(r.s.cfg.Geometry.RegionBytes()) {
			t.Fatalf("%d requests of %d bytes", len(ops), ops[0].Len())
		}
		if _, err := Decode(ops[0].Vec[len(ops[0].Vec)-1], r.s.cfg.Geometry, EngineID{}, 0); err != nil {
			t.Errorf("the last copy: %v", err)
		}
	})
}

// TestBatchesClockThemselves: what queues while a batch is not flushed (D = 1) is the next batch, and
// a newer write replaces a queued one.
func TestBatchesClockThemselves(t *testing.T) {
	withStage(t, nil, func(r *rig) {
		r.write(stages.Durable, 0, 1, 1)
		first := r.ring.take()
		r.write(stages.Protected, 0, 2, 1)
		c2, _ := r.write(stages.Protected, 0, 3, 2)
		c3, _ := r.write(stages.Protected, 0, 4, 1)
		if ops := r.ring.take(); len(ops) != 0 {
			t.Fatalf("%s with a batch not flushed", kinds(ops))
		}
		if r.frames.n != 1 {
			t.Errorf("%d frames came back from the queued write that was replaced", r.frames.n)
		}
		if img := r.readImage(1); img[0] != 4 {
			t.Errorf("a read finds image %d, want the newest accepted", img[0])
		}
		finish(nil, first...)
		finish(nil, r.ring.take()...) // its flush
		second := r.ring.take()
		if len(second) != 1 {
			t.Fatalf("the next batch: %s", kinds(second))
		}
		h, err := r.header(second[0], 1)
		if err != nil || len(h.Slots) != 2 || h.F != 1 {
			t.Fatalf("header %+v, %v: two pages and F 1 are wanted", h, err)
		}
		finish(nil, second...)
		finish(nil, r.ring.take()...)
		if !c2.Finished() || !c3.Finished() {
			t.Error("not acknowledged")
		}
	})
}

func (r *rig) readImage(no page.No) []byte {
	c := stages.NewCall()
	c.Reset(stages.Durable, 1)
	rd := &stages.Read{File: r.file, Call: c, Pages: []stages.ReadPage{{No: no, Buf: make([]byte, r.file.PageSize)}}}
	r.s.Inbox() <- stages.Msg{Read: rd}
	synctest.Wait()
	if !c.Finished() {
		r.t.Fatal("the read was passed on")
	}
	return rd.Pages[0].Buf
}

// TestLogFirst is I3: the batch waits, the wait forces the log, and a page without a record or of a
// foreign LSN space does not wait.
func TestLogFirst(t *testing.T) {
	withStage(t, nil, func(r *rig) {
		r.write(stages.Durable, 100, 1, 1)
		if ops := r.ring.take(); len(ops) != 0 {
			t.Fatalf("%s before the log is durable", kinds(ops))
		}
		if len(r.log.asked) != 1 || r.log.asked[0] != 100 {
			t.Fatalf("the log was asked for %v", r.log.asked)
		}
		r.log.reach(99)
		if ops := r.ring.take(); len(ops) != 0 {
			t.Fatalf("%s with the log durable through 99", kinds(ops))
		}
		r.log.reach(100)
		if ops := r.ring.take(); len(ops) == 0 {
			t.Fatal("the log is durable, and nothing happens")
		}
	})
	withStage(t, nil, func(r *rig) {
		r.file.ForeignLSN = true
		r.write(stages.Durable, 100, 1, 1)
		if ops := r.ring.take(); len(ops) == 0 {
			t.Fatal("a foreign LSN waits for our log")
		}
	})
	withStage(t, func(c *Config) { c.Mutants = stages.WALRuleOff }, func(r *rig) {
		r.write(stages.Durable, 100, 1, 1)
		if ops := r.ring.take(); len(ops) == 0 {
			t.Error("the mutant waits for the log")
		}
	})
}

// TestDirectPagesSkipTheRegions: files without doublewrite wait for the log and nothing else.
func TestDirectPagesSkipTheRegions(t *testing.T) {
	withStage(t, nil, func(r *rig) {
		r.file.Doublewrite = false
		r.write(stages.Protected, 50, 1, 1)
		if len(r.handed()) != 0 {
			t.Fatal("handed on before the log is durable")
		}
		r.log.reach(50)
		if b := r.handed(); len(b) != 1 || b[0].Region != -1 {
			t.Fatalf("%d batches", len(b))
		}
	})
}

// credit gives a batch back as reclaim does.
func (r *rig) credit(b *stages.Batch) {
	r.s.Credits() <- stages.Credit{Batch: b}
	synctest.Wait()
}

// through takes one write to S2 and returns its batch.
func (r *rig) through(no page.No) *stages.Batch {
	r.write(stages.Accepted, 0, 1, no)
	finish(nil, r.ring.take()...)
	finish(nil, r.ring.take()...)
	b := r.handed()
	if len(b) != 1 {
		r.t.Fatalf("%d batches handed on", len(b))
	}
	return b[0]
}

// TestRegionsAreNotReused is I2: with P batches in flight nothing is written until one has come
// back; and with one region only super can carry the watermark.
func TestRegionsAreNotReused(t *testing.T) {
	withStage(t, nil, func(r *rig) {
		b1 := r.through(1)
		r.through(2)
		r.write(stages.Accepted, 0, 1, 3)
		if ops := r.ring.take(); len(ops) != 0 {
			t.Fatalf("%s with all batches in flight", kinds(ops))
		}
		r.credit(b1)
		if ops := r.ring.take(); len(ops) != 1 {
			t.Fatal("a batch came back, and nothing is written")
		}
		if r.log.mark != (reclaim.Seq{Epoch: 5, Num: 1}) {
			t.Errorf("the log was told the watermark %s", r.log.mark)
		}
	})
	withStage(t, func(c *Config) { c.Geometry.Regions, c.InFlight = 1, 1 }, func(r *rig) {
		b := r.through(1)
		r.write(stages.Accepted, 0, 1, 2)
		r.credit(b)
		if ops := r.ring.take(); len(ops) != 0 {
			t.Fatal("the region is reused with no durable watermark over it")
		}
		if n := <-r.persist; n != 1 {
			t.Fatalf("super is asked to carry %d", n)
		}
		r.s.Credits() <- stages.Credit{Durable: 1}
		if ops := r.ring.take(); len(ops) != 1 {
			t.Fatal("the watermark is durable, and nothing is written")
		}
	})
}

// TestPressAgain: a request to flush covers only what datastage had when it got it, so it is made again
// when another batch was handed on: otherwise pages nobody waits for would hold the regions.
func TestPressAgain(t *testing.T) {
	withStage(t, nil, func(r *rig) {
		presses := func() (n int) {
			synctest.Wait()
			for len(r.out) > 0 {
				if m := <-r.out; m.Press {
					n++
				}
			}
			return n
		}
		for i := range 2 { // P = 2: with one in flight it is time
			r.write(stages.Accepted, 0, 1, page.No(i))
			finish(nil, r.ring.take()...)
			presses() // what came before the batch was handed on does not count
			finish(nil, r.ring.take()...)
			if presses() == 0 {
				t.Fatalf("batch %d was handed on, and nobody asks for a flush", i+1)
			}
		}
	})
}

// TestPressForMemory: as long as somebody waits for memory, each batch that is handed on or comes back has
// datastage asked again for a flush.
func TestPressForMemory(t *testing.T) {
	withStage(t, func(c *Config) { c.InFlight, c.Direct = 8, 8 }, func(r *rig) {
		r.file.Doublewrite = false
		presses := func() (n int, bs []*stages.Batch) {
			synctest.Wait()
			for len(r.out) > 0 {
				if m := <-r.out; m.Press {
					n++
				} else {
					bs = append(bs, m.Batch)
				}
			}
			return n, bs
		}
		r.write(stages.Accepted, 0, 1, 1)
		n, bs := presses()
		if n != 0 || len(bs) != 1 {
			t.Fatalf("%d presses, %d batches handed on", n, len(bs))
		}
		r.frames.wanted = true
		r.frames.wants <- struct{}{}
		if n, _ := presses(); n != 1 {
			t.Fatalf("%d presses when memory is waited for", n)
		}
		r.write(stages.Accepted, 0, 1, 2)
		if n, _ := presses(); n != 1 {
			t.Fatalf("%d presses after another batch was handed on", n)
		}
		r.credit(bs[0])
		if n, _ := presses(); n != 1 {
			t.Fatalf("%d presses after a batch came back, and that was not enough", n)
		}
		r.frames.wanted = false
		r.write(stages.Accepted, 0, 1, 3)
		if n, _ := presses(); n != 0 {
			t.Fatalf("%d presses when nobody waits", n)
		}
	})
}

// TestBackpressure: when everything is full a Write is not taken, the inbox is not read, and nothing
// is lost when there is room again.
func TestBackpressure(t *testing.T) {
	withStage(t, nil, func(r *rig) {
		var takens []chan struct{}
		for i := range page.No(8) {
			_, taken := r.write(stages.Accepted, 0, 1, 4*i, 4*i+1, 4*i+2, 4*i+3)
			takens = append(takens, taken)
		}
		stuck := 0
		for _, c := range takens {
			if len(c) == 0 {
				stuck++
			}
		}
		if stuck < 4 {
			t.Fatalf("%d of 8 full batches are stuck: memory is not bounded", stuck)
		}
		for range 8 { // let everything through
			for ops := r.ring.take(); len(ops) > 0; ops = r.ring.take() {
				finish(nil, ops...)
			}
			for _, b := range r.handed() {
				r.credit(b)
			}
		}
		for i, c := range takens {
			if len(c) == 0 {
				t.Errorf("write %d was never taken", i)
			}
		}
	})
}

// TestFailStop is I5 here: nothing is acknowledged or handed on after a failed write or flush.
func TestFailStop(t *testing.T) {
	eio := errors.New("EIO")
	for _, at := range []string{"write", "flush"} {
		withStage(t, nil, func(r *rig) {
			c, _ := r.write(stages.Protected, 0, 1, 1)
			ops := r.ring.take()
			if at == "write" {
				finish(eio, ops...)
			} else {
				finish(nil, ops...)
				finish(eio, r.ring.take()...)
			}
			if !errors.Is(r.poison.Err(), eio) || c.Finished() || len(r.handed()) != 0 || len(r.ring.take()) != 0 {
				t.Errorf("%s: poison %v, acknowledged %v", at, r.poison.Err(), c.Finished())
			}
			c2, taken := r.write(stages.Durable, 0, 1, 9)
			if len(taken) != 1 || !errors.Is(c2.Err(), eio) {
				t.Errorf("%s: a later write: %v", at, c2.Err())
			}
		})
	}
}
