package stages

import (
	"sync/atomic"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// File is what the stages know of a data file. Only the last three fields change once it has been
// written to.
type File struct {
	ID          page.FileID
	Slot        int    // dense index among open files: stages keep per-file state in slices
	Name        string // when it was opened: see Called
	IO          ring.File
	PageSize    int
	Start       int64 // byte offset of page 0
	Incarnation uint64
	Format      page.Format
	// Doublewrite is whether pages of this file take the way through the doublewrite buffer.
	Doublewrite bool
	// ForeignLSN is whether page LSNs are of another log: I3 does not wait for them and they are
	// no evidence of this log (I10).
	ForeignLSN bool
	// Atomic is whether destination writes carry ring.Atomic, where no copy of the page is in the
	// doublewrite buffer: where that refuses, the file moves to the doublewrite buffer (Refusal).
	Atomic bool

	// Refused counts the writes that were refused; Moved is why the file moved, nil while it has not.
	// datastage sets them, anybody reads them.
	Refused atomic.Uint64
	Moved   atomic.Pointer[error]
	// Renamed is the name it has got since, nil for none. The engine sets it.
	Renamed atomic.Pointer[string]
}

// Called is the file's name.
func (f *File) Called() string {
	if n := f.Renamed.Load(); n != nil {
		return *n
	}
	return f.Name
}

// Offset is where page no begins.
func (f *File) Offset(no page.No) int64 { return f.Start + int64(no)*int64(f.PageSize) }

// Seed is what page no's checksum is seeded with.
func (f *File) Seed(no page.No) page.Seed {
	return page.Seed{Incarnation: f.Incarnation, No: no}
}

// Call is one caller's wait for a level on a number of pages (I4: it completes only when the
// level holds for every one of them).
type Call struct {
	Level Level
	left  atomic.Int32
	err   atomic.Pointer[error]
	done  chan struct{}
}

// NewCall returns a call that Reset makes ready.
func NewCall() *Call { return &Call{done: make(chan struct{}, 1)} }

// Reset makes the call wait for n completions. Only its owner may call it, and only when the
// last wait is over.
func (c *Call) Reset(level Level, n int) {
	c.Level = level
	c.err.Store(nil)
	c.left.Store(int32(n))
	select {
	case <-c.done:
	default:
	}
}

// Add raises the number of completions the call waits for.
func (c *Call) Add(n int) { c.left.Add(int32(n)) }

// Complete reports n pages done.
func (c *Call) Complete(n int) {
	if c.left.Add(int32(-n)) == 0 {
		c.done <- struct{}{} // has room: left reaches 0 once a Reset
	}
}

// Fail records the first error; the page it belongs to must still be completed.
func (c *Call) Fail(err error) { c.err.CompareAndSwap(nil, &err) }

// Err is the first error, to be read after Done.
func (c *Call) Err() error {
	if e := c.err.Load(); e != nil {
		return *e
	}
	return nil
}

// Done delivers once when the call is complete.
func (c *Call) Done() <-chan struct{} { return c.done }

// Finished reports, without waiting, whether every page is complete.
func (c *Call) Finished() bool { return c.left.Load() <= 0 }

// Waiter is one call's interest in one page write. Waiters form lists on entries.
type Waiter struct {
	Call *Call
	next *Waiter
}

// PageWrite is one page of a Write. Its frame belongs to the engine from acceptance to S4.
type PageWrite struct {
	No  page.No
	LSN page.LSN
	// Through is how far the log must be durable, beyond LSN, before any copy is submitted: the end of
	// the page image in the log that recovery would restore (I3).
	Through page.LSN
	// Imaged: that image is of this very write, so that it is Protected when the log is durable
	// through it.
	Imaged bool
	CRC    uint32 // page.ImageCRC of the frame
	Frame  aligned.Frame
	W      Waiter // W.Call is nil when nobody waits
}

// Write asks for pages of one file to be written. The stage is done with the struct (but not with
// the waiters in it) when it closes or sends on Taken.
type Write struct {
	File  *File
	Pages []PageWrite
	Taken chan<- struct{} // has room for one
	// Sent and Held are dwbstage's (Stamp): its clock, and its holds, when this was sent.
	Sent int64
	Held HeldTime
	Step *Step // the caller can run a step; nil: it will not
}

// ReadPage is one page of a Read: len(Buf) is the page size, aligned for the file.
type ReadPage struct {
	No    page.No
	Buf   []byte
	Fixed int
	// Fresh is set when the image came from memory, a write in flight, and not from the file.
	Fresh bool
	// Err is this page's outcome.
	Err error
}

// Read asks for pages of one file. Its call completes once for every page.
type Read struct {
	File  *File
	Pages []ReadPage
	Call  *Call
	Pos   int   // datastage's: pages before it have been started
	Next  *Read // datastage's queue
}

// Barrier waits until every write of File (nil: of every file) accepted before it is at S4.
type Barrier struct {
	File *File
	Call *Call // Level Durable; starts at 1, raised by each write found, lowered by 1 at the end
}

// Msg is what travels to dwbstage and from there to datastage: exactly one field is set.
type Msg struct {
	Write   *Write
	Read    *Read
	Barrier *Barrier
	Batch   *Batch
	Sync    *Sync
	// Press asks datastage to flush whatever it has: regions, batches or memory are running out.
	Press bool
	// Drain tells datastage that what follows of this file comes through the doublewrite buffer.
	Drain *File
	// Move makes datastage treat a file as if a write of it had been refused.
	Move *Move
}

// Sync asks datastage to flush a file for somebody who wrote to it past the stages (headers, new
// pages) and has seen those writes complete. All flushes of an open data file are datastage's: the
// kernel reports a failed one once per file description, to whichever of two comes first (I5).
type Sync struct {
	File *File
	Call *Call // completed when a flush submitted after this message has completed
	Next *Sync // datastage's
}

// Move takes a file from atomic writes to the doublewrite buffer.
type Move struct {
	File *File
	Why  error
}

// Refusal goes from datastage to dwbstage, twice for a file that moves to the doublewrite buffer
// because an atomic write of it was refused (not written at all), or because it was told to (Move).
//
//	datastage                        dwbstage
//	  refused: holds what comes  ──Refusal{File}──▶  new writes go the other way, whose submission
//	  of the file, writes none                       rests; what went the old way is handed on first
//	  none of it in flight       ◀────Msg.Drain────
//	                       ──Refusal{Held,Pages}─▶  Pages go into a batch, unless newer images are
//	  takes each place over when                     there already; submission goes on
//	  its page comes at S2
//
// So of no page an image enters a region while an older one may still be on its way (I9, I6), and
// reads find the image held until the stage upstream has taken it over.
type Refusal struct {
	File *File
	// Held: this is the second one.
	Held bool
	// Pages that were held, with no waiters: those stay where they are. Their frames stay
	// datastage's (Entry.Borrowed).
	Pages []PageWrite
}

// Credit goes from reclaim to dwbstage.
type Credit struct {
	Batch   *Batch // recycled: every page at S4; nil when the credit is a durable watermark
	Durable uint64 // a watermark of the current epoch that super now carries
}
