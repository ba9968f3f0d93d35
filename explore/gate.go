package explore

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/untorn/untorn/ring"
)

// gate stops whoever wants something of the disk until the driver lets it pass, so that which of two
// goroutines comes first is the seed's choice and not the scheduler's.
type gate struct {
	mu      sync.Mutex
	shut    bool
	waiting []*visitor
}

type visitor struct {
	key  string
	pass chan struct{}
}

func (g *gate) enter(key string) {
	g.mu.Lock()
	if !g.shut {
		g.mu.Unlock()
		return
	}
	v := &visitor{key, make(chan struct{})}
	g.waiting = append(g.waiting, v)
	g.mu.Unlock()
	<-v.pass
}

// visitors are those who wait, in an order that does not depend on who came first.
func (g *gate) visitors() []*visitor {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := slices.Clone(g.waiting)
	slices.SortStableFunc(list, func(a, b *visitor) int { return strings.Compare(a.key, b.key) })
	return list
}

func (g *gate) admit(v *visitor) {
	g.mu.Lock()
	g.waiting = slices.DeleteFunc(g.waiting, func(w *visitor) bool { return w == v })
	g.mu.Unlock()
	close(v.pass)
}

// close shuts the gate, open lets everybody pass from now on.
func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
}

func (g *gate) open() {
	g.mu.Lock()
	g.shut = false
	list := g.waiting
	g.waiting = nil
	g.mu.Unlock()
	for _, v := range list {
		close(v.pass)
	}
}

func opKey(op *ring.Op) string {
	return fmt.Sprintf("%s %d %012d %d", op.File.Name(), op.Kind, op.Off, op.Len())
}
