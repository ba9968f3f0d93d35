package walstage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/untorn/untorn/page"
)

// Follower reads a log from outside as it grows: it takes no lock and changes nothing, so the log may
// be of a running engine. It hands out a record only when something says that it is durable: a later
// group's header, which carries how far the log was durable when it was sealed, or a claim. So the
// last records of an engine that has gone idle come with its next group, checkpoint or close. It is
// for one goroutine.
type Follower struct {
	o    Options
	from page.LSN
	seg  *segment
	// off, chain, epoch and linked are those behind the last group handed out: what was read beyond is
	// read again, because a crash may have cut it off meanwhile.
	off    int64
	chain  uint32
	epoch  uint64
	linked bool
	upTo   page.LSN // the end of the last record handed out
	cuts   []Cut
}

// NewFollower begins with the first record that starts at or after from; 0 is the beginning of the
// log. Of the options FS, Ring, Dir, EngineID and Block count.
func NewFollower(ctx context.Context, o Options, from page.LSN) (*Follower, error) {
	p, err := OpenPeek(ctx, o)
	if err != nil {
		return nil, err
	}
	begin, ok := p.Begin()
	d := &Dir{segs: newSegments(p.list)}
	seg := d.startSegment(max(from, begin))
	switch {
	case !ok:
		err = &Error{Op: "follow", File: o.Dir, Err: fs.ErrNotExist}
	case from != 0 && from < begin:
		err = &Error{Op: "follow", File: o.Dir, LSN: from, Err: fmt.Errorf("%w, which is %d", ErrTruncated, begin)}
	case seg == nil:
		err = &Error{Op: "follow", File: o.Dir, LSN: from, Err: ErrLSNBeyondLog}
	}
	var rest []*segment
	for _, s := range p.list {
		if s != seg || err != nil {
			rest = append(rest, s)
		}
	}
	if err = errors.Join(err, closeAll(rest)); err != nil {
		return nil, err
	}
	return &Follower{o: p.o, from: from, seg: seg, off: int64(p.o.Block), epoch: seg.epoch}, nil
}

// Next is where to begin in order to go on behind the last record handed out.
func (f *Follower) Next() page.LSN { return max(f.from, f.upTo) }

// Close closes the file it is in.
func (f *Follower) Close() error { return closeAll([]*segment{f.seg}) }

// ErrEnough is what a visit returns that has taken its record and wants no more.
var ErrEnough = errors.New("enough")

// heldGroup is a group read and not yet known to be durable.
type heldGroup struct {
	group foundGroup
	at    place
	next  place
}

// Poll calls visit with every record that has become known to be durable since the last call, until it
// fails. claim and cuts are what super says: it has to have been read before this call. Data is valid until
// visit returns. ErrTruncated: the log was recycled before it was read.
func (f *Follower) Poll(ctx context.Context, claim Claim, cuts []Cut, visit func(r Record, segment string) error) error {
	f.cuts = cuts
	w := newWalker(&f.o, readAhead)
	w.chain, w.epoch, w.linked = f.chain, f.epoch, f.linked
	opened := []*segment{f.seg}
	defer func() {
		for _, s := range opened {
			if s != f.seg {
				_ = s.file.Close() // only read
			}
		}
	}()
	var failed error
	after := func(s *segment) *segment {
		next, err := f.open(s.seq + 1)
		if err != nil {
			failed = err
			return nil
		}
		if next != nil {
			opened = append(opened, next)
		}
		return next
	}
	var held []heldGroup
	durable := page.LSN(0)
	for at := (place{f.seg, f.off}); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		g, _, err := w.step(at, after)
		if failed != nil {
			return failed
		}
		if err != nil {
			if !isDamage(err) {
				return err
			}
			break // not there yet, or being written
		}
		durable = max(durable, g.durable)
		h := heldGroup{g, g.at, g.next()}
		if g.epoch <= claim.Epoch && h.last() <= claim.LSN {
			durable = max(durable, h.last())
		}
		h.group.payload = slices.Clone(g.payload) // the walker moves on
		at = h.next
		held = append(held, h)
		for len(held) > 0 && held[0].last() <= durable {
			if err := f.hand(&held[0], visit); err != nil {
				return err
			}
			held = held[1:]
		}
	}
	if len(held) == 0 {
		return f.stillThere()
	}
	return nil
}

func (h *heldGroup) last() page.LSN {
	return h.group.lsn + groupHeaderSize + page.LSN(h.group.groupHeader.payload)
}

// hand hands out a group and remembers that.
func (f *Follower) hand(h *heldGroup, visit func(Record, string) error) error {
	var failed error
	_, err := visitGroup(&h.group, f.Next(), func(r Record) bool {
		if slices.ContainsFunc(f.cuts, func(c Cut) bool { return c.voids(r.Start, r.Kind) }) {
			return true
		}
		if failed = visit(r, h.at.seg.name); failed == nil || errors.Is(failed, ErrEnough) {
			f.upTo = r.End
		}
		return failed == nil
	})
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	if f.seg != h.next.seg {
		if err := f.seg.file.Close(); err != nil {
			return err
		}
		f.seg = h.next.seg
	}
	f.off, f.chain, f.epoch, f.linked = h.next.off, h.group.crc, h.group.epoch, true
	return nil
}

// open opens a segment by its sequence; nil when there is none of this log yet.
func (f *Follower) open(seq uint64) (*segment, error) {
	p := &Peek{o: f.o}
	err := p.open(segmentName(seq))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !p.list[0].formatted:
		return nil, closeAll(p.list)
	}
	return p.list[0], nil
}

// stillThere tells a log that has not gone on from one that went on without us: it was recycled, or cut
// off before what was handed out. Otherwise following would wait for ever.
func (f *Follower) stillThere() error {
	names, err := listSegments(&f.o)
	if err != nil || len(names) == 0 {
		return err
	}
	first, _ := segmentSeq(names[0])
	gone := &Error{Op: "follow", File: f.o.Dir, LSN: f.Next(), Err: fmt.Errorf("%w: it was recycled before it was read", ErrTruncated)}
	w := newWalker(&f.o, 0)
	switch {
	case first <= f.seg.seq:
		h, err := w.headerAt(place{f.seg, f.off})
		if err == nil && f.linked && h.prev != f.chain {
			return &Error{Op: "follow", File: f.o.Dir, LSN: f.Next(), Err: fmt.Errorf("%w: the log went on from here with other records", ErrCut)}
		}
		return nil
	case first > f.seg.seq+1 || !f.linked:
		return gone
	}
	next, err := f.open(f.seg.seq + 1)
	if err != nil || next == nil {
		return err
	}
	if h, herr := w.headerAt(place{next, int64(f.o.Block)}); herr == nil && h.prev != f.chain {
		err = gone
	}
	return errors.Join(err, next.file.Close())
}
