package torture

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// TestAppendAfterFailure: once an append has failed for good no caller starts that record again, as
// whether it is in the log is not known.
func TestAppendAfterFailure(t *testing.T) {
	e, err := untorn.Open(t.Context(), untorn.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := newModel(untorn.ModeDoublewrite, 1)
	c := &child{e: e, to: m, j: &job{}}
	for range 2 { // two appenders
		if _, _, err := c.append(1, 1); err == nil {
			t.Fatal("an append to a closed engine went well")
		}
	}
	if len(m.tally.violations) != 0 {
		t.Errorf("%v", m.tally.violations)
	}
}

// TestReadOfAStoppedEngine: a read of a page whose write failed ends the child, and accuses nobody.
func TestReadOfAStoppedEngine(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	e, err := untorn.Open(t.Context(), untorn.Options{
		Dir: "/db", Memory: 2 << 20, BatchBytes: 64 << 10, SegmentBytes: 256 << 10, LockWait: -1, Unsafe: true, FS: d.FS(),
		NewRing: func(string, ring.Config) (ring.Ring, error) { return d.Ring(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := e.OpenFile(t.Context(), "main", untorn.FileOptions{Create: true, PageSize: 4096, Pages: 1})
	if err != nil {
		t.Fatal(err)
	}
	d.Inject(func(op *ring.Op) sim.Fault {
		if op.Kind == ring.Write && strings.Contains(op.File.Name(), "/data/") {
			return sim.Fault{Err: syscall.ENOSPC}
		}
		return sim.Fault{}
	})
	w := []untorn.PageWrite{{Data: make([]byte, 4096)}}
	if err := f.WritePages(t.Context(), w, untorn.Durable); !errors.Is(err, untorn.ErrPoisoned) {
		t.Fatalf("the write: %v", err)
	}
	m := newModel(untorn.ModeDoublewrite, 1)
	c := &child{e: e, to: m, j: &job{}}
	err = newPageWorker(c, f, 1, make([]seenPage, 1), 0, 1).read(t.Context())
	if !errors.Is(err, untorn.ErrPoisoned) || c.stoppedBy(err).a != lackedSpace {
		t.Errorf("the read: %v", err)
	}
	if len(m.tally.violations) != 0 {
		t.Errorf("%v", m.tally.violations)
	}
	if err := e.Close(t.Context()); !errors.Is(err, untorn.ErrPoisoned) {
		t.Errorf("close: %v", err)
	}
}
