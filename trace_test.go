package untorn_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
)

// A trace is the order of device operations of one run, and the rules it is held against. It knows
// nothing of the engine but its formats.
type trace struct {
	pageSize int
	shape    dwbstage.Geometry
	id       dwbstage.EngineID

	batches map[uint64]*traceBatch
	region  map[int]*traceBatch // holder
	writes  map[page.No][]*traceWrite
	super   uint64 // watermark that super carries, flushed
	follower
}

type traceBatch struct {
	*dwbstage.Header
	open    bool // being written
	reaped  int  // index
	flushed bool
}

type traceWrite struct {
	crc     uint32
	done    int // index; 0 in flight
	flushed bool
}

type traceFlush struct {
	file string
	at   int
}

func newTrace(pageSize int, o untorn.Options) *trace {
	return &trace{
		pageSize: pageSize, shape: dwbstage.Geometry{Block: 4096, Batch: o.BatchBytes, Regions: o.Batches + o.Unflushed},
		batches: map[uint64]*traceBatch{}, region: map[int]*traceBatch{}, writes: map[page.No][]*traceWrite{},
		follower: newFollower(),
	}
}

// follower goes through the log of a disk and asks the rules about it.
type follower struct {
	ops     map[uint64]func(at int) // what the end of a write means
	flushes map[uint64]traceFlush   // under way
	failed  error
}

// rules are what a trace is held against.
type rules interface {
	doublewrite(sim.Entry)
	destination(sim.Entry)
	flush(traceFlush)
	ack(mark any)
}

func newFollower() follower {
	return follower{ops: map[uint64]func(int){}, flushes: map[uint64]traceFlush{}}
}

func (f *follower) fail(format string, a ...any) {
	if f.failed == nil {
		f.failed = fmt.Errorf(format, a...)
	}
}

func (f *follower) follow(l *sim.Log, r rules) error {
	for i := range l.Len() {
		e := l.At(i)
		switch {
		case e.Kind == sim.WriteSubmit && strings.Contains(e.File, "/dwb/"):
			r.doublewrite(e)
		case e.Kind == sim.WriteSubmit && strings.Contains(e.File, "/data/"):
			r.destination(e)
		case e.Kind == sim.FlushSubmit:
			f.flushes[e.Op] = traceFlush{e.File, e.Index}
		case e.Kind == sim.FlushDone:
			r.flush(f.flushes[e.Op])
		case e.Kind == sim.WriteDone && f.ops[e.Op] != nil:
			f.ops[e.Op](e.Index)
		case e.Kind == sim.Mark:
			r.ack(e.Mark)
		}
	}
	return f.failed
}

func (t *trace) doublewrite(e sim.Entry) {
	i := int((e.Off - int64(t.shape.Block)) / t.shape.RegionBytes())
	data := e.Data()
	block := data[:t.shape.Block]
	h, err := dwbstage.Decode(block, t.shape, t.id, i)
	if err != nil {
		t.fail("doublewrite at %d: %v", e.Index, err)
		return
	}
	b := t.batches[h.Seq.Num]
	if b == nil {
		b = &traceBatch{Header: h}
		t.batches[h.Seq.Num] = b
		if old := t.region[i]; old != nil {
			t.reuse(e, old, b)
		}
		t.region[i] = b
	}
	b.open = true
	t.ops[e.Op] = func(at int) { b.open, b.reaped, b.flushed = false, at, e.DSync() }
}

// reuse is I2: the region's last pages are safe, and a durable watermark says so.
func (t *trace) reuse(e sim.Entry, old, b *traceBatch) {
	w := t.super
	for _, x := range t.batches {
		if x.flushed {
			w = max(w, x.W.Num)
		}
	}
	if w < old.Seq.Num {
		t.fail("I2: region of batch %d reused by %d at %d, the durable watermark is %d", old.Seq.Num, b.Seq.Num, e.Index, w)
	}
	for i := range old.Slots {
		safe := false
		for _, x := range t.writes[old.Slots[i].Page.No] {
			safe = safe || x.flushed && (x.crc == old.Slots[i].CRC || t.newer(old, x.crc, old.Slots[i].Page.No))
		}
		if !safe {
			t.fail("I2: region of batch %d reused by %d at %d, page %d of it is not flushed", old.Seq.Num, b.Seq.Num, e.Index, old.Slots[i].Page.No)
		}
	}
}

