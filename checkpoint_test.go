package untorn_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// TestCheckpointOrder: whatever super names is durable before it, and the log is let go of behind it: a
// checkpoint whose super could not be written keeps all of the log.
func TestCheckpointOrder(t *testing.T) {
	d := sim.New(sim.Config{Seed: 4})
	o := onSim(d)
	o.SegmentBytes = 64 << 10
	e := open(t, o)
	for range 40 { // a few segments
		if _, _, err := e.Append(make([]byte, 8<<10)); err != nil {
			t.Fatal(err)
		}
	}
	redo := e.EndLSN()
	if e.DurableLSN() >= redo {
		t.Fatal("the last record is durable already")
	}
	if err := e.Checkpoint(ctx, redo, nil); err != nil {
		t.Fatal(err)
	}
	if got := e.DurableLSN(); got < redo {
		t.Errorf("super names LSN %d, and the log is durable through %d", redo, got)
	}
	begin := e.Retention().Begin
	if begin == 0 {
		t.Fatal("nothing was let go")
	}
	for range 40 {
		if _, _, err := e.AppendSync(ctx, make([]byte, 8<<10)); err != nil {
			t.Fatal(err)
		}
	}
	d.Inject(func(op *ring.Op) (f sim.Fault) {
		if op.Kind == ring.Write && strings.HasSuffix(op.File.Name(), "/super") {
			f.Err = syscall.EIO
		}
		return f
	})
	if err := e.Checkpoint(ctx, e.EndLSN(), nil); err == nil {
		t.Fatal("the checkpoint is not in super")
	}
	if got := e.Retention().Begin; got != begin {
		t.Errorf("the log begins at %d, before the failed checkpoint at %d", got, begin)
	}
	_ = e.Close(ctx)
}

// TestCloseOrder: the clean flag is the last thing written: pages are in place and the log is durable.
func TestCloseOrder(t *testing.T) {
	d := sim.New(sim.Config{Seed: 5})
	o := onSim(d)
	o.IdleFlush = time.Hour
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 4, PageSize: 4096})
	if err := f.WritePages(ctx, []untorn.PageWrite{{Data: make([]byte, 4096)}}, untorn.Protected); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Append([]byte("nobody waits for it")); err != nil {
		t.Fatal(err)
	}
	end := e.EndLSN()
	var seen []string
	d.Inject(func(op *ring.Op) sim.Fault {
		name := op.File.Name()
		switch {
		case strings.HasSuffix(name, "/super") && op.Kind == ring.Write:
			seen = append(seen, fmt.Sprintf("super, log durable: %v", e.DurableLSN() >= end))
		case strings.Contains(name, "/data/"):
			seen = append(seen, "pages")
		}
		return sim.Fault{}
	})
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	last := slices.Index(seen, "super, log durable: true")
	if last < 0 || slices.Contains(seen, "super, log durable: false") || slices.Contains(seen[last:], "pages") {
		t.Errorf("in this order: %q", seen)
	}
}
