package walstage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Commit says how a group is made durable.
type Commit uint8

// The ways to make a group durable.
const (
	CommitAuto  Commit = iota // measure both when the log starts and take the faster one
	CommitDSync               // one write with RWF_DSYNC
	CommitFlush               // a write, and when it has completed an fdatasync

	commitLater // PolicyNever: a write
)

func (c Commit) String() string {
	return [...]string{"auto", "dsync", "flush", "later"}[min(c, 3)]
}

const (
	minBlock        = 4096
	minSector       = 512
	minSegmentBytes = 64 << 10
	maxInFlight     = 32
)

// Options of a log directory. FS, Ring, Dir and EngineID are required.
type Options struct {
	FS   fsys.FS
	Ring ring.Ring
	// Dir is the log directory. It holds nothing but segments and the ring of headers.
	Dir string
	// EngineID is in every header; a log with another one is refused.
	EngineID [16]byte
	// Block is the place's protocol block. 0 = 4096.
	Block int
	// SegmentBytes is the size of new segments, a multiple of Block, at least 64 KiB (1 MiB is the
	// least that is sensible outside of tests). 0 = 64 MiB.
	SegmentBytes int64
	// MaxBytes bounds what all segments together occupy; at least three segments. User appends
	// are refused with ErrLogFull when the log would need more. 0 = no bound but the disk.
	MaxBytes int64
	// Full is what an append of the user does when the log may not grow. 0 = it is refused.
	Full Full
	// Event is told of changes of the log's pressure, from a goroutine of the log. nil = nobody is.
	Event func(Event)
	// Headroom is kept in the last segment there may be for engine records (kind != 0), so that a
	// full log can be emptied by a checkpoint. 0 = a quarter of a segment.
	Headroom int64
	// MaxGroup bounds a group, and with it a record or a batch, in bytes. Multiple of Block, at
	// most half a segment. 0 = 1 MiB, or a quarter of a segment if that is less.
	MaxGroup int
	// InFlight is the most groups written at the same time. The log starts with one and takes
	// more only where that helps. 0 = 4. Memory is (InFlight + 2) * MaxGroup.
	InFlight int
	// Commit is how a group is made durable. 0 = measure.
	Commit Commit
	// Policy says what WaitCommit waits for. PolicyNever is unsafe: it is there to be compared with.
	Policy Policy
	// LossBytes and LossTime are the bounds of PolicyAsync: no more bytes of records than that, and no
	// longer a span of them, are ever accepted and not durable. 0 = 1 MiB and 10 ms.
	LossBytes int64
	LossTime  time.Duration
	// HeaderRing keeps a copy of each group's header in a file of its own and acknowledges a group only
	// when its copy is durable too: the rot of the last group is then told from a torn tail. It costs
	// a second small write one after the other for each group. A ring that is there is always read.
	HeaderRing bool
	// Fetch is asked for a group that had been durable and is lost, before Scan gives up: an archive or a
	// replica of the files may have it, byte for byte (GroupBytes). What it returns is used only if it
	// proves to be that very group. It is not asked for segments whose header is gone. nil = nobody.
	Fetch func(ctx context.Context, lost LostGroup) ([]byte, error)
	// LockWait bounds how long OpenDir waits for segments locked by another process, whose queued
	// I/O may outlive it (I11). 0 = 5 s; negative = do not wait.
	LockWait time.Duration
	// Alloc is where the buffers come from that Scan, Repair and Start take, zeroed. nil = the heap.
	Alloc func(n, align int) []byte
	// Depth is how many groups are in flight from the start, and the least it adapts to. 0 = 1.
	Depth int
	// Buffered keeps the segments out of O_DIRECT.
	Buffered bool
	// Poison is the engine's fail-stop switch. nil = one of the log's own.
	Poison *stages.Poison
	// Mutants breaks rules on purpose, to show that the proofs notice. Never set it otherwise.
	Mutants stages.Mutant
}

