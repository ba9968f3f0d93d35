package explore

import (
	"errors"
	"testing"

	"github.com/untorn/untorn"
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
