package torture

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Shape is what a directory is made with: see untorn.Options for all but the pages.
type Shape struct {
	PageSize  int    // bytes
	Pages     uint64 // of the main file, at first
	MaxPages  uint64 // that it grows to
	Batch     int    // bytes
	Batches   int
	Unflushed int
	Segment   int64 // bytes
	MaxLog    int64 // bytes; 0: no bound
	LogGroups int
	Memory    int64 // bytes
	Depth     int
}

// RandomShape is small, so that regions and segments wrap around within seconds.
func RandomShape(r *rand.Rand) Shape {
	sizes := []int{4 << 10, 16 << 10, 16 << 10, 64 << 10}
	s := Shape{PageSize: sizes[r.IntN(len(sizes))]}
	s.Pages = uint64(16 + r.IntN(112))
	if s.PageSize == 64<<10 {
		s.Pages = s.Pages/4 + 8
	}
	s.MaxPages = 3 * s.Pages
	// Few pages a batch and few regions: batches and reuse are what is tested, not speed.
	s.Batch = []int{64 << 10, 128 << 10, 256 << 10}[r.IntN(3)]
	s.Batches = 1 + r.IntN(4)
	s.Unflushed = 1 + r.IntN(s.Batches)
	s.Segment = []int64{256 << 10, 1 << 20, 4 << 20}[r.IntN(3)]
	if r.IntN(3) == 0 { // appends are refused until a checkpoint makes room
		s.Segment = 128 << 10
		s.MaxLog = s.Segment * int64(3+r.IntN(2))
	}
	s.LogGroups = 1 + r.IntN(4)
	// The least there may be, every other time: then everything waits for memory and for slots.
	s.Memory, s.Depth = 16<<20, 32
	if r.IntN(2) == 0 {
		s.Memory, s.Depth = max(int64(s.Batches+4)*int64(s.Batch), 1<<20), 1+r.IntN(8)
	}
	return s
}

// holdImages makes the log's segments large enough for images of the pages.
func (s *Shape) holdImages() {
	if least := 8 * int64(s.PageSize); s.Segment < least {
		s.MaxLog = s.MaxLog / s.Segment * least
		s.Segment = least
	}
}

// job is what a child is told.
type job struct {
	Recover bool // only open
	Dir     string
	WALDir  string
	DWBDir  string
	Mode    string
	Mutants stages.Mutant
	Seed    uint64
	Round   uint32
	Shape   Shape
	Backend string
	DSync   bool
	// Slow has the child's writes throttled.
	Slow bool
	// LifeMS is when the child closes by itself, 0 = never.
	LifeMS int
	// Override is FileOptions.AtomicOverride.
	Override string
	// Full says that the file system is full now and then: refusals for lack of space are taken.
	Full bool
	// Hog is how many milliseconds after its start the child takes memory without end; 0 = never.
	// HogBytes is what it allows itself beyond what it has, by RLIMIT_AS; 0 = its group has a limit.
	Hog      int
	HogBytes uint64
}

// lockWait is longer than a throttled disk needs for what a dead child left queued.
const lockWait = 30 * time.Second

func (j *job) options() untorn.Options {
	o := untorn.Options{
		Dir: j.Dir, WALDir: j.WALDir, DWBDir: j.DWBDir, Backend: ring.Backend(j.Backend), Memory: j.Shape.Memory, Depth: j.Shape.Depth,
		BatchBytes: j.Shape.Batch, Batches: j.Shape.Batches, Unflushed: j.Shape.Unflushed,
		SegmentBytes: j.Shape.Segment, MaxLogBytes: j.Shape.MaxLog, LogGroups: j.Shape.LogGroups,
		Unsafe: j.Mode == string(untorn.ModeNone),
		// Opens are killed on purpose here: that many dead recoveries in a row mean nothing.
		ShadowRepair:  []untorn.ShadowSource{untorn.ShadowDoublewrite, untorn.ShadowLog}[j.Round%2],
		MaxRecoveries: 1 << 20, LockWait: lockWait, Mutants: j.Mutants,
	}
	if j.DSync {
		o.DWBSync = untorn.DWBDSync
	}
	return o
}

// opening are the options of files that are there. The modes that write atomically change place
// with doublewrite from child to child: each takes over what the other left (I7).
func (j *job) opening() untorn.FileOptions {
	m := untorn.Mode(j.Mode)
	switch {
	case !atomicOf(m):
		return untorn.FileOptions{}
	case j.Round%3 == 2: // the model does not mind: pages stay whole, acknowledgements mean the same
		return untorn.FileOptions{Mode: untorn.ModeDoublewrite}
	}
	return untorn.FileOptions{Mode: m, AtomicOverride: j.Override}
}

func (j *job) rand(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(mixAll(j.Seed, uint64(j.Round), stream), stream))
}

// Data files are named by tag. Tag 0 is there all the time; the others come, are renamed and go.
const mainTag = 0

func fileName(tag uint32, moved bool) string {
	switch {
	case tag == mainTag:
		return "main"
	case moved:
		return fmt.Sprintf("moved-%d", tag)
	}
	return fmt.Sprintf("side-%d", tag)
}

func parseName(name string) (tag uint32, moved, ok bool) {
	if name == "main" {
		return mainTag, false, true
	}
	if _, err := fmt.Sscanf(name, "side-%d", &tag); err == nil {
		return tag, false, name == fileName(tag, false)
	}
	_, err := fmt.Sscanf(name, "moved-%d", &tag)
	return tag, true, err == nil && name == fileName(tag, true)
}
