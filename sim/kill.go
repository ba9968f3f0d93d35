package sim

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
)

// Fate is what becomes of a write that a killed process left in flight.
type Fate uint8

// The fates of a write in flight.
const (
	Lands Fate = iota // at once
	Never
	Front // the first half lands, the rest never
	Back  // the second half
	Later // lands when the next process already runs; its description, and lock, live until then
)

var fateNames = [...]string{"lands", "never", "front", "back", "later"}

func (f Fate) String() string { return fateNames[f] }

// KillChoice decides what becomes of the writes in flight, in order of submission. The zero value
// lets all of them land at once.
type KillChoice struct {
	Name  string
	Fates []Fate
}

func (k KillChoice) String() string {
	var b strings.Builder
	b.WriteString(k.Name)
	for _, f := range k.Fates {
		b.WriteByte(' ')
		b.WriteString(f.String())
	}
	return b.String()
}

// InFlight returns how many writes a kill decides about.
func (p *Point) InFlight() int { return len(p.flight) }

// Kill returns the disk as a process finds it whose predecessor was killed at this point: what had
// completed is in the cache, no more durable than it was; files are closed and locks are gone,
// except those of descriptions with a write that lands Later.
func (p *Point) Kill(k KillChoice) *Disk {
	s := p.st.fork()
	s.flushes = map[uint64]flush{}
	for fd, h := range s.handles {
		h.closed = true
		s.putHandle(fd, h)
	}
	cfg := p.cfg
	cfg.Seed = mix(cfg.Seed, uint64(p.Index)+1)
	d := newDisk(cfg, s)
	for i, f := range p.flight {
		fate := Lands
		if i < len(k.Fates) {
			fate = k.Fates[i]
		}
		d.meet(f, fate)
	}
	return d
}

// meet lets a write in flight meet its fate.
func (d *Disk) meet(f inFlight, fate Fate) {
	n := d.st.nodes[f.node]
	var w *write
	for _, v := range n.pend {
		if v.op == f.w.op && v.done == 0 {
			w = v
		}
	}
	w.dsync = false // it may have landed without the flush that should have followed
	half := (int64(len(w.data))/2 + d.st.unit - 1) / d.st.unit * d.st.unit
	half = min(half, int64(len(w.data)))
	done := Entry{Kind: WriteDone, Op: w.op, node: f.node}
	if w.atomic { // whole or not at all
		switch fate {
		case Front:
			fate = Lands
		case Back:
			fate = Never
		}
	}
	switch fate {
	case Later:
		d.zombies = append(d.zombies, zombie{done, 1 + d.rng.IntN(d.cfg.ZombieTicks)})
		return
	case Front:
		w.data = w.data[:half]
	case Back:
		w.data, w.off = w.data[half:], w.off+half
	}
	w.live = []span{w.span()}
	if fate == Never || len(w.data) == 0 {
		d.st.drop(n, w)
		return
	}
	d.record(done)
}

// drop forgets a write that will never land.
func (s *state) drop(n *node, w *write) {
	s.complete(n, &Entry{Op: w.op})
	w.live = nil
	n.settle([]*write{w})
}

// zombie is a write of a killed process that lands after so many more operations on the disk.
type zombie struct {
	done  Entry
	ticks int
}

// zombieTicks is the default of Config.ZombieTicks.
const zombieTicks = 24

// tick lets time pass for the writes of a killed process.
func (d *Disk) tick() {
	keep := d.zombies[:0]
	for _, z := range d.zombies {
		if z.ticks--; z.ticks > 0 {
			keep = append(keep, z)
			continue
		}
		d.record(z.done)
	}
	d.zombies = keep
}

// Zombies returns how many writes of a killed process have not landed yet.
func (d *Disk) Zombies() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.zombies)
}

// LandZombies lands them now.
func (d *Disk) LandZombies() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, z := range d.zombies {
		d.record(z.done)
	}
	d.zombies = nil
}

// Kills yields what a kill at this point may leave: every combination of fates when there are at
// most Exhaustive writes in flight (never more than 6), otherwise all of one fate, each write with
// a fate of its own among others that land or do not, and random ones.
func (p *Point) Kills(x Explore) iter.Seq2[KillChoice, *Disk] {
	x = x.fill()
	n := len(p.flight)
	return func(yield func(KillChoice, *Disk) bool) {
		count := 0
		emit := func(name string, fate func(i int) Fate) bool {
			k := KillChoice{Name: name, Fates: make([]Fate, n)}
			for i := range k.Fates {
				k.Fates[i] = fate(i)
			}
			count++
			return yield(k, p.Kill(k)) && (x.Max == 0 || count < x.Max)
		}
		if n <= min(x.Exhaustive, 6) {
			total := 1
			for range n {
				total *= int(Later) + 1
			}
			for v := range total {
				left := v
				if !emit("all", func(int) Fate {
					f := Fate(left % (int(Later) + 1))
					left /= int(Later) + 1
					return f
				}) {
					return
				}
			}
			return
		}
		for f := range Later + 1 {
			if !emit("every", func(int) Fate { return f }) {
				return
			}
		}
		for k := range spread(n, x.Items) {
			for f := range Later + 1 {
				for _, others := range []Fate{Lands, Never} {
					if !emit(fmt.Sprint("only ", k), func(i int) Fate {
						if i == k {
							return f
						}
						return others
					}) {
						return
					}
				}
			}
		}
		rng := rand.New(rand.NewPCG(x.Seed, uint64(p.Index)))
		for k := range x.Samples {
			if !emit(fmt.Sprint("random ", k), func(int) Fate { return Fate(rng.IntN(int(Later) + 1)) }) {
				return
			}
		}
	}
}

// Crash cuts the power now: everything undecided comes out as the zero Choice has it, old. Use
// Point for all the other ways.
func (d *Disk) Crash() *Disk { return d.Point().Make(Choice{}) }

// Kill kills the process now and leaves this disk as it was: the engine on it can be stopped with
// PowerOff.
func (d *Disk) Kill(k KillChoice) *Disk { return d.Point().Kill(k) }
