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

// Image is the newest page image of the log that counts for a page.
type Image struct {
	LSN page.LSN
	CRC uint32
	// Always: every change of the page is logged that no record holds. A destination of the same LSN
	// is no newer then.
	Always bool
	// SameLSN is whether image and file count LSNs in one space, and the page's format finds a tear:
	// otherwise the destination's LSN says nothing.
	SameLSN bool
}

// Source is where the newest trustworthy image is.
type Source uint8

// The sources.
const (
	FromDestination Source = iota // leave it as it is
	FromSlot                      // install the slot's image
	Rebuild                       // the destination holds the slot's image; the slot is damaged
	Lost                          // no image may be trusted
	FromImage                     // install the log's page image
	Rewrite                       // the destination's own bytes, written again
	Fetched                       // lost, and brought from elsewhere (Input.Fetch): no row of the table
)

var sourceNames = [...]string{"destination", "doublewrite", "destination (slot rebuilt)", "lost",
	"page image", "destination (rewritten)", "fetched"}

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
	image  bool // the log holds an image of the page
	ahead  bool // the destination is whole and newer than that image
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
	image, ahead                              answer
	source                                    Source
	next                                      bool
	reason                                    string
}

// table is I6, row by row, and what the log's page images add to it. Exactly one row fits any
// combination of answers that can be.
//
//	copy    dest =   slot    dest     at or    dest    image   dest ahead
//	> W     copy     valid   newer    below F  whole   logged  of image
var table = [...]rule{
	{'A', no, either, either, either, either, yes, no, either, FromDestination, false,
		"no copy above the watermark counts, and the destination is whole"},
	{'B', no, either, either, either, either, no, no, either, Lost, false,
		"no copy above the watermark counts, and the destination is damaged"},
	{'C', yes, yes, yes, either, either, either, either, either, FromSlot, false,
		"the destination holds the newest copy's image; installed again, for a read is no proof"},
	{'D', yes, yes, no, either, either, either, either, either, Rebuild, false,
		"the destination holds the newest image and its slot is damaged; the slot is rebuilt first"},
	{'E', yes, no, yes, no, either, either, either, either, FromSlot, false,
		"the newest copy is valid and the destination is older, torn or damaged"},
	{'F', yes, no, yes, yes, either, either, either, either, FromDestination, false,
		"the destination is whole and its LSN is higher than the newest copy's"},
	{'G', yes, no, no, either, yes, either, either, either, Lost, false,
		"the newest copy is damaged and had been flushed: an older image would be a guess"},
	{'H', yes, no, no, either, no, either, either, either, FromDestination, true,
		"the copy is damaged and was never flushed: it counts as never started"},
	{'I', no, either, either, either, either, no, yes, either, FromImage, false,
		"the destination is damaged and the log holds an image of it"},
	{'J', no, either, either, either, either, yes, yes, no, FromImage, false,
		"the log's image is the destination's or newer; installed again, for a read is no proof"},
	{'K', no, either, either, either, either, yes, yes, yes, Rewrite, false,
		"the destination is whole and newer than the log's image; written again, for a read is no proof"},
}

// Decide picks the image of one page that may be trusted. copies are the page's header entries,
// newest first; img is the log's image, nil if there is none; w is the watermark, f the
// flushed-through sequence. It is pure.
func Decide(copies []Copy, img *Image, dest Destination, w, f reclaim.Seq) Decision {
	for i := 0; ; i++ {
		var q facts
		q.whole = dest.Whole
		if img != nil {
			q.image = true
			q.ahead = dest.Whole && img.SameLSN &&
				(dest.LSN > img.LSN || dest.LSN == img.LSN && !img.Always && dest.CRC != img.CRC)
		}
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
		r.newer.fits(q.newer) && r.below.fits(q.below) && r.whole.fits(q.whole) &&
		r.image.fits(q.image) && r.ahead.fits(q.ahead)
}
