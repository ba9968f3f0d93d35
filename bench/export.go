package bench

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

var errNoHistogram = errors.New("a result that was read from a file has no histogram")

// WriteHGRM writes the latency distribution of the median interval in microseconds, as
// HdrHistogram's plotter reads it.
func (r *Result) WriteHGRM(w io.Writer) error { return writeHGRM(w, r.hist) }

// WriteReadHGRM is WriteHGRM of the calls that read; HasReads tells whether there were some.
func (r *Result) WriteReadHGRM(w io.Writer) error { return writeHGRM(w, r.rhist) }

// HasReads reports whether calls read in the median interval.
func (r *Result) HasReads() bool { return r.rhist != nil && r.rhist.TotalCount() > 0 }

// WriteHGRM writes the latency distribution of the median interval in microseconds.
func (r *WALResult) WriteHGRM(w io.Writer) error { return writeHGRM(w, r.hist) }

func writeHGRM(w io.Writer, h *hdrhistogram.Histogram) error {
	if h == nil {
		return errNoHistogram
	}
	_, err := h.PercentilesPrint(w, 5, 1/micros(tick))
	return err
}

// WriteHLOG writes the latencies of every measured interval, a histogram of nanoseconds for each
// step, in the interval log format of HdrHistogram (version 1.3). Those of reads bear the tag read.
func (r *Result) WriteHLOG(w io.Writer) error {
	var ls []hlogPart
	for i := range r.Repeats {
		ls = append(ls, hlogPart{r.Repeats[i].begun, r.Repeats[i].hlog})
	}
	return writeHLOG(w, fmt.Sprintf("latency of a call: %s", r.name()), ls)
}

// WriteHLOG writes the latencies of every measured interval as Result.WriteHLOG does.
func (r *WALResult) WriteHLOG(w io.Writer) error {
	var ls []hlogPart
	for i := range r.Repeats {
		ls = append(ls, hlogPart{r.Repeats[i].begun, r.Repeats[i].hlog})
	}
	return writeHLOG(w, fmt.Sprintf("latency of an append: %s", r.name()), ls)
}

type hlogPart struct {
	begun time.Time
	lines []byte
}

func writeHLOG(out io.Writer, comment string, parts []hlogPart) error {
	if len(parts) == 0 || parts[0].begun.IsZero() {
		return errNoHistogram
	}
	w := hdrhistogram.NewHistogramLogWriter(out)
	err := errors.Join(
		w.OutputComment("["+comment+", nanoseconds; Interval_Max in ms]"), w.OutputLogFormatVersion(),
		w.OutputStartTime(parts[0].begun.UnixMilli()), w.OutputLegend(),
	)
	for _, p := range parts {
		if err == nil {
			_, err = out.Write(p.lines)
		}
	}
	return err
}

// WriteSeries writes the time series of every repeat as CSV.
func (r *Result) WriteSeries(w io.Writer) error {
	var all [][]Sample
	for i := range r.Repeats {
		all = append(all, r.Repeats[i].Series)
	}
	return writeSeries(w, "pages_per_second", all)
}

// WriteSeries writes the time series of every repeat as CSV.
func (r *WALResult) WriteSeries(w io.Writer) error {
	var all [][]Sample
	for i := range r.Repeats {
		var s []Sample
		for _, x := range r.Repeats[i].Series {
			s = append(s, Sample{
				Second: x.Second, PagesPerSecond: x.RecordsPerSecond,
				StepLatency: StepLatency{x.Appends, x.P50, x.P99, x.MaxLatency},
			})
		}
		all = append(all, s)
	}
	return writeSeries(w, "records_per_second", all)
}

