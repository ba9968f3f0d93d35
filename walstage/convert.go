package walstage

import (
	"io"
)

// Convert writes the segment that CheckSegment described as c to w, for another engine: the id in its
// header and in every group is changed, and with it the chain. prev is what the first group has to
// follow; nil keeps what it has. It returns the chain after the last group. Positions and contents
// stay; what lies behind the last group, of an older life of the file, is left out as zeros.
func Convert(r io.ReaderAt, c *Checked, id [16]byte, prev *uint32, w io.Writer) (chain uint32, err error) {
	chain = c.In
	if prev != nil {
		chain = *prev
	}
	h := segmentHeader{id: id, block: uint32(c.Block), length: uint64(c.Length), seq: c.Seq, epoch: c.Epoch, first: c.First}
	head := make([]byte, c.Block)
	h.encode(head)
	if _, err := w.Write(head); err != nil {
		return 0, err
	}
	off := int64(c.Block)
	var failed error
	var buf []byte
	_, err = CheckSegment(r, c.Used, func(g GroupExtent) bool {
		buf = grow(buf, int(g.Bytes))
		if _, failed = r.ReadAt(buf, g.Off); failed != nil {
			return false
		}
		var x groupHeader
		if x, failed = decodeGroupHeader(buf, c.Block); failed != nil {
			return false
		}
		x.id, x.prev = id, chain
		x.encode(buf)
		chain = x.crc
		_, failed = w.Write(buf)
		off += g.Bytes
		return failed == nil
	})
	if failed != nil {
		return 0, failed
	}
	if err != nil {
		return 0, err
	}
	zeros := make([]byte, 256<<10)
	for off < c.Length && failed == nil {
		n := min(int64(len(zeros)), c.Length-off)
		_, failed = w.Write(zeros[:n])
		off += n
	}
	return chain, failed
}
