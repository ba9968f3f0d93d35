package walstage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// Peek is a log looked at from outside: it takes no lock, judges nothing and changes nothing, so it
// may be of a running engine, or broken in any way. What it shows of a running one may have gone by
// the time it is shown. It is for one goroutine.
type Peek struct {
	o     Options
	list  []*segment
	heads []SegmentHead
	cuts  []Cut
}

// SegmentHead is a segment file and what its header says.
type SegmentHead struct {
	Name   string
	Seq    uint64 // the name's
	Bytes  int64  // of the file
	Engine [16]byte
	Block  int
	Length int64
	First  page.LSN
	Epoch  uint64
	// Err is why the segment counts as empty: its header is damaged, or disagrees with its name.
	Err error
}

// GroupHead is a whole group of the log.
type GroupHead struct {
	Segment string
	Offset  int64
	LSN     page.LSN // of its first byte
	Bytes   int64
	Last    page.LSN // the end of its last record
	Epoch   uint64
	Records int
	Durable page.LSN // the log was durable so far when the group was sealed
	Mark    Watermark
	group   foundGroup
}

// Each calls visit for each record until it returns false. Data is valid until visit returns.
func (g *GroupHead) Each(visit func(Record) bool) error {
	_, err := visitGroup(&g.group, 0, visit)
	return err
}

// OpenPeek opens the segments of a log directory. Of the options FS, Ring and Dir count, and
// EngineID and Block if they are known; otherwise the first sound segment header has them.
func OpenPeek(ctx context.Context, o Options) (*Peek, error) {
	names, err := listSegments(&o)
	if err != nil {
		return nil, err
	}
	p := &Peek{o: o}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		err := p.open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // recycled since the directory was listed
		}
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

func (p *Peek) open(name string) error {
	seq, _ := segmentSeq(name)
	path := filepath.Join(p.o.Dir, name)
	f, err := p.o.FS.Open(path, fsys.OpenFlags{ReadOnly: true, Direct: true})
	if err != nil {
		return &Error{Op: "open", File: path, Err: err}
	}
	size, err := f.Size()
	if err != nil {
		return errors.Join(&Error{Op: "size", File: path, Err: err}, f.Close())
	}
	s := &segment{file: f, name: name, seq: seq, size: size &^ (minBlock - 1)}
	h := SegmentHead{Name: name, Seq: seq, Bytes: size}
	p.readHead(s, &h)
	p.list, p.heads = append(p.list, s), append(p.heads, h)
	return nil
}

// readHead fills in what the header says, and formats the segment if it belongs to this log.
func (p *Peek) readHead(s *segment, h *SegmentHead) {
	b := aligned.Alloc(minBlock, max(minBlock, s.file.Align().Block))
	if h.Err = p.o.Ring.Do(&ring.Op{Kind: ring.Read, File: s.file, Buf: b}); h.Err != nil {
		return
	}
	x, err := decodeSegmentHeader(b)
	if err != nil {
		h.Err = err
		return
	}
	h.Engine, h.Block, h.Length, h.First, h.Epoch = x.id, int(x.block), int64(x.length), x.first,
		x.epoch
	if p.o.EngineID == ([16]byte{}) {
		p.o.EngineID = x.id
	}
	if p.o.Block == 0 {
		p.o.Block = int(x.block)
	}
	switch {
	case x.id != p.o.EngineID:
		h.Err = ErrForeign
	case x.seq != s.seq:
		h.Err = damaged("the name says segment %d, the header %d", s.seq, x.seq)
	case int(x.block) != p.o.Block:
		h.Err = fmt.Errorf("%w: %d, not %d", ErrBlock, x.block, p.o.Block)
	default:
		s.formatted, s.first, s.length, s.epoch = true, x.first, int64(x.length), x.epoch
	}
}

// SetCuts tells where the log holds no records, as super has it.
func (p *Peek) SetCuts(cuts []Cut) { p.cuts = cuts }

// Cut reports whether a record was cut off: it is still there, and void.
func (p *Peek) Cut(r *Record) bool {
	for _, c := range p.cuts {
		if c.voids(r.Start, r.Kind) {
			return true
		}
	}
	return false
}

