package bench

import (
	"errors"
	"fmt"
	"io"
	"runtime"
)

// WriteHGRM writes the latency distribution of the median interval in microseconds, as
// HdrHistogram's plotter reads it.
func (r *Result) WriteHGRM(w io.Writer) error {
	if r.hist == nil {
		return errors.New("a result that was read from a file has no histogram")
	}
	_, err := r.hist.PercentilesPrint(w, 5, 1/micros(tick))
	return err
}

// WriteGoBench writes the repeats of runs as go test -bench prints them, for benchstat.
func WriteGoBench(w io.Writer, runs []*Result) error {
	o := &writer{w: w}
	o.printf("goos: %s\ngoarch: %s\npkg: github.com/untorn/untorn/bench\n", runtime.GOOS, runtime.GOARCH)
	for _, r := range runs {
		if r.Host.CPU != "" && r == runs[0] {
			o.printf("cpu: %s\n", r.Host.CPU)
		}
		for _, in := range r.Repeats {
			o.printf("BenchmarkRun/mode=%s/page=%d/clients=%d/batch=%d/ack=%s-%d %d %.1f ns/op %.0f pages/s %.4f efficiency %.1f p50-us %.1f p99-us %.2f cpu-us/page %.4f allocs/page\n",
				r.Mode, r.PageBytes, r.Clients, r.BatchPages, r.Ack, r.Host.GOMAXPROCS, in.Pages,
				ratio(1e9, in.PagesPerSecond), in.PagesPerSecond, in.Efficiency, in.Latency.P50, in.Latency.P99, in.CPU, in.Allocs)
		}
	}
	if o.err != nil {
		return fmt.Errorf("benchmark format: %w", o.err)
	}
	return nil
}
