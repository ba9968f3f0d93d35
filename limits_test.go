package untorn_test

import (
	"errors"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
)

// What has an end: the disk, and recoveries.

// TestDiskFull: creation, growth and the log are refused with ErrNoSpace, the engine stays healthy,
// and the directory opens again.
func TestDiskFull(t *testing.T) {
	d := sim.New(sim.Config{Seed: 5, Capacity: 4 << 20})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 16, PageSize: 4096})
	if err := f.Grow(ctx, 4096); !errors.Is(err, untorn.ErrNoSpace) {
		t.Fatalf("grow: %v", err)
	}
	if _, err := e.OpenFile(ctx, "huge", untorn.FileOptions{Create: true, Pages: 4096}); !errors.Is(err, untorn.ErrNoSpace) {
		t.Fatalf("create: %v", err)
	}
	var last untorn.LSN
	var err error
	n := 0
	for err == nil {
		var end untorn.LSN
		if _, end, err = e.Append(make([]byte, 8<<10)); err == nil {
			last = end
			n++
		}
	}
	if !errors.Is(err, untorn.ErrLogFull) {
		t.Fatalf("append on a full disk: %v", err)
	}
	if err := e.WaitDurable(ctx, last); err != nil {
		t.Fatalf("what was accepted: %v", err)
	}
	writeNoRecord := func(v uint64) {
		b := make([]byte, 4096)
		fill(b, 3, v)
		if err := f.WritePages(ctx, []untorn.PageWrite{{No: 3, LSN: last, Data: b}}, untorn.Durable); err != nil {
			t.Fatalf("pages on a full disk: %v", err)
		}
	}
	writeNoRecord(1)
	if err := e.Checkpoint(ctx, e.EndLSN(), nil); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	if _, _, err := e.Append(make([]byte, 8<<10)); err != nil {
		t.Fatalf("append after the log was emptied: %v", err)
	}
	writeNoRecord(2)
	mustClose(t, e)
	e = open(t, o)
	f, err = e.OpenFile(ctx, "table", untorn.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v := readVersion(t, f, 3); v != 2 {
		t.Errorf("version %d", v)
	}
}

// TestRecoveryLoop: recoveries that never finish end in an error that names the place.
func TestRecoveryLoop(t *testing.T) {
	d := sim.New(sim.Config{Seed: 6})
	o := onSim(d)
	o.MaxRecoveries = 3
	e := open(t, o)
	for range 10 {
		_, end, err := e.Append(make([]byte, 100))
		if err == nil {
			err = e.WaitDurable(ctx, end)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		d = d.Crash()
		o = onSim(d)
		o.MaxRecoveries = 3
		e, err := reopen(o)
		if i == 3 {
			var loop *untorn.RecoveryLoopError
			if !errors.Is(err, untorn.ErrRecoveryLoop) || !errors.As(err, &loop) || loop.Begun != 3 || loop.LSN == 0 {
				t.Fatalf("attempt %d: %v", i+1, err)
			}
			break
		}
		if err != nil {
			t.Fatalf("attempt %d: %v", i+1, err)
		}
		for r, err := range e.Replay(ctx) { // the caller dies at the second record
			if err != nil || r.Start == 0 {
				t.Fatal(err)
			}
			break
		}
	}
	o.MaxRecoveries = 10
	e, err := reopen(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range e.Replay(ctx) {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, e)
}
