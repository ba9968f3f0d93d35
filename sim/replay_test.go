package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// ghost is the fault model once more, one sector at a time and as plainly as possible: a list of
// versions, and which of them a power cut may leave.
type ghost struct{ sectors [ghostSectors][]version }

const ghostSectors = 24

type version struct {
	value     byte
	sub, done int // 0 = in flight
	lost      bool
}

func (g *ghost) settle(s, i int) {
	v := g.sectors[s][i]
	g.sectors[s][0] = version{value: v.value}
	rest := g.sectors[s][:1:1]
	for _, o := range g.sectors[s][1:] {
		if o.done == 0 || o.done > v.done {
			rest = append(rest, o)
		}
	}
	g.sectors[s] = rest
}

// flush makes the newest covered version durable.
func (g *ghost) flush(upTo int) {
	for s := range g.sectors {
		best := 0
		for i, v := range g.sectors[s] {
			if i > 0 && v.done != 0 && v.done <= upTo && !v.lost &&
				(best == 0 || v.done > g.sectors[s][best].done) {
				best = i
			}
		}
		if best > 0 {
			g.settle(s, best)
		}
	}
}

func (g *ghost) fail(upTo int) {
	for s := range g.sectors {
		for i, v := range g.sectors[s] {
			g.sectors[s][i].lost = v.lost || i > 0 && v.done != 0 && v.done <= upTo
		}
	}
}

