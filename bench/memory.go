package bench

import (
	"runtime"

	"github.com/untorn/untorn/aligned"
)

// Memory of the process in a measured interval, and of the engine's page memory, which is fixed at
// open. 0 = not told.
type Memory struct {
	// Resident set of the process at the interval's begin and end, and the most that was seen. It
	// grows as page memory is touched for the first time.
	RSSBegin int64 `json:"rss_begin_bytes"`
	RSSEnd   int64 `json:"rss_end_bytes"`
	RSSMax   int64 `json:"rss_max_bytes"`
	// Heap is the Go heap in use, garbage included.
	HeapBegin int64 `json:"heap_begin_bytes"`
	HeapEnd   int64 `json:"heap_end_bytes"`
	// Frames is the engine's page memory, FramesMax the most of it that was ever in use.
	Frames    int64 `json:"frames_bytes"`
	FramesMax int64 `json:"frames_max_bytes"`
}

// sample takes what may have been more meanwhile.
func (m *Memory) sample(f aligned.Stats) {
	m.RSSMax = max(m.RSSMax, residentBytes())
	m.Frames, m.FramesMax = f.Bytes, max(m.FramesMax, f.HighWater)
}

// between two snapshots.
func (m *Memory) between(a, b *snapshot) {
	m.RSSBegin, m.RSSEnd = a.rss, b.rss
	m.RSSMax = max(m.RSSMax, a.rss, b.rss)
	m.HeapBegin, m.HeapEnd = a.heap, b.heap
	m.Frames, m.FramesMax = b.target.memory.Bytes, max(m.FramesMax, b.target.memory.HighWater)
}

func heapInUse(m *runtime.MemStats) int64 { return int64(m.HeapInuse) }
