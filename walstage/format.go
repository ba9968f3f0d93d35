package walstage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/untorn/untorn/page"
)

// Sizes of the structures in doc.go's grid.
const (
	segmentHeaderSize = 72
	groupHeaderSize   = 112
	frameSize         = 8

	formatVersion = 1
	segmentMagic  = 0x53576e75 // "unWS"
	groupMagic    = 0x47576e75 // "unWG"
)

var le = binary.LittleEndian

// errDamaged is what every decoder's error wraps: the bytes are not what they should be. A failed
// read is never errDamaged (I10).
var errDamaged = errors.New("not valid")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errDamaged}, args...)...)
}

// Watermark is the doublewrite sequence through which regions are reclaimed (I7).
type Watermark struct {
	Epoch, Num uint64
}

// Less orders watermarks by epoch, then number.
func (w Watermark) Less(o Watermark) bool {
	return w.Epoch < o.Epoch || w.Epoch == o.Epoch && w.Num < o.Num
}

type segmentHeader struct {
	id     [16]byte
	block  uint32
	length uint64
	seq    uint64
	epoch  uint64
	first  page.LSN
}

// encode fills one protocol block.
func (h *segmentHeader) encode(b []byte) {
	clear(b)
	le.PutUint32(b[0:], segmentMagic)
	le.PutUint16(b[4:], formatVersion)
	le.PutUint16(b[6:], segmentHeaderSize)
	copy(b[8:24], h.id[:])
	le.PutUint32(b[24:], h.block)
	le.PutUint64(b[32:], h.length)
	le.PutUint64(b[40:], h.seq)
	le.PutUint64(b[48:], h.epoch)
	le.PutUint64(b[56:], uint64(h.first))
	le.PutUint32(b[64:], crc32.Checksum(b[:64], page.Castagnoli))
}

// decodeSegmentHeader checks one protocol block.
func decodeSegmentHeader(b []byte) (segmentHeader, error) {
	var h segmentHeader
	if len(b) < segmentHeaderSize {
		return h, damaged("%d bytes are no segment header", len(b))
	}
	if le.Uint32(b) != segmentMagic {
		return h, damaged("no segment magic")
	}
	if got, sum := le.Uint32(b[64:]), crc32.Checksum(b[:64], page.Castagnoli); got != sum {
		return h, damaged("segment header checksum %08x, computed %08x", got, sum)
	}
	if v := le.Uint16(b[4:]); v != formatVersion {
		return h, fmt.Errorf("%w: segment has version %d, this is %d", ErrVersion, v, formatVersion)
	}
	if n := le.Uint16(b[6:]); n != segmentHeaderSize || !allZero(b[28:32]) ||
		!allZero(b[68:]) {
		return h, damaged("segment header has bytes where it should have none")
	}
	copy(h.id[:], b[8:24])
	h.block = le.Uint32(b[24:])
	h.length = le.Uint64(b[32:])
	h.seq = le.Uint64(b[40:])
	h.epoch = le.Uint64(b[48:])
	h.first = page.LSN(le.Uint64(b[56:]))
	bl := uint64(h.block)
	if bl < minBlock || bl&(bl-1) != 0 || h.length < 2*bl || h.length%bl != 0 ||
		h.length > math.MaxInt64/2 || h.seq == 0 || uint64(h.first)%bl != 0 ||
		uint64(h.first) > math.MaxInt64/2 {
		return h, damaged("segment header makes no sense: block %d, length %d, sequence %d, LSN %d",
			bl, h.length, h.seq, h.first)
	}
	return h, nil
}

type groupHeader struct {
	id         [16]byte
	epoch      uint64
	seq        uint64
	off        uint64
	lsn        page.LSN
	payload    uint32
	length     uint32
	records    uint32
	payloadCRC uint32
	prev       uint32
	durable    page.LSN
	mark       Watermark
	crc        uint32 // of the header itself: what the next group's prev holds
}

