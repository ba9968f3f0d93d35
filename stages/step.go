package stages

import (
	"sync/atomic"

	"github.com/untorn/untorn/ring"
)

// Step lets a caller that waits for its write anyway run one request of a stage in its own
// goroutine, in the stage's name: where one caller is alone, the hand-offs to a ring and back cost
// more than the work. The stage makes the request and gets the completion on the op's Done as from a
// ring; it remains the only writer of its state.
type Step struct {
	state atomic.Uint32
	op    chan *ring.Op // has room for one
}

const (
	stepWaiting uint32 = iota // the caller waits and would run an op
	stepOffered               // the one op is the caller's to run
	stepLeft                  // the caller does not wait any more
)

// NewStep returns a step that Reset makes ready.
func NewStep() *Step { return &Step{op: make(chan *ring.Op, 1)} }

// Reset is the caller's, before its write is handed over.
func (s *Step) Reset() { s.state.Store(stepWaiting) }

// Offer gives op to the caller, once after a Reset. If it is false nobody waits any more, and the op
// is still the stage's to submit.
func (s *Step) Offer(op *ring.Op) bool {
	if !s.state.CompareAndSwap(stepWaiting, stepOffered) {
		return false
	}
	s.op <- op
	return true
}

// C delivers the op to be run. The caller then sends it on its Done.
func (s *Step) C() <-chan *ring.Op { return s.op }

// Leave ends the wait of a caller that has received nothing from C. An op it returns has been
// offered, and is to be run all the same.
func (s *Step) Leave() *ring.Op {
	if s.state.CompareAndSwap(stepWaiting, stepLeft) {
		return nil
	}
	return <-s.op
}
