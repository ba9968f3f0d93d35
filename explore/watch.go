package explore

import (
	"context"
	"runtime"
	"time"
)

// stallAfter is how long nothing may have been tried before it is called a stall. Recording a run
// and trying a state take milliseconds; a machine may be very busy with other things.
const stallAfter = 2 * time.Minute

// watch tells Options.Stalled, once a stall, when neither a run was recorded nor a state tried for a
// while: with every goroutine's stack, because a hang is rarely seen twice.
func (x *explorer) watch(ctx context.Context) {
	var last int64
	since, told := time.Now(), false
	tick := time.NewTicker(stallAfter / 8)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		x.mu.Lock()
		now, seed := x.result.States+int64(x.result.Runs), x.seed
		x.mu.Unlock()
		switch {
		case now != last:
			last, since, told = now, time.Now(), false
		case !told && time.Since(since) >= stallAfter:
			told = true
			x.o.Stalled(seed, stacks())
		}
	}
}

func stacks() []byte {
	b := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(b, true); n < len(b) || len(b) >= 64<<20 {
			return b[:n]
		}
		b = make([]byte, 2*len(b))
	}
}
