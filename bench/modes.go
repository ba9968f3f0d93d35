package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// ModesResult is several modes measured side by side: what the bare command shows.
type ModesResult struct {
	Schema  string       `json:"schema"`
	Runs    []*Result    `json:"runs"`
	WAL     *WALResult   `json:"wal,omitempty"`
	Limit   *LimitResult `json:"limit,omitempty"`
	Meaning string       `json:"meaning"`
	// Interrupted before all of it was measured.
	Interrupted bool     `json:"interrupted"`
	Command     []string `json:"command"`
}

// WriteText is the table for a terminal.
func (m *ModesResult) WriteText(out io.Writer) error {
	w := &writer{w: out}
	r := m.Runs[0]
	w.printf("\n%s\n", r.workload(""))
	writeHost(w, &r.Host)
	w.printf("backend %s (%s)%s\n\n", r.Backend, r.BackendReason, r.indirect())
	w.table(m.rows())
	if m.WAL != nil {
		l := m.WAL.Latency
		w.printf("\nlog: %s records of %d bytes a second from %d clients", Count(m.WAL.RecordsPerSecond), m.WAL.RecordBytes, m.WAL.Clients)
		if m.WAL.Bound > 0 {
			w.printf(", %s of a bound of %s", Percent(m.WAL.Efficiency), Count(m.WAL.Bound))
		}
		w.printf(", p50 %s, p99 %s, %.1f us CPU a record\n", Micros(l.P50), l.p99(Micros), m.WAL.CPU)
	}
	for _, r := range m.Runs {
		if u := r.unsteady(); u != "" {
			w.printf("\n%s\n", u)
		}
	}
	return w.end(m.Interrupted || slices.ContainsFunc(m.Runs, func(r *Result) bool { return r.Interrupted }), m.Meaning)
}

func (m *ModesResult) rows() [][]string {
	rows := [][]string{{"mode", "pages/s", "min", "max", "bound", "efficiency", "p50 ms", "p99 ms", "p99.9 ms", "CPU us/page", "bytes/byte", "pages verified"}}
	ms := func(us float64) string { return fmt.Sprintf("%.1f", us/1e3) }
	for _, r := range m.Runs {
		if len(r.Repeats) == 0 {
			continue
		}
		ok := "-"
		if r.Verify != nil {
			if ok = Count(float64(r.Verify.Checked)); !r.Verify.OK {
				ok = "FAILED"
			}
		}
		s := r.Spread
		rows = append(rows, []string{
			string(r.Mode), Count(r.PagesPerSecond), Count(s.PagesPerSecond.Min), Count(s.PagesPerSecond.Max), dash(r.Bound), reached(r.Bound, r.Efficiency),
			ms(r.Latency.P50), r.Latency.p99(ms), r.Latency.p999(ms), fmt.Sprintf("%.1f", r.CPU), fmt.Sprintf("%.2f", r.DeviceBytes), ok,
		})
	}
	return rows
}

// measured names the modes of which there are figures, and the log.
func (m *ModesResult) measured() string {
	var s []string
	for _, r := range m.Runs {
		if len(r.Repeats) > 0 {
			s = append(s, string(r.Mode))
		}
	}
	if m.WAL != nil {
		s = append(s, "log")
	}
	return strings.Join(s, ", ")
}

// find returns the run of a mode, or nil.
func (m *ModesResult) find(mode Mode) *Result {
	for _, r := range m.Runs {
		if r.Mode == mode && len(r.Repeats) > 0 {
			return r
		}
	}
	return nil
}

// Logs is the measurement of the log, if there is one.
func (m *ModesResult) Logs() []*WALResult {
	if m.WAL == nil {
		return nil
	}
	return []*WALResult{m.WAL}
}
