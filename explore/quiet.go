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

// calm reports whether nobody but the caller runs or is about to, and whether somebody is in a system
// call who is not always there.
func (q *quiet) calm() (still, inside bool) {
	metrics.Read(q.samples)
	still = q.samples[0].Value.Uint64() == 0 && q.samples[1].Value.Uint64() <= 1
	return still, q.samples[2].Value.Uint64() <= q.outside
}

// wait returns when the process has come to rest, or after a while when it does not: something
// else in the process is busy, and the schedule is no longer the seed's alone.
func (q *quiet) wait() bool {
	const enough = 3 // looks in a row
	if !q.counts() {
		return q.guess()
	}
	deadline := time.Time{}
	waits := 0 // with everybody at rest but those in system calls
	for n, looks := 0, 0; n < enough; looks++ {
		still, inside := q.calm()
		if still && !inside {
			if waits++; waits > patience { // it never comes back: whoever waits for signals, say
				q.outside = q.samples[2].Value.Uint64()
			}
		}
		if still && inside {
			n++
			runtime.Gosched()
			continue
		}
		n = 0
		if looks%64 == 63 || still { // whoever is to run may need this very processor
			time.Sleep(20 * time.Microsecond)
		} else {
			runtime.Gosched()
		}
		if looks%256 != 255 {
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

// patience is how many naps a system call may take; no call of the engine on a simulated disk does.
const patience = 200

// guess serves a runtime that does not count: others get their turn, and that is all.
func (q *quiet) guess() bool {
	for range 64 {
		runtime.Gosched()
	}
	return false
}
