package super

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// TestWriteOrder: two copies, a flush and a look at them before the other two, and the first two are
// those that are invalid or of the lowest sequence: two whole copies of one sequence are always there.
// A write that did not land is noticed, and nothing is written after it (I5).
func TestWriteOrder(t *testing.T) {
	d := sim.New(sim.Config{})
	if err := d.WriteFile("super", make([]byte, FileBytes)); err != nil {
		t.Fatal(err)
	}
	f, err := d.FS().Open("super", fsys.OpenFlags{})
	if err != nil {
		t.Fatal(err)
	}
	r := d.Ring()
	defer r.Close()
	s := NewStore(r, f, aligned.Alloc, 4096, 0)
	if err := s.Write(sample()); err != nil {
		t.Fatal(err)
	}
	b, err := d.ReadFile("super")
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 // of copies 0 and 3
	b[3*Zone] ^= 1
	if err := d.WriteFile("super", b); err != nil {
		t.Fatal(err)
	}
	if f, err = d.FS().Open("super", fsys.OpenFlags{}); err != nil {
		t.Fatal(err)
	}
	s = NewStore(r, f, aligned.Alloc, 4096, 0)
	if _, _, err := s.Read(context.Background()); err != nil {
		t.Fatal(err)
	}
	var seen []string
	d.Inject(func(op *ring.Op) sim.Fault {
		if op.Kind == ring.DataSync {
			seen = append(seen, "flush")
		} else {
			seen = append(seen, fmt.Sprintf("%s %d", op.Kind, op.Off/Zone))
		}
		return sim.Fault{}
	})
	if err := s.Write(sample()); err != nil {
		t.Fatal(err)
	}
	want := "write 0, write 3, flush, read 0, read 3, write 1, write 2, flush, read 1, read 2"
	if got := strings.Join(seen, ", "); got != want {
		t.Errorf("in this order: %s\nwant:          %s", got, want)
	}
	d.ClearFaults()
	d.Inject(func(op *ring.Op) sim.Fault { return sim.Fault{Lost: op.Kind == ring.Write} })
	other := sample()
	other.Epoch++
	if err := s.Write(other); err == nil {
		t.Error("a write that did not land is taken for done")
	}
	d.ClearFaults()
	if err := s.Write(other); err == nil {
		t.Error("written after a failure")
	}
}
