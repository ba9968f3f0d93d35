package walstage

import (
	"errors"
	"fmt"

	"github.com/untorn/untorn/page"
)

// Errors a caller can test for with errors.Is.
var (
	// ErrClosed: the log is closed or closing.
	ErrClosed = errors.New("log is closed")
	// ErrLogFull: the append needs a segment that may not or cannot be made. The log is healthy;
	// TruncateBefore makes room. It wraps fsys.ErrNoSpace where the disk is what is full.
	ErrLogFull = errors.New("log is full")
	// ErrTooLarge: a record, or a batch, is larger than a group can hold.
	ErrTooLarge = errors.New("record is too large")
	// ErrEmpty: records have at least one byte, batches at least one record.
	ErrEmpty = errors.New("record is empty")
	// ErrLSNBeyondLog: the LSN was never issued, waiting for it would not end (I3).
	ErrLSNBeyondLog = errors.New("LSN is beyond the end of the log")
	// ErrTruncated: the LSN lies before the first segment that is kept.
	ErrTruncated = errors.New("LSN is below the start of the log")
	// ErrNoRecord: no record starts at the LSN.
	ErrNoRecord = errors.New("no record starts at this LSN")
	// ErrReadOnly: the directory was opened read-only.
	ErrReadOnly = errors.New("log is open read-only")
	// ErrVersion: the log was written by another format version.
	ErrVersion = errors.New("unknown log format version")
	// ErrForeign: the log belongs to another engine.
	ErrForeign = errors.New("log belongs to another engine")
	// ErrBlock: the device needs a larger protocol block than the directory was made with.
	ErrBlock = errors.New("device block is larger than the log's protocol block")
	// ErrOrder: a step of the life cycle was called out of order.
	ErrOrder = errors.New("called out of order")
)

// Error says what was being done to which file of the log when Err happened.
type Error struct {
	Op   string // "write group", "flush", "lock", ...
	File string
	LSN  page.LSN // 0 where no position is concerned
	Err  error
}

func (e *Error) Error() string {
	if e.LSN == 0 {
		return fmt.Sprintf("wal: %s %s: %v", e.Op, e.File, e.Err)
	}
	return fmt.Sprintf("wal: %s %s at LSN %d: %v", e.Op, e.File, e.LSN, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// WaitError is a wait that ended before the answer was known: the context was cancelled. The
// records are still in the log and may become durable at any time.
type WaitError struct {
	LSN              page.LSN
	MayBecomeDurable bool
	Err              error
}

func (e *WaitError) Error() string {
	return fmt.Sprintf("wal: waiting for LSN %d, which may still become durable: %v", e.LSN, e.Err)
}

func (e *WaitError) Unwrap() error { return e.Err }

// ErrCorrupt is what every CorruptError is.
var ErrCorrupt = errors.New("log is corrupt")

// CorruptError says that bytes which had been durable are not there (I10), or that it cannot be
// told because they cannot be read. Nothing was changed.
type CorruptError struct {
	Dir     string
	Segment string // file name
	Offset  int64  // in the segment
	LSN     page.LSN
	Epoch   uint64 // of the last good group before it
	// Evidence is the claim that what is missing had been durable. Its Source is empty when the
	// cause is a failed read.
	Evidence Claim
	Cause    error
	// Records is how many records the damaged group had, by its header or the copy in the ring of
	// headers. 0 = neither is there.
	Records int
	// Good is the end of the last record before the damage: the farthest point the log can be recovered
	// to. 0 if not even the record that a recovery has to begin with can be found.
	Good page.LSN
	// IntactAfter is the LSN of the first whole group after the damage, 0 if there is none: what
	// can be saved is what lies before LSN and from here on. IntactThrough is the end of the last one's
	// last record; IntactGroups and IntactRecords count what is whole between the two, which need not
	// be everything: there may be more damage.
	IntactAfter, IntactThrough  page.LSN
	IntactGroups, IntactRecords int64
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("wal: %s: segment %s offset %d (LSN %d, epoch %d): %v",
		e.Dir, e.Segment, e.Offset, e.LSN, e.Epoch, e.Cause)
	if e.Records != 0 {
		s += fmt.Sprintf("; a group of %d records", e.Records)
	}
	if e.Evidence.Source != "" {
		s += fmt.Sprintf("; it had been durable: %s", e.Evidence)
	}
	if e.Good != 0 {
		s += fmt.Sprintf("; the last record before it ends at LSN %d", e.Good)
	}
	if e.IntactAfter != 0 {
		s += fmt.Sprintf("; behind it %d groups with %d records are intact, from LSN %d through %d",
			e.IntactGroups, e.IntactRecords, e.IntactAfter, e.IntactThrough)
	}
	return s
}

func (e *CorruptError) Unwrap() error { return e.Cause }

// Is makes errors.Is(err, ErrCorrupt) hold.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
