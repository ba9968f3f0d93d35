package explore

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// quiet tells when every goroutine of the process but the caller's is waiting for something. It
// makes schedules repeatable without a clock: the driver acts only when nothing else can. It costs
// a fraction of a microsecond a look and knows nothing of the engine.
type quiet struct {
	samples []metrics.Sample
	outside uint64 // goroutines that are always in a system call, the one that waits for signals
}

func newQuiet() *quiet {
	q := &quiet{samples: []metrics.Sample{
		{Name: "/sched/goroutines/runnable:goroutines"},
		{Name: "/sched/goroutines/running:goroutines"},
		{Name: "/sched/goroutines/not-in-go:goroutines"},
	}}
	metrics.Read(q.samples)
	if q.counts() {
		q.outside = q.samples[2].Value.Uint64()
	}
	return q
}

// counts reports whether the runtime counts goroutines by what they do.
func (q *quiet) counts() bool { return q.samples[2].Value.Kind() == metrics.KindUint64 }

// calm reports whether nobody but the caller runs, is about to, or is in a system call.
func (q *quiet) calm() bool {
	metrics.Read(q.samples)
	outside := q.samples[2].Value.Uint64()
	q.outside = min(q.outside, outside)
	return q.samples[0].Value.Uint64() == 0 && q.samples[1].Value.Uint64() <= 1 && outside <= q.outside
}

// wait returns when the process has come to rest, or after a while when it does not: something
// else in the process is busy, and the schedule is no longer the seed's alone.
func (q *quiet) wait() bool {
	const enough = 3 // looks in a row
	if !q.counts() {
		return q.guess()
	}
	deadline := time.Time{}
	for n, looks := 0, 0; n < enough; looks++ {
		if q.calm() {
			n++
			runtime.Gosched()
			continue
		}
		n = 0
		if looks%64 == 63 { // whoever is to run may need this very processor
			time.Sleep(20 * time.Microsecond)
		} else {
			runtime.Gosched()
		}
		if looks%1024 != 1023 {
			continue
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(time.Second)
		} else if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// guess serves a runtime that does not count: others get their turn, and that is all.
func (q *quiet) guess() bool {
	for range 64 {
		runtime.Gosched()
	}
	return false
}
