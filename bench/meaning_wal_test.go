package bench

import (
	"strings"
	"testing"
)

// TestMeaningOfLog: the last line says what the latency is counted from, and compares with a bare
// write only where one was measured.
func TestMeaningOfLog(t *testing.T) {
	for _, c := range []struct {
		name       string
		change     func(*WALResult)
		want, lack string
	}{
		{"closed loop", func(*WALResult) {}, "durable 300 us after its append began", "bare DSYNC"},
		{"beside a bare write", func(r *WALResult) { r.Bare.P50 = 100 }, "where a bare DSYNC write takes 100 us", "meant"},
		{"open loop", func(r *WALResult) { r.Config.Rate = 5 }, "durable 300 us after its append was meant to begin", "began"},
		{"overload", func(r *WALResult) { r.Overload = &WALOverload{} }, "after its append was meant to begin", "began"},
		{"few appends", func(r *WALResult) { r.Latency.Count = 99 }, "at the median. ", "p99"},
		{"async", func(r *WALResult) { r.Commit, r.Bare.P50 = "async", 100 }, "accepted 300 us after its append began", "bare DSYNC"},
	} {
		r := &WALResult{Commit: "sync"}
		r.Latency.P50, r.Latency.P99, r.Latency.Count = 300, 900, 100
		c.change(r)
		if got := r.meaning(); !strings.Contains(got, c.want) || strings.Contains(got, c.lack) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
