package untorn

import (
	"context"
	"math/bits"
	"sync/atomic"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// generations numbers the time between two Checkpoint calls and counts who began in which, so that
// a call can wait for those of the one before. Entering and leaving is two atomic adds.
type generations struct {
	cur atomic.Uint32
	in  [2]crowd // the current generation and the one before it
}

type crowd struct {
	n      atomic.Int64
	waited atomic.Bool
	empty  chan struct{}
}

func (g *generations) init() {
	for i := range g.in {
		g.in[i].empty = make(chan struct{}, 1)
	}
}

// enter returns the generation the caller belongs to until it leaves.
func (g *generations) enter() uint32 {
	for {
		n := g.cur.Load()
		g.in[n%2].n.Add(1)
		if g.cur.Load() == n { // turn comes after the Add: gone waits for us
			return n
		}
		g.leave(n)
	}
}

func (g *generations) leave(n uint32) {
	c := &g.in[n%2]
	if c.n.Add(-1) == 0 && c.waited.Load() {
		select {
		case c.empty <- struct{}{}:
		default:
		}
	}
}

func (g *generations) now() uint32 { return g.cur.Load() }

// turn begins the next generation. One at a time, after gone(1).
func (g *generations) turn() { g.cur.Add(1) }

// gone waits until nobody is in the generation back before the current one: 1.
func (g *generations) gone(ctx context.Context, p *stages.Poison, back uint32) error {
	c := &g.in[(g.cur.Load()-back)%2]
	c.waited.Store(true)
	defer c.waited.Store(false)
	for c.n.Load() > 0 {
		select {
		case <-c.empty:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.C():
			return poisoned(p.Err())
		}
	}
	return nil
}

// bitmap is one bit a page. Its methods but grow may be called from any goroutine; grow is for one
// at a time and comes before anybody asks for the new pages.
type bitmap struct {
	pieces atomic.Pointer[[]*bitPiece]
}

// bitPiece is the bits of piecePages pages.
type bitPiece [piecePages / 64]atomic.Uint64

const piecePages = 1 << 15

func (b *bitmap) grow(pages uint64) {
	var next []*bitPiece
	if have := b.pieces.Load(); have != nil {
		next = append(next, *have...)
	}
	for uint64(len(next))*piecePages < pages {
		next = append(next, new(bitPiece))
	}
	b.pieces.Store(&next)
}

func (b *bitmap) has(no page.No) bool {
	p := (*b.pieces.Load())[no/piecePages]
	return p[no%piecePages/64].Load()&(1<<(no%64)) != 0
}

func (b *bitmap) set(no page.No) {
	p := (*b.pieces.Load())[no/piecePages]
	p[no%piecePages/64].Or(1 << (no % 64))
}

// clear is for when nobody else uses the bitmap.
func (b *bitmap) clear() {
	for _, p := range *b.pieces.Load() {
		for i := range p {
			p[i].Store(0)
		}
	}
}

// first is the lowest page whose bit is set.
func (b *bitmap) first() (page.No, bool) {
	for k, p := range *b.pieces.Load() {
		for i := range p {
			if x := p[i].Load(); x != 0 {
				return page.No(k*piecePages + i*64 + bits.TrailingZeros64(x)), true
			}
		}
	}
	return 0, false
}
