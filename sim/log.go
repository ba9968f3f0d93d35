package sim

import (
	"fmt"
	"iter"
)

// EventKind says what a log entry records.
type EventKind uint8

// The kinds of log entry.
const (
	Note        EventKind = iota // a fault without effect on the medium: a lost write, a lying flush
	Mark                         // an annotation by the workload
	WriteSubmit                  // in flight from here
	WriteDone                    // in the cache; a DSync write is durable
	WriteFail                    // in the cache in part, undecided until rewritten
	FlushSubmit                  // covers what has completed by now
	FlushDone
	FlushFail
	SizeSet // truncate or preallocate; Off is the new size
	Create
	Mkdir
	Rename
	Remove
	SyncDir
	SyncDirFail
	Open
	Lock
	Close
	Rot        // bits flipped on the medium
	Unreadable // sectors gone until rewritten
)

var eventNames = [...]string{"note", "mark", "write-submit", "write-done", "write-fail",
	"flush-submit", "flush-done", "flush-fail", "size", "create", "mkdir", "rename", "remove",
	"syncdir", "syncdir-fail", "open", "lock", "close", "rot", "unreadable"}

func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// Entry is one event of a log.
type Entry struct {
	Index int
	Kind  EventKind
	Op    uint64 // pairs submission and completion
	File  string // name at the time
	Off   int64
	Len   int
	Mark  any    // what was handed to Disk.Mark
	Note  string // in words, where there is more to say

	node    nodeID
	fd      uintptr
	data    []byte // never changes
	changes []change
	dsync   bool
	atomic  bool
	sync    bool // a Sync, not a DataSync; of a Lock: exclusive
}

// Data is what a write carried. It must not be changed.
func (e Entry) Data() []byte { return e.data }

// Atomic is whether a write carried ring.Atomic.
func (e Entry) Atomic() bool { return e.atomic }

// DSync reports whether the write is durable when it is done.
func (e Entry) DSync() bool { return e.dsync }

func (e Entry) String() string {
	switch e.Kind {
	case Mark:
		return fmt.Sprintf("%d mark %v", e.Index, e.Mark)
	case WriteSubmit, WriteDone, WriteFail, Rot, Unreadable:
		return fmt.Sprintf("%d %v #%d %s [%d,+%d)%s", e.Index, e.Kind, e.Op, e.File, e.Off, e.Len,
			e.Note)
	case FlushSubmit, FlushDone, FlushFail:
		return fmt.Sprintf("%d %v #%d %s%s", e.Index, e.Kind, e.Op, e.File, e.Note)
	}
	return fmt.Sprintf("%d %v %s%s", e.Index, e.Kind, e.File, e.Note)
}

// makesDurable reports whether fewer states are possible after e than before.
func (e *Entry) makesDurable() bool {
	return e.Kind == FlushDone || e.Kind == SyncDir || e.Kind == WriteDone && e.dsync
}

// Log is what happened on a disk since Record, in order, and the state it started from. It does
// not change, and many goroutines may replay it at once.
type Log struct {
	cfg     Config
	base    *state // frozen
	entries []Entry
}

// Len is the number of entries.
func (l *Log) Len() int { return len(l.entries) }

// At returns one entry.
func (l *Log) At(i int) Entry { return l.entries[i] }

// Marks yields the annotations that had been made before the crash point at, with their index.
func (l *Log) Marks(at int) iter.Seq2[int, any] {
	return func(yield func(int, any) bool) {
		for _, e := range l.entries[:at] {
			if e.Kind == Mark && !yield(e.Index, e.Mark) {
				return
			}
		}
	}
}

// Replay returns the disk as it was after the first at entries.
func (l *Log) Replay(at int) *Point {
	for _, p := range l.Points([]int{at}) {
		return p
	}
	panic("unreachable: Points yields every index it is given")
}

// Points replays once and yields a Point for each of the given indices, which must ascend.
func (l *Log) Points(at []int) iter.Seq2[int, *Point] {
	return func(yield func(int, *Point) bool) {
		s, i := l.base.fork(), 0
		for _, a := range at {
			if a < i || a > len(l.entries) {
				panic(fmt.Sprintf("sim: crash point %d of %d after %d", a, len(l.entries), i))
			}
			for ; i < a; i++ {
				s.apply(&l.entries[i])
			}
			if !yield(a, newPoint(l.cfg, s.fork(), a)) {
				return
			}
		}
	}
}

// Cuts returns the crash points that matter for a power cut: just before each event that makes
// something durable, and the end. The states of any point between are among those of the next of
// these, which has at least its marks.
func (l *Log) Cuts() []int {
	var at []int
	for i := range l.entries {
		if l.entries[i].makesDurable() {
			at = append(at, i)
		}
	}
	return append(at, len(l.entries))
}

// KillPoints returns the crash points that matter for a killed process: just before each
// completion of a write, and the end.
func (l *Log) KillPoints() []int {
	var at []int
	for i := range l.entries {
		if k := l.entries[i].Kind; k == WriteDone || k == WriteFail {
			at = append(at, i)
		}
	}
	return append(at, len(l.entries))
}
