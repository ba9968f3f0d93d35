package bench

import (
	"fmt"
	"io"
	"runtime"
)

// goBenchHead is what go test -bench prints first.
func (w *writer) goBenchHead(h *Host) {
	w.printf("goos: %s\ngoarch: %s\npkg: github.com/untorn/untorn/bench\n", runtime.GOOS, runtime.GOARCH)
	if h != nil && h.CPU != "" {
		w.printf("cpu: %s\n", h.CPU)
	}
}

// goBenchEfficiency is that metric; nothing where there was no bound.
func goBenchEfficiency(bound, efficiency float64) string {
	if bound == 0 {
		return ""
	}
	return fmt.Sprintf(" %.4f efficiency", efficiency)
}

// WriteGoBench writes each round of each kind of write as go test -bench prints it, for benchstat. A
// result that was read from a file has no rounds.
func (r *LimitResult) WriteGoBench(out io.Writer) error {
	w := &writer{w: out}
	w.goBenchHead(&r.Host)
	for _, k := range []struct {
		key  string
		unit float64 // pages of one write
	}{
		{"random", 1}, {"random_flushed", 1}, {"sequential", float64(r.BatchPages)},
		{"sequential_flushed", float64(r.BatchPages)}, {"both", 1},
	} {
		for _, v := range r.values[k.key] {
			pages := v * k.unit
			w.printf("BenchmarkLimit/kind=%s/page=%d/depth=%d/batch=%d-%d 1 %.1f ns/op %.0f pages/s\n",
				k.key, r.PageBytes, r.Depth, r.BatchPages, r.Host.GOMAXPROCS, ratio(1e9, pages), pages)
		}
	}
	return w.err
}

// WriteGoBench writes each open after a crash as go test -bench prints it.
func (r *RecoveryResult) WriteGoBench(out io.Writer) error {
	w := &writer{w: out}
	w.goBenchHead(&r.Host)
	for _, p := range r.Points {
		w.printf("BenchmarkRecovery/mode=%s/page=%d/log=%d-%d 1 %.0f ns/op %.0f log-B/s %.0f replay-ns\n",
			p.Mode, r.Config.PageBytes, p.Asked, r.Host.GOMAXPROCS, p.Open*1e9, p.LogSpeed, p.Replay*1e9)
	}
	return w.err
}
