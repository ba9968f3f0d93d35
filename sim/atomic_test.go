package sim

import (
	"testing"

	"github.com/untorn/untorn/ring"
)

// An atomic write that was accepted is never garbage after a power cut and never a half of itself
// after a kill.
func TestAtomicWriteIsNeverDamaged(t *testing.T) {
	g := newRig(t, Config{Atomic: 4096})
	g.start(&ring.Op{Kind: ring.Write, Flags: ring.Atomic, File: g.f, Buf: buf(4096, 1)})
	whole := func(what string, d *Disk) {
		b, err := d.ReadFile("/f")
		check(t, err)
		for off := range 4096 {
			if b[off] != b[0] || b[0] > 1 {
				t.Fatalf("%s: byte %d is %d, the first is %d", what, off, b[off], b[0])
			}
		}
	}
	p := g.d.Point()
	for c, d := range p.States(Explore{}) {
		whole(c.Name, d)
	}
	for k, d := range p.Kills(Explore{}) {
		d.LandZombies()
		whole(k.String(), d)
	}
}