// possible is what sector s may hold, sorted.
func (g *ghost) possible(s int) []byte {
	var all []byte
	for _, v := range g.sectors[s] {
		all = append(all, v.value)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestStatesAgreeWithTheGhost runs random operations with several in flight, and compares every
// sector's possible values with the plain model after every step.
func TestStatesAgreeWithTheGhost(t *testing.T) {
	for seed := range uint64(60) {
		g := newRig(t, Config{Seed: seed})
		rng := rand.New(rand.NewPCG(seed, 1))
		gh := &ghost{}
		for s := range gh.sectors {
			gh.sectors[s] = []version{{}}
		}
		now := 0
		type op struct {
			land           func() error
			kind           ring.Kind
			sub, from, end int
			dsync          bool
		}
		var flight []op
		finish := func(i int) {
			o := flight[i]
			flight = slices.Delete(flight, i, i+1)
			check(t, o.land())
			now++
			if o.kind == ring.DataSync {
				gh.flush(o.sub)
				return
			}
			for s := o.from; s < o.end; s++ {
				for k := range gh.sectors[s] {
					if gh.sectors[s][k].sub == o.sub && k > 0 {
						gh.sectors[s][k].done = now
						if o.dsync {
							gh.settle(s, k)
						}
						break
					}
				}
			}
		}
		for step := range 60 {
			now++
			switch k := rng.IntN(10); {
			case k < 5 && len(flight) < 6:
				from := rng.IntN(ghostSectors - 1)
				n := 1 + rng.IntN(min(8, ghostSectors-from))
				o := op{kind: ring.Write, sub: now, from: from, end: from + n,
					dsync: rng.IntN(6) == 0}
				for s := from; s < o.end; s++ {
					gh.sectors[s] = append(gh.sectors[s], version{value: byte(step + 1), sub: now})
				}
				var flags ring.Flags
				if o.dsync {
					flags = ring.DSync
				}
				o.land = g.start(&ring.Op{Kind: ring.Write, Flags: flags, File: g.f,
					Off: int64(from) * 512, Buf: buf(n*512, byte(step+1))})
				flight = append(flight, o)
			case k < 6 && len(flight) < 6:
				flight = append(flight, op{kind: ring.DataSync, sub: now,
					land: g.start(&ring.Op{Kind: ring.DataSync, File: g.f})})
			case k < 7:
				armed := true
				g.d.Inject(func(o *ring.Op) Fault {
					if armed && o.Kind == ring.DataSync {
						return Fault{Err: fmt.Errorf("injected")}
					}
					return Fault{}
				})
				_ = g.flush(g.f) // fails, as injected
				armed = false
				gh.fail(now)
			case len(flight) > 0:
				finish(rng.IntN(len(flight)))
			}
			compareSectors(t, seed, step, g.d.Point(), gh)
		}
		for len(flight) > 0 {
			finish(0)
		}
		compareSectors(t, seed, -1, g.d.Point(), gh)

		// The log replays to the same.
		l := g.d.Log()
		compareSectors(t, seed, -2, l.Replay(l.Len()), gh)
		if t.Failed() {
			return
		}
	}
}

func compareSectors(t *testing.T, seed uint64, step int, p *Point, gh *ghost) {
	t.Helper()
	p.build()
	got := map[int][]byte{}
	for i := range p.units {
		u := &p.units[i]
		for _, c := range u.cands {
			got[int(u.off/512)] = append(got[int(u.off/512)], c[0])
		}
	}
	base, _ := p.Make(Choice{}).ReadFile("/f")
	for s := range gh.sectors {
		have := got[s]
		if have == nil {
			have = []byte{base[s*512]}
		}
		slices.Sort(have)
		if want := gh.possible(s); !bytes.Equal(have, want) {
			t.Fatalf("seed %d step %d sector %d: %v, want %v", seed, step, s, have, want)
		}
	}
}

// run is a little workload: pages written twice and flushed in between, marked when durable.
func run(g *rig) {
	for v := byte(1); v <= 2; v++ {
		for page := range int64(3) {
			g.mustWrite(page*4096, 4096, v)
		}
		g.mustFlush()
		g.d.Mark(v)
	}
}

func TestEveryCrashPointHoldsToItsMarks(t *testing.T) {
	g := newRig(t, Config{})
	run(g)
	l := g.d.Log()
	for at := range l.Len() + 1 {
		acked := byte(0)
		for _, m := range l.Marks(at) {
			acked = m.(byte)
		}
		p := l.Replay(at)
		for c, d := range p.States(Explore{NoGarbage: true}) {
			b, err := d.ReadFile("/f")
			check(t, err)
			for off := 0; off < 3*4096; off += 512 {
				if b[off] < acked {
					t.Fatalf("%d at %d after %d was acknowledged\n%s", b[off], off, acked,
						p.Describe(c))
				}
			}
		}
	}
	if cuts := l.Cuts(); len(cuts) != 3 || cuts[2] != l.Len() {
		t.Error("two flushes and the end:", cuts)
	}
	for _, at := range l.KillPoints() {
		if at < l.Len() && l.Replay(at).InFlight() == 0 {
			t.Error("nothing in flight at", at)
		}
	}
}

func TestSameSeedSameStates(t *testing.T) {
	list := func() (names []string, sums []byte) {
		g := newRig(t, Config{Seed: 5})
		run(g)
		l := g.d.Log()
		for _, p := range l.Points(l.Cuts()) {
			for c, d := range p.States(Explore{Seed: 9}) {
				b, _ := d.ReadFile("/f")
				var sum byte
				for i, x := range b {
					sum = sum*31 + x + byte(i)
				}
				names, sums = append(names, c.Name), append(sums, sum)
			}
		}
		return names, sums
	}
	n1, s1 := list()
	n2, s2 := list()
	if !slices.Equal(n1, n2) || !bytes.Equal(s1, s2) || len(n1) < 50 {
		t.Error("differ, or too few:", len(n1), len(n2))
	}
}

func TestStatesAreIsolated(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(0, 4096, 1)
	p := g.d.Point()
	a, b := p.Make(Choice{}), p.Make(Choice{})
	snap := g.d.Snapshot()
	for i, d := range []*Disk{a, g.d, snap} {
		ga := &rig{t: t, d: d, r: d.Ring()}
		f := ga.open("/f", fsys.OpenFlags{Direct: true})
		check(t, ga.write(f, 0, 512, byte(10+i), 0), ga.flush(f), ga.r.Close())
	}
	for i, want := range []byte{10, 0, 11, 12} {
		d := []*Disk{a, b, g.d, snap}[i]
		if got, _ := d.ReadFile("/f"); got[0] != want || got[60000] != 0 {
			t.Errorf("disk %d: %d, want %d", i, got[0], want)
		}
	}
	if got, _ := p.Make(Choice{}).ReadFile("/f"); got[0] != 0 {
		t.Error("a Point changed")
	}
}

// A crash in recovery: the disk of one crash is recorded and crashed again.
func TestCrashAgain(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(0, 1024, 1)
	for _, d := range g.d.Point().States(Explore{NoGarbage: true}) {
		before, _ := d.ReadFile("/f")
		d.Record()
		g2 := &rig{t: t, d: d, r: d.Ring()}
		f := g2.open("/f", fsys.OpenFlags{Direct: true})
		check(t, g2.write(f, 0, 512, 2, 0))
		for _, d2 := range d.Log().Replay(d.Log().Len()).States(Explore{NoGarbage: true}) {
			after, _ := d2.ReadFile("/f")
			if after[0] != before[0] && after[0] != 2 || after[512] != before[512] {
				t.Fatal("what the first crash decided stays decided")
			}
		}
		check(t, g2.r.Close())
	}
}
