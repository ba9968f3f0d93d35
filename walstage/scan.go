package walstage

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// Tail is what Scan found: where the log ends and what Repair has to do before Start.
type Tail struct {
	// End is where the next group goes. Everything before it is whole.
	End page.LSN
	// Last is the end of the last record, 0 if none was found from the start on.
	Last page.LSN
	// Epoch is the last group's, or its segment's if there is no group.
	Epoch uint64
	// Durable is how far something proves that the log had been durable, at most End.
	Durable page.LSN
	// Mark is the highest doublewrite watermark the groups carry (I7).
	Mark Watermark
	// Groups and Records count what was found from the start segment's first group on.
	Groups, Records int64
	// Beyond is the number of groups beyond Durable: they count, but Repair writes them again (I8).
	Beyond int
	// Discarded is the number of bytes after End that valid group headers cover.
	Discarded int64
	// Clean: nothing was being written when the log was last used, so there is nothing to repair.
	Clean bool
	// Reason says why the log ends at End.
	Reason error

	// Fault says why not all of the ring of headers could be read; nil = it could, or there is none.
	Fault error
	// Cut is set when the log was given up from here on, and goes on in a segment that Repair makes.
	Cut *Cut

	// Fetched counts groups that came from elsewhere (Options.Fetch).
	Fetched int

	fetched []fetched
	at      place
	chain   uint32
	beyond  []seenGroup
}

// seenGroup is a group that Repair has to find again.
type seenGroup struct {
	at  place
	crc uint32
	end page.LSN // of its last record
}

// Scan walks the log from ev.Start, finds its end and decides what that end means (I10). It changes
// nothing. A log that is corrupt, or cannot be judged because a read failed, is a *CorruptError.
func (d *Dir) Scan(ctx context.Context, ev Evidence) (*Tail, error) {
	d.segs.setCuts(ev.Cuts)
	if err := d.readHeaders(ev.Start); err != nil {
		return nil, err
	}
	claims := append([]Claim{{math.MaxUint64, ev.Start, "the start of the scan"}}, d.segs.claims()...)
	claims = append(claims, ev.Known...)
	t := &Tail{}
	if d.headers != nil {
		t.Fault = d.headers.read(&d.o)
		claims = append(claims, d.headers.claims()...)
	}
	seg := d.startSegment(ev.Start)
	if seg == nil {
		return nil, d.noStart(ev.Start, claims)
	}
	w := newWalker(&d.o, readAhead)
	d.segs.borrow(w.win)
	defer d.segs.giveBack(w.win)
	w.epoch = seg.epoch
	t.at = place{seg, int64(d.o.Block)}
	highest := page.LSN(0)
	for _, c := range claims {
		highest = max(highest, c.LSN)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if c := d.segs.erased(t.at.lsn()); c != nil {
			if d.behind(w, t, c) {
				continue
			}
			break
		}
		g, at, err := w.step(t.at, d.after)
		if err == nil {
			d.accept(t, &g, claims)
			continue
		}
		if t.at.lsn() < ev.Start {
			if q, ok := d.resync(ctx, w, t.at, ev.Start); ok {
				d.segs.rejoin(q.seg, q.off)
				t.at = q
				continue
			}
			// What is needed of a group that holds the start was given up with everything behind it.
			if c := d.segs.erased(ev.Start); c != nil {
				if d.behind(w, t, c) {
					continue
				}
				break
			}
		}
		if errors.Is(err, ErrVersion) {
			return nil, at.seg.err("scan", at.off, err)
		}
		t.End, t.Epoch, t.chain, t.Reason = t.at.lsn(), w.epoch, w.chain, err
		t.Clean = ev.Clean && isDamage(err) && (highest == t.End || highest == t.Last) &&
			len(t.beyond) == 0
		if err := d.decide(ctx, w, t, at, claims); err != nil {
			var e *CorruptError
			if !errors.As(err, &e) {
				return nil, err
			}
			if err := d.fetch(ctx, w, t, at, e); err != nil {
				return nil, err
			}
			continue
		}
		break
	}
	t.settle()
	t.Beyond = len(t.beyond)
	d.tail, d.scanned, d.repaired = t, true, false
	return t, nil
}

// behind goes on in the segment behind a cut. If there is none yet the walk ends, and Repair makes it.
func (d *Dir) behind(w *walker, t *Tail, c *Cut) bool {
	if s := d.beginningAt(c.To); s != nil {
		t.at, w.linked, w.epoch = place{s, int64(d.o.Block)}, false, s.epoch
		return true
	}
	if d.o.Mutants.Has(stages.RecoverReuses) {
		low := *c
		low.To, c = t.at.seg.end(), &low
	}
	t.Cut, t.Reason, t.Epoch = c, ErrCut, w.epoch
	t.End = c.To + page.LSN(d.o.Block)
	return false
}

// beginningAt returns the segment whose first byte has the LSN.
func (d *Dir) beginningAt(lsn page.LSN) *segment {
	for _, s := range d.segs.list {
		if s.formatted && s.first == lsn {
			return s
		}
	}
	return nil
}

// startSegment returns the segment to begin in: the one that holds the LSN, or that ends there.
func (d *Dir) startSegment(lsn page.LSN) *segment {
	var before *segment
	for _, s := range d.segs.list {
		if s.formatted && s.holds(lsn) {
			return s
		}
		if s.formatted && s.end() == lsn {
			before = s
		}
	}
	return before
}