func writeSeries(out io.Writer, rate string, repeats [][]Sample) error {
	w := csv.NewWriter(out)
	f := func(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	cells := func(rate float64, l StepLatency) []string {
		return []string{f(rate, 1), strconv.FormatUint(l.Calls, 10), f(l.P50, 1), f(l.P99, 1), f(l.MaxLatency, 1)}
	}
	head := []string{"repeat", "second", rate, "calls", "latency_us_p50", "latency_us_p99", "max_latency_us"}
	reads := slices.ContainsFunc(repeats, func(series []Sample) bool {
		return slices.ContainsFunc(series, func(s Sample) bool { return s.Reads != nil })
	})
	if reads {
		head = append(head, "read_pages_per_second", "read_calls", "read_latency_us_p50", "read_latency_us_p99", "max_read_latency_us")
	}
	_ = w.Write(head)
	for i, series := range repeats {
		for _, s := range series {
			row := append([]string{strconv.Itoa(i + 1), f(s.Second, 3)}, cells(s.PagesPerSecond, s.StepLatency)...)
			if reads {
				r := ReadStep{}
				if s.Reads != nil {
					r = *s.Reads
				}
				row = append(row, cells(r.PagesPerSecond, r.StepLatency)...)
			}
			_ = w.Write(row)
		}
	}
	w.Flush()
	return w.Error()
}

// name tells a run from others by what was asked for, in key=value pairs.
func (r *Result) name() string {
	c := &r.Config
	dist := c.Dist
	if dist == Uniform {
		dist = ""
	}
	every := c.CheckpointBytes
	if every == logKept || c.LogBytes == 0 && !c.Mode.logsImages() { // as ever, or never
		every = 0
	}
	return named("mode", r.Mode, "page", r.PageBytes, "clients", r.Clients, "batch", r.BatchPages, "ack", r.Ack, "dist", dist,
		"hot", c.Hot, "reads", c.Reads, "log", c.LogBytes, "checkpoint", every, "codec", c.ImageCodec, "zeros", c.Zeros, "depth", c.Depth,
		"cores", c.Cores, "rate", c.Rate, "overload", c.Overload)
}

func (r *WALResult) name() string {
	c := &r.Config
	return named("record", r.RecordBytes, "clients", r.Clients, "commit", r.Commit,
		"groups", c.Groups, "zeros", c.Zeros, "cores", c.Cores, "rate", c.Rate, "overload", c.Overload)
}

// named joins keys and values, but for those that are zero.
func named(pairs ...any) string {
	var parts []string
	for i := 0; i < len(pairs); i += 2 {
		if v := pairs[i+1]; !reflect.ValueOf(v).IsZero() {
			parts = append(parts, fmt.Sprintf("%s=%v", pairs[i], v))
		}
	}
	return strings.Join(parts, "/")
}

// WriteGoBench writes the repeats of runs, and of runs of the log, as go test -bench prints them, for
// benchstat.
func WriteGoBench(w io.Writer, runs []*Result, logs ...*WALResult) error {
	o := &writer{w: w}
	var host *Host
	switch {
	case len(runs) > 0:
		host = &runs[0].Host
	case len(logs) > 0:
		host = &logs[0].Host
	}
	o.goBenchHead(host)
	for _, r := range runs {
		for _, in := range r.Repeats {
			o.printf("BenchmarkRun/%s-%d %d %.1f ns/op %.0f pages/s%s %.1f p50-us %.1f p99-us %.2f cpu-us/page %.4f allocs/page",
				r.name(), r.Host.GOMAXPROCS, in.Pages, ratio(1e9, in.PagesPerSecond), in.PagesPerSecond, goBenchEfficiency(in.Bound, in.Efficiency),
				in.Latency.P50, in.Latency.P99, in.CPU, in.Allocs)
			if l := in.ReadLatency; l != nil {
				o.printf(" %.0f read-pages/s %.1f read-p50-us %.1f read-p99-us", ratio(float64(in.ReadPages), in.Seconds), l.P50, l.P99)
			}
			o.printf("\n")
		}
	}
	for _, wal := range logs {
		for _, in := range wal.Repeats {
			o.printf("BenchmarkWAL/%s-%d %d %.1f ns/op %.0f records/s%s %.1f p50-us %.1f p99-us %.2f cpu-us/record %.4f allocs/record\n",
				wal.name(), wal.Host.GOMAXPROCS, in.Records, ratio(1e9, in.RecordsPerSecond), in.RecordsPerSecond, goBenchEfficiency(in.Bound, in.Efficiency),
				in.Latency.P50, in.Latency.P99, in.CPU, in.Allocs)
		}
	}
	if o.err != nil {
		return fmt.Errorf("benchmark format: %w", o.err)
	}
	return nil
}
