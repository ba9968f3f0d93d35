package sim

import (
	"bytes"
	"slices"
)

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
	whole bool     // of a block: only atomic writes are undecided in it, which never leave garbage
}

// garbles reports whether a power cut may leave garbage in the unit.
func (u *unit) garbles() bool { return u.kind == blockUnit && !u.whole }

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
	u.whole = !slices.ContainsFunc(ps, func(x piece) bool { return !p.items[x.item].w.atomic })
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
