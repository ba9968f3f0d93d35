package explore

import (
	"testing"

	"github.com/untorn/untorn"
)

// TestImagesHold: with page images in the log, alone and beside the doublewrite buffer, no crash
// loses what was acknowledged, after the caller's replay; and beside each other the two never
// contradict.
func TestImagesHold(t *testing.T) {
	for _, mode := range []untorn.Mode{untorn.ModeFullpage, untorn.ModeShadow} {
		r := runWith(t, Options{Mode: mode, MaxRuns: runs(12), Budget: longest, StatesPerRun: 150})
		for _, v := range r.Found {
			t.Errorf("%s", v.Story)
		}
		if s := r.Shadow; (s != nil) != (mode == untorn.ModeShadow) || s != nil && (s.Reports == 0 || s.DWBAhead > 0) {
			t.Errorf("mode %s: %+v", mode, s)
		}
		t.Logf("mode %s: %d states, %+v", mode, r.States, r.Shadow)
	}
}
