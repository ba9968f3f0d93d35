package reclaim

import (
	"fmt"
	"testing"
)

// BenchmarkRegions is a batch's way through the state machine, with the ring full: assigned,
// written, flushed, retired.
func BenchmarkRegions(b *testing.B) {
	for _, c := range []struct{ p, d int }{{4, 2}, {32, 16}} {
		b.Run(fmt.Sprintf("inflight=%d/unflushed=%d", c.p, c.d), func(b *testing.B) {
			r, err := NewRegions(c.p+c.d, c.p, c.d)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if r.Next() == WaitRetire {
					r.Retire(r.W() + 1)
				}
				a := r.Assign()
				r.Reaped(a.Num)
				r.FlushStart()
				r.FlushDone()
			}
		})
	}
}
