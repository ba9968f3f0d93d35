package explore

import (
	"time"
)

// Result is what an exploration found.
type Result struct {
	Schema      int              `json:"schema"`
	Mode        string           `json:"mode"`
	Mutant      string           `json:"mutant"`
	Seed        uint64           `json:"seed"`
	Runs        int              `json:"runs"`
	States      int64            `json:"states"`
	Kills       int64            `json:"kills"`
	Violations  int              `json:"violations"`
	Transitions map[string]int64 `json:"states_per_transition"`
	Elapsed     float64          `json:"elapsed_seconds"`
	PerSecond   float64          `json:"states_per_second"`
	Interrupted bool             `json:"interrupted,omitempty"`
	Found       []*Violation     `json:"found,omitempty"`
}

func (r *Result) finish(began time.Time) {
	r.Elapsed = time.Since(began).Seconds()
	if r.Elapsed > 0 {
		r.PerSecond = float64(r.States) / r.Elapsed
	}
}

// Violation is a counterexample.
type Violation struct {
	Kind   string `json:"kind"`
	What   string `json:"what"`
	Seed   uint64 `json:"seed"`
	At     int    `json:"log_index"`
	Choice string `json:"choice"`
	// Path says how the state came about, from the first crash on.
	Path  string `json:"path"`
	Log   string `json:"log_fingerprint"`
	Story string `json:"story"`
	// States and Elapsed are what it took to find it.
	States  int64   `json:"states"`
	Elapsed float64 `json:"elapsed_seconds"`
}
