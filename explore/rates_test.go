package explore

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/sim"
)

// TestSoakHolds: every fault at once. What the drive is to blame for is counted, nothing else is wrong.
func TestSoakHolds(t *testing.T) {
	rates := DefaultRates()
	for _, mode := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeFullpage, untorn.ModeShadow, untorn.ModeAtomic} {
		r := runWith(t, Options{Mode: mode, MaxRuns: runs(16), Budget: longest, StatesPerRun: 60, Soak: &rates})
		t.Logf("%s: %d runs, %d states, faults %v, blamed %v", mode, r.Runs, r.States, r.Faults, r.Blamed)
		for _, v := range r.Found {
			t.Errorf("%s", v.Story)
		}
	}
}

// TestSoakTellsWhoseFaultItIs: a drive whose flushes do nothing loses what was acknowledged, which is
// no violation; an engine that acknowledges early loses it on a sound one, which is.
func TestSoakTellsWhoseFaultItIs(t *testing.T) {
	lying := Rates{Lying: 1, LyingFlush: 1}
	r := runWith(t, Options{Budget: longest, MaxRuns: 4, StatesPerRun: 60, Soak: &lying})
	if len(r.Blamed) == 0 || r.Violations > 0 {
		t.Errorf("blamed on a drive whose flushes lie: %v; violations: %v", r.Blamed, r.Found)
	}
	honest := Rates{ReadError: 0.002, ShortWrite: 0.02}
	for _, mutant := range []string{"ack-early", "image-skipped"} {
		r = runWith(t, Options{Budget: longest, StatesPerRun: 100, Mutant: mutant, Soak: &honest})
		if r.Violations == 0 {
			t.Errorf("%s passed a soak of %d states; blamed %v", mutant, r.States, r.Blamed)
			continue
		}
		t.Logf("%s: %d states: %s: %s", mutant, r.States, r.Found[0].Kind, r.Found[0].What)
	}
}

// TestRotExplainsAMissingImage: a page that rots in its place after a checkpoint has let its image go is
// one that mode shadow calls ahead of the log, and the drive's fault.
func TestRotExplainsAMissingImage(t *testing.T) {
	for _, dir := range []string{"/data", "/wal"} {
		p, d, name := &profile{mode: untorn.ModeShadow}, sim.New(sim.Config{Seed: 1}), dir+"/1"
		err := d.FS().Mkdir(dir)
		if err == nil {
			_, err = d.FS().Open(name, fsys.OpenFlags{Create: true})
		}
		if err == nil {
			err = d.WriteFile(name, make([]byte, 4096))
		}
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{p: p, disk: d, w: &world{p: p, disk: d}, fate: rand.New(rand.NewPCG(1, 1))}
		r.decay(name, false)
		if _, ok := blame(r.w.faults, Ahead); !ok {
			t.Errorf("rot of %s explains %v", name, r.w.faults)
		}
	}
}

func TestRatesAreNamed(t *testing.T) {
	r := DefaultRates()
	if err := r.Set("lost-write=0.5"); err != nil || r.LostWrite != 0.5 {
		t.Errorf("%v, %v", err, r.LostWrite)
	}
	for _, s := range []string{"lost-write", "lost-write=2", "lost-write=x", "no-such=0.1"} {
		if err := r.Set(s); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", s, err)
		}
	}
}