func (o Options) withDefaults() Options {
	if o.Block == 0 {
		o.Block = minBlock
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.Headroom == 0 {
		o.Headroom = o.SegmentBytes / 4
	}
	if o.MaxGroup == 0 {
		o.MaxGroup = int(min(1<<20, o.SegmentBytes/4)) &^ (o.Block - 1)
	}
	if o.InFlight == 0 {
		o.InFlight = 4
	}
	if o.Depth == 0 {
		o.Depth = 1
	}
	if o.Policy == PolicyAsync && o.LossBytes == 0 {
		o.LossBytes = DefaultLossBytes
	}
	if o.Policy == PolicyAsync && o.LossTime == 0 {
		o.LossTime = DefaultLossTime
	}
	if o.LockWait == 0 {
		o.LockWait = 5 * time.Second
	}
	if o.Poison == nil {
		o.Poison = stages.NewPoison()
	}
	if o.Alloc == nil {
		o.Alloc = aligned.Alloc
	}
	return o
}

// Validate returns every complaint about the options, joined.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("wal: "+format, args...))
	}
	if o.FS == nil || o.Ring == nil || o.Dir == "" {
		bad("FS, Ring and Dir are required")
	}
	if o.EngineID == ([16]byte{}) {
		bad("EngineID is required")
	}
	least := minBlock
	if o.Mutants.Has(stages.SubBlockGroup) {
		least = minSector
	}
	if o.Block < least || o.Block&(o.Block-1) != 0 || o.Block > 1<<20 {
		bad("Block %d is not a power of two from %d to 1 MiB", o.Block, minBlock)
		return errors.Join(errs...)
	}
	b := int64(o.Block)
	if o.SegmentBytes < max(minSegmentBytes, 8*b) || o.SegmentBytes%b != 0 ||
		o.SegmentBytes > 1<<40 {
		bad("SegmentBytes %d is not a multiple of the block %d from %d to 1 TiB",
			o.SegmentBytes, b, max(minSegmentBytes, 8*b))
	}
	if o.MaxBytes != 0 && o.MaxBytes < 3*o.SegmentBytes {
		bad("MaxBytes %d is less than three segments", o.MaxBytes)
	}
	if o.Headroom < 0 || o.Headroom > o.SegmentBytes/2 {
		bad("Headroom %d is not within half a segment", o.Headroom)
	}
	if o.MaxGroup < o.Block || o.MaxGroup%o.Block != 0 || int64(o.MaxGroup) > o.SegmentBytes/2 ||
		o.MaxGroup > 1<<30 {
		bad("MaxGroup %d is not a multiple of the block within half a segment", o.MaxGroup)
	}
	if o.InFlight < 1 || o.InFlight > maxInFlight {
		bad("InFlight %d is not from 1 to %d", o.InFlight, maxInFlight)
	}
	if o.Depth < 1 || o.Depth > o.InFlight {
		bad("Depth %d is not from 1 to InFlight, %d", o.Depth, o.InFlight)
	}
	if o.Full > FullThrottle {
		bad("unknown Full %d", o.Full)
	}
	if o.Commit > CommitFlush {
		bad("unknown Commit %d", o.Commit)
	}
	if o.Policy > PolicyNever {
		bad("unknown Policy %d", o.Policy)
	}
	if o.HeaderRing && o.Policy == PolicyNever {
		bad("HeaderRing speaks of durable groups: it does not go with policy never")
	}
	if o.LossBytes < 0 || o.LossTime < 0 {
		bad("LossBytes %d, LossTime %v: a bound is not negative", o.LossBytes, o.LossTime)
	}
	if o.Policy != PolicyAsync && (o.LossBytes != 0 || o.LossTime != 0) {
		bad("LossBytes and LossTime are bounds of policy async, this is %v", o.Policy)
	}
	return errors.Join(errs...)
}
