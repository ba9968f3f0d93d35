package sim

import (
	"fmt"
	"hash/maphash"
	"iter"
	"math/rand/v2"
	"strings"
)

// garbled in place of a candidate leaves garbage.
const garbled = 1<<16 - 1

// Choice decides everything a power cut leaves undecided. The same Point, Explore and name give
// the same choice again.
type Choice struct {
	// Name says how it was made: "new", "only 3", "random 17".
	Name  string
	seed  uint64 // of the garbage
	picks []uint16
}

func (c Choice) String() string { return c.Name }

// pick is the candidate of a unit; the zero Choice leaves everything old.
func (c Choice) pick(i int) int {
	if i >= len(c.picks) {
		return 0
	}
	return int(c.picks[i])
}

// Explore says which of the possible states to make. The zero value is a sensible amount.
type Explore struct {
	// Exhaustive is up to how many units every combination is made. 0 means 6, less than 0 never.
	Exhaustive int
	// Samples is how many random choices follow the systematic ones. 0 means 32, less than 0 none.
	Samples int
	// Items is for how many items systematic choices are made; of more, evenly spread ones. 0
	// means 32.
	Items int
	// Seed decides the random choices and the garbage.
	Seed uint64
	// NoGarbage leaves out garbage.
	NoGarbage bool
	// Max ends after so many states. 0 means no limit.
	Max int
}

func (x Explore) fill() Explore {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&x.Exhaustive, 6)
	def(&x.Samples, 32)
	def(&x.Items, 32)
	return x
}

// maxExhaustive bounds what Exhaustive may ask for by mistake.
const maxExhaustive = 1 << 20

// States yields the states a power cut at this point may leave, each as a disk of its own. With
// few units it makes them all, with one garbled block at most. With many it makes the systematic
// choices (all old, all new, every prefix and suffix of the items, even and odd units, each item
// alone, all but each, each item torn in halves, garbage at either end of each item) and then
// random ones. No choice comes twice.
func (p *Point) States(x Explore) iter.Seq2[Choice, *Disk] {
	return func(yield func(Choice, *Disk) bool) {
		for c := range p.Choices(x) {
			if !yield(c, p.Make(c)) {
				return
			}
		}
	}
}

// Choices yields what States makes disks of.
func (p *Point) Choices(x Explore) iter.Seq[Choice] {
	return func(yield func(Choice) bool) {
		p.build()
		x := x.fill()
		e := &enumeration{p: p, x: x, seen: map[uint64]bool{}, hash: maphash.MakeSeed(),
			rng: rand.New(rand.NewPCG(x.Seed, uint64(p.Index))), yield: yield}
		if len(p.units) <= x.Exhaustive && p.combinations() <= maxExhaustive {
			e.everything()
			return
		}
		e.systematic()
		e.random()
	}
}

// combinations is how many choices without garbage there are, or more than maxExhaustive.
func (p *Point) combinations() int {
	n := 1
	for i := range p.units {
		n *= p.units[i].count
		if n > maxExhaustive {
			break
		}
	}
	return n
}

// enumeration makes choices one after another until it has been told to stop.
type enumeration struct {
	p     *Point
	x     Explore
	rng   *rand.Rand
	seen  map[uint64]bool
	hash  maphash.Seed
	yield func(Choice) bool
	done  bool
}

// emit hands out a choice that has not come yet. pick is asked for every unit in order.
func (e *enumeration) emit(name string, pick func(i int, u *unit) int) {
	if e.done {
		return
	}
	c := Choice{Name: name, seed: e.x.Seed, picks: make([]uint16, len(e.p.units))}
	var h maphash.Hash
	h.SetSeed(e.hash)
	for i := range e.p.units {
		c.picks[i] = uint16(pick(i, &e.p.units[i]))
		h.WriteByte(byte(c.picks[i]))
		h.WriteByte(byte(c.picks[i] >> 8))
	}
	sum := h.Sum64()
	if e.seen[sum] {
		return
	}
	e.seen[sum] = true
	if !e.yield(c) || e.x.Max > 0 && len(e.seen) >= e.x.Max {
		e.done = true
	}
}

func (e *enumeration) everything() {
	units := e.p.units
	picks := make([]int, len(units))
	var walk func(i int, garbage bool)
	walk = func(i int, garbage bool) {
		if e.done {
			return
		}
		if i == len(units) {
			e.emit("all "+fmt.Sprint(picks), func(i int, _ *unit) int { return picks[i] })
			return
		}
		for k := range units[i].count {
			picks[i] = k
			walk(i+1, garbage)
		}
		if !garbage && !e.x.NoGarbage && units[i].garbles() {
			picks[i] = garbled
			walk(i+1, true)
		}
	}
	walk(0, false)
}

func (e *enumeration) systematic() {
	n := len(e.p.items)
	isOld := func(int, *unit) int { return 0 }
	isNew := func(_ int, u *unit) int { return u.full }
	e.emit("old", isOld)
	e.emit("new", isNew)
	for parity, name := range []string{"even", "odd"} {
		e.emit(name, func(i int, u *unit) int {
			if i%2 == parity {
				return u.full
			}
			return 0
		})
	}
	for k := range spread(n, e.x.Items) {
		e.emit(fmt.Sprint("prefix ", k), func(_ int, u *unit) int {
			return u.newest(func(item int) bool { return item < k })
		})
		e.emit(fmt.Sprint("suffix ", k), func(_ int, u *unit) int {
			return u.newest(func(item int) bool { return item >= k })
		})
		e.emit(fmt.Sprint("only ", k), func(_ int, u *unit) int { return u.only(k) })
		allBut := func(_ int, u *unit) int {
			return u.newest(func(item int) bool { return item != k })
		}
		e.emit(fmt.Sprint("all but ", k), allBut)
		e.tear(k, "old", isOld)
		e.tear(k, "new", allBut)
		if !e.x.NoGarbage {
			e.garble(k, "old", isOld)
			e.garble(k, "new", isNew)
		}
	}
}

