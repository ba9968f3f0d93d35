package bench

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// SweepConfig is one workload at several values of one of its settings. All of them are measured in
// turns, so that they see the same disk.
type SweepConfig struct {
	// Base is what they have in common; its Mode is not used.
	Base   Config
	Modes  []Mode // a curve each; none = doublewrite
	Over   string // one of SweepOver
	Values []int
}

// SweepOver lists what can be swept over.
func SweepOver() []string { return settingNames(settings()) }

func settings() []setting[Config] {
	return []setting[Config]{
		{"checkpoint", "checkpoint_bytes", "MiB of log between checkpoints", func(c *Config, v int) { c.CheckpointBytes = int64(v) << 20 }},
		{"clients", "clients", "callers", func(c *Config, v int) { c.Clients = v }},
		{"batch", "batch_pages", "pages a call", func(c *Config, v int) { c.Batch = v }},
		{"cores", "cores", "cores", func(c *Config, v int) { c.Cores = v }},
		{"depth", "depth", "writes in place in flight", func(c *Config, v int) { c.Depth = v }},
		{"page", "page_bytes", "bytes of a page", func(c *Config, v int) { c.PageBytes = v }},
		{"rate", "rate_pages_per_second", "pages a second offered", func(c *Config, v int) { c.Rate = float64(v) }},
		{"reads", "reads_percent", "percent of calls that read", func(c *Config, v int) { c.Reads = v }},
	}
}

// ParseValues reads "1,2,4" or, for sizes, "4KiB,16KiB".
func ParseValues(s string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(s, ",") {
		v, err := ParseBytes(part)
		if err != nil || v > 1<<30 {
			return nil, fmt.Errorf("%w: values %q: want numbers with commas between them", ErrUsage, s)
		}
		out = append(out, int(v))
	}
	return out, nil
}

// ParseSweep reads "clients=1,2,4".
func ParseSweep(s string) (over string, values []int, err error) {
	over, list, ok := strings.Cut(s, "=")
	if !ok {
		return "", nil, fmt.Errorf("%w: sweep %q: want a setting and its values, as in clients=1,2,4", ErrUsage, s)
	}
	values, err = ParseValues(list)
	return over, values, err
}

// maxPoints of one sweep: each has a working set of its own.
const maxPoints = 64

// configs are the runs of a sweep, value by value.
func (c *SweepConfig) configs() ([]Config, error) {
	set, ok := settingNamed(settings(), c.Over)
	if !ok {
		return nil, fmt.Errorf("%w: cannot sweep over %q (%s)", ErrUsage, c.Over, strings.Join(SweepOver(), ", "))
	}
	modes := c.Modes
	if len(modes) == 0 {
		modes = []Mode{Doublewrite}
	}
	if n := len(c.Values) * len(modes); n == 0 || n > maxPoints {
		return nil, fmt.Errorf("%w: a sweep of %d points, want 1 to %d", ErrUsage, n, maxPoints)
	}
	seen := map[int]bool{}
	var out []Config
	for _, v := range c.Values {
		if seen[v] || v < 1 && c.Over != "reads" {
			return nil, fmt.Errorf("%w: value %d of %s comes twice or makes no sense", ErrUsage, v, c.Over)
		}
		seen[v] = true
		for _, m := range modes {
			one := c.Base
			t, _ := m.trait()
			one.Mode, one.Unsafe = m, c.Base.Unsafe || t.unsafe
			one.name, one.value = fmt.Sprintf("%s, %s=%d", m, c.Over, v), v
			set.set(&one, v)
			if err := one.Validate(); err != nil {
				return nil, fmt.Errorf("%s=%d: %w", c.Over, v, err)
			}
			out = append(out, one)
		}
	}
	return out, nil
}

// Validate returns what is wrong; it matches ErrUsage.
func (c SweepConfig) Validate() error {
	_, err := c.configs()
	return err
}

// SweepResult is a curve for each mode.
type SweepResult struct {
	Schema string `json:"schema"`
	Over   string `json:"over"`
	// Points are value by value, and mode by mode for each.
	Points      []Point  `json:"points"`
	Meaning     string   `json:"meaning"`
	Interrupted bool     `json:"interrupted"`
	Command     []string `json:"command"`
}

// Point is one run of a sweep.
type Point = PointOf[*Result]

// Sweep measures a workload at several values. When ctx ends early it keeps what it has.
func Sweep(ctx context.Context, c SweepConfig, p Progress) (*SweepResult, error) {
	cs, err := c.configs()
	if err != nil {
		return nil, err
	}
	runs, err := runAll(ctx, cs, p)
	if len(runs) == 0 {
		return nil, err
	}
	r := &SweepResult{Schema: SchemaSweep, Over: c.Over}
	for _, run := range runs {
		r.Points = append(r.Points, Point{run.Config.value, run})
		r.Interrupted = r.Interrupted || run.Interrupted
	}
	r.Meaning = r.meaning()
	return r, err
}

