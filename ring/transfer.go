package ring

import (
	"io"
	"syscall"
)

const (
	// resumeAlign keeps a continued transfer as aligned as its beginning: a call resumes at a
	// multiple of this from the start of the op, doing a few bytes twice, because direct I/O
	// refuses to go on from where an odd short count ended.
	resumeAlign = 4096
	// maxRepeats bounds the calls in a row that get an op nowhere: EINTR, EAGAIN, ECANCELED and
	// short counts. After patience of them a backend slows down (see runOp and Uring.finish).
	maxRepeats = 64
	patience   = 8
	// maxCall is the most bytes one call is asked for: the kernel's MAX_RW_COUNT, rounded down.
	maxCall = 1 << 30
)

// transfer is how far an op has come over the system calls it takes. It is a plain value that
// knows nothing of backends: call begin, do the I/O from byte from, tell step what came of it,
// until step says that the op is finished.
type transfer struct {
	length int  // bytes in all, 0 for a flush
	from   int  // the byte the present call starts at
	done   int  // bytes of the prefix known to be transferred
	tries  int  // repeats in a row without progress
	whole  bool // a short write has been answered by writing the whole again
}

func (t *transfer) begin(op *Op) {
	if len(op.Vec) > MaxVec {
		panic("ring: an Op with more than MaxVec pieces")
	}
	*t = transfer{length: op.Len()}
	op.Err = nil
}

// step takes the outcome of the call that began at t.from: n bytes, or errno if that is not 0. It
// reports whether op is finished, with op.Err set; else the next call starts at t.from.
func (t *transfer) step(op *Op, n int, errno syscall.Errno) (finished bool) {
	flush := op.Kind == DataSync || op.Kind == Sync
	switch {
	case errno == syscall.EINTR || errno == syscall.EAGAIN || errno == syscall.ECANCELED:
		// Not a failure (I5): nothing is known to have been done, so a write starts over, and a
		// flush that was cancelled before it ran is submitted afresh.
		if op.Kind == Write {
			t.from, t.done = 0, 0
		}
		return t.repeat(op, errno)
	case errno != 0:
		op.Err = opError(op, errno)
		return true
	case flush:
		return true
	}
	end := t.from + n
	if end >= t.length {
		return true
	}
	progress := end > t.done
	t.done = max(t.done, end)
	if op.Kind == Read {
		if !progress {
			op.Err = io.ErrUnexpectedEOF
			return true
		}
		t.tries, t.from = 0, t.done&^(resumeAlign-1)
		return false
	}
	if op.Flags&Atomic != 0 {
		// The point of the flag is that the kernel never splits; finishing the rest in a second
		// request would be exactly the torn write it is there to rule out.
		op.Err = opError(op, io.ErrShortWrite)
		return true
	}
	if !t.whole {
		t.whole, t.from, t.done = true, 0, 0
		return t.repeat(op, io.ErrShortWrite)
	}
	// A second short count: continue with the rest, so that a full disk ends in its ENOSPC, and a
	// request above the kernel's limit for one call ends at all. With DSync each call makes its
	// own bytes durable, so the parts together are.
	t.from = t.done &^ (resumeAlign - 1)
	if progress {
		t.tries = 0
		return false
	}
	return t.repeat(op, io.ErrShortWrite)
}

func (t *transfer) repeat(op *Op, why error) (finished bool) {
	if t.tries++; t.tries <= maxRepeats {
		return false
	}
	op.Err = opError(op, why)
	return true
}

// slow reports that repeating at once has not helped so far.
func (t *transfer) slow() bool { return t.tries > patience }

func opError(op *Op, err error) error {
	return &Error{Kind: op.Kind, File: op.File.Name(), Off: op.Off, Len: op.Len(), Err: err}
}
