package sim

import (
	"bytes"
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

// unit is the smallest thing a power cut decides as one: a block, a file's size, a nameOp.
type unit struct {
	kind  unitKind
	node  nodeID
	off   int64
	n     int
	cands [][]byte // of a block, what it may hold; 0 is what is durable
	count int      // how many candidates; of a name, 2: not happened, happened
	sizes []int64  // of a size
	lands []land   // in order of submission
	full  int      // the candidate when everything has landed
	name  int      // of a name: index among the disk's
	stamp []uint64 // of a block: the newest submission in each candidate
}

type unitKind uint8

const (
	blockUnit unitKind = iota
	sizeUnit
	nameUnit
)

// land says which candidate a unit holds when item is the last of those that touch it to land.
type land struct{ item, cand int }

// only is the candidate when nothing but item landed; 0 when item does not touch the unit.
func (u *unit) only(item int) int {
	for _, l := range u.lands {
		if l.item == item {
			return l.cand
		}
	}
	return 0
}

// newest is the candidate when of the items that match the last one is on top.
func (u *unit) newest(match func(item int) bool) int {
	for i := len(u.lands) - 1; i >= 0; i-- {
		if match(u.lands[i].item) {
			return u.lands[i].cand
		}
	}
	return 0
}

func (u *unit) touches(item int) bool {
	return slices.ContainsFunc(u.lands, func(l land) bool { return l.item == item })
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

// piece is the part of a write that lies in one unit.
type piece struct {
	region span // the unit
	item   int
	sp     span
	data   []byte
}

// addBlocks cuts a file's undecided writes into units.
func (p *Point) addBlocks(id nodeID, items []int) {
	size := p.st.unit
	regions := p.atomicRegions(items)
	var all []piece
	for _, i := range items {
		w := p.items[i].w
		for _, live := range w.live {
			for off := live.off; off < live.end; {
				region := span{off / size * size, off/size*size + size}
				if r := covering(regions, off); r.end != 0 {
					region = r
				}
				sp := span{off, min(live.end, region.end)}
				if !w.atomic { // tears between blocks even where an atomic write does not
					sp.end = min(sp.end, off/size*size+size)
				}
				all = append(all, piece{region, i, sp, w.at(sp)})
				off = sp.end
			}
		}
	}
	slices.SortStableFunc(all, func(a, b piece) int {
		if a.region.off != b.region.off {
			return compare(uint64(a.region.off), uint64(b.region.off))
		}
		return a.item - b.item
	})
	for len(all) > 0 {
		k := 1
		for k < len(all) && all[k].region == all[0].region {
			k++
		}
		if u := p.block(id, all[:k]); u.count > 1 {
			p.units = append(p.units, u)
		}
		all = all[k:]
	}
}

// atomicRegions returns the ranges that atomic writes tie together, sorted and disjoint.
func (p *Point) atomicRegions(items []int) []span {
	var rs []span
	for _, i := range items {
		if w := p.items[i].w; w.atomic {
			size := p.st.unit
			s := w.span()
			rs = append(rs, span{s.off / size * size, (s.end + size - 1) / size * size})
		}
	}
	slices.SortFunc(rs, func(a, b span) int { return compare(uint64(a.off), uint64(b.off)) })
	merged := rs[:0]
	for _, r := range rs {
		if n := len(merged); n > 0 && merged[n-1].end > r.off {
			merged[n-1].end = max(merged[n-1].end, r.end)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

func covering(regions []span, off int64) span {
	i, _ := slices.BinarySearchFunc(regions, off, func(r span, off int64) int {
		if r.end <= off {
			return -1
		}
		return 1
	})
	if i < len(regions) && regions[i].off <= off {
		return regions[i]
	}
	return span{}
}

// block makes the unit of one region out of the pieces in it, which are in order of submission.
func (p *Point) block(id nodeID, ps []piece) unit {
	r := ps[0].region
	n := int(r.end - r.off)
	base := p.st.nodes[id].dur.view(r.off, n)
	u := unit{kind: blockUnit, node: id, off: r.off, n: n,
		cands: append(make([][]byte, 0, 1+len(ps)), base), stamp: make([]uint64, 1, 1+len(ps))}
	for i := range ps {
		img := ps[i].data
		if len(img) != n {
			img = apply(base, r.off, ps[i])
		}
		u.lands = append(u.lands, land{ps[i].item, u.add(img, p.items[ps[i].item].stamp)})
	}
	u.full = u.lands[len(u.lands)-1].cand
	if !slices.ContainsFunc(ps, func(x piece) bool { return len(x.data) != n }) {
		u.count = len(u.cands)
		return u
	}
	// Writes that cover a part of the unit combine.
	newest := p.items[ps[len(ps)-1].item].stamp
	if len(ps) <= 4 {
		for set := 1; set < 1<<len(ps); set++ {
			u.full = u.add(combine(base, r.off, ps, func(i int) bool { return set>>i&1 == 1 }), newest)
		}
	} else {
		for k := range ps {
			u.add(combine(base, r.off, ps, func(i int) bool { return i != k }), newest)
			u.full = u.add(combine(base, r.off, ps, func(i int) bool { return i <= k }), newest)
		}
	}
	u.count = len(u.cands)
	return u
}

// add adds a candidate unless it is there already, and returns its index. Two writes of the same
// bytes decide nothing between them.
func (u *unit) add(img []byte, stamp uint64) int {
	for i, c := range u.cands {
		if bytes.Equal(c, img) {
			u.stamp[i] = max(u.stamp[i], stamp)
			return i
		}
	}
	u.cands = append(u.cands, img)
	u.stamp = append(u.stamp, stamp)
	return len(u.cands) - 1
}

func apply(base []byte, off int64, ps ...piece) []byte {
	img := bytes.Clone(base)
	for _, x := range ps {
		copy(img[x.sp.off-off:], x.data)
	}
	return img
}

func combine(base []byte, off int64, ps []piece, in func(i int) bool) []byte {
	var some []piece
	for i, x := range ps {
		if in(i) {
			some = append(some, x)
		}
	}
	return apply(base, off, some...)
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
			s.nodes[u.node].dur.writeAt(p.garbage(u, c), u.off)
		case pick > 0 && !p.cutOff(u, pick, c):
			s.nodes[u.node].dur.writeAt(u.cands[pick], u.off)
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
