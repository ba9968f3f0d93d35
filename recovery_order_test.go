package untorn_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
)

// TestRecoveryOrder is I8: the regions that are used are rewritten and flushed before a destination is
// written, the destinations are flushed when all of their writes have completed, and only then does
// super retire the regions.
func TestRecoveryOrder(t *testing.T) {
	d := sim.New(sim.Config{Seed: 6})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 12, PageSize: 4096})
	d.Inject(func(op *ring.Op) sim.Fault {
		return sim.Fault{Hold: op.Kind == ring.Write && strings.Contains(op.File.Name(), "/data/")}
	})
	var ws []untorn.PageWrite
	for no := range untorn.PageNo(12) {
		ws = append(ws, untorn.PageWrite{No: no, Data: make([]byte, 4096)})
	}
	if err := f.WritePages(ctx, ws, untorn.Protected); err != nil {
		t.Fatal(err)
	}
	crashed := d.Crash()
	d.PowerOff()
	_ = e.Close(ctx)

	var mu sync.Mutex
	var seen []string
	crashed.Inject(func(op *ring.Op) sim.Fault {
		mu.Lock()
		defer mu.Unlock()
		name, what := op.File.Name(), ""
		switch write, flush := op.Kind == ring.Write, op.Kind == ring.DataSync; {
		case write && strings.Contains(name, "/dwb/"):
			what = "region"
		case flush && strings.Contains(name, "/dwb/"):
			what = "regions flushed"
		case write && strings.Contains(name, "/data/") && op.Off >= super.DataStart(4096):
			what = "page"
		case write && strings.Contains(name, "/data/"):
			what = "header"
		case flush && strings.Contains(name, "/data/"):
			what = "pages flushed"
			if s := crashed.Stats(); s.Submitted != s.Completed {
				what = "pages flushed beside their writes"
			}
		case write && strings.HasSuffix(name, "/super"):
			what = "super"
		}
		if what != "" && (len(seen) == 0 || seen[len(seen)-1] != what) {
			seen = append(seen, what)
		}
		return sim.Fault{}
	})
	e = open(t, onSim(crashed))
	crashed.ClearFaults()
	defer func() { _ = e.Close(ctx) }()
	mu.Lock()
	defer mu.Unlock()
	at := slices.Index(seen, "region")
	want := []string{"region", "regions flushed", "page", "pages flushed"}
	if at < 0 || len(seen) < at+5 || !slices.Equal(seen[at:at+4], want) || !slices.Contains(seen[at+4:], "super") {
		t.Errorf("in this order: %q", seen)
	}
}
