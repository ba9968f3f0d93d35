package bench

import (
	"fmt"
	"io"
)

// WriteText is the report for a terminal.
func (r *LimitResult) WriteText(out io.Writer) error {
	w := &writer{w: out}
	w.printf("what the drive can do: pages of %s, %d in flight, %d a flush\n", FormatBytes(int64(r.PageBytes)), r.Depth, r.BatchPages)
	writeHost(w, &r.Host)
	w.printf("backend %s (%s)%s\n\n", r.Backend, r.BackendReason, indirect(r.DirectIO, r.DirectReason))
	sp := func(key string, unit float64) (lo, mid, hi string) {
		s := r.Spread[key]
		return Count(s.Min * unit), Count(s.Median * unit), Count(s.Max * unit)
	}
	rows := [][]string{{"pages/s", "median", "min", "max", "CPU us/page"}}
	n := float64(r.BatchPages)
	for _, x := range []struct {
		name, key string
		unit      float64
	}{
		{"random", "random", 1}, {"random, flushed", "random_flushed", 1},
		{"sequential", "sequential", n}, {"sequential, flushed", "sequential_flushed", n}, {"both at once, flushed", "both", 1},
		{"fio: random", "fio_random", 1}, {"fio: random, fdatasync", "fio_synced", 1}, {"fio: sequential", "fio_sequential", n},
	} {
		if _, ok := r.Spread[x.key]; !ok {
			continue
		}
		lo, mid, hi := sp(x.key, x.unit)
		rows = append(rows, []string{x.name, mid, lo, hi, fmt.Sprintf("%.1f", r.Spread[x.key+"_cpu"].Median/x.unit)})
	}
	w.table(rows)
	w.printf("\n")
	if len(r.ByDepth) > 0 {
		w.table(r.depthRows())
		w.printf("\n")
	}
	if rows := r.latencyRows(); len(rows) > 1 {
		w.table(rows)
	}
	w.printf("\nbounds for a doublewrite, every page once in sequence and once in place, in pages/s:\n")
	w.table([][]string{
		{"  free", Count(r.Free), "nothing flushed"},
		{"  flushed", Count(r.Flushed), "the two flushed rates share the drive's time"},
		{"  overlapped", Count(r.Overlapped), "the bare pipeline, measured"},
	})
	if len(r.SyncTable) > 0 {
		w.printf("\n")
		w.table(syncRows(r.SyncTable))
	}
	if r.FIO == nil && !r.Config.NoFIO && !r.Interrupted {
		w.printf("\nfio is not installed: no second opinion\n")
	}
	return w.end(r.Interrupted, r.Meaning)
}

func (r *LimitResult) latencyRows() [][]string {
	rows := [][]string{{"latency in us", "p50", "p90", "p99", "p99.9", "max"}}
	for _, f := range r.FlushAfter {
		rows = append(rows, latencyRow(fmt.Sprintf("flush after %d pages", f.Pages), &f.Flush))
	}
	if r.DSync.Count > 0 {
		rows = append(rows, latencyRow("one page with DSYNC", &r.DSync))
	}
	return rows
}

func latencyRow(name string, l *Latency) []string {
	return []string{name, Count(l.P50), Count(l.P90), l.p99(Count), l.p999(Count), Count(l.Max)}
}

// syncRows has a row for each way and a column for each size: the median, with the p99 behind it.
func syncRows(in []SyncRow) [][]string {
	head := []string{"p50 (p99) in us"}
	var order []string
	cells := map[string][]string{}
	verdict := map[string]string{}
	seen := map[int]bool{}
	for i := range in {
		r := &in[i]
		if !seen[r.Bytes] {
			seen[r.Bytes] = true
			head = append(head, FormatBytes(int64(r.Bytes)))
		}
		if _, ok := cells[r.Method]; !ok {
			order = append(order, r.Method)
		}
		cells[r.Method] = append(cells[r.Method], fmt.Sprintf("%s (%s)", Count(r.Latency.P50), r.Latency.p99(Count)))
		verdict[r.Method] = "durable"
		if r.Note != "" {
			verdict[r.Method] = "durable; " + r.Note
		}
		if !r.Durable {
			verdict[r.Method] = "NOT DURABLE: " + r.Note
		}
	}
	rows := [][]string{append(head, "")}
	for _, m := range order {
		rows = append(rows, append(append([]string{m}, cells[m]...), verdict[m]))
	}
	return rows
}
