package walstage

import (
	"context"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// place is where a group is or would be.
type place struct {
	seg *segment
	off int64
}

func (p place) lsn() page.LSN { return p.seg.lsn(p.off) }

// group is one whole, checked group. The payload is valid until the walker moves.
type foundGroup struct {
	groupHeader
	at      place
	payload []byte
}

func (g *foundGroup) next() place { return place{g.at.seg, g.at.off + int64(g.length)} }

// walker goes from group to group and believes a group only when its header, payload, padding,
// place, epoch and chain all agree.
type walker struct {
	o   *Options
	win *window
	// chain and epoch are those of the last group accepted; linked says that there was one.
	chain  uint32
	epoch  uint64
	linked bool
}

func newWalker(o *Options, ahead int64) *walker {
	return &walker{o: o, win: newWindow(o, ahead)}
}

// headerAt reads and checks the group header at p by itself and against its place. A header that
// was copied, left over from a segment's older life, or misdirected does not fit its place.
func (w *walker) headerAt(p place) (groupHeader, error) {
	b, err := w.win.bytes(p.seg, p.off, int64(w.o.Block))
	if err != nil {
		return groupHeader{}, err
	}
	h, err := decodeGroupHeader(b, w.o.Block)
	if err != nil {
		return h, err
	}
	if h.id != w.o.EngineID || h.seq != p.seg.seq || h.off != uint64(p.off) ||
		p.seg.formatted && h.lsn != p.lsn() {
		return h, damaged("a group of segment %d, offset %d, LSN %d", h.seq, h.off, h.lsn)
	}
	return h, nil
}

// groupAt reads and checks the whole group at p, without looking at its neighbours.
func (w *walker) groupAt(p place) (foundGroup, error) {
	h, err := w.headerAt(p)
	if err != nil {
		return foundGroup{}, err
	}
	b, err := w.win.bytes(p.seg, p.off, int64(h.length))
	if err != nil {
		return foundGroup{}, err
	}
	body := b[groupHeaderSize:]
	if err := checkPayload(&h, body); err != nil {
		return foundGroup{}, err
	}
	return foundGroup{groupHeader: h, at: p, payload: body[:h.payload]}, nil
}

// follow reads the group at p and accepts it as the one after the last accepted.
func (w *walker) follow(p place) (foundGroup, error) {
	g, err := w.groupAt(p)
	if err != nil {
		return g, err
	}
	linked := w.linked && !w.o.Mutants.Has(stages.TailReturns)
	if linked && g.prev != w.chain {
		return g, damaged("the group does not follow the one before: chain %08x, not %08x",
			g.prev, w.chain)
	}
	if linked && g.epoch < w.epoch || g.epoch < p.seg.epoch {
		return g, damaged("epoch %d after epoch %d", g.epoch, max(w.epoch, p.seg.epoch))
	}
	w.chain, w.epoch, w.linked = g.crc, g.epoch, true
	return g, nil
}

// step accepts the group at p or, when there is none, the first group of the next segment. When
// neither follows, the log ends at p: at is the place the reason is about.
func (w *walker) step(p place, after func(*segment) *segment) (g foundGroup, at place, err error) {
	err = errShort
	if p.off < p.seg.length {
		if g, err = w.follow(p); err == nil || !isDamage(err) {
			return g, p, err
		}
	}
	next := after(p.seg)
	if next == nil || !next.formatted || next.first != p.seg.end() || !w.linked {
		return g, p, err
	}
	q := place{next, int64(w.o.Block)}
	if h, herr := w.headerAt(q); herr != nil && !isDamage(herr) {
		return g, q, herr
	} else if herr == nil && h.prev == w.chain {
		// It claims to be the successor: what is wrong with it is what is wrong with the log.
		g, err = w.follow(q)
		return g, q, err
	}
	return g, p, err
}

// nextWhole finds the first whole group of p's segment behind p.
func (w *walker) nextWhole(ctx context.Context, p place) (found place, ok bool) {
	p.off += int64(w.o.Block)
	_ = w.search(ctx, p, func(q place, _ groupHeader) bool {
		if _, err := w.groupAt(q); err != nil {
			return false
		}
		found = q
		return true
	})
	return found, found.seg != nil
}

// search goes over every block from p to the segment's end and calls visit with each valid group
// header. It returns a failed read only after it has looked at everything behind it as well.
func (w *walker) search(ctx context.Context, p place, visit func(place, groupHeader) bool) error {
	var failed error
	for ; p.off < p.seg.readable(); p.off += int64(w.o.Block) {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := w.headerAt(p)
		if err == nil {
			if visit(p, h) {
				return failed
			}
		} else if !isDamage(err) && failed == nil {
			failed = err
		}
	}
	return failed
}