// newer reports whether an image of a page came with a later batch than old.
func (t *trace) newer(old *traceBatch, crc uint32, no page.No) bool {
	for _, x := range t.batches {
		if x.Seq.Num <= old.Seq.Num {
			continue
		}
		for i := range x.Slots {
			if x.Slots[i].Page.No == no && x.Slots[i].CRC == crc {
				return true
			}
		}
	}
	return false
}

// destination is I1 and I9.
func (t *trace) destination(e sim.Entry) {
	start := super.DataStart(4096)
	if e.Off < start || e.Len != t.pageSize {
		return // headers, or the format of new pages
	}
	no := page.No((e.Off - start) / int64(t.pageSize))
	x := &traceWrite{crc: page.ImageCRC(e.Data())}
	for _, o := range t.writes[no] {
		if o.done == 0 {
			t.fail("I9: two destination writes of page %d in flight at %d", no, e.Index)
		}
	}
	covered := false
	for _, b := range t.batches {
		for i := range b.Slots {
			covered = covered || b.flushed && b.Slots[i].Page.No == no && b.Slots[i].CRC == x.crc
		}
	}
	if !covered {
		t.fail("I1: destination write of page %d at %d, no flushed batch holds this image", no, e.Index)
	}
	t.writes[no] = append(t.writes[no], x)
	t.ops[e.Op] = func(at int) { x.done = at }
}

func (t *trace) flush(f traceFlush) {
	switch {
	case strings.Contains(f.file, "/dwb/"):
		for _, b := range t.batches {
			if !b.open && b.reaped < f.at {
				b.flushed = true
			}
		}
	case strings.Contains(f.file, "/data/"):
		for _, ws := range t.writes {
			for _, x := range ws {
				if x.done != 0 && x.done < f.at {
					x.flushed = true
				}
			}
		}
	}
}

// traceAck says that a call returned.
type traceAck struct {
	no    page.No
	crc   uint32
	level untorn.Level
}

// ack is I4.
func (t *trace) ack(mark any) {
	a := mark.(traceAck)
	ok := false
	for _, x := range t.writes[a.no] {
		ok = ok || x.flushed && x.crc == a.crc
	}
	if !ok && a.level == untorn.Protected {
		for _, b := range t.batches {
			for i := range b.Slots {
				ok = ok || b.flushed && b.Slots[i].Page.No == a.no && b.Slots[i].CRC == a.crc
			}
		}
	}
	if !ok {
		// A newer image of the page serves, too: this writer alone writes it, so there is none.
		t.fail("I4: page %d was acknowledged as %s, and is not", a.no, a.level)
	}
}

// traced runs a load on a simulated disk whose operations overlap in any order, and returns what
// the trace says.
func traced(t *testing.T, seed uint64, mutants stages.Mutant) error {
	d := sim.New(sim.Config{Seed: seed})
	o := onSim(d)
	o.Batches, o.Unflushed = 3, 2
	if seed%3 == 0 {
		o.DWBSync = untorn.DWBFlush
	}
	o.Mutants = mutants
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 64, PageSize: 4096})
	tr := newTrace(4096, o)
	id := e.Info().EngineID
	if _, err := fmt.Sscanf(id, "%x", new([]byte)); err != nil {
		t.Fatal(err)
	}
	for i := range tr.id {
		_, _ = fmt.Sscanf(id[2*i:2*i+2], "%02x", &tr.id[i])
	}
	d.Record()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for w := range uint64(4) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(seed, w))
			for v := uint64(1); v <= 12; v++ {
				_, lsn, err := e.Append([]byte("record"))
				var ws []untorn.PageWrite
				seen := map[page.No]bool{}
				for range 1 + r.IntN(20) {
					no := page.No(w*16 + r.Uint64N(16))
					b := make([]byte, 4096)
					fill(b, uint64(no), v<<8|r.Uint64N(200))
					ws = append(ws, untorn.PageWrite{No: no, LSN: lsn, Data: b})
				}
				level := []untorn.Level{untorn.Durable, untorn.Protected, untorn.Accepted}[r.IntN(3)]
				if err == nil {
					err = f.WritePages(ctx, ws, level)
				}
				if err != nil {
					if !errors.Is(err, untorn.ErrPoisoned) {
						t.Error(err)
					}
					return
				}
				for i := len(ws) - 1; i >= 0 && level != untorn.Accepted; i-- {
					if seen[ws[i].No] {
						continue // an earlier image of the same call
					}
					seen[ws[i].No] = true
					b := append([]byte(nil), ws[i].Data...)
					crc := page.Native{}.Seal(b, page.Seed{Incarnation: incarnation(d), No: ws[i].No}, lsn)
					mu.Lock()
					d.Mark(traceAck{ws[i].No, crc, level})
					mu.Unlock()
				}
			}
		}()
	}
	wg.Wait()
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	log := d.Log()
	for _, p := range d.Problems() {
		tr.fail("the disk saw: %v", p)
	}
	_ = e.Close(ctx)
	if err := tr.follow(log, tr); err != nil {
		return err
	}
	if len(tr.batches) < 5 || len(tr.writes) < 20 {
		return fmt.Errorf("the load did nothing: %d batches, %d pages", len(tr.batches), len(tr.writes))
	}
	return nil
}

