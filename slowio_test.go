package untorn

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

func TestProgress(t *testing.T) {
	const limit = 4 * time.Second
	type look struct {
		at                   time.Duration
		submitted, completed uint64
		stuck                time.Duration
		began, ended         bool
	}
	for name, looks := range map[string][]look{
		"nothing to do":      {{0, 0, 0, 0, false, false}, {60 * time.Second, 0, 0, 0, false, false}},
		"idle after work":    {{0, 5, 5, 0, false, false}, {60 * time.Second, 5, 5, 0, false, false}},
		"slow but moving":    {{0, 9, 1, 0, false, false}, {3 * time.Second, 9, 2, 0, false, false}, {6 * time.Second, 9, 3, 0, false, false}},
		"busy after idle":    {{0, 1, 1, 0, false, false}, {60 * time.Second, 1, 1, 0, false, false}, {61 * time.Second, 2, 1, 0, false, false}},
		"stuck and over":     {{0, 3, 1, 0, false, false}, {4 * time.Second, 3, 1, 4 * time.Second, true, false}, {5 * time.Second, 3, 1, 5 * time.Second, false, false}, {6 * time.Second, 3, 2, 6 * time.Second, false, true}, {7 * time.Second, 3, 2, 0, false, false}},
		"stuck and all back": {{0, 1, 0, 0, false, false}, {5 * time.Second, 1, 0, 5 * time.Second, true, false}, {6 * time.Second, 1, 1, 6 * time.Second, false, true}, {9 * time.Second, 1, 1, 0, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var p progress
			begin := time.Now()
			for i, l := range looks {
				stuck, began, ended := p.observe(begin.Add(l.at), ring.Stats{Submitted: l.submitted, Completed: l.completed}, limit)
				if stuck != l.stuck || began != l.began || ended != l.ended {
					t.Errorf("look %d: %v, began %v, ended %v; want %v, %v, %v", i, stuck, began, ended, l.stuck, l.began, l.ended)
				}
			}
		})
	}
}

// TestSlowIO: an engine whose write does not come back says so, and takes it back when it does.
func TestSlowIO(t *testing.T) { synctest.Test(t, slowIO) }

func slowIO(t *testing.T) {
	const limit = time.Second
	ctx := context.Background()
	d := sim.New(sim.Config{Seed: 1})
	e, err := Open(ctx, Options{Dir: "/db", FS: d.FS(), NewRing: func(string, ring.Config) (ring.Ring, error) { return d.Ring(), nil }, SlowIO: limit,
		BatchBytes: 64 << 10, SegmentBytes: 1 << 20, Memory: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	f, err := e.OpenFile(ctx, "table", FileOptions{Create: true, Pages: 4, PageSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	d.Inject(func(op *ring.Op) sim.Fault {
		return sim.Fault{Hold: op.Kind == ring.Write && strings.Contains(op.File.Name(), "/data/")}
	})
	p, err := f.WritePagesAsync(ctx, []PageWrite{{Data: make([]byte, 4096)}}, Durable)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * limit)
	if s := e.Stats().SlowIO; s.Since < limit || s.Episodes == 0 || s.Longest != s.Since {
		t.Errorf("stuck for 3 s: %+v", s)
	}
	d.ClearFaults()
	d.Release(nil)
	if err := p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	time.Sleep(limit)
	if s := e.Stats().SlowIO; s.Since != 0 || s.Episodes == 0 || s.Longest < 2*limit || s.Longest > 4*limit {
		t.Errorf("over: %+v", s)
	}
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
