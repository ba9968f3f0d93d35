package explore

import (
	"context"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
)

// BenchmarkStates explores the same few runs again and again, with the command's memory: how many
// states a second of processor time, recording them included.
func BenchmarkStates(b *testing.B) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(512 << 20))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var states int64
	began := spent(b)
	for b.Loop() {
		r, err := Run(context.Background(), Options{Budget: time.Hour, MaxRuns: 6, StatesPerRun: 300, Workers: 1})
		if err != nil || r.Violations > 0 {
			b.Fatal(err, r.Found)
		}
		states += r.States
	}
	b.ReportMetric(float64(states)/(spent(b)-began).Seconds(), "states/cpu-s")
}

// spent is the processor time of the process so far.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
