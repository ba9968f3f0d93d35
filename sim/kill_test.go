package sim

import (
	"errors"
	"testing"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

func TestKillKeepsTheCache(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(0, 512, 1)
	d := g.d.Kill(KillChoice{})
	if b, _ := d.ReadFile("/f"); b[0] != 1 {
		t.Fatal("what had completed is in the cache")
	}
	// ... and no more durable than it was.
	old, err := d.Crash().ReadFile("/f")
	if check(t, err); old[0] != 0 {
		t.Error("durable without a flush")
	}
}

func TestFatesOfAWriteInFlight(t *testing.T) {
	g := newRig(t, Config{})
	g.start(&ring.Op{Kind: ring.Write, Flags: ring.DSync, File: g.f, Buf: buf(1024, 1)})
	p := g.d.Point()
	if p.InFlight() != 1 {
		t.Fatal(p.InFlight())
	}
	for fate, want := range map[Fate][2]byte{Lands: {1, 1}, Never: {0, 0}, Front: {1, 0},
		Back: {0, 1}, Later: {0, 0}} {
		d := p.Kill(KillChoice{Fates: []Fate{fate}})
		if b, _ := d.ReadFile("/f"); b[0] != want[0] || b[512] != want[1] {
			t.Errorf("%v: %d %d", fate, b[0], b[512])
		}
		if b, _ := d.Crash().ReadFile("/f"); b[0] != 0 || b[512] != 0 {
			t.Errorf("%v: durable, although the flush of a DSync write may not have run", fate)
		}
		d.LandZombies()
		if b, _ := d.ReadFile("/f"); fate == Later && (b[0] != 1 || b[512] != 1) {
			t.Error("it never landed")
		}
	}
	states := 0
	for range p.Kills(Explore{}) {
		states++
	}
	if states != 5 {
		t.Error("states:", states)
	}
}

func TestLockOutlivesAKilledProcessUntilItsWritesLanded(t *testing.T) {
	for _, locked := range []bool{true, false} {
		g := newRig(t, Config{})
		if locked {
			check(t, g.f.Lock(true))
		}
		g.start(&ring.Op{Kind: ring.Write, File: g.f, Buf: buf(512, 1)})
		d := g.d.Kill(KillChoice{Fates: []Fate{Later}})
		f, err := d.FS().Open("/f", fsys.OpenFlags{Direct: true})
		check(t, err)
		tries := 0
		for ; tries < 2*zombieTicks; tries++ {
			if err := f.Lock(true); err == nil {
				break
			} else if !errors.Is(err, fsys.ErrLocked) {
				t.Fatal(err)
			}
		}
		if b, _ := d.ReadFile("/f"); (b[0] == 1) != locked {
			t.Errorf("locked %v: after %d tries the write has landed: %v", locked, tries, b[0] == 1)
		}
		d.LandZombies()
		if b, _ := d.ReadFile("/f"); b[0] != 1 || d.Zombies() != 0 {
			t.Error("the write of the dead must land in the end")
		}
	}
}

func TestLocksBetweenDescriptions(t *testing.T) {
	g := newRig(t, Config{})
	other := g.open("/f", fsys.OpenFlags{})
	check(t, g.f.Lock(false), other.Lock(false))
	if err := other.Lock(true); !errors.Is(err, fsys.ErrLocked) {
		t.Error(err)
	}
	// A closed description keeps its lock until its writes have landed.
	land := g.start(&ring.Op{Kind: ring.Write, File: g.f, Buf: buf(512, 1)})
	check(t, g.f.Close())
	if err := other.Lock(true); !errors.Is(err, fsys.ErrLocked) {
		t.Error(err)
	}
	check(t, land(), other.Lock(true))
}

func TestPowerOffEndsEverything(t *testing.T) {
	g := newRig(t, Config{})
	land := g.start(&ring.Op{Kind: ring.Write, File: g.f, Buf: buf(512, 1)})
	g.d.PowerOff()
	for _, err := range []error{land(), g.write(g.f, 0, 512, 2, 0), g.d.FS().SyncDir("/"),
		second(g.f.Size())} {
		if !errors.Is(err, ErrOff) {
			t.Error(err)
		}
	}
	if b, _ := g.d.ReadFile("/f"); b[0] != 0 {
		t.Error("written while off")
	}
}
