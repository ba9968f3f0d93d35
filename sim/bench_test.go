package sim

import (
	"math/rand/v2"
	"testing"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// benchPoint is a disk of 4 MiB with the given number of undecided 16 KiB pages.
func benchPoint(b *testing.B, pages int) *Point {
	b.Helper()
	d := New(Config{})
	rng := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 4<<20)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	if err := d.WriteFile("/f", data); err != nil {
		b.Fatal(err)
	}
	f, err := d.FS().Open("/f", fsys.OpenFlags{Direct: true})
	if err != nil {
		b.Fatal(err)
	}
	r := d.Ring()
	defer r.Close()
	for i := range pages {
		op := &ring.Op{Kind: ring.Write, File: f, Off: int64(i) * 16384, Buf: buf(16384, byte(i))}
		if err := r.Do(op); err != nil {
			b.Fatal(err)
		}
	}
	return d.Point()
}

// BenchmarkStates makes crash states of a 4 MiB disk: the figure is time per state.
func BenchmarkStates(b *testing.B) {
	for _, c := range []struct {
		name  string
		pages int
	}{{"1page", 1}, {"16pages", 16}, {"64pages", 64}} {
		b.Run(c.name, func(b *testing.B) {
			p := benchPoint(b, c.pages)
			b.ReportAllocs()
			n := 0
			for n < b.N {
				for range p.States(Explore{Samples: b.N, Max: b.N - n}) {
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "states/s")
		})
	}
}

// BenchmarkUnits finds the undecided units of 1 MiB.
func BenchmarkUnits(b *testing.B) {
	p := benchPoint(b, 64)
	for b.Loop() {
		q := newPoint(p.cfg, p.st, 0)
		q.build()
	}
}

func BenchmarkDoWrite(b *testing.B) {
	d := New(Config{})
	if err := d.WriteFile("/f", make([]byte, 4<<20)); err != nil {
		b.Fatal(err)
	}
	f, err := d.FS().Open("/f", fsys.OpenFlags{Direct: true})
	if err != nil {
		b.Fatal(err)
	}
	r := d.Ring()
	defer r.Close()
	op := &ring.Op{Kind: ring.Write, File: f, Buf: buf(16384, 1)}
	flush := &ring.Op{Kind: ring.DataSync, File: f}
	i := 0
	for b.Loop() {
		op.Off = int64(i%256) * 16384
		if i++; i%64 == 0 {
			if err := r.Do(flush); err != nil {
				b.Fatal(err)
			}
		}
		if err := r.Do(op); err != nil {
			b.Fatal(err)
		}
	}
}
