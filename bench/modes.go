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
	Command []string     `json:"command"`
}

// WriteText is the table for a terminal.
func (m *ModesResult) WriteText(out io.Writer) error {
	w := &writer{w: out}
	r := m.Runs[0]
	w.printf("\n%d clients x %d pages of %s, %s working set, %s, each call waits until it is durable\n",
		r.Clients, r.BatchPages, FormatBytes(int64(r.PageBytes)), FormatBytes(r.Config.SizeBytes), r.Config.Dist)
	writeHost(w, &r.Host)
	w.printf("backend %s (%s)%s\n\n", r.Backend, r.BackendReason, r.indirect())
	w.table(m.rows())
	if m.WAL != nil {
		l := m.WAL.Latency
		w.printf("\nlog: %s records of %d bytes a second from %d clients, p50 %s, p99 %s, %.1f us CPU a record\n", Count(m.WAL.RecordsPerSecond),
			m.WAL.RecordBytes, m.WAL.Clients, Micros(l.P50), Micros(l.P99), m.WAL.CPU)
	}
	if slices.ContainsFunc(m.Runs, func(r *Result) bool { return r.Interrupted }) {
		w.printf("\nINTERRUPTED: partial results\n")
	}
	w.printf("\n%s\n", m.Meaning)
	return w.err
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
			string(r.Mode), Count(r.PagesPerSecond), Count(s.PagesPerSecond.Min), Count(s.PagesPerSecond.Max), Count(r.Bound), Percent(r.Efficiency),
			ms(r.Latency.P50), ms(r.Latency.P99), ms(r.Latency.P999), fmt.Sprintf("%.1f", r.CPU), fmt.Sprintf("%.2f", r.DeviceBytes), ok,
		})
	}
	return rows
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

// Conclude sets Meaning: what the figures say to somebody who decides.
func (m *ModesResult) Conclude() { m.Meaning = m.meaning() }

func (m *ModesResult) meaning() string {
	dw, none := m.find(Doublewrite), m.find(None)
	if dw == nil || none == nil {
		return "Not enough was measured to say what it means."
	}
	var b strings.Builder
	b.WriteString("What it means: torn-write protection on this path is ")
	switch dw.Host.Atomic {
	case "relaxed":
		b.WriteString("the drive's own for pages of this size, if every write carries RWF_ATOMIC")
	case "required":
		b.WriteString("needed")
	default:
		b.WriteString("needed until the drive is proven to write such pages whole (hwprobe)")
	}
	b.WriteString(". ")
	keeps := ratio(dw.PagesPerSecond, none.PagesPerSecond)
	fmt.Fprintf(&b, "Doublewrite keeps %s of the speed of no protection at all, writes %.2f bytes a page byte instead of %.2f, ",
		Percent(keeps), dw.DeviceBytes, none.DeviceBytes)
	reach := Percent(dw.Efficiency) + " of what"
	if dw.Efficiency > 1 { // the bound was measured at other moments; nothing beats it
		reach = "about what"
	}
	fmt.Fprintf(&b, "and reaches %s this drive can do when every page is written twice; without it a power cut can leave torn pages", reach)
	if nb := m.find(NaiveBatch); nb != nil {
		fmt.Fprintf(&b, ". A plain batched doublewrite does %s of what it does", Percent(ratio(nb.PagesPerSecond, dw.PagesPerSecond)))
	}
	if e := dw.Engine; e != nil {
		fmt.Fprintf(&b, ". It takes %s for the doublewrite file and %s of memory", FormatBytes(int64(e.Regions)*int64(e.BatchBytes)), FormatBytes(e.MemoryBytes))
	}
	b.WriteString(".")
	return b.String()
}
