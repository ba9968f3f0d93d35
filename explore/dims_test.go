package explore

import (
	"testing"
	"time"
)

// TestEveryDimensionIsReached: the runs of a short exploration have it all, and no complaint.
func TestEveryDimensionIsReached(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes long; untornctl explore prints what it reached")
	}
	r := runWith(t, Options{Budget: 40 * time.Second, StatesPerRun: 60})
	for _, v := range r.Found {
		t.Errorf("%s", v.Story)
	}
	for _, d := range []string{ModeChange, AfterMode, LogPlace, CopyPlace, ForeignLSNs, BoundedLog, SmallOnLarge,
		SeveralFiles, ReadErrors, Misdirected} {
		if r.Transitions[d] == 0 && r.Runs > 60 {
			t.Errorf("in %d runs and %d states never: %s", r.Runs, r.States, d)
		}
	}
	t.Logf("%d runs, %d states, %v, blamed on the drive %v", r.Runs, r.States, r.Transitions, r.Blamed)
}
