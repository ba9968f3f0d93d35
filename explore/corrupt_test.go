package explore

import (
	"testing"

	"github.com/untorn/untorn"
)

// TestDamageIsNeverSilent: whatever is damaged in a crash state, one structure or several, bits or
// sectors, padding included: nothing comes back wrong.
func TestDamageIsNeverSilent(t *testing.T) {
	for _, c := range []struct {
		mode untorn.Mode
		runs int
	}{{untorn.ModeDoublewrite, 16}, {untorn.ModeFullpage, 8}, {untorn.ModeShadow, 8}, {untorn.ModeAtomic, 4}} {
		r := runWith(t, Options{Mode: c.mode, MaxRuns: runs(c.runs), Budget: longest, StatesPerRun: 150, Corrupt: true})
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
	for _, c := range []struct {
		mutant string
		mode   untorn.Mode
	}{{"truncate-corruption", untorn.ModeDoublewrite}, {"unproven-copy", untorn.ModeDoublewrite},
		{"truncate-corruption", untorn.ModeFullpage}, {"image-skipped", untorn.ModeFullpage}, {"unproven-copy", untorn.ModeShadow}} {
		r := runWith(t, Options{Mutant: c.mutant, Mode: c.mode, Budget: longest, StatesPerRun: 150, Corrupt: true})
		if r.Violations == 0 {
			t.Errorf("%s, mode %s: not found in %d runs, %d states", c.mutant, c.mode, r.Runs, r.States)
			continue
		}
		t.Logf("%s, mode %s: %d states: %s: %s (%s)", c.mutant, c.mode, r.States, r.Found[0].Kind, r.Found[0].What, r.Found[0].Path)
	}
}
