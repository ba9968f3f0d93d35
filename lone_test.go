package untorn_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// TestWriteOfMorePagesThanBatchesHold: a call waits until all of its pages have been taken into batches,
// and must not have been given one of them to write by then.
func TestWriteOfMorePagesThanBatchesHold(t *testing.T) {
	o := onSim(sim.New(sim.Config{Seed: 9}))
	o.Batches, o.BatchBytes = 1, 64<<10
	e := open(t, o)
	defer func() { _ = e.Close(ctx) }()
	f := create(t, e, "table", untorn.FileOptions{Pages: 40, PageSize: 16384})
	var ws []untorn.PageWrite
	for no := range untorn.PageNo(30) {
		ws = append(ws, untorn.PageWrite{No: no, Data: make([]byte, 16384)})
	}
	c, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := f.WritePages(c, ws, untorn.Durable); err != nil {
		t.Fatal(err)
	}
}

// TestMemoryIsPressedFor: pages that nobody waits for hold their memory until they are flushed in their
// place. Whoever waits for memory has that done; it is not left to the idle flush.
func TestMemoryIsPressedFor(t *testing.T) {
	for _, m := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeFullpage, untorn.ModeNone} {
		t.Run(string(m), func(t *testing.T) {
			o := onSim(sim.New(sim.Config{Seed: 9}))
			o.Batches, o.BatchBytes, o.Memory, o.IdleFlush = 8, 64<<10, 12*64<<10, time.Hour
			e := open(t, o)
			f := create(t, e, "table", untorn.FileOptions{Pages: 200, PageSize: 16384, Mode: m})
			c, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			mine := make([][]byte, 40) // of 48: memory ends before batches do, in every mode
			if err := f.Alloc(c, mine); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 16384)
			for no := range untorn.PageNo(200) {
				if err := f.WritePages(c, []untorn.PageWrite{{No: no, Data: b}}, untorn.Accepted); err != nil {
					t.Fatalf("page %d: %v", no, err)
				}
			}
			if e.Stats().Memory.Waits == 0 {
				t.Error("nobody waited for memory")
			}
			more := make([][]byte, 8)
			if err := f.Alloc(c, more); err != nil {
				t.Fatal(err)
			}
			f.Free(more)
			for no := range untorn.PageNo(16) {
				if err := f.WritePages(c, []untorn.PageWrite{{No: no, Data: b}}, untorn.Accepted); err != nil {
					t.Fatalf("page %d: %v", no, err)
				}
			}
			if err := f.ReadPages(c, []untorn.PageRead{{No: 90, Data: b}}); err != nil {
				t.Fatal(err)
			}
			f.Free(mine)
			mustClose(t, e)
		})
	}
}

// TestLoneCallerLeaves: a caller that runs the doublewrite of its own page may be cancelled at any
// moment; the engine goes on, and what it accepted is there at the end.
func TestLoneCallerLeaves(t *testing.T) {
	d := sim.New(sim.Config{Seed: 9})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 4, PageSize: 4096})
	b := make([]byte, 4096)
	var last uint64
	for v := uint64(1); v <= 200; v++ {
		fill(b, 0, v)
		c, cancel := context.WithCancel(ctx)
		d.Inject(func(op *ring.Op) sim.Fault {
			if op.Kind == ring.Write && rand.IntN(2) == 0 { // here or there: before, during, after
				cancel()
			}
			return sim.Fault{Stall: time.Duration(rand.IntN(50)) * time.Microsecond}
		})
		err := f.WritePages(c, []untorn.PageWrite{{Data: b}}, untorn.Protected)
		cancel()
		d.ClearFaults()
		var x *untorn.Error
		switch {
		case err == nil, errors.As(err, &x) && x.MayBecomeDurable:
			last = v // accepted
		case !errors.Is(err, context.Canceled):
			t.Fatal(err)
		}
	}
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	e = open(t, o)
	defer func() { _ = e.Close(ctx) }()
	f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4096)
	if err := f.ReadPages(ctx, []untorn.PageRead{{Data: got}}); err != nil {
		t.Fatal(err)
	}
	fill(b, 0, last)
	if string(got[untorn.PageHeader:]) != string(b[untorn.PageHeader:]) {
		t.Errorf("version %d was accepted last, and is not there", last)
	}
}