// incarnation of the only data file.
func incarnation(d *sim.Disk) uint64 {
	list, _ := d.FS().ReadDir("/db/data")
	b, _ := d.ReadFile("/db/data/" + list[0].Name)
	h, err := super.DecodeFileHeader(b[4096:8192])
	if err != nil {
		h, err = super.DecodeFileHeader(b[:4096])
	}
	if err != nil {
		return 0
	}
	return h.File.Incarnation
}

// TestTrace: in the order the disk saw, I1, I2, I4 and I9 hold for every seed; and each mutant of
// them is noticed.
func TestTrace(t *testing.T) {
	for seed := range uint64(20) {
		if err := traced(t, seed, 0); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	for _, mutant := range []stages.Mutant{stages.SkipDWBFlush, stages.SyncFileRange, stages.AckEarly} {
		var err error
		for seed := uint64(0); seed < 20 && err == nil; seed++ {
			err = traced(t, seed, mutant)
		}
		if err == nil {
			t.Errorf("mutant %b went unnoticed", mutant)
		}
	}
}

// TestLogBeforePages is I3: while the log's flush hangs, no copy of a page with an LSN beyond it is
// submitted anywhere; a page without a record passes.
func TestLogBeforePages(t *testing.T) {
	for _, mode := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeDetect} {
		for _, mutant := range []stages.Mutant{0, stages.WALRuleOff} {
			t.Run(fmt.Sprintf("mode=%s,mutant=%d", mode, mutant), func(t *testing.T) {
				d := sim.New(sim.Config{Seed: 8})
				o := onSim(d)
				o.Mutants = mutant
				e := open(t, o)
				f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096, Mode: mode})
				var mu sync.Mutex
				early := ""
				copied := make(chan struct{}, 100)
				d.Inject(func(op *ring.Op) sim.Fault {
					mu.Lock()
					defer mu.Unlock()
					if op.Kind == ring.DataSync && strings.Contains(op.File.Name(), "/wal/") {
						return sim.Fault{Hold: true}
					}
					if op.Kind == ring.Write && !strings.Contains(op.File.Name(), "/wal/") {
						for _, b := range append(op.Vec, op.Buf) {
							for p := 0; p+4096 <= len(b); p += 4096 {
								if binary.LittleEndian.Uint64(b[p+untorn.PageHeader:]) == 77 {
									early = op.File.Name()
								}
							}
						}
						select {
						case copied <- struct{}{}:
						default:
						}
					}
					return sim.Fault{}
				})
				_, lsn, err := e.Append([]byte("change"))
				if err != nil {
					t.Fatal(err)
				}
				b, free := make([]byte, 4096), make([]byte, 4096)
				fill(b, 1, 77)
				fill(free, 2, 5)
				p, err := f.WritePagesAsync(ctx, []untorn.PageWrite{{No: 1, LSN: lsn, Data: b}}, untorn.Durable)
				if err != nil {
					t.Fatal(err)
				}
				if mutant != 0 {
					<-copied
				}
				// A read goes the way of the write, behind it: now the stages have seen both.
				if err := f.ReadPages(ctx, []untorn.PageRead{{No: 3, Data: make([]byte, 4096)}}); err != nil {
					t.Fatal(err)
				}
				d.ClearFaults()
				mu.Lock()
				got := early
				mu.Unlock()
				d.Release(nil)
				if err := p.Wait(ctx); err != nil {
					t.Fatal(err)
				}
				if (got != "") != (mutant != 0) {
					t.Errorf("with the log not durable a copy went to %q", got)
				}
				if err := f.WritePages(ctx, []untorn.PageWrite{{No: 2, Data: free}}, untorn.Durable); err != nil {
					t.Fatal(err)
				}
				mustClose(t, e)
			})
		}
	}
}
