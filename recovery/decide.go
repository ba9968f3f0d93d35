package recovery

import (
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
)

// Copy is one header entry of a page: a slot that may hold an image of it.
type Copy struct {
	Seq   reclaim.Seq
	LSN   page.LSN
	CRC   uint32
	Valid bool // the slot's bytes match CRC, identity, length and LSN of the header
	// SameLSN is whether Copy and file count LSNs in the same space.
	SameLSN bool
}

// Destination is what the page's own place holds.
type Destination struct {
	CRC   uint32
	Whole bool     // it passes its format's own checks
	LSN   page.LSN // only if Whole, and only if the format detects a tear
}

// Source is where the newest trustworthy image is.
type Source uint8

// The sources.
const (
	FromDestination Source = iota // leave it as it is
	FromSlot                      // install the slot's image
	Rebuild                       // the destination holds the slot's image; the slot is damaged
	Lost                          // no image may be trusted
)

var sourceNames = [...]string{"destination", "doublewrite", "destination (slot rebuilt)", "lost"}

func (s Source) String() string { return sourceNames[s] }

// Decision is the outcome for one page.
type Decision struct {
	Case   byte // letter of the row in the table
	Source Source
	Copy   int // index of the deciding copy, -1 if none
	Reason string
}

// facts are the yes/no questions the table asks of the newest copy not yet passed over.
type facts struct {
	exists bool // there is a copy above the watermark
	equal  bool // the destination's CRC is the copy's
	valid  bool // the slot matches its header
	newer  bool // the destination is whole and has a higher LSN of the same space
	below  bool // the copy's sequence is at or below F
	whole  bool // the destination passes its own checks
}

type answer uint8

const (
	either answer = iota
	yes
	no
)

func (a answer) fits(b bool) bool { return a == either || (a == yes) == b }

// rule is one row: the first row whose answers fit decides. next: look at the next older copy.
type rule struct {
	letter                                    byte
	exists, equal, valid, newer, below, whole answer
	source                                    Source
	next                                      bool
	reason                                    string
}

// table is I6, row by row. Exactly one row fits any combination of answers.
//
//	copy    dest =   slot    dest     at or    dest
//	> W     copy     valid   newer    below F  whole
var table = [...]rule{
	{'A', no, either, either, either, either, yes, FromDestination, false,
		"no copy above the watermark counts, and the destination is whole"},
	{'B', no, either, either, either, either, no, Lost, false,
		"no copy above the watermark counts, and the destination is damaged"},
	{'C', yes, yes, yes, either, either, either, FromSlot, false,
		"the destination holds the newest copy's image; installed again, for a read is no proof"},
	{'D', yes, yes, no, either, either, either, Rebuild, false,
		"the destination holds the newest image and its slot is damaged; the slot is rebuilt first"},
	{'E', yes, no, yes, no, either, either, FromSlot, false,
		"the newest copy is valid and the destination is older, torn or damaged"},
	{'F', yes, no, yes, yes, either, either, FromDestination, false,
		"the destination is whole and its LSN is higher than the newest copy's"},
	{'G', yes, no, no, either, yes, either, Lost, false,
		"the newest copy is damaged and had been flushed: an older image would be a guess"},
	{'H', yes, no, no, either, no, either, FromDestination, true,
		"the copy is damaged and was never flushed: it counts as never started"},
}

// Decide picks the image of one page that may be trusted. copies are the page's header entries,
// newest first; w is the watermark, f the flushed-through sequence. It is pure.
func Decide(copies []Copy, dest Destination, w, f reclaim.Seq) Decision {
	for i := 0; ; i++ {
		var q facts
		q.whole = dest.Whole
		if i < len(copies) && !copies[i].Seq.LE(w) { // I7: at or below the watermark nothing counts
			c := copies[i]
			q.exists = true
			q.equal = dest.CRC == c.CRC
			q.valid = c.Valid
			// LSN 0 is "no record": it belongs to no LSN space.
			q.newer = dest.Whole && c.SameLSN && c.LSN != 0 && dest.LSN > c.LSN
			q.below = c.Seq.LE(f)
		}
		for k := range table {
			r := &table[k]
			if !r.fits(q) {
				continue
			}
			if r.next {
				break
			}
			d := Decision{Case: r.letter, Source: r.source, Copy: i, Reason: r.reason}
			if !q.exists {
				d.Copy = -1
			}
			return d
		}
	}
}

func (r *rule) fits(q facts) bool {
	return r.exists.fits(q.exists) && r.equal.fits(q.equal) && r.valid.fits(q.valid) &&
		r.newer.fits(q.newer) && r.below.fits(q.below) && r.whole.fits(q.whole)
}