// Headers returns the sound copies in the ring of headers, oldest first; none when there is no ring.
func (p *Peek) Headers() ([]HeaderCopy, error) {
	path := filepath.Join(p.o.Dir, headersName)
	f, err := p.o.FS.Open(path, fsys.OpenFlags{ReadOnly: true, Direct: true})
	if errors.Is(err, fs.ErrNotExist) || p.o.Block == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{Op: "open", File: path, Err: err}
	}
	size, err := f.Size()
	r := headerRing{file: f, slots: min(size/int64(p.o.Block), headerSlots),
		buf: aligned.Alloc(p.o.Block, max(p.o.Block, f.Align().Block))}
	if err == nil {
		err = r.read(&p.o)
	}
	slices.SortFunc(r.copies, func(a, b HeaderCopy) int { return cmp.Compare(a.Number, b.Number) })
	return r.copies, errors.Join(err, f.Close())
}

// Segments lists the segment files in order of their names.
func (p *Peek) Segments() []SegmentHead { return slices.Clone(p.heads) }

// EngineID and Block of the log, zero when no header tells.
func (p *Peek) EngineID() [16]byte { return p.o.EngineID }

// Block is the log's protocol block, 0 when no header tells.
func (p *Peek) Block() int { return p.o.Block }

// Begin is where the unbroken run of segments that ends with the newest one begins: everything a
// recovery can need lies there. ok is false when no segment has a sound header.
func (p *Peek) Begin() (lsn page.LSN, ok bool) {
	segs := newSegments(p.list)
	segs.setCuts(p.cuts)
	var last *segment
	for i := len(p.list) - 1; i >= 0; i-- {
		s := p.list[i]
		if last != nil && (!s.formatted || s.seq+1 != last.seq ||
			s.end() != last.first && !segs.resumes(last.first)) {
			break
		}
		if s.formatted {
			last = s
		}
	}
	if last == nil {
		return 0, false
	}
	return last.first, true
}

// Walk calls visit for each whole group from the one that holds from on, until it returns false or
// no group follows: end is the position where one is missing, reason says why. Damage in the same
// segment before from is passed over. A group is valid
// until visit returns. err is a failed read, or ErrTruncated when no segment holds from.
func (p *Peek) Walk(ctx context.Context, from page.LSN, visit func(*GroupHead) bool) (end page.LSN,
	reason, err error) {
	d := &Dir{segs: newSegments(p.list)}
	d.segs.setCuts(p.cuts)
	seg := d.startSegment(from)
	if seg == nil {
		return from, nil, &Error{Op: "walk", File: p.o.Dir, LSN: from, Err: ErrTruncated}
	}
	w := newWalker(&p.o, readAhead)
	w.epoch = seg.epoch
	at := place{seg, int64(p.o.Block)}
	for {
		if err := ctx.Err(); err != nil {
			return at.lsn(), nil, err
		}
		if c := d.segs.erased(at.lsn()); c != nil {
			s := d.beginningAt(c.To)
			if s == nil {
				return at.lsn(), ErrCut, nil
			}
			at, w.linked, w.epoch = place{s, int64(p.o.Block)}, false, s.epoch
		}
		g, _, err := w.step(at, d.after)
		if err != nil {
			if !isDamage(err) {
				return at.lsn(), nil, err
			}
			if q, ok := w.nextWhole(ctx, at); ok && at.lsn() < from {
				at, w.linked = q, false // damage before what was asked for
				continue
			}
			return at.lsn(), err, nil
		}
		at = g.next()
		if at.lsn() <= from {
			continue
		}
		h := GroupHead{
			Segment: g.at.seg.name, Offset: g.at.off, LSN: g.lsn, Bytes: int64(g.length),
			Epoch: g.epoch,
			Last:  g.lsn + groupHeaderSize + page.LSN(len(g.payload)), Records: int(g.records),
			Durable: g.durable, Mark: g.mark, group: g,
		}
		if !visit(&h) {
			return at.lsn(), nil, nil
		}
	}
}

// Close closes the files.
func (p *Peek) Close() error { return closeAll(p.list) }

// Suffix is what the names of segment files end with.
const Suffix = segmentSuffix

// HeadersName is the name of the ring of group headers, in the log's directory.
const HeadersName = headersName

// SegmentName is the name of a segment's file.
func SegmentName(seq uint64) string { return segmentName(seq) }
