package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// WALSweepConfig is the log at several values of one of its settings, by several commit policies, or
// both. All of it is measured in turns, so that it sees the same disk.
type WALSweepConfig struct {
	// Base is what they have in common; its Commit is not used.
	Base    WALConfig
	Commits []string // a curve each; none = sync
	// Over is one of WALSweepOver, with its Values; "" = only the commit policies are compared.
	Over   string
	Values []int
}

// WALSweepOver lists what the log can be swept over.
func WALSweepOver() []string { return settingNames(walSettings()) }

func walSettings() []setting[WALConfig] {
	return []setting[WALConfig]{
		{"clients", "clients", "callers", func(c *WALConfig, v int) { c.Clients = v }},
		{"record", "record_bytes", "bytes of a record", func(c *WALConfig, v int) { c.RecordBytes = v }},
		{"groups", "groups_in_flight", "most groups in flight", func(c *WALConfig, v int) { c.Groups = v }},
		{"cores", "cores", "cores", func(c *WALConfig, v int) { c.Cores = v }},
		{"rate", "rate_records_per_second", "records a second offered", func(c *WALConfig, v int) { c.Rate = float64(v) }},
	}
}

// maxLogPoints of one sweep: each has an engine and some 512 MiB of log.
const maxLogPoints = 32

// configs are the runs of a sweep, value by value.
func (c *WALSweepConfig) configs() ([]WALConfig, error) {
	set, ok := settingNamed(walSettings(), c.Over)
	values := c.Values
	switch {
	case c.Over == "" && len(values) == 0:
		values = []int{0}
		set.set = func(*WALConfig, int) {}
	case !ok:
		return nil, fmt.Errorf("%w: cannot sweep the log over %q (%s)", ErrUsage, c.Over, strings.Join(WALSweepOver(), ", "))
	}
	commits := c.Commits
	if len(commits) == 0 {
		commits = []string{"sync"}
	}
	if n := len(values) * len(commits); n == 0 || n > maxLogPoints {
		return nil, fmt.Errorf("%w: a sweep of %d points, want 1 to %d", ErrUsage, n, maxLogPoints)
	}
	var out []WALConfig
	for i, v := range values {
		if ok && (v < 1 || slices.Contains(values[:i], v)) {
			return nil, fmt.Errorf("%w: value %d of %s comes twice or makes no sense", ErrUsage, v, c.Over)
		}
		for k, commit := range commits {
			if slices.Contains(commits[:k], commit) {
				return nil, fmt.Errorf("%w: commit %s comes twice", ErrUsage, commit)
			}
			one := c.Base
			one.Commit = commit
			set.set(&one, v)
			one.label, one.value = "log, "+commit, v
			if ok {
				one.label += fmt.Sprintf(", %s=%d", c.Over, v)
			}
			if err := one.Validate(); err != nil {
				return nil, fmt.Errorf("%s: %w", one.label, err)
			}
			out = append(out, one)
		}
	}
	return out, nil
}

// Validate returns what is wrong; it matches ErrUsage.
func (c WALSweepConfig) Validate() error {
	_, err := c.configs()
	return err
}

// WALSweepResult is a curve for each commit policy.
type WALSweepResult struct {
	Schema string `json:"schema"`
	Over   string `json:"over"` // "commit" where only the policies are compared
	// Points are value by value, and policy by policy for each.
	Points      []WALPoint `json:"points"`
	Meaning     string     `json:"meaning"`
	Interrupted bool       `json:"interrupted"`
	Command     []string   `json:"command"`
}

// WALPoint is one run of a sweep of the log.
type WALPoint = PointOf[*WALResult]

// SweepWAL measures the log at several values. When ctx ends early it keeps what it has.
func SweepWAL(ctx context.Context, c WALSweepConfig, p Progress) (*WALSweepResult, error) {
	cs, err := c.configs()
	if err != nil {
		return nil, err
	}
	runs, err := runLogs(ctx, cs, p)
	if len(runs) == 0 {
		return nil, err
	}
	r := &WALSweepResult{Schema: SchemaWALSweep, Over: c.Over}
	if c.Over == "" {
		r.Over = "commit"
	}
	for _, run := range runs {
		r.Points = append(r.Points, WALPoint{run.Config.value, run})
		r.Interrupted = r.Interrupted || run.Interrupted
	}
	r.Meaning = r.meaning()
	return r, err
}