func (r *Result) curve() string { return string(r.Mode) }

func (r *Result) drawn() sweepPoint {
	return sweepPoint{r.PagesPerSecond, r.Bound, r.Efficiency, r.Latency.P50, r.Latency.P99, r.Spread.PagesPerSecond, r.Time}
}

// meaning is where each curve stops paying.
func (r *SweepResult) meaning() string {
	var b strings.Builder
	b.WriteString("What it means: ")
	for i, l := range linesOf(r.Points) {
		if i > 0 {
			b.WriteString("; ")
		}
		best, enough := l.best()
		fmt.Fprintf(&b, "%s does most, %s pages/s, at %s=%d", l.name, Count(best.Run.PagesPerSecond), r.Over, best.Value)
		if enough.Value != best.Value {
			fmt.Fprintf(&b, ", and 95 %% of it or more from %d on", enough.Value)
			if p99 := withP99(&enough.Run.Latency); p99 != "" && best.Run.Latency.reaches(99) {
				b.WriteString(p99 + " instead of " + Micros(best.Run.Latency.P99))
			}
		}
	}
	last := r.Points[len(r.Points)-1].Run
	fmt.Fprintf(&b, ". At %s=%d short of: %s.", r.Over, r.Points[len(r.Points)-1].Value, last.Bottleneck)
	return b.String()
}

// Runs are all of a sweep's runs.
func (r *SweepResult) Runs() []*Result { return runsOf(r.Points) }

// WriteText is the table for a terminal.
func (r *SweepResult) WriteText(out io.Writer) error {
	w := &writer{w: out}
	first := r.Points[0].Run
	set, _ := settingNamed(settings(), r.Over)
	w.printf("sweep over %s (%s): %s\n", r.Over, set.unit, first.workload(r.Over))
	writeHost(w, &first.Host)
	w.printf("backend %s (%s)%s\n\n", first.Backend, first.BackendReason, first.indirect())
	w.table(r.rows())
	return w.end(r.Interrupted, r.Meaning)
}

func (r *SweepResult) rows() [][]string {
	head := []string{"p50 ms", "p99 ms", "p99.9 ms", "CPU us/page", "blocked us/page"}
	logs := r.Over == "checkpoint" // what it is about
	if logs {
		head = append(head, "log bytes/page", "bytes/byte")
	}
	ms := func(us float64) string { return fmt.Sprintf("%.2f", us/1e3) }
	return rowsOf(r.Points, r.Over, "mode", "pages/s", head, func(x *Result) []string {
		row := []string{ms(x.Latency.P50), x.Latency.p99(ms), x.Latency.p999(ms), fmt.Sprintf("%.1f", x.CPU), "-"}
		if us, by := blocked(x.Time); us >= 0.01*x.Latency.Mean {
			row[4] = fmt.Sprintf("%s, %s", Count(us), by.Where)
		}
		if logs {
			row = append(row, Count(x.LogBytes), fmt.Sprintf("%.2f", x.DeviceBytes))
		}
		return row
	})
}

// workload is the configuration in words, without the setting that varies.
func (r *Result) workload(but string) string {
	c := &r.Config
	var parts []string
	add := func(name, format string, a ...any) {
		if name == "" || name != but {
			parts = append(parts, fmt.Sprintf(format, a...))
		}
	}
	add("clients", "%d clients", r.Clients)
	add("batch", "%d pages a call", r.BatchPages)
	add("page", "pages of %s", FormatBytes(int64(r.PageBytes)))
	add("", "%s working set", FormatBytes(c.SizeBytes))
	if c.Dist == Hot {
		add("", "%d %% of the pages hot", c.Hot)
	} else {
		add("", "%s", c.Dist)
	}
	if c.Reads > 0 {
		add("reads", "%d %% reads", c.Reads)
	}
	if c.LogBytes > 0 {
		add("", "a log record of %s a call", FormatBytes(int64(c.LogBytes)))
	}
	if c.Zeros > 0 {
		add("", "%d %% compressible", c.Zeros)
	}
	if c.Depth > 0 {
		add("depth", "depth %d", c.Depth)
	}
	if c.Cores > 0 {
		add("cores", "%d cores", c.Cores)
	}
	add("rate", "%s", loop(c.Rate, c.Overload, "pages"))
	add("", "acknowledged %s", r.Ack)
	return strings.Join(parts, ", ")
}

// loop is how calls are offered.
func loop(rate, overload float64, unit string) string {
	switch {
	case rate > 0:
		return fmt.Sprintf("open loop at %s %s/s", Count(rate), unit)
	case overload > 0:
		return fmt.Sprintf("open loop at %.0f %% of capacity", overload)
	}
	return "closed loop"
}