// encode fills the first groupHeaderSize bytes of b and sets h.crc.
func (h *groupHeader) encode(b []byte) {
	b = b[:groupHeaderSize]
	le.PutUint32(b[0:], groupMagic)
	le.PutUint16(b[4:], formatVersion)
	le.PutUint16(b[6:], groupHeaderSize)
	copy(b[8:24], h.id[:])
	le.PutUint64(b[24:], h.epoch)
	le.PutUint64(b[32:], h.seq)
	le.PutUint64(b[40:], h.off)
	le.PutUint64(b[48:], uint64(h.lsn))
	le.PutUint32(b[56:], h.payload)
	le.PutUint32(b[60:], h.length)
	le.PutUint32(b[64:], h.records)
	le.PutUint32(b[68:], h.payloadCRC)
	le.PutUint32(b[72:], h.prev)
	le.PutUint32(b[76:], 0)
	le.PutUint64(b[80:], uint64(h.durable))
	le.PutUint64(b[88:], h.mark.Epoch)
	le.PutUint64(b[96:], h.mark.Num)
	le.PutUint32(b[104:], 0)
	h.crc = crc32.Checksum(b[:108], page.Castagnoli)
	le.PutUint32(b[108:], h.crc)
}

// errNoGroup is what most blocks behind the end of a log are: a search meets it all the time.
var errNoGroup = damaged("no group here")

// decodeGroupHeader checks the header at the start of b by itself. Whether it belongs where it was
// found is the walker's question.
func decodeGroupHeader(b []byte, block int) (groupHeader, error) {
	var h groupHeader
	if len(b) < groupHeaderSize {
		return h, damaged("%d bytes are no group header", len(b))
	}
	if le.Uint32(b) != groupMagic {
		return h, errNoGroup
	}
	h.crc = le.Uint32(b[108:])
	if sum := crc32.Checksum(b[:108], page.Castagnoli); h.crc != sum {
		return h, damaged("group header checksum %08x, computed %08x", h.crc, sum)
	}
	if v := le.Uint16(b[4:]); v != formatVersion {
		return h, fmt.Errorf("%w: group has version %d, this is %d", ErrVersion, v, formatVersion)
	}
	copy(h.id[:], b[8:24])
	h.epoch = le.Uint64(b[24:])
	h.seq = le.Uint64(b[32:])
	h.off = le.Uint64(b[40:])
	h.lsn = page.LSN(le.Uint64(b[48:]))
	h.payload = le.Uint32(b[56:])
	h.length = le.Uint32(b[60:])
	h.records = le.Uint32(b[64:])
	h.payloadCRC = le.Uint32(b[68:])
	h.prev = le.Uint32(b[72:])
	h.durable = page.LSN(le.Uint64(b[80:]))
	h.mark = Watermark{le.Uint64(b[88:]), le.Uint64(b[96:])}
	whole := uint64(groupHeaderSize) + uint64(h.payload)
	if le.Uint16(b[6:]) != groupHeaderSize || le.Uint32(b[76:]) != 0 || le.Uint32(b[104:]) != 0 ||
		h.records == 0 || uint64(h.payload) < uint64(h.records)*(frameSize+1) ||
		uint64(h.length) != roundUp(whole, uint64(block)) || h.durable > h.lsn {
		return h, damaged("group header makes no sense: %d records in %d bytes of %d",
			h.records, h.payload, h.length)
	}
	return h, nil
}

// checkPayload checks everything of a group after its header: body runs from the payload's first
// byte to the group's end.
func checkPayload(h *groupHeader, body []byte) error {
	payload := body[:h.payload]
	if sum := crc32.Checksum(payload, page.Castagnoli); sum != h.payloadCRC {
		return damaged("payload checksum %08x, computed %08x", h.payloadCRC, sum)
	}
	if !allZero(body[h.payload:]) {
		return damaged("padding is not zero")
	}
	n := uint32(0)
	for rest := payload; len(rest) > 0; n++ {
		_, data, err := decodeFrame(rest)
		if err != nil {
			return err
		}
		rest = rest[frameSize+len(data):]
	}
	if n != h.records {
		return damaged("%d records, the header says %d", n, h.records)
	}
	return nil
}

func putFrame(b []byte, kind uint8, n int) {
	le.PutUint32(b, uint32(n))
	le.PutUint32(b[4:], uint32(kind))
}

// decodeFrame returns the record at the start of b; data aliases b.
func decodeFrame(b []byte) (kind uint8, data []byte, err error) {
	if len(b) < frameSize {
		return 0, nil, damaged("%d bytes are no record", len(b))
	}
	n := uint64(le.Uint32(b))
	if n == 0 || n > uint64(len(b)-frameSize) {
		return 0, nil, damaged("a record of %d bytes in %d", n, len(b)-frameSize)
	}
	if !allZero(b[5:frameSize]) {
		return 0, nil, damaged("record frame has bytes where it should have none")
	}
	return b[4], b[frameSize : frameSize+n], nil
}

func roundUp[T int | int64 | uint64 | page.LSN](n, to T) T { return (n + to - 1) &^ (to - 1) }

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if le.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
