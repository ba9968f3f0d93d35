package stages

import (
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// State is where an entry stands, in the words of DESIGN section 1.
type State uint8

// The states of an entry.
const (
	Queued     State = iota // S0, or S1 while the batch is being doublewritten
	Waiting                 // S2 (or log durable, without doublewrite); destination write not submitted
	Submitted               // destination write submitted
	Written                 // S3: destination write reaped
	Covered                 // S3: a destination flush submitted after it was reaped is in flight
	Safe                    // S4
	Superseded              // a newer write reached S2 before this one's destination write was submitted
)

// Entry is one accepted page write on its way to S4.
type Entry struct {
	Page  page.ID
	File  *File
	LSN   page.LSN
	CRC   uint32
	State State
	Frame aligned.Frame
	// Imaged: the log holds an image of this very write.
	Imaged bool
	// Borrowed: the frame is that of an older entry of the page, which datastage holds and which
	// this one will supersede there. Until then it is not this entry's to give back.
	Borrowed bool
	Batch    *Batch
	Op       ring.Op // the destination write
	// Older is the list of entries this one supersedes: they are safe when it is.
	Older *Entry
	Next  *Entry // link in whichever list the owner keeps the entry in
	// waiters are the calls that have not been told yet.
	waiters *Waiter
}

// Wait adds w to those told about this entry.
func (e *Entry) Wait(w *Waiter) {
	if w.Call == nil {
		return
	}
	w.next = e.waiters
	e.waiters = w
}

// Inherit takes over o's waiters: o's acknowledgement completes with e's.
func (e *Entry) Inherit(o *Entry) {
	for o.waiters != nil {
		w := o.waiters
		o.waiters = w.next
		w.next = e.waiters
		e.waiters = w
	}
}

// Waited reports whether anybody still waits for this entry.
func (e *Entry) Waited() bool { return e.waiters != nil }

// Ack tells everyone who waits for level l or a weaker one.
func (e *Entry) Ack(l Level) { e.Acked(l, nil).Tell() }

// Acked takes those who wait for level l or a weaker one off the entry and puts them before list.
// Who gets the result tells them (Tell), whoever owns the entry by then.
func (e *Entry) Acked(l Level, list *Waiter) *Waiter {
	p := &e.waiters
	for *p != nil {
		w := *p
		if w.Call.Level < l {
			p = &w.next
			continue
		}
		*p = w.next
		w.next = list
		list = w
	}
	return list
}

// Tell completes the call of every waiter in the list. Each is its caller's again with that.
func (w *Waiter) Tell() {
	for w != nil {
		next := w.next
		w.next = nil
		w.Call.Complete(1)
		w = next
	}
}

// Batch is a number of page writes that travel together: one doublewrite region, or (Region < 0)
// pages of files without doublewrite.
type Batch struct {
	Slot    int    // index among all batches, for op tags
	Num     uint64 // sequence number within the epoch; 0 without a region
	Region  int
	MaxLSN  page.LSN // what the log must be durable through before any copy is submitted (I3)
	Bytes   int      // of all pages
	Entries []Entry  // len = pages; the capacity is fixed
	Front   []byte   // the region's header, twice, aligned
	Vec     [][]byte // scratch of the doublewrite request
	Op      ring.Op  // the doublewrite
	Writing bool     // it is in flight
	Step    *Step    // a caller that would run it; nil: none

	Arrived  Arrivals  // of its pages, on dwbstage's clock
	Sent     time.Time // when dwbstage handed it on
	Reaped   time.Time // when the last of its pages was written in place
	Since    time.Time // when its owner began with it
	Unreaped int       // entries whose destination write has not been reaped (or superseded)
	Unsafe   int       // entries not at S4
}

// Reset empties the batch for reuse. Add overwrites whatever an entry held.
func (b *Batch) Reset() {
	clear(b.Entries)
	clear(b.Vec)
	b.Entries, b.Vec = b.Entries[:0], b.Vec[:0]
	b.Num, b.Region, b.MaxLSN, b.Bytes = 0, -1, 0, 0
	b.Arrived = Arrivals{}
	b.Writing, b.Unreaped, b.Unsafe = false, 0, 0
	b.Step = nil
}

// Add appends an entry for one page.
func (b *Batch) Add(f *File, p *PageWrite) *Entry {
	b.Entries = b.Entries[:len(b.Entries)+1]
	e := &b.Entries[len(b.Entries)-1]
	*e = Entry{Page: page.ID{File: f.ID, No: p.No}, File: f, Batch: b}
	b.Set(e, p)
	b.Bytes += f.PageSize
	return e
}

// Set gives a queued entry the image of p and raises MaxLSN to cover it.
func (b *Batch) Set(e *Entry, p *PageWrite) {
	e.LSN, e.CRC, e.Frame, e.Imaged = p.LSN, p.CRC, p.Frame, p.Imaged
	e.Wait(&p.W)
	if !e.File.ForeignLSN {
		b.MaxLSN = max(b.MaxLSN, p.LSN)
	}
	b.MaxLSN = max(b.MaxLSN, p.Through)
}
