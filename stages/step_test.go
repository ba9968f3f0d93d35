package stages

import (
	"sync"
	"testing"

	"github.com/untorn/untorn/ring"
)

// TestStepHasOneRunner: whoever wins when a stage offers and the caller leaves at the same moment,
// the op is run by exactly one of them.
func TestStepHasOneRunner(t *testing.T) {
	s := NewStep()
	for i := range 2000 {
		s.Reset()
		var op ring.Op
		var offered bool
		var got *ring.Op
		var wg sync.WaitGroup
		wg.Go(func() { offered = s.Offer(&op) })
		wg.Go(func() {
			select {
			case got = <-s.C():
			default:
				got = s.Leave()
			}
		})
		wg.Wait()
		if offered != (got == &op) {
			t.Fatalf("round %d: offered %v, the caller has it: %v", i, offered, got == &op)
		}
		if s.Offer(&op) {
			t.Fatalf("round %d: offered twice", i)
		}
	}
}
