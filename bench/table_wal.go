package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// workload is the configuration in words, without the settings that vary.
func (r *WALResult) workload(but ...string) string {
	c := &r.Config
	var parts []string
	add := func(name, format string, a ...any) {
		if !slices.Contains(but, name) {
			parts = append(parts, fmt.Sprintf(format, a...))
		}
	}
	add("record", "records of %d bytes", r.RecordBytes)
	add("clients", "%d clients", r.Clients)
	add("commit", "commit %s", r.Commit)
	if c.Zeros > 0 {
		add("", "%d %% compressible", c.Zeros)
	}
	if c.Groups > 0 {
		add("groups", "up to %d groups in flight", c.Groups)
	}
	if c.Cores > 0 {
		add("cores", "%d cores", c.Cores)
	}
	add("rate", "%s", loop(c.Rate, c.Overload, "records"))
	return strings.Join(parts, ", ")
}

// WriteText is the report for a terminal.
func (r *WALResult) WriteText(out io.Writer) error {
	w := &writer{w: out}
	w.printf("log: %s\n", r.workload())
	writeHost(w, &r.Host)
	w.printf("backend %s (%s)%s, groups made durable by %s\n\n", r.Backend, r.BackendReason, indirect(r.DirectIO, r.DirectReason), r.LogCommit)
	w.pairs(r.figures())
	if n := len(r.Repeats); n > 1 {
		s := r.Spread
		w.printf("\nthe median of %d; records/s from %s to %s", n, Count(s.RecordsPerSecond.Min), Count(s.RecordsPerSecond.Max))
		if s.Bound.Max > 0 {
			w.printf(", bound from %s to %s", Count(s.Bound.Min), Count(s.Bound.Max))
		}
		w.printf(", p99 from %s to %s\n", Micros(s.P99.Min), Micros(s.P99.Max))
	}
	if len(r.Time) > 0 {
		w.printf("\n")
		rows := [][]string{{"where a record's time goes", "us a record", "share", "blocked"}}
		for _, p := range r.Time {
			is := ""
			if p.Blocked {
				is = "yes"
			}
			rows = append(rows, []string{p.Where, Count(p.Micros), Percent(p.Share), is})
		}
		w.table(rows)
	}
	return w.end(r.Interrupted, r.Meaning)
}

func (r *WALResult) figures() [][2]string {
	rows := [][2]string{{"throughput", fmt.Sprintf("%s records/s (%s/s)", Count(r.RecordsPerSecond), FormatBytes(int64(r.BytesPerSecond)))}}
	if r.Bound > 0 {
		rows = append(rows,
			[2]string{"bound", fmt.Sprintf("%s records/s: %s; best: %s, %d at a time, %s", Count(r.Bound), r.Kind, FormatBytes(int64(r.Write)), r.Flight, r.Method)},
			[2]string{"efficiency", Percent(r.Efficiency)})
	}
	rows = append(rows,
		[2]string{"latency", latencyText(&r.Latency)},
		[2]string{"a bare DSYNC write", latencyText(&r.Bare)},
		[2]string{"groups", fmt.Sprintf("%s/s, %.1f records each, up to %d in flight", Count(r.GroupsPerSecond), r.RecordsPerGroup, r.Depth)},
		[2]string{"making a group durable", fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, max %s", Micros(r.Group.P50), Micros(r.Group.P99), Micros(r.Group.P999), Micros(r.Group.Max))},
		[2]string{"groups being written", Percent(r.BusyShare) + " of the time"},
		[2]string{"blocked", fmt.Sprintf("%.2f us a record, for a free group or a segment", r.BlockedPerRecord)},
		[2]string{"CPU", fmt.Sprintf("%.2f us a record", r.CPU)},
		[2]string{"allocations", fmt.Sprintf("%.3f a record", r.Allocs)},
		[2]string{"to the device", fmt.Sprintf("%.2f bytes a record byte", r.DeviceBytes)},
	)
	if r.StartLag != nil {
		rows = append(rows, [2]string{"begun late by", latencyText(r.StartLag)})
	}
	if o := r.Overload; o != nil {
		rows = append(rows, (*Overload)(o).rows("record")...)
	}
	if r.Commit != "sync" {
		rows = append(rows, [2]string{"a crash could take", fmt.Sprintf("at most %s, accepted up to %s before", FormatBytes(r.RiskBytes), Micros(r.RiskTime))})
	}
	rows = append(rows, [2]string{"short of", r.Bottleneck})
	if v := r.Verify; v != nil {
		what := fmt.Sprintf("%d records read back after opening again", v.Checked)
		if !v.OK {
			what = "FAILED: " + strings.Join(v.Wrong, "; ")
		}
		rows = append(rows, [2]string{"verified", what})
	}
	return rows
}