func (d *Dir) noStart(start page.LSN, claims []Claim) error {
	cause := fmt.Errorf("%w: no segment holds LSN %d", errDamaged, start)
	var seg *segment
	for _, s := range d.segs.list {
		if !s.formatted {
			seg, cause = s, fmt.Errorf("%w, and this one has no valid header: %w", cause, s.why)
			break
		}
	}
	e := d.corrupt(seg, 0, finding{end: start}, cause)
	e.Evidence = claims[0]
	return e
}

// after returns the segment that follows s by name, nil if there is none.
func (d *Dir) after(s *segment) *segment {
	for _, n := range d.segs.list {
		if n.seq == s.seq+1 {
			return n
		}
	}
	return nil
}

func (d *Dir) accept(t *Tail, g *foundGroup, claims []Claim) {
	d.segs.note(g.at.seg, g.at.off)
	t.at = g.next()
	t.Last = g.lsn + groupHeaderSize + page.LSN(len(g.payload))
	t.Groups++
	t.Records += int64(g.records)
	if t.Mark.Less(g.mark) {
		t.Mark = g.mark
	}
	t.Durable = max(t.Durable, g.durable)
	for _, c := range claims {
		// A claim from before this group's epoch says nothing about it: the log was cut between.
		if c.LSN > g.lsn && c.Epoch >= g.epoch {
			t.Durable = max(t.Durable, t.Last)
		}
	}
	t.beyond = append(t.beyond, seenGroup{g.at, g.crc, t.Last})
	t.settle()
}

// settle drops the groups at the front that are proven durable by now.
func (t *Tail) settle() {
	n := 0
	for n < len(t.beyond) && t.beyond[n].end <= t.Durable {
		n++
	}
	t.beyond = append(t.beyond[:0], t.beyond[n:]...)
}

// resync finds a whole group behind damage that lies before the start and is not needed. The group
// that covers the start itself has to be whole, so it must not begin behind it.
func (d *Dir) resync(ctx context.Context, w *walker, p place, start page.LSN) (place, bool) {
	var found place
	p.off += int64(d.o.Block)
	_ = w.search(ctx, p, func(q place, _ groupHeader) bool {
		if q.lsn() > start {
			return true
		}
		if _, err := w.groupAt(q); err != nil {
			return false
		}
		found = q
		return true
	})
	w.linked = false
	return found, found.seg != nil
}

// decide judges the end of the walk. at is where the missing group should be.
func (d *Dir) decide(ctx context.Context, w *walker, t *Tail, at place, claims []Claim) error {
	f := finding{end: t.End, epoch: t.Epoch, unreadable: !isDamage(t.Reason)}
	cause := t.Reason
	t.Discarded = 0
	if !t.Clean {
		worst, failed, err := d.searchBehind(ctx, w, t, f)
		if err != nil {
			return err
		}
		if failed != nil && !f.unreadable {
			f.unreadable, cause = true, failed
		}
		claims = append(claims, worst)
	}
	v, claim := judge(f, claims)
	if v == tornTail || v == corrupt && d.o.Mutants.Has(stages.TruncateCorruption) {
		return nil
	}
	e := d.corrupt(at.seg, at.off, f, cause)
	e.LSN, e.Evidence = at.lsn(), claim
	if h, err := w.headerAt(at); err == nil {
		e.Records = int(h.records)
	} else if h := d.headers.at(at.lsn()); h != nil {
		e.Records = h.Group.Records
	}
	e.Good = max(t.Last, claims[0].LSN) // the first claim is where the scan began
	d.surveyBehind(ctx, w, at, e)
	return e
}

// searchBehind looks at every block behind the end, in this segment and all later ones, for valid
// group headers. It returns the claim among them that convicts the end, if any does.
func (d *Dir) searchBehind(ctx context.Context, w *walker, t *Tail, f finding) (worst Claim,
	failed, err error) {
	for _, s := range d.segs.list {
		p := place{s, int64(d.o.Block)}
		switch {
		case s.seq < t.at.seg.seq:
			continue
		case s == t.at.seg:
			p = t.at
		}
		err := w.search(ctx, p, func(q place, h groupHeader) bool {
			t.Discarded += int64(h.length)
			c := Claim{h.epoch, h.durable, fmt.Sprintf("the group header in segment %s offset %d",
				s.name, q.off)}
			if c.convicts(f) {
				if c.LSN > worst.LSN {
					worst = c
				}
			} else if h.epoch >= f.epoch {
				t.Durable = max(t.Durable, h.durable)
			}
			return false
		})
		if ctx.Err() != nil {
			return worst, nil, ctx.Err()
		}
		if err != nil && failed == nil {
			failed = err
		}
	}
	return worst, failed, nil
}

// surveyBehind counts what is whole behind the damage at p: in its own segment and all later ones.
func (d *Dir) surveyBehind(ctx context.Context, w *walker, p place, e *CorruptError) {
	for _, s := range d.segs.list {
		q := place{s, int64(d.o.Block)}
		switch {
		case s.seq < p.seg.seq:
			continue
		case s == p.seg:
			q.off = p.off + int64(d.o.Block)
		}
		var behind int64 // the end of the last whole group: what lies in it is its payload
		_ = w.search(ctx, q, func(q place, h groupHeader) bool {
			if q.off < behind {
				return false
			}
			g, err := w.groupAt(q)
			if err != nil {
				return false
			}
			behind = g.next().off
			if e.IntactAfter == 0 {
				e.IntactAfter = h.lsn
			}
			e.IntactGroups++
			e.IntactRecords += int64(h.records)
			e.IntactThrough = max(e.IntactThrough, h.lsn+groupHeaderSize+page.LSN(h.payload))
			return false
		})
	}
}