// spread yields up to most of the numbers below n, evenly.
func spread(n, most int) iter.Seq[int] {
	return func(yield func(int) bool) {
		count := min(n, most)
		for i := range count {
			if !yield(i * n / count) {
				return
			}
		}
	}
}

// tear lands a part of an item's units, and of the others what rest says.
func (e *enumeration) tear(item int, over string, rest func(int, *unit) int) {
	touched := 0
	for i := range e.p.units {
		if e.p.units[i].touches(item) {
			touched++
		}
	}
	if touched < 2 {
		return
	}
	for _, part := range []struct {
		name string
		in   func(seen int) bool
	}{
		{"front", func(seen int) bool { return seen < touched/2 }},
		{"back", func(seen int) bool { return seen >= touched/2 }},
		{"even", func(seen int) bool { return seen%2 == 0 }},
		{"first", func(seen int) bool { return seen == 0 }},
		{"last", func(seen int) bool { return seen == touched-1 }},
	} {
		seen := -1
		e.emit(fmt.Sprintf("tear %d %s over %s", item, part.name, over), func(i int, u *unit) int {
			if !u.touches(item) {
				return rest(i, u)
			}
			if seen++; part.in(seen) {
				return u.only(item)
			}
			return rest(i, u)
		})
	}
}

// garble leaves garbage in the first or the last unit of an item.
func (e *enumeration) garble(item int, over string, rest func(int, *unit) int) {
	first, last := -1, -1
	for i := range e.p.units {
		if e.p.units[i].garbles() && e.p.units[i].touches(item) {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	for k, name := range []string{"first", "last"} {
		at := [...]int{first, last}[k]
		if at < 0 || k == 1 && last == first {
			continue
		}
		e.emit(fmt.Sprintf("garble %d %s over %s", item, name, over), func(i int, u *unit) int {
			if i == at {
				return garbled
			}
			return rest(i, u)
		})
	}
}

// random alternates between deciding every unit on its own, and deciding items first: whether an
// item lands, does not, or is torn.
func (e *enumeration) random() {
	if len(e.p.units) == 0 {
		return
	}
	for k := 0; k < e.x.Samples && !e.done; k++ {
		name := fmt.Sprint("random ", k)
		at := -1
		if !e.x.NoGarbage && e.rng.IntN(3) == 0 {
			at = e.rng.IntN(len(e.p.units))
		}
		pick := func(_ int, u *unit) int { return e.rng.IntN(u.count) }
		if k%2 == 1 {
			pick = e.byItem()
		}
		e.emit(name, func(i int, u *unit) int {
			c := pick(i, u)
			if i == at && u.garbles() {
				return garbled
			}
			return c
		})
	}
}

func (e *enumeration) byItem() func(int, *unit) int {
	const lands, not = 0, 1 // else torn
	fates := make([]int, len(e.p.items))
	for i := range fates {
		fates[i] = e.rng.IntN(3)
	}
	return func(_ int, u *unit) int {
		return u.newest(func(item int) bool {
			switch fates[item] {
			case lands:
				return true
			case not:
				return false
			}
			return e.rng.IntN(2) == 0
		})
	}
}

// Describe says what a choice decided, one line for each run of units.
func (p *Point) Describe(c Choice) string {
	p.build()
	var b strings.Builder
	fmt.Fprintf(&b, "crash point %d, choice %q\n", p.Index, c.Name)
	names := p.st.paths()
	for i := 0; i < len(p.units); {
		u, pick := &p.units[i], c.pick(i)
		k := i + 1
		end := u.off + int64(u.n)
		for u.kind == blockUnit && k < len(p.units) && p.units[k].kind == blockUnit &&
			p.units[k].node == u.node && p.units[k].off == end && c.pick(k) == pick {
			end += int64(p.units[k].n)
			k++
		}
		switch u.kind {
		case nameUnit:
			fmt.Fprintf(&b, "  names %v: happened=%v\n", p.st.names[u.name].changes, pick > 0)
		case sizeUnit:
			fmt.Fprintf(&b, "  %s: size %d of %v\n", names[u.node], u.sizes[pick], u.sizes)
		default:
			what := fmt.Sprintf("version %d of 0..%d", pick, u.count-1)
			if pick == garbled {
				what = "garbage"
			}
			fmt.Fprintf(&b, "  %s [%d,+%d): %s\n", names[u.node], u.off, end-u.off, what)
		}
		i = k
	}
	return b.String()
}

// paths names the nodes that have a current name.
func (s *state) paths() map[nodeID]string {
	names := map[nodeID]string{}
	var walk func(id nodeID, path string)
	walk = func(id nodeID, path string) {
		names[id] = path
		for base, child := range s.nodes[id].cdir {
			walk(child, path+"/"+base)
		}
	}
	walk(rootID, "")
	return names
}
