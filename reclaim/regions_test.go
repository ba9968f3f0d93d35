package reclaim

import (
	"fmt"
	"testing"
)

// ghost is what a region machine is judged by: it remembers everything that ever happened.
type ghost struct {
	state [16]regionState // by sequence
	safe  [16]bool        // every page at S4
	wrote [16]uint64      // watermark in the header
	super uint64          // carried by super
}

type node struct {
	r Regions
	g ghost
}

// TestEveryReachableState walks all interleavings of a small ring and checks I2 and I6 in each.
func TestEveryReachableState(t *testing.T) {
	for _, c := range []struct{ n, p, d, last int }{
		{1, 1, 1, 4}, {2, 1, 1, 5}, {2, 2, 1, 5}, {3, 2, 1, 6}, {3, 3, 2, 6}, {4, 2, 2, 6}, {5, 3, 2, 6},
	} {
		t.Run(fmt.Sprintf("regions=%d,p=%d,d=%d", c.n, c.p, c.d), func(t *testing.T) {
			r, err := NewRegions(c.n, c.p, c.d)
			if err != nil {
				t.Fatal(err)
			}
			stalls := walk(t, node{r: r}, uint64(c.last))
			// P + D regions make the watermark free (the model's bound).
			if c.n >= c.p+c.d && stalls > 0 {
				t.Errorf("%d states wait for the watermark with %d regions, P=%d, D=%d", stalls, c.n, c.p, c.d)
			}
			if c.n < c.p+c.d && stalls == 0 {
				t.Errorf("no state waits for the watermark with %d regions, P=%d, D=%d: the bound is not exact", c.n, c.p, c.d)
			}
		})
	}
}

func walk(t *testing.T, start node, last uint64) (stalls int) {
	seen := map[node]bool{start: true}
	queue := []node{start}
	push := func(n node) {
		check(t, &n)
		if !seen[n] {
			seen[n] = true
			queue = append(queue, n)
		}
	}
	for len(queue) > 0 && !t.Failed() {
		x := queue[0]
		queue = queue[1:]
		if x.r.Next() == WaitWatermark {
			stalls++
		}
		if x.r.Next() == Ready && x.r.Last() < last {
			n := x
			a := n.r.Assign()
			if k := int64(a.Num) - int64(n.r.n); k > 0 {
				// I2: what the region held must be safe, and a durable watermark must say so.
				if !x.g.safe[k] {
					t.Errorf("region of batch %d given to %d before its pages were safe", k, a.Num)
				}
				if durable(&x) < uint64(k) {
					t.Errorf("region of batch %d given to %d with the durable watermark at %d", k, a.Num, durable(&x))
				}
			}
			n.g.state[a.Num], n.g.wrote[a.Num] = writing, a.W
			push(n)
		}
		for q := uint64(1); q <= x.r.Last(); q++ {
			if x.g.state[q] == writing {
				n := x
				n.r.Reaped(q)
				n.g.state[q] = reaped
				push(n)
				n = x
				n.r.Synced(q)
				n.g.state[q] = flushed
				push(n)
			}
			if x.g.state[q] == flushed && !x.g.safe[q] {
				n := x
				n.r.Retire(q)
				n.g.safe[q] = true
				push(n)
			}
		}
		n := x
		if n.r.FlushStart() > 0 {
			for q := range n.g.state {
				if n.g.state[q] == reaped {
					n.g.state[q] = covered
				}
			}
			push(n)
		}
		n, any := x, false
		n.r.FlushDone()
		for q := range n.g.state {
			if n.g.state[q] == covered {
				n.g.state[q], any = flushed, true
			}
		}
		if any {
			push(n)
		}
		if x.r.NeedSuper() {
			n := x
			n.g.super = n.r.W()
			n.r.SuperDurable(n.r.W())
			push(n)
		}
	}
	return stalls
}

// durable is the newest watermark on the medium: in a flushed header, or in super.
func durable(n *node) uint64 {
	w := n.g.super
	for q := range n.g.state {
		if n.g.state[q] == flushed {
			w = max(w, n.g.wrote[q])
		}
	}
	return w
}

func check(t *testing.T, n *node) {
	t.Helper()
	// F and W are contiguous prefixes, W at or below F.
	var f, w uint64
	for q := uint64(1); q <= n.r.Last() && n.g.state[q] == flushed; q++ {
		f = q
	}
	for q := uint64(1); q <= f && n.g.safe[q]; q++ {
		w = q
	}
	if n.r.F() != f || n.r.W() != w {
		t.Fatalf("F %d W %d, want %d and %d: %+v", n.r.F(), n.r.W(), f, w, n.g)
	}
	if n.r.Durable() > durable(n) {
		t.Fatalf("durable watermark %d, the medium has %d", n.r.Durable(), durable(n))
	}
	if in := n.r.InFlight(); uint64(in) != n.r.Last()-w || in > n.r.p {
		t.Fatalf("%d in flight, %d assigned, %d retired", in, n.r.Last(), w)
	}
}

// TestProgress: from every reachable state, with super allowed, everything can become retired.
func TestProgress(t *testing.T) {
	r, _ := NewRegions(1, 1, 1)
	for i := uint64(1); i <= 10; i++ {
		if r.NeedSuper() {
			r.SuperDurable(r.W())
		}
		a := r.Assign()
		if a.Num != i || a.W != i-1 {
			t.Fatalf("assignment %+v, want number %d", a, i)
		}
		r.Synced(i)
		r.Retire(i)
	}
}

func TestRegionBounds(t *testing.T) {
	for _, c := range [][3]int{{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {4, 1, 2}, {MaxRegions + 1, 1, 1}} {
		if _, err := NewRegions(c[0], c[1], c[2]); err == nil {
			t.Errorf("NewRegions(%v) accepted", c)
		}
	}
}

// TestRetireWaitsForOwnFlush is I2: a batch whose every page was superseded holds its region all the
// same until its own flush has completed, and the batches behind it wait for it.
func TestRetireWaitsForOwnFlush(t *testing.T) {
	r, err := NewRegions(4, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	a, b := r.Assign(), r.Assign()
	r.Synced(b.Num)
	r.Retire(b.Num)
	r.Retire(a.Num)
	if r.W() != 0 || r.InFlight() != 2 || r.Next() == Ready {
		t.Fatalf("retired through %d, %d in flight, with batch %d not flushed", r.W(), r.InFlight(), a.Num)
	}
	r.Synced(a.Num)
	if r.W() != b.Num || r.InFlight() != 0 {
		t.Errorf("retired through %d, %d in flight, with both flushed", r.W(), r.InFlight())
	}
}
