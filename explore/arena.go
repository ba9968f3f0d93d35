package explore

import (
	"sync"

	"github.com/untorn/untorn/aligned"
)

// arenaBytes is more than an engine of a run takes at an open.
const arenaBytes = 2 << 20

// arena is memory for one engine after the other (untorn.Options.Alloc): fresh memory for each would
// be most of what a state costs.
type arena struct {
	mu   sync.Mutex
	mem  []byte
	used int
	high int // of all uses
}

// alloc returns n zeroed bytes, from the heap when the arena has run out of them.
func (a *arena) alloc(n, align int) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mem == nil {
		a.mem = aligned.Alloc(arenaBytes, 64<<10)
	}
	at := (a.used + align - 1) &^ (align - 1)
	if at+n > len(a.mem) || align > 64<<10 {
		return aligned.Alloc(n, align)
	}
	a.used = at + n
	b := a.mem[at : at+n : at+n]
	clear(b[:min(n, max(0, a.high-at))])
	a.high = max(a.high, a.used)
	return b
}

// reset takes everything back. Nothing of the engine may be left.
func (a *arena) reset() {
	a.mu.Lock()
	a.used = 0
	a.mu.Unlock()
}
