package untorn_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// TestRemoveWaitsForWrites is I11: a file is not closed beneath a write in flight, which would land
// in whatever gets its descriptor next.
func TestRemoveWaitsForWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := sim.New(sim.Config{Seed: 7})
		e := open(t, onSim(d))
		f := create(t, e, "table", untorn.FileOptions{Pages: 4, PageSize: 4096})
		d.Inject(func(op *ring.Op) sim.Fault {
			return sim.Fault{Hold: op.Kind == ring.Write && strings.Contains(op.File.Name(), "/data/")}
		})
		ws := []untorn.PageWrite{{Data: make([]byte, 4096)}}
		if _, err := f.WritePagesAsync(ctx, ws, untorn.Accepted); err != nil {
			t.Fatal(err)
		}
		removed := make(chan error, 1)
		go func() { removed <- e.Remove(ctx, "table") }()
		synctest.Wait()
		if len(removed) != 0 || d.Held() != 1 {
			t.Errorf("removed: %v, with %d writes of it in flight", len(removed) == 1, d.Held())
		}
		d.ClearFaults()
		d.Release(nil)
		if err := <-removed; err != nil {
			t.Error(err)
		}
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}
