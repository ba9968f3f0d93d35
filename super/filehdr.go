package super

import (
	"errors"
	"fmt"

	"github.com/untorn/untorn/page"
)

const (
	fileMagic     = 0x46506e75 // "unPF"
	fileHeadBytes = 128
)

// FileHeader stands twice at the start of every data file, a protocol block each, written
// alternately and never through the doublewrite buffer: one of the two is always whole.
type FileHeader struct {
	Engine EngineID
	Seq    uint64 // of this header; the higher valid one counts
	Stamp  Stamp
	File   File // ID, Name, PageSize, Start, Incarnation, Format, ForeignLSN, SmallPages
}

// ErrFileHeader is a data file whose two headers are both damaged.
var ErrFileHeader = errors.New("data file header is not valid")

// EncodeFileHeader fills block.
func EncodeFileHeader(block []byte, h *FileHeader) error {
	w := writer{make([]byte, 0, len(block))}
	w.raw(make([]byte, headBytes))
	le.PutUint32(w.b, fileMagic)
	le.PutUint16(w.b[4:], Version)
	le.PutUint64(w.b[16:], h.Seq)
	w.raw(h.Engine[:])
	w.u64(h.Stamp.Epoch)
	w.u64(h.Stamp.Checkpoint)
	w.file(&h.File)
	if len(w.b) > len(block) {
		return fmt.Errorf("%w: header of %d bytes in a block of %d", ErrFull, len(w.b), len(block))
	}
	le.PutUint32(w.b[8:], uint32(len(w.b)))
	copy(block, w.b)
	clear(block[len(w.b):])
	le.PutUint32(block[crcAt:], crcWithout(block))
	return nil
}

// DecodeFileHeader reads one header block.
func DecodeFileHeader(block []byte) (*FileHeader, error) {
	if len(block) < fileHeadBytes || le.Uint32(block) != fileMagic {
		return nil, fmt.Errorf("%w: no header here", ErrFileHeader)
	}
	if v := le.Uint16(block[4:]); v != Version {
		return nil, fmt.Errorf("%w %d of a data file, this program knows %d", ErrVersion, v, Version)
	}
	if sum := crcWithout(block); sum != le.Uint32(block[crcAt:]) {
		return nil, fmt.Errorf("%w: checksum %08x, computed %08x", ErrFileHeader, le.Uint32(block[crcAt:]), sum)
	}
	n := int(le.Uint32(block[8:]))
	if n < headBytes || n > len(block) {
		return nil, fmt.Errorf("%w: length %d", ErrFileHeader, n)
	}
	r := reader{b: block[headBytes:n]}
	h := &FileHeader{Seq: le.Uint64(block[16:])}
	copy(h.Engine[:], r.raw(16))
	h.Stamp = Stamp{r.u64(), r.u64()}
	h.File = r.file()
	if r.bad || len(r.b) != 0 || h.Seq == 0 {
		return nil, fmt.Errorf("%w: fields do not add up", ErrFileHeader)
	}
	return h, nil
}

// Newer picks the header that counts of a file's two blocks; either may be nil.
func Newer(a, b *FileHeader) *FileHeader {
	switch {
	case a == nil:
		return b
	case b == nil || a.Seq >= b.Seq:
		return a
	}
	return b
}

// DataStart is where page 0 begins: after both header blocks, at a multiple of the largest page,
// so that every page lies at a multiple of its own size (atomic writes ask for that).
func DataStart(block int) int64 {
	n := int64(2 * block)
	return (n + page.MaxSize - 1) / page.MaxSize * page.MaxSize
}
