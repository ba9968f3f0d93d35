package sim

import (
	"math/rand/v2"
	"slices"
	"sync"
)

// Point is a disk at one instant. It does not change; many goroutines may use it at once.
type Point struct {
	// Index is the crash point in the log: entries before it have happened.
	Index int

	cfg    Config
	st     *state // frozen
	once   sync.Once
	items  []item
	units  []unit
	flight []inFlight
}

func newPoint(cfg Config, frozen *state, at int) *Point {
	p := &Point{Index: at, cfg: cfg, st: frozen}
	for id, n := range frozen.nodes {
		n.cur.fork() // frozen from here on: nothing in it is owned
		n.dur.fork()
		for _, w := range n.pend {
			if w.done == 0 {
				p.flight = append(p.flight, inFlight{id, w})
			}
		}
	}
	slices.SortFunc(p.flight, func(a, b inFlight) int { return compare(a.w.sub, b.w.sub) })
	return p
}

type inFlight struct {
	node nodeID
	w    *write
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// item is one undecided change: a write, a change of size or of names. Items are in order of
// submission.
type item struct {
	stamp uint64
	node  nodeID
	w     *write // of a write
	size  int    // of a size: 1 + index among its file's changes
	name  int    // of a name: 1 + index among the disk's
}

// Units returns how many things the power cut decides.
func (p *Point) Units() int {
	p.build()
	return len(p.units)
}

// Items returns how many writes, size changes and changes of names are undecided.
func (p *Point) Items() int {
	p.build()
	return len(p.items)
}

// build finds the items and units, once.
func (p *Point) build() { p.once.Do(p.find) }

func (p *Point) find() {
	ids := make([]nodeID, 0, len(p.st.nodes))
	for id := range p.st.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		n := p.st.nodes[id]
		for _, w := range n.pend {
			p.items = append(p.items, item{stamp: w.sub, node: id, w: w})
		}
		for i, o := range p.sizes(n) {
			p.items = append(p.items, item{stamp: o.stamp, node: id, size: 1 + i})
		}
	}
	for i, o := range p.st.names {
		p.items = append(p.items, item{stamp: o.stamp, name: 1 + i})
	}
	slices.SortStableFunc(p.items, func(a, b item) int { return compare(a.stamp, b.stamp) })

	sizeItems := map[nodeID][]int{}
	writes := map[nodeID][]int{}
	for i, it := range p.items {
		switch {
		case it.name > 0:
			p.units = append(p.units, unit{kind: nameUnit, count: 2, full: 1, name: it.name - 1,
				lands: []land{{i, 1}}})
		case it.size > 0:
			sizeItems[it.node] = append(sizeItems[it.node], i)
		default:
			writes[it.node] = append(writes[it.node], i)
		}
	}
	for _, id := range ids {
		if is := sizeItems[id]; len(is) > 0 {
			p.addSize(id, is)
		}
		if is := writes[id]; len(is) > 0 {
			p.addBlocks(id, is)
		}
	}
}

// sizes returns the undecided sizes of a file, and those that writes in flight would bring.
func (p *Point) sizes(n *node) []sizeOp {
	all := slices.Clip(n.sizes)
	size := n.cur.size
	for _, w := range n.pend {
		if end := w.span().end; w.done == 0 && end > size {
			size = end
			all = append(all, sizeOp{stamp: w.sub, size: end, grow: true})
		}
	}
	return all
}

func (p *Point) addSize(id nodeID, items []int) {
	n := p.st.nodes[id]
	u := unit{kind: sizeUnit, node: id, sizes: []int64{n.dur.size}}
	ops := p.sizes(n)
	for _, i := range items {
		u.sizes = append(u.sizes, ops[p.items[i].size-1].size)
		u.lands = append(u.lands, land{i, p.items[i].size})
	}
	u.count, u.full = len(u.sizes), len(ops)
	p.units = append(p.units, u)
}

// Make builds the disk a power cut leaves when everything undecided comes out as chosen. It shares
// with the Point whatever does not differ; the two never see each other's writes.
func (p *Point) Make(c Choice) *Disk {
	p.build()
	s := newState(p.st.unit, p.st.deviceFlush)
	s.next, s.stamp = p.st.next, p.st.stamp
	for id, n := range p.st.nodes {
		s.nodes[id] = &node{dir: n.dir, dur: n.dur.fork(), ddir: n.ddir, bad: n.bad}
	}
	happen := make([]bool, len(p.st.names))
	for i := range p.units {
		u, pick := &p.units[i], c.pick(i)
		switch {
		case u.kind == nameUnit:
			happen[u.name] = pick > 0
		case u.kind == sizeUnit:
			s.nodes[u.node].dur.applySizes(p.sizes(p.st.nodes[u.node])[:pick])
		case pick == garbled:
			s.nodes[u.node].dur.putAt(p.garbage(u, c), u.off)
		case pick > 0 && !p.cutOff(u, pick, c):
			s.nodes[u.node].dur.putAt(u.cands[pick], u.off)
		}
	}
	s.settleNames(p.st, happen)
	for _, n := range s.nodes {
		if !n.dir {
			n.dur.zeroFrom(n.dur.size) // past the end there is nothing to find
			n.cur = n.dur.fork()
		}
	}
	cfg := p.cfg
	cfg.Seed = mix(cfg.Seed, uint64(p.Index))
	return newDisk(cfg, s)
}

// settleNames decides names and keeps what can be reached from the root.
func (s *state) settleNames(from *state, happen []bool) {
	for _, n := range s.nodes {
		if n.dir {
			n.ddir = entries.clone(n.ddir)
		}
	}
	s.names = from.names
	s.decideNames(happen)
	live := map[nodeID]*node{}
	var reach func(id nodeID)
	reach = func(id nodeID) {
		n := s.nodes[id]
		if n == nil || live[id] != nil {
			return
		}
		live[id] = n
		for _, child := range n.ddir {
			reach(child)
		}
		if n.dir {
			n.cdir = entries.clone(n.ddir)
		}
	}
	reach(rootID)
	s.nodes = live
}

func (m entries) clone() entries {
	c := make(entries, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// cutOff reports whether a block lies past a chosen truncation that came after its write.
func (p *Point) cutOff(u *unit, pick int, c Choice) bool {
	n := p.st.nodes[u.node]
	if !slices.ContainsFunc(n.sizes, func(o sizeOp) bool { return !o.grow }) {
		return false
	}
	for i := range p.units {
		if s := &p.units[i]; s.kind == sizeUnit && s.node == u.node {
			for _, o := range n.sizes[:min(c.pick(i), len(n.sizes))] {
				if !o.grow && u.off >= o.size && u.stamp[pick] < o.stamp {
					return true
				}
			}
		}
	}
	return false
}

// garbage is neither the old nor the new bytes of a unit.
func (p *Point) garbage(u *unit, c Choice) []byte {
	rng := rand.New(rand.NewPCG(mix(p.cfg.Seed, c.seed), uint64(u.node)<<40^uint64(u.off)))
	b := make([]byte, u.n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func mix(a, b uint64) uint64 {
	x := a ^ b*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	return x ^ x>>27
}
