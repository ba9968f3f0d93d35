package explore

import (
	"testing"
	"time"

	"github.com/untorn/untorn"
)

// TestDamageIsNeverSilent: whatever is damaged in a crash state, one structure or several, bits or
// sectors, padding included: nothing comes back wrong.
func TestDamageIsNeverSilent(t *testing.T) {
	for _, c := range []struct {
		mode   untorn.Mode
		budget time.Duration
	}{{untorn.ModeDoublewrite, 8 * time.Second}, {untorn.ModeAtomic, 3 * time.Second}} {
		if testing.Short() || raced {
			c.budget /= 2
		}
		r := runWith(t, Options{Mode: c.mode, Budget: c.budget, StatesPerRun: 150, Corrupt: true})
		t.Logf("%s: %d runs, %d states, %v", c.mode, r.Runs, r.States, r.Transitions)
		for _, v := range r.Found {
			t.Errorf("%s", v.Story)
		}
		if c.mode != untorn.ModeDoublewrite || r.Runs < 8 {
			continue
		}
		for k := range areaKinds {
			if r.Transitions[damageCounter(k)] == 0 {
				t.Errorf("no %v was hit in %d runs", k, r.Runs)
			}
		}
		for _, o := range []string{Unharmed, Reported, Declined, Accepted, Healed} {
			if r.Transitions[o] == 0 {
				t.Errorf("never seen: %s", o)
			}
		}
	}
}

// TestDamageConvicts: the judge of damage sees what a broken engine lets pass.
func TestDamageConvicts(t *testing.T) {
	for _, mutant := range []string{"truncate-corruption", "unproven-copy"} {
		r := runWith(t, Options{Mutant: mutant, Budget: 30 * time.Second, StatesPerRun: 150, Corrupt: true})
		if r.Violations == 0 {
			t.Errorf("%s: not found in %d runs, %d states", mutant, r.Runs, r.States)
			continue
		}
		t.Logf("%s: %d states: %s: %s (%s)", mutant, r.States, r.Found[0].Kind, r.Found[0].What, r.Found[0].Path)
	}
}
