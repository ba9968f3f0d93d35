package ring

import "sync/atomic"

// gate counts the callers inside a ring, so that Close can wait until the last has left: a caller
// late with its system call must never meet a descriptor number that has since been reused.
type gate struct {
	n       atomic.Int64 // callers inside, plus shutBias once shut
	drained chan struct{}
}

const shutBias = -1 << 62

func newGate() gate { return gate{drained: make(chan struct{}, 1)} }

// enter reports whether the gate is open; if so the caller must leave.
func (g *gate) enter() bool {
	if g.n.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.n.Add(-1) == shutBias {
		select {
		case g.drained <- struct{}{}:
		default:
		}
	}
}

func (g *gate) shut() bool { return g.n.Load() < 0 }

// close shuts the gate and returns once nobody is inside. wake is called in between: it must get
// the callers that wait inside to look at shut again. Call close once.
func (g *gate) close(wake func()) {
	inside := g.n.Add(shutBias) != shutBias
	wake()
	if inside {
		<-g.drained
	}
}
