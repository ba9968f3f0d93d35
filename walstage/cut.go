package walstage

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/untorn/untorn/page"
)

// Cut is a range of LSNs that holds no records any more: those that start from From on and before To
// are void, whatever lies there. Cuts are kept outside of the log, in super, and are durable before
// they are acted on. LSNs are never issued twice, so a cut needs no end in time.
//
// There are two kinds. TruncateAfter voids the caller's records and leaves the groups where they are:
// the chain goes on over them, and engine records among them stay in force. A log that lost what had
// been durable is cut at a point its operator names (Given): everything behind From is given up and
// erased, and the log goes on in a new segment that begins at To.
type Cut struct {
	Epoch    uint64 // the last one that holds records the cut took
	From, To page.LSN
	// Given is set when the log was cut because it was corrupt: what starts before it had been durable
	// and is lost. 0 = TruncateAfter.
	Given page.LSN
}

func (c Cut) voids(lsn page.LSN, kind uint8) bool {
	return lsn >= c.From && lsn < c.To && (kind == 0 || c.Given != 0)
}

// Errors of cuts.
var (
	// ErrCut: the record was cut off.
	ErrCut = errors.New("record was cut off")
	// ErrNotCorrupt: a point to recover to was named, but the log is whole and nothing has to be given
	// up.
	ErrNotCorrupt = errors.New("the log is not corrupt")
	// ErrPoint: the point to recover to is not in the intact part of the log, before the damage.
	ErrPoint = errors.New("not a point this log can be recovered to")
)

// setCuts replaces the cuts that readers respect.
func (s *segments) setCuts(cuts []Cut) { s.cuts.Store(&cuts) }

func (s *segments) cutList() []Cut {
	if p := s.cuts.Load(); p != nil {
		return *p
	}
	return nil
}

// void returns the cut that took a record, nil if none did.
func (s *segments) void(lsn page.LSN, kind uint8) *Cut {
	list := s.cutList()
	for i := range list {
		if list[i].voids(lsn, kind) {
			return &list[i]
		}
	}
	return nil
}

// erased returns the cut that gave up a group beginning at lsn, nil if none did.
func (s *segments) erased(lsn page.LSN) *Cut {
	list := s.cutList()
	for i := range list {
		if c := &list[i]; c.Given != 0 && lsn >= c.From && lsn < c.To {
			return c
		}
	}
	return nil
}

// resumes reports whether a segment that begins at lsn is the one a log went on in after it was cut.
func (s *segments) resumes(lsn page.LSN) bool {
	for _, c := range s.cutList() {
		if c.Given != 0 && c.To == lsn {
			return true
		}
	}
	return false
}

// claims is what the cuts themselves say of the log: it was whole so far when they were made.
func (s *segments) claims() []Claim {
	var list []Claim
	for _, c := range s.cutList() {
		through := c.From
		if c.Given == 0 {
			through = c.To
		}
		list = append(list, Claim{math.MaxUint64, through, "a cut of the log"})
	}
	return list
}

// TruncateAfter cuts off the caller's records that start at lsn or behind it. lsn is the end of a
// record, or of none: a position within one is ErrNoRecord. persist makes the cut durable; when it
// fails nothing has been cut. New records get LSNs above every one ever issued, so there is a gap.
//
// Everything appended is made durable first, so that nobody is left waiting for a record that is
// gone, and what a crash leaves is either the whole log or the cut one. Records appended meanwhile are
// behind the cut and stay.
func (l *Log) TruncateAfter(ctx context.Context, lsn page.LSN, persist func(Cut) error) error {
	fail := func(err error) error {
		return &Error{Op: "truncate after", File: l.o.Dir, LSN: lsn, Err: err}
	}
	l.cutting.Lock()
	defer l.cutting.Unlock()
	end := l.End()
	if lsn > end {
		return fail(fmt.Errorf("%w: it ends at %d", ErrLSNBeyondLog, end))
	}
	if err := l.WaitDurable(ctx, end); err != nil {
		return err
	}
	if err := l.source().boundary(ctx, lsn); err != nil {
		return err
	}
	if lsn == end {
		return nil
	}
	cut := Cut{Epoch: l.epoch, From: lsn, To: end}
	if err := persist(cut); err != nil {
		return err
	}
	list := l.segs.cutList()
	l.segs.setCuts(append(list[:len(list):len(list)], cut))
	return nil
}

// CutAt is the cut that gives a corrupt log up from point on: e is what Scan said, known the claims it
// had, epoch the last one the log was written in. Nothing is changed: the caller makes the cut durable,
// scans again with it, and Repair then erases what is given up. The point is the end of a record before
// the damage, or start, where the scan began; nobody guesses it.
func (d *Dir) CutAt(ctx context.Context, e *CorruptError, start, point page.LSN, known []Claim,
	epoch uint64) (Cut, error) {
	fail := func(format string, args ...any) (Cut, error) {
		return Cut{}, &Error{Op: "recover to a point", File: d.o.Dir, LSN: point,
			Err: fmt.Errorf("%w: "+format, append([]any{ErrPoint}, args...)...)}
	}
	if e.Good == 0 {
		return fail("no segment holds the start of what is needed; restore a copy")
	}
	if point > e.Good {
		return fail("the last record before the damage ends at LSN %d", e.Good)
	}
	if point != start && point != e.Good {
		r, err := d.source().recordBefore(ctx, point)
		if err != nil {
			return Cut{}, err
		}
		if r.End != point {
			return fail("no record ends there; the last one before the damage ends at LSN %d", e.Good)
		}
	}
	// What comes next begins above every LSN there can have been.
	to := max(e.LSN, e.IntactThrough, e.Evidence.LSN)
	for _, c := range append(d.headers.claims(), known...) {
		to = max(to, c.LSN)
	}
	for _, s := range d.segs.list {
		if s.formatted {
			to = max(to, s.end())
		}
	}
	for _, s := range d.segs.list {
		if !s.formatted {
			to += page.LSN(max(s.size, d.o.SegmentBytes))
		}
	}
	to = roundUp(to+1, page.LSN(d.o.Block))
	return Cut{Epoch: epoch, From: point, To: to, Given: max(e.Evidence.LSN, point+1)}, nil
}

// boundary refuses a position inside a record.
func (s source) boundary(ctx context.Context, lsn page.LSN) error {
	if lsn == 0 || lsn >= s.limit() {
		return nil
	}
	in, err := s.recordBefore(ctx, lsn)
	if err == nil && in.Start < lsn && lsn < in.End {
		err = s.fail("find record", lsn, fmt.Errorf("%w: it is inside of one", ErrNoRecord))
	}
	return err
}

// recordBefore returns the positions of the record that holds the byte before lsn, or zeros when none
// does.
func (s source) recordBefore(ctx context.Context, lsn page.LSN) (found Record, err error) {
	if err := ctx.Err(); err != nil {
		return found, err
	}
	lsn--
	seg := s.segs.acquire(lsn)
	if seg == nil {
		return found, s.fail("find record", lsn, s.segs.missing())
	}
	defer s.segs.release(seg)
	w := newWalker(s.o, 16<<10)
	p, err := s.skip(w, place{seg, s.segs.near(seg, seg.off(lsn), s.o.Block)}, lsn)
	if err != nil {
		return found, err
	}
	g, err := w.groupAt(p)
	if isDamage(err) {
		return found, nil // behind the segment's last group
	}
	if err != nil {
		return found, err
	}
	_, err = visitGroup(&g, 0, func(r Record) bool {
		if r.Start <= lsn && lsn < r.End {
			found = Record{Start: r.Start, End: r.End}
		}
		return true
	})
	return found, err
}
