package bench

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/untorn/untorn/ring"
)

// soak is how long the memory of the engine is watched: a moment, or UNTORN_SOAK (make soak: ten
// minutes).
func soak(t *testing.T) time.Duration {
	s := os.Getenv("UNTORN_SOAK")
	if s == "" {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("UNTORN_SOAK: %v", err)
	}
	return d
}

// TestMemoryStaysFixed: under writes, reads and log records, overloaded, with everything that waits
// for memory or slots, the engine lives in what it took at open. Six intervals; between them the
// heap is collected, and what lives then may not be more than it was after the second.
func TestMemoryStaysFixed(t *testing.T) {
	total := soak(t)
	const intervals = 6
	// What the runtime keeps of its own, and pools of calls that grow with the most there ever were at
	// once: span caches, timers, a chunk each.
	const slack = 2 << 20
	for _, mode := range []Mode{Doublewrite, Detect} {
		t.Run(string(mode), func(t *testing.T) {
			c := Config{
				Dir: t.TempDir(), Mode: mode, SizeBytes: 32 << 20, Clients: 32, Batch: 32, LogBytes: 500, Reads: 20, Seed: 1,
				Dist: Zipf, Ack: "accepted", Backend: ring.Auto,
			}.withDefaults()
			s, err := newSession(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.close(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			for _, k := range s.clients { // their memory for reads is made when they first read
				if k.picker.fill(k.nos); k.read(t.Context()) != nil {
					t.Fatal(k.seen)
				}
			}
			var first int64
			var goroutines int
			for i := range intervals {
				in, err := s.interval(t.Context(), loadOf{measured: total / 2 / intervals})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.t.settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, k := range s.clients {
					k.reset(0, newSteps(0)) // what the interval left with the clients
				}
				live := liveHeap()
				m := in.Memory
				t.Logf("%5.1f s: %6d pages, %s live heap, %d goroutines, %s resident, up to %s of %s in frames",
					in.Seconds, in.Pages, FormatBytes(live), runtime.NumGoroutine(), FormatBytes(m.RSSEnd), FormatBytes(m.FramesMax), FormatBytes(m.Frames))
				if m.Frames != s.t.(*engineTarget).e.Info().MemoryBytes || m.FramesMax > m.Frames {
					t.Errorf("%d bytes of frames, %d of them used at most, %d were fixed at open", m.Frames, m.FramesMax, s.t.(*engineTarget).e.Info().MemoryBytes)
				}
				if i == 0 { // warm-up
					continue
				}
				if first == 0 {
					first, goroutines = live, runtime.NumGoroutine()
				}
				if live > first+slack {
					t.Errorf("interval %d: %d bytes live, %d after the second", i+1, live, first)
				}
				if n := runtime.NumGoroutine(); n > goroutines+2 {
					t.Errorf("interval %d: %d goroutines, %d after the second", i+1, n, goroutines)
				}
			}
		})
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // finalizers and pools take a second look
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
