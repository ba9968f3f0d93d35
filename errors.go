package untorn

import (
	"errors"
	"fmt"
	"strings"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Errors to test for with errors.Is. Those of other packages keep their identity there.
var (
	// ErrClosed: the engine is closed or closing.
	ErrClosed = errors.New("engine is closed")
	// ErrPoisoned: a write or flush on a durability path failed earlier; the cause is wrapped with
	// it. Nothing is acknowledged any more: close, and open again to recover.
	ErrPoisoned = errors.New("engine stopped after a failure on a durability path")
	// ErrReadOnly: the engine was opened read-only.
	ErrReadOnly = errors.New("engine is open read-only")
	// ErrNeedsRecovery: a read-only open of a directory that was not closed in order.
	ErrNeedsRecovery = errors.New("directory was not closed in order; open it for writing to recover it")
	// ErrNotEngine: the directory is not an engine's, and not empty.
	ErrNotEngine = errors.New("not an untorn directory")
	// ErrNoSuper: an engine's directory whose super is gone.
	ErrNoSuper = errors.New("super is missing; see untornctl rebuild-super")
	// ErrLocked: another process, or another Engine of this one, has the directory open.
	ErrLocked = fsys.ErrLocked
	// ErrFlushesOff: the stack below the directory drops flushes.
	ErrFlushesOff = errors.New("flushes are turned off on this stack")
	// ErrBehind: a data file is older than super says: restored from a copy, or copied while the
	// engine ran.
	ErrBehind = errors.New("data file is behind super")
	// ErrForeign: the file belongs to another engine directory.
	ErrForeign = errors.New("file belongs to another engine")
	// ErrBlockSize: a device needs a larger block than the directory was made with.
	ErrBlockSize = errors.New("device block is larger than the directory's protocol block")
	// ErrMissingFile: the catalogue names a data file that is not there.
	ErrMissingFile = errors.New("data file is missing")
	// ErrUnknownFile: no data file of that name.
	ErrUnknownFile = errors.New("no such data file")
	// ErrExists: a data file of that name is there already.
	ErrExists = errors.New("data file exists")
	// ErrOpen: the data file is in use.
	ErrInUse = errors.New("data file is open")
	// ErrName: a file name that is empty, too long, or holds a slash, a dot in front or a byte that
	// is not printable ASCII.
	ErrName = errors.New("not a valid file name")
	// ErrOptions: options that contradict each other or the file.
	ErrOptions = errors.New("options do not fit")
	// ErrBufferSize: a buffer that is not exactly one page long.
	ErrBufferSize = errors.New("buffer is not one page long")
	// ErrNotYours: memory of File.Alloc that was written or freed already, that comes twice in one call,
	// or that is only a part of what Alloc gave.
	ErrNotYours = errors.New("buffer is the engine's: written or freed before, twice in this call, or a part of a page of Alloc")
	// ErrPageRange: the page is beyond the end of the file.
	ErrPageRange = errors.New("page is out of the file")
	// ErrPageDamaged: the page fails its checksum.
	ErrPageDamaged = page.ErrDamaged
	// ErrPageLost: the page was given up with AcceptLoss and has not been written since.
	ErrPageLost = recovery.ErrLost
	// ErrTooLarge: a payload or a call larger than the engine's fixed memory takes.
	ErrTooLarge = errors.New("too large")
	// ErrNoSpace: the disk, or the quota, is full. The engine is healthy.
	ErrNoSpace = fsys.ErrNoSpace
	// ErrLSNBeyondLog: an LSN that was never issued (I3).
	ErrLSNBeyondLog = walstage.ErrLSNBeyondLog
	// ErrLogFull: the log may not grow; a Checkpoint makes room.
	ErrLogFull = walstage.ErrLogFull
	// ErrCorrupt: the log lost something that had been durable (I10); it is a *walstage.CorruptError.
	ErrCorrupt = walstage.ErrCorrupt
	// ErrSuper: fewer than two valid copies of super.
	ErrSuper = super.ErrTooFew
	// ErrVersion: written by a format version this program does not know.
	ErrVersion = super.ErrVersion
	// ErrDWBMissing: a flushed doublewrite batch is gone (I6).
	ErrDWBMissing = recovery.ErrMissing
	// ErrRedo: a checkpoint whose redo LSN goes backwards or lies beyond the log.
	ErrRedo = errors.New("redo LSN does not fit the log")
)

// Error says what was being done to which page when Err happened.
type Error struct {
	Op   string
	File string
	Page page.No
	LSN  page.LSN
	// HasPage is whether Page means anything.
	HasPage bool
	// MayBecomeDurable: waiting ended (the context was cancelled) but the writes were accepted; they
	// go on, and a later power cut may find them done or not.
	MayBecomeDurable bool
	Err              error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("untorn: " + e.Op)
	if e.HasPage {
		fmt.Fprintf(&b, " page %d of", e.Page)
	}
	if e.File != "" {
		fmt.Fprintf(&b, " %s", e.File)
	}
	if e.LSN != 0 {
		fmt.Fprintf(&b, " at LSN %d", e.LSN)
	}
	if e.MayBecomeDurable {
		b.WriteString(" (accepted, and may become durable)")
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// RecoveryLoopError is an open that was refused because the recoveries before it all died.
type RecoveryLoopError struct {
	LSN   page.LSN // at or soon after this record
	Begun int
}

// ErrRecoveryLoop is what every RecoveryLoopError is.
var ErrRecoveryLoop = errors.New("recovery keeps failing")

func (e *RecoveryLoopError) Error() string {
	return fmt.Sprintf("%v: %d were begun and none finished; the last came to LSN %d. Look with untornctl inspect and untornctl recover -dry-run, or raise Options.MaxRecoveries", ErrRecoveryLoop, e.Begun, e.LSN)
}

// Is makes errors.Is(err, ErrRecoveryLoop) hold.
func (e *RecoveryLoopError) Is(target error) bool { return target == ErrRecoveryLoop }

// sameAs makes what the log says of its own files match what this package says of any file.
func sameAs(err error) error {
	switch {
	case errors.Is(err, walstage.ErrForeign):
		return fmt.Errorf("%w: %w", ErrForeign, err)
	case errors.Is(err, walstage.ErrVersion):
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	return err
}

// poisoned wraps the cause so that both it and ErrPoisoned match.
func poisoned(cause error) error {
	if errors.Is(cause, ErrPoisoned) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrPoisoned, cause)
}
