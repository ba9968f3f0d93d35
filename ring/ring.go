package ring

import (
	"errors"
)

// File is what a backend needs of an open file. fsys.File satisfies it; the simulator's files do
// too. Exactly one open file description does all I/O of a file (I11).
type File interface {
	Fd() uintptr
	Name() string
}

// Kind says what an Op does.
type Kind uint8

// The kinds of Op.
const (
	Read     Kind = iota // read len(Buf) bytes, or into Vec
	Write                // write Buf, or Vec as one vectored request
	DataSync             // flush data and the metadata needed to read it back (fdatasync)
	Sync                 // flush data and all metadata (fsync): after create, grow, rename
)

// Flags change how a Write is done.
type Flags uint8

// The flags of a Write.
const (
	// DSync makes this write's own bytes durable before it completes (RWF_DSYNC). It says
	// nothing about any other write (I1).
	DSync Flags = 1 << iota
	// Atomic asks the kernel to refuse the write rather than split it (RWF_ATOMIC, Linux 6.11).
	Atomic
)

// Op is one I/O. It and the memory it names belong to the submitter until Submit or Do, to the
// ring until it comes back on Done (Submit) or the call returns (Do), then to the submitter again.
// Reuse an Op as often as you like: the hot path allocates none.
type Op struct {
	Kind  Kind
	Flags Flags
	File  File
	Off   int64    // byte offset in File
	Buf   []byte   // the memory of a Read or Write; aligned as the file asks
	Vec   [][]byte // instead of Buf: a vectored request; at most MaxVec pieces
	Fixed int      // 1 + index of the registered region Buf lies in; 0 = not registered

	// Done gets this Op back when it is complete. It must have room: its capacity is at least
	// the number of Ops that name it and are in flight, so that the ring never blocks on it.
	Done chan<- *Op
	// Tag and Ctx are the submitter's.
	Tag uint64
	Ctx any

	// Err is the outcome, set before the Op comes back. A nil Err means the whole length was
	// transferred: backends finish short transfers and repeat EINTR, EAGAIN and ECANCELED
	// themselves, writing the whole again. A Read past the end of the file ends in
	// io.ErrUnexpectedEOF. Any other error is an *Error.
	Err error

	// The backend's, while the op is in flight.
	t    transfer
	slot uint32 // 1 + index of its slot, 0 = not in flight
}

// Len is the number of bytes the op transfers.
func (o *Op) Len() int {
	if o.Vec == nil {
		return len(o.Buf)
	}
	n := 0
	for _, b := range o.Vec {
		n += len(b)
	}
	return n
}

// MaxVec is the most pieces a vectored Op may have (IOV_MAX is 1024 on Linux and darwin).
const MaxVec = 1024

// Ring runs I/O. All methods may be called from any goroutine.
//
// There is no order between Ops in flight, whatever the order they were submitted in: whoever
// needs one waits for the completion. In particular a DataSync covers exactly the writes whose
// completions were received before it was submitted (I1, I2).
type Ring interface {
	// Submit hands the ops to the backend; each comes back on its Done. Submit does not wait for
	// I/O, but it waits while the ring is full. After Close has begun, ops come back with ErrClosed.
	// Handing over 1 to 4 at a time keeps block-layer plugging from batching small random writes.
	// Pass a slice you keep, Submit(batch...): the slice behind Submit(op) is an allocation.
	Submit(ops ...*Op)
	// Do runs one op in the calling goroutine and returns its error, without a hand-off to
	// another goroutine: the cheapest way when the caller would wait anyway. Done is not used.
	Do(op *Op) error
	// Register makes a region of memory known to the kernel, and returns what Op.Fixed takes
	// (1 or more), or 0 and the reason when the backend cannot or the memory-lock limit is too low.
	// The region must outlive the ring.
	Register(mem []byte) (fixed int, why error)
	// Info says which backend this is and why.
	Info() Info
	// Close waits for the I/O in flight and releases the ring.
	Close() error
}

// Info describes a backend.
type Info struct {
	Backend string // "uring", "threads", "buffered", "sim"
	// Reason says why this backend was taken, and why a better one was not.
	Reason string
	// Registered is the number of bytes registered with the kernel.
	Registered int64
}

// Stats counts what a backend did since it was made.
type Stats struct {
	Submitted, Completed uint64
	Enters               uint64 // system calls of the ring itself
	Resubmitted          uint64 // short transfers, EINTR, EAGAIN, ECANCELED
	BytesRead            uint64
	BytesWritten         uint64
	Flushes              uint64
}

// ErrClosed is the outcome of an op submitted after Close began.
var ErrClosed = errors.New("ring is closed")
