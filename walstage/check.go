package walstage

import (
	"errors"
	"fmt"
	"io"

	"github.com/untorn/untorn/page"
)

// Checked is what a segment file holds, read from outside its log: of an archive, or of a copy.
type Checked struct {
	Engine  [16]byte
	Block   int
	Seq     uint64
	First   page.LSN // of the file's first byte
	Length  int64    // bytes the segment has, by its header
	Epoch   uint64   // at creation
	Used    int64    // bytes through its last whole group
	Groups  int
	Records int64
	Last    page.LSN // the end of its last record, 0 = it has none
	Highest uint64   // epoch of its last group
	// In is what the segment before has to end with, Out what the next one has to begin with: the
	// chain. Both are meaningless without groups.
	In, Out uint32
	// Reason says why no group follows.
	Reason error
}

// End is where the next segment begins.
func (c *Checked) End() page.LSN { return c.First + page.LSN(c.Length) }

// Follows says why c cannot be the segment after p, or nil.
func (c *Checked) Follows(p *Checked) error {
	switch {
	case c.Engine != p.Engine:
		return fmt.Errorf("%w: it and segment %d are of two engines", ErrForeign, p.Seq)
	case c.Seq != p.Seq+1:
		return damaged("segment %d follows %d", c.Seq, p.Seq)
	case c.First != p.End():
		return damaged("it begins at LSN %d, the one before ends at %d", c.First, p.End())
	case c.Groups > 0 && p.Groups > 0 && c.In != p.Out:
		return damaged("its first group follows one with chain %08x, segment %d ends with %08x (%v)",
			c.In, p.Seq, p.Out, p.Reason)
	}
	return nil
}

// CheckSegment reads a segment of size bytes and checks its header and every group: engine id, place,
// checksums and chain. Where the groups end early only the next segment can tell (Follows). visit,
// if not nil, is called with each group's extent until it returns false. An error is a damaged
// header or a failed read.
func CheckSegment(r io.ReaderAt, size int64, visit func(GroupExtent) bool) (*Checked, error) {
	head := make([]byte, segmentHeaderSize)
	if size < minBlock {
		return nil, damaged("%d bytes are no segment", size)
	}
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, err
	}
	h, err := decodeSegmentHeader(head)
	if err != nil {
		return nil, err
	}
	c := &Checked{Engine: h.id, Block: int(h.block), Seq: h.seq, First: h.first, Length: int64(h.length),
		Epoch: h.epoch, Highest: h.epoch, Used: int64(h.block), Reason: errShort}
	var buf []byte
	for size = min(size, c.Length); c.Used+int64(c.Block) <= size; {
		buf = grow(buf, c.Block)
		if _, err := r.ReadAt(buf, c.Used); err != nil {
			return c, err
		}
		g, err := c.accept(buf)
		if err == nil && c.Used+int64(g.length) > size {
			err = errShort
		}
		if err == nil {
			buf = grow(buf, int(g.length))
			if _, err := r.ReadAt(buf[c.Block:], c.Used+int64(c.Block)); err != nil {
				return c, err
			}
			err = checkPayload(&g, buf[groupHeaderSize:])
		}
		if err != nil {
			if !isDamage(err) {
				return c, err
			}
			c.Reason = err
			return c, nil
		}
		if c.Groups == 0 {
			c.In = g.prev
		}
		x := GroupExtent{Off: c.Used, Bytes: int64(g.length), LSN: g.lsn, Last: g.lsn + groupHeaderSize + page.LSN(g.payload),
			Records: int(g.records), Epoch: g.epoch, block: c.Block}
		c.Out, c.Highest, c.Last = g.crc, g.epoch, x.Last
		c.Groups++
		c.Records += int64(g.records)
		c.Used += x.Bytes
		if visit != nil && !visit(x) {
			c.Reason = errors.New("as far as was asked for")
			return c, nil
		}
	}
	return c, nil
}

// GroupExtent is where a whole group lies.
type GroupExtent struct {
	Off, Bytes int64
	LSN, Last  page.LSN // of its first byte, and the end of its last record
	Records    int
	Epoch      uint64

	block int
}

// accept checks a group header at its place.
func (c *Checked) accept(b []byte) (groupHeader, error) {
	g, err := decodeGroupHeader(b, c.Block)
	switch {
	case err != nil:
		return g, err
	case g.id != c.Engine || g.seq != c.Seq || g.off != uint64(c.Used) || g.lsn != c.First+page.LSN(c.Used):
		return g, damaged("a group of segment %d, offset %d, LSN %d", g.seq, g.off, g.lsn)
	case c.Groups > 0 && g.prev != c.Out:
		return g, damaged("the group does not follow the one before: chain %08x, not %08x", g.prev, c.Out)
	case g.epoch < c.Highest:
		return g, damaged("epoch %d after epoch %d", g.epoch, c.Highest)
	}
	return g, nil
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		b = append(make([]byte, 0, n), b...)
	}
	return b[:n]
}

// ReadGroup calls visit for each record of a group that CheckSegment found, until it fails. Data is
// valid until visit returns.
func ReadGroup(r io.ReaderAt, g GroupExtent, visit func(Record) error) error {
	b := make([]byte, g.Bytes)
	if _, err := r.ReadAt(b, g.Off); err != nil {
		return err
	}
	h, err := decodeGroupHeader(b, g.block)
	if err != nil {
		return err
	}
	if err := checkPayload(&h, b[groupHeaderSize:]); err != nil {
		return err
	}
	var failed error
	x := foundGroup{groupHeader: h, payload: b[groupHeaderSize:][:h.payload]}
	_, err = visitGroup(&x, 0, func(r Record) bool {
		failed = visit(r)
		return failed == nil
	})
	return errors.Join(failed, err)
}
