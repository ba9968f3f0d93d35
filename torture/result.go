package torture

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/untorn/untorn"
)

// Violation is one thing that must not be.
type Violation struct {
	Round int    `json:"round"`
	What  string `json:"what"`
}

// Result of a run.
type Result struct {
	Schema     int    `json:"schema"`
	Mode       string `json:"mode"`
	Mutant     string `json:"mutant"`
	Seed       uint64 `json:"seed"`
	Dir        string `json:"dir"`
	Rounds     int    `json:"rounds"`
	Kills      int    `json:"kills"`
	Violations int    `json:"violations"`
	// Acknowledgements that children reported, and what surveys compared with them.
	PageAcks    uint64 `json:"page_acks_checked"`
	RecordAcks  uint64 `json:"record_acks_checked"`
	PagesSeen   uint64 `json:"pages_verified"`
	RecordsSeen uint64 `json:"records_verified"`
	// Opens that finished; those that found the directory not closed in order, and the pages these
	// wrote.
	Opens      uint64 `json:"opens"`
	Recoveries uint64 `json:"recoveries"`
	Installed  uint64 `json:"pages_recovered"`
	// Appends refused because the log was full, until a checkpoint.
	LogFull uint64 `json:"appends_refused_log_full"`
	// Damaged counts pages found damaged that were being written when the child died, in modes that
	// do not protect them.
	Damaged   uint64 `json:"damaged_while_written"`
	Throttled bool   `json:"throttled"`
	// FullFS is the file system that was full now and then. Of what needed space so many files were
	// not made, grown, renamed or removed, opens refused, and engines stopped (copy on write only).
	FullFS       string `json:"full_file_system,omitempty"`
	FullSkipped  string `json:"full_skipped,omitempty"`
	NoSpace      uint64 `json:"refused_no_space"`
	OpensNoSpace uint64 `json:"opens_refused_no_space"`
	StopsNoSpace uint64 `json:"stopped_no_space"`
	// MemoryLimit is how memory was limited, MemoryKills the children that died of it; a few may be
	// told that there is none in time to stop.
	MemoryLimit   string `json:"memory_limit,omitempty"`
	MemorySkipped string `json:"memory_skipped,omitempty"`
	MemoryKills   int    `json:"memory_kills"`
	StopsNoMemory uint64 `json:"stopped_no_memory"`
	// OpensRefused counts opens that found a dead child's I/O still holding a lock, and waited.
	OpensRefused    int         `json:"opens_that_waited_for_locks"`
	ThrottleSkipped string      `json:"throttle_skipped,omitempty"`
	Stopped         bool        `json:"stopped"` // before its rounds were over
	ElapsedSeconds  float64     `json:"elapsed_seconds"`
	Stories         []Violation `json:"stories"`
	Kept            []string    `json:"kept,omitempty"`
}

// maxStories bounds the report; the count goes on.
const maxStories = 100

func (r *Result) add(t *tally) {
	r.PageAcks += t.pageAcks
	r.RecordAcks += t.recordAcks
	r.PagesSeen += t.pagesSeen
	r.RecordsSeen += t.recordsSeen
	r.Damaged += t.torn
	r.LogFull += t.refused
	r.Opens += t.opens
	r.OpensRefused += int(t.waited)
	r.Recoveries += t.recoveries
	r.Installed += t.installed
	r.NoSpace += t.noSpace
	r.OpensNoSpace += t.opensNoSpace
	r.StopsNoSpace += t.stopsNoSpace
	r.StopsNoMemory += t.stopsNoMemory
	r.Violations += len(t.violations)
	for _, v := range t.violations {
		if len(r.Stories) < maxStories {
			r.Stories = append(r.Stories, v)
		}
	}
}

// WriteJSON writes the result for scripts.
func (r *Result) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// Line is the progress line.
func (r *Result) Line() string {
	return fmt.Sprintf("%d rounds, %d kills, %d violations, %.0f s: %d page and %d record acknowledgements, %d pages and %d records verified",
		r.Rounds, r.Kills, r.Violations, r.ElapsedSeconds, r.PageAcks, r.RecordAcks, r.PagesSeen,
		r.RecordsSeen)
}

// Write writes the result for people.
func (r *Result) Write(w io.Writer) error {
	p := func(format string, a ...any) { fmt.Fprintf(w, format+"\n", a...) }
	for _, v := range r.Stories {
		p("VIOLATION in round %d: %s", v.Round, v.What)
	}
	if n := r.Violations - len(r.Stories); n > 0 {
		p("and %d violations more", n)
	}
	mode := r.Mode
	if r.Mutant != "" {
		mode += ", with the mutant " + r.Mutant
	}
	p("mode %s, seed %d: %s", mode, r.Seed, r.Line())
	p("%d opens, %d of them recovered %d pages", r.Opens, r.Recoveries,
		r.Installed)
	if r.Stopped {
		p("stopped before all rounds were over")
	}
	if unprotected(untorn.Mode(r.Mode)) {
		p("checked: records, files, and pages that were not being written; %d pages were found damaged that were being written when the process died (this mode does not protect them)",
			r.Damaged)
	}
	switch {
	case r.Throttled:
		p("every other child's disk was throttled: %d opens after a kill found its queued writes still under way and waited for them (I11)",
			r.OpensRefused)
	case r.ThrottleSkipped != "":
		p("throttling was skipped: %s", r.ThrottleSkipped)
	}
	switch {
	case r.FullFS != "":
		p("%s, full again and again: %d appends and %d changes of files refused, %d opens refused, %d engines stopped (by copy on write)",
			r.FullFS, r.LogFull, r.NoSpace, r.OpensNoSpace, r.StopsNoSpace)
	case r.FullSkipped != "":
		p("the full disk was skipped: %s", r.FullSkipped)
	}
	switch {
	case r.MemoryLimit != "":
		p("%d children died of a memory limit (%s), %d stopped for lack of memory", r.MemoryKills, r.MemoryLimit,
			r.StopsNoMemory)
	case r.MemorySkipped != "":
		p("the memory limit was skipped: %s", r.MemorySkipped)
	}
	for _, k := range r.Kept {
		p("kept for a look: %s", k)
	}
	if r.Violations == 0 {
		_, err := fmt.Fprintln(w,
			"no violations. A kill cannot show a missing flush; untornctl explore and a real power cut can")
		return err
	}
	_, err := fmt.Fprintf(w, "%d violations; run again with -seed %d -keep and look at the directory with untornctl inspect, verify and dump\n",
		r.Violations, r.Seed)
	return err
}
