package stages

import (
	"sync"
	"sync/atomic"
)

// Poison is the engine's fail-stop switch (I5). The first failure on a durability path sets it;
// every stage and every waiter watches C. It never heals: a reopen recovers.
type Poison struct {
	once sync.Once
	err  atomic.Pointer[error]
	c    chan struct{}
}

// NewPoison returns a switch that is not set.
func NewPoison() *Poison { return &Poison{c: make(chan struct{})} }

// Set records the cause, once; later causes are consequences and are dropped.
func (p *Poison) Set(cause error) {
	p.once.Do(func() {
		p.err.Store(&cause)
		close(p.c)
	})
}

// C is closed when the switch is set.
func (p *Poison) C() <-chan struct{} { return p.c }

// Err is the cause, or nil.
func (p *Poison) Err() error {
	if e := p.err.Load(); e != nil {
		return *e
	}
	return nil
}
