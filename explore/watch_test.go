package explore

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAStallIsTold: once for each stall, with the seed and the stacks, and not while states are tried.
func TestAStallIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		x := &explorer{seed: 7, o: Options{Stalled: func(seed uint64, stacks []byte) {
			if told++; seed != 7 || !strings.Contains(string(stacks), "TestAStallIsTold") {
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
		if told != 0 {
			t.Fatalf("told %d times while states were tried", told)
		}
		time.Sleep(5 * stallAfter)
		if told != 1 {
			t.Fatalf("told %d times of one stall", told)
		}
	})
}
