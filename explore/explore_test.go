package explore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/untorn/untorn"
)

// run explores and fails the test when that could not be done.
func runWith(t *testing.T, o Options) *Result {
	t.Helper()
	o.Steady = testing.Short() // the share that CI runs is the same everywhere
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// longest is how long a test may look: it is bounded by its runs, so that it does the same on every
// machine, or ends when it has found something.
const longest = 3 * time.Minute

// runs is how many runs a test makes: all of n, or a few.
func runs(n int) int {
	if testing.Short() || raced {
		return max(1, n/4)
	}
	return n
}

func TestTheEngineHolds(t *testing.T) {
	r := runWith(t, Options{MaxRuns: runs(24), Budget: longest, StatesPerRun: 150})
	t.Logf("%d runs, %d states, %d of them kills, %.0f/s, %v", r.Runs, r.States, r.Kills, r.PerSecond, r.Transitions)
	for _, v := range r.Found {
		t.Errorf("%s", v.Story)
	}
}

// TestAtomicHolds: on a disk whose atomic writes land whole or not at all no second copy is needed;
// one that refuses them gets pages through the doublewrite buffer after all.
func TestAtomicHolds(t *testing.T) {
	r := runWith(t, Options{Mode: untorn.ModeAtomic, MaxRuns: runs(12), Budget: longest, StatesPerRun: 100})
	for _, v := range r.Found {
		t.Errorf("%s", v.Story)
	}
}

// TestUnprotectedModesLose: without a doublewrite buffer a power cut tears pages. detect must notice
// every one of them, none must be seen to return one as good.
func TestUnprotectedModesLose(t *testing.T) {
	r := runWith(t, Options{Mode: untorn.ModeNone, Budget: longest, StatesPerRun: 100})
	if r.Violations == 0 || r.Found[0].Kind != Torn {
		t.Errorf("mode none: %d violations in %d states, %+v", r.Violations, r.States, r.Found)
	}
	r = runWith(t, Options{Mode: untorn.ModeDetect, Budget: longest, StatesPerRun: 100, MaxRuns: 2, Violations: 15})
	for _, v := range r.Found {
		if v.Kind != Damaged {
			t.Errorf("mode detect: %s", v.Story)
		}
	}
	if r.Violations == 0 {
		t.Errorf("mode detect lost nothing in %d states", r.States)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{Mutant: "no-such"}, {Mode: "no-such"}} {
		if _, err := Run(context.Background(), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestASeedIsOneSchedule: but on a machine that is very busy with other things; a replay records until
// it has the log again.
func TestASeedIsOneSchedule(t *testing.T) {
	m, _ := findMutant("")
	for seed := range uint64(40) {
		p := newProfile(seed+1, untorn.ModeDoublewrite, m)
		if p.timed() {
			continue
		}
		a, _, _ := recordRun(context.Background(), p)
		b, _, _ := recordRun(context.Background(), p)
		if fingerprint(a) == fingerprint(b) {
			return
		}
	}
	t.Error("no seed of 40 repeated its log")
}

func TestAViolationReplays(t *testing.T) {
	o := Options{Mutant: "skip-dwb-flush", Budget: longest, StatesPerRun: 100}
	r := runWith(t, o)
	if r.Violations == 0 {
		t.Fatal("not found")
	}
	v := r.Found[0]
	o.Seed, o.Only = v.Seed, &Replay{v.At, v.Choice, v.Log}
	again := runWith(t, o)
	if again.Violations == 0 {
		t.Skip("the schedule did not come again on this machine")
	}
	if again.Found[0].Kind != v.Kind || again.Found[0].What != v.What {
		t.Errorf("replayed as %s: %s\nit was %s: %s", again.Found[0].Kind, again.Found[0].What, v.Kind, v.What)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	r, err := Run(ctx, Options{})
	if err != nil || !r.Interrupted || r.Violations != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
