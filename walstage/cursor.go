package walstage

import (
	"context"
	"errors"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// Cursor reads the durable records from a position on, in order, and goes on as the log grows. It
// keeps no file open between calls, and nothing waits for it: what it has not read may be truncated
// unless somebody keeps it. It is for one goroutine.
type Cursor struct {
	s    source
	w    *walker
	from page.LSN
	at   page.LSN // where the next group is, 0 before the first
	// upTo is how far the log was durable when the last group was looked for.
	upTo page.LSN

	group foundGroup
	rest  []byte   // frames of the group not handed out yet
	lsn   page.LSN // of rest
}

// Cursor begins at the first record that starts at or after from.
func (l *Log) Cursor(from page.LSN) *Cursor {
	s := l.source()
	if l.o.Mutants.Has(stages.FollowEarly) {
		s.limit = l.reaped
	}
	return &Cursor{s: s, w: newWalker(s.o, readAhead), from: from}
}

// reaped is how far the log is written, flushed or not.
func (l *Log) reaped() page.LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	lsn := l.Durable()
	for _, g := range l.queue {
		if !g.reaped.Load() {
			break
		}
		lsn = g.end
	}
	return lsn
}

// Ready reports whether Next has a record without reading.
func (c *Cursor) Ready() bool { return len(c.rest) > 0 }

// UpTo is how far the log was durable when Next last found no record.
func (c *Cursor) UpTo() page.LSN { return c.upTo }

// Next returns the next durable record; ok is false when there is none yet. Data is valid until the
// next call. ErrTruncated: the records that follow are gone.
func (c *Cursor) Next(ctx context.Context) (r Record, ok bool, err error) {
	for {
		for len(c.rest) > 0 {
			kind, data, err := decodeFrame(c.rest)
			if err != nil {
				return Record{}, false, err
			}
			n := frameSize + len(data)
			r := Record{c.lsn, c.lsn + page.LSN(n), c.group.epoch, kind, data[:len(data):len(data)]}
			c.lsn, c.rest = r.End, c.rest[n:]
			if r.Start >= c.from && c.s.segs.void(r.Start, kind) == nil {
				return r, true, nil
			}
		}
		if more, err := c.fetch(ctx); err != nil || !more {
			return Record{}, false, err
		}
	}
}

// fetch reads the next durable group (I3: nothing beyond the limit is looked at).
func (c *Cursor) fetch(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if cut := c.s.segs.erased(max(c.at, c.from)); cut != nil { // the log was given up, and goes on there
		c.at, c.from, c.w.linked = 0, cut.To, false
	}
	c.upTo = c.s.limit()
	if max(c.at, c.from) >= c.upTo {
		return false, nil
	}
	if cut := c.s.segs.erased(max(c.at, c.from)); cut != nil { // given up at an open: goes on behind it
		if c.from, c.at = cut.To, 0; c.from >= c.upTo {
			return false, nil
		}
		c.w.linked = false
	}
	c.w.win.until = c.upTo
	p, err := c.place()
	if err != nil {
		return false, err
	}
	held := p.seg
	defer func() { c.s.segs.release(held) }()
	if p.lsn() >= c.upTo { // an empty log: what is read here would be remembered
		return false, nil
	}
	if c.at == 0 {
		if p, err = c.s.skip(c.w, p, c.from); err != nil {
			return false, err
		}
	}
	g, at, err := c.w.step(p, func(s *segment) *segment {
		next := c.s.segs.acquire(s.end())
		if next != nil {
			c.s.segs.release(held)
			held = next
		}
		return next
	})
	if err != nil {
		return false, at.seg.err("follow", at.off, err)
	}
	c.group, c.at = g, g.next().lsn()
	c.rest, c.lsn = g.payload, g.lsn+groupHeaderSize
	return true, nil
}

// place finds where the next group should be, in a segment that the caller releases.
func (c *Cursor) place() (place, error) {
	if c.at == 0 {
		seg := c.s.segs.acquire(c.from)
		if seg == nil {
			return place{}, c.s.fail("follow", c.from, c.s.segs.missing())
		}
		return place{seg, c.s.segs.near(seg, seg.off(c.from), c.s.o.Block)}, nil
	}
	// The segment of the last group knows where it goes on. Where it is gone, the first one left may
	// be the next: the chain says so.
	if seg := c.s.segs.acquire(c.at - 1); seg != nil {
		return place{seg, seg.off(c.at)}, nil
	}
	gone := c.s.fail("follow", c.at, c.s.segs.missing())
	seg := c.s.segs.acquire(c.s.segs.begin())
	if seg == nil || errors.Is(gone, ErrClosed) {
		c.s.segs.release(seg)
		return place{}, gone
	}
	p := place{seg, int64(c.s.o.Block)}
	if h, err := c.w.headerAt(p); err != nil || h.prev != c.w.chain {
		c.s.segs.release(seg)
		return place{}, gone
	}
	return p, nil
}
