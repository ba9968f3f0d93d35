package explore

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAStallIsTold: once for each stall, with the seed and the stacks, and not while states are tried.
func TestAStallIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int32
		x := &explorer{seed: 7, o: Options{Stalled: func(seed uint64, stacks []byte) {
			if told.Add(1); seed != 7 || !strings.Contains(string(stacks), "TestAStallIsTold") {
				t.Errorf("seed %d, %d bytes of stacks", seed, len(stacks))
			}
		}}}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go x.watch(ctx)
		for range 20 {
			time.Sleep(stallAfter / 2)
			x.mu.Lock()
			x.result.States++
			x.mu.Unlock()
		}
		if n := told.Load(); n != 0 {
			t.Fatalf("told %d times while states were tried", n)
		}
		time.Sleep(5 * stallAfter)
		synctest.Wait()
		if n := told.Load(); n != 1 {
			t.Fatalf("told %d times of one stall", n)
		}
	})
}
