package explore

import (
	"errors"
	"testing"
	"time"
)

// TestSoakHolds: every fault at once. What the drive is to blame for is counted, nothing else is wrong.
func TestSoakHolds(t *testing.T) {
	budget := 8 * time.Second
	if testing.Short() {
		budget = 3 * time.Second
	}
	rates := DefaultRates()
	r := runWith(t, Options{Budget: budget, StatesPerRun: 60, Soak: &rates})
	t.Logf("%d runs, %d states, faults %v, blamed %v", r.Runs, r.States, r.Faults, r.Blamed)
	for _, v := range r.Found {
		t.Errorf("%s", v.Story)
	}
}

// TestSoakTellsWhoseFaultItIs: a drive whose flushes do nothing loses what was acknowledged, which is
// no violation; an engine that acknowledges early loses it on a sound one, which is.
func TestSoakTellsWhoseFaultItIs(t *testing.T) {
	lying := Rates{Lying: 1, LyingFlush: 1}
	r := runWith(t, Options{Budget: 20 * time.Second, MaxRuns: 4, StatesPerRun: 60, Soak: &lying})
	if len(r.Blamed) == 0 || r.Violations > 0 {
		t.Errorf("blamed on a drive whose flushes lie: %v; violations: %v", r.Blamed, r.Found)
	}
	honest := Rates{ReadError: 0.002, ShortWrite: 0.02}
	r = runWith(t, Options{Budget: 30 * time.Second, StatesPerRun: 100, Mutant: "ack-early", Soak: &honest})
	if r.Violations == 0 {
		t.Errorf("ack-early passed a soak of %d states; blamed %v", r.States, r.Blamed)
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
