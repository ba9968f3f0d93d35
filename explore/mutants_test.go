package explore

import "testing"

// TestEveryMutantIsConvicted: a checker that finds nothing proves nothing. -short takes those that
// are found in a blink.
func TestEveryMutantIsConvicted(t *testing.T) {
	slow := map[string]bool{"recovery-no-flush": true, "recovery-trusts-reads": true, "super-all-at-once": true, "reorder-page": true, "tail-returns": true, "image-race": true}
	slower := map[string]bool{"flush-not-covering": true, "retry-fsync": true}
	for _, name := range Mutants() {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && slow[name] || raced && (slow[name] || slower[name]) {
				t.Skip("takes long; go test ./explore without -race and -short runs it")
			}
			r := runWith(t, Options{Mutant: name, Budget: 2 * longest, StatesPerRun: 200})
			if r.Violations == 0 {
				t.Fatalf("not found in %d runs, %d states", r.Runs, r.States)
			}
			v := r.Found[0]
			t.Logf("found after %d runs, %d states, %.1f s: %s: %s (%s)", r.Runs, v.States, v.Elapsed, v.Kind, v.What, v.Path)
		})
	}
}
