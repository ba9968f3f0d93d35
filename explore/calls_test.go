package explore

import (
	"testing"

	"github.com/untorn/untorn"
)

// TestRarerCallsHold: a subscriber, backups, cuts of the log and new ids, with every mode that keeps
// what was acknowledged.
func TestRarerCallsHold(t *testing.T) {
	reached := map[string]int64{}
	for i, mode := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeFullpage, untorn.ModeShadow, untorn.ModeAtomic} {
		r := runWith(t, Options{Mode: mode, Seed: uint64(1 + 100*i), MaxRuns: runs(24), Budget: longest, StatesPerRun: 40})
		for _, v := range r.Found {
			t.Errorf("%s", v.Story)
		}
		for k, n := range r.Transitions {
			reached[k] += n
		}
		t.Logf("%s: %d runs, %d states, %.0f s", mode, r.Runs, r.States, r.Elapsed)
	}
	for _, k := range []string{Followed, BackingUp, Copied, CuttingLog, CutLog, ChangingID} {
		if reached[k] == 0 {
			t.Errorf("never: %s", k)
		}
	}
	t.Logf("%v", reached)
}
