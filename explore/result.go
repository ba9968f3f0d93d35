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
	// Shadow sums up the comparisons of recoveries in mode shadow; nil in other modes.
	Shadow *Shadow `json:"shadow,omitempty"`
	// Rates are a soak's, Faults what it injected, by kind.
	Rates  map[string]float64 `json:"rates,omitempty"`
	Faults map[string]int64   `json:"faults_injected,omitempty"`
	// Blamed are complaints after the drive had rotted, lost or misplaced something, that the fault
	// explains: no engine can make it good.
	Blamed      map[string]int64 `json:"blamed_on_drive,omitempty"`
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

// Shadow says, over all recoveries in mode shadow, how the two sources of a page related.
type Shadow struct {
	Reports   int64 `json:"reports"`
	Equal     int64 `json:"pages_equal"`
	LogAhead  int64 `json:"pages_log_ahead"`
	Unordered int64 `json:"pages_unordered"`
	DWBAhead  int64 `json:"pages_doublewrite_ahead"`
}

// shadow adds one recovery's comparison.
func (x *explorer) shadow(s *observed) {
	if s == nil || s.report == nil || s.report.Shadow == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	sum := Shadow{}
	if x.result.Shadow != nil {
		sum = *x.result.Shadow
	}
	r := s.report.Shadow
	sum.Reports++
	sum.Equal += int64(r.Equal)
	sum.LogAhead += int64(r.LogAhead)
	sum.Unordered += int64(r.Unordered)
	sum.DWBAhead += int64(r.DWBAhead)
	x.result.Shadow = &sum // a new one: snapshots share it
}
