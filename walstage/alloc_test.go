package walstage

import (
	"testing"

	"github.com/untorn/untorn/page"
)

// TestNoAllocation: in steady state neither an append nor a wait allocates.
func TestNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	d := newFakeDisk()
	o := small(d)
	o.SegmentBytes, o.MaxGroup = 32<<20, 0
	l := newLog(t, o)
	rec := []byte(record(1, 1024))
	recs, ends := [][]byte{rec, rec}, make([]page.LSN, 0, 2)
	each := func() {
		_, end, err := l.Append(0, rec)
		if err == nil {
			err = l.WaitDurable(bg, end)
		}
		if err == nil {
			_, err = l.AppendBatch(recs, ends)
		}
		if err == nil {
			err = l.WaitDurable(bg, l.End())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	each()
	for l.Stats().Created == 0 { // the supplier is done for now
		each()
	}
	if n := testing.AllocsPerRun(500, each); n >= 1 {
		t.Errorf("%v allocations for three records", n)
	}
	mustClose(t, l)
}