func (r *WALResult) curve() string { return r.Commit }

func (r *WALResult) drawn() sweepPoint {
	return sweepPoint{r.RecordsPerSecond, r.Bound, r.Efficiency, r.Latency.P50, r.Latency.P99, r.Spread.RecordsPerSecond, walSpent(r.Time)}
}

// meaning is where each curve stops paying, and what the log at its best takes.
func (r *WALSweepResult) meaning() string {
	var b strings.Builder
	b.WriteString("What it means: ")
	b.WriteString(r.Points[0].Run.Host.flushesOff())
	var most *WALResult
	var loses []string
	for i, l := range linesOf(r.Points) {
		if i > 0 {
			b.WriteString("; ")
		}
		best, enough := l.best()
		if most == nil {
			most = best.Run
		}
		if l := best.Run.loses(); !slices.Contains(loses, l) {
			loses = append(loses, l)
		}
		fmt.Fprintf(&b, "commit %s does %s records/s%s%s", l.name, Count(best.Run.RecordsPerSecond), r.at(best), withP99(&best.Run.Latency))
		if best.Run.Bound > 0 {
			fmt.Fprintf(&b, ", %s of its bound", Percent(best.Run.Efficiency))
		}
		if enough.Value != best.Value {
			fmt.Fprintf(&b, " (95 %% of it or more from %d on%s)", enough.Value, withP99(&enough.Run.Latency))
		}
	}
	fmt.Fprintf(&b, ". With %s short of: %s. %s. %s.", most.Commit, most.Bottleneck, most.takes(), strings.Join(loses, ". "))
	return b.String()
}

// withP99 goes on after a rate, if there is a p99 to speak of.
func withP99(l *Latency) string {
	if !l.reaches(99) {
		return ""
	}
	return " with a p99 of " + Micros(l.P99)
}

func (r *WALSweepResult) at(p WALPoint) string {
	if r.Over == "commit" {
		return ""
	}
	return fmt.Sprintf(" at %s=%d", r.Over, p.Value)
}

// Runs are all of a sweep's runs.
func (r *WALSweepResult) Runs() []*WALResult { return runsOf(r.Points) }

// WriteText is the table for a terminal.
func (r *WALSweepResult) WriteText(out io.Writer) error {
	w := &writer{w: out}
	first := r.Points[0].Run
	w.printf("log, %s: %s\n", r.title(), first.workload(r.varied()...))
	writeHost(w, &first.Host)
	w.printf("backend %s (%s)%s, groups made durable by %s\n\n", first.Backend, first.BackendReason, indirect(first.DirectIO, first.DirectReason), first.LogCommit)
	w.table(r.rows())
	w.printf("\nCPU and blocked are of a record; a group: records in one.\n")
	return w.end(r.Interrupted, r.Meaning)
}

// varied are the settings that are not the same in all points.
func (r *WALSweepResult) varied() []string {
	out := []string{r.Over}
	if len(linesOf(r.Points)) > 1 {
		out = append(out, "commit")
	}
	return out
}

func (r *WALSweepResult) title() string {
	set, ok := settingNamed(walSettings(), r.Over)
	if !ok {
		return "by commit policy"
	}
	return fmt.Sprintf("sweep over %s (%s)", r.Over, set.unit)
}

func (r *WALSweepResult) rows() [][]string {
	head := []string{"p50 us", "p99 us", "p99.9 us", "CPU us", "a group", "blocked us"}
	return rowsOf(r.Points, r.Over, "commit", "records/s", head, func(x *WALResult) []string {
		return []string{
			Count(x.Latency.P50), x.Latency.p99(Count), x.Latency.p999(Count),
			fmt.Sprintf("%.2f", x.CPU), fmt.Sprintf("%.1f", x.RecordsPerGroup), dash(x.BlockedPerRecord),
		}
	})
}
