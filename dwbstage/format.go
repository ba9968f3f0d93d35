package dwbstage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
)

// Version is the format version of headers and of the file header.
const Version = 2

const (
	headerMagic = 0x57446e75 // "unDW"
	fileMagic   = 0x46446e75 // "unDF"
	fixedBytes  = 128        // of a batch header, before its slots
	slotBytes   = 32
	crcOffset   = 12
	frontBlocks = 2 // a region begins with its header, twice
)

// EngineID is the random identity of an engine directory.
type EngineID [16]byte

// FlagForeignLSN marks a slot whose LSN belongs to another log: no evidence of ours (I10).
const FlagForeignLSN = 1

// Slot is what a header says of one page of its batch.
type Slot struct {
	Page  page.ID
	LSN   page.LSN
	CRC   uint32 // page.ImageCRC
	Len   uint32
	Flags uint16
}

// Header is a batch header. A region holds it more than once, byte for byte the same: twice at its
// beginning, and, where the batch fills the region, once more at its end. No damage to one block
// hides a batch, and every copy is found without any other.
type Header struct {
	Engine EngineID
	Region int
	Seq    reclaim.Seq
	F      uint64      // flushed-through number, of Seq.Epoch
	W      reclaim.Seq // retired-through watermark
	Slots  []Slot
}

// Geometry is the shape of the doublewrite file: a file header of one block, then Regions regions
// of two blocks, Batch bytes and one more block.
type Geometry struct {
	Block   int // protocol block
	Batch   int // bytes of page images a region holds
	Regions int
}

// RegionBytes is the length of a region.
func (g Geometry) RegionBytes() int64 { return int64((frontBlocks+1)*g.Block + g.Batch) }

// SlotsOffset is where the first slot of a region begins within it.
func (g Geometry) SlotsOffset() int { return frontBlocks * g.Block }

// HeaderOffsets are the places within a region where copies of its header stand.
func (g Geometry) HeaderOffsets() [frontBlocks + 1]int {
	return [...]int{0, g.Block, frontBlocks*g.Block + g.Batch}
}

// RegionOffset is where region i begins.
func (g Geometry) RegionOffset(i int) int64 { return int64(g.Block) + int64(i)*g.RegionBytes() }

// FileBytes is the length of the whole file.
func (g Geometry) FileBytes() int64 { return g.RegionOffset(g.Regions) }

// MaxSlots is how many pages one header can name.
func (g Geometry) MaxSlots() int {
	return min((g.Block-fixedBytes)/slotBytes, g.Batch/page.MinSize)
}

// Validate refuses shapes that cannot be.
func (g Geometry) Validate() error {
	switch {
	case g.Block < 4096 || g.Block > 1<<20 || g.Block&(g.Block-1) != 0:
		return fmt.Errorf("doublewrite block of %d bytes: need a power of two from 4 KiB to 1 MiB", g.Block)
	case g.Batch < page.MaxSize || g.Batch > 64<<20 || g.Batch%g.Block != 0:
		return fmt.Errorf("doublewrite batch of %d bytes: need a multiple of the block (%d) from 64 KiB to 64 MiB", g.Batch, g.Block)
	case g.Regions < 1 || g.Regions > reclaim.MaxRegions:
		return fmt.Errorf("%d doublewrite regions: need 1 to %d", g.Regions, reclaim.MaxRegions)
	}
	return nil
}

// ErrHeader is what every fault of a header wraps.
var ErrHeader = errors.New("doublewrite header is not valid")

// Encode writes h into block, all of it: what follows the slots is zero and covered by the CRC. The
// header tells the geometry too, for a file whose own header is gone.
func (h *Header) Encode(block []byte, g Geometry) {
	n := fixedBytes + slotBytes*len(h.Slots)
	if n > len(block) {
		panic("dwbstage: more slots than a header holds")
	}
	clear(block[n:])
	putFixed(block, g, h.Engine, h.Region, len(h.Slots), h.Seq, h.F, h.W)
	for i := range h.Slots {
		putSlot(block, i, &h.Slots[i])
	}
	sealHeader(block)
}

var le = binary.LittleEndian

func putFixed(b []byte, g Geometry, id EngineID, region, slots int, seq reclaim.Seq, f uint64,
	w reclaim.Seq) {
	clear(b[:fixedBytes])
	le.PutUint32(b, headerMagic)
	le.PutUint16(b[4:], Version)
	le.PutUint32(b[8:], uint32(fixedBytes+slotBytes*slots))
	copy(b[16:32], id[:])
	le.PutUint32(b[32:], uint32(region))
	le.PutUint32(b[36:], uint32(slots))
	le.PutUint64(b[40:], seq.Epoch)
	le.PutUint64(b[48:], seq.Num)
	le.PutUint64(b[56:], f)
	le.PutUint64(b[64:], w.Epoch)
	le.PutUint64(b[72:], w.Num)
	le.PutUint32(b[80:], uint32(g.Batch))
	le.PutUint32(b[84:], uint32(g.Regions))
}

func putSlot(b []byte, i int, s *Slot) {
	p := b[fixedBytes+slotBytes*i:]
	le.PutUint32(p, uint32(s.Page.File))
	le.PutUint16(p[4:], s.Flags)
	le.PutUint16(p[6:], 0)
	le.PutUint64(p[8:], uint64(s.Page.No))
	le.PutUint64(p[16:], uint64(s.LSN))
	le.PutUint32(p[24:], s.CRC)
	le.PutUint32(p[28:], s.Len)
}

func sealHeader(b []byte) {
	le.PutUint32(b[crcOffset:], 0)
	le.PutUint32(b[crcOffset:], crc32.Update(0, page.Castagnoli, b))
}

// checkCRC verifies the CRC of a block without changing the block.
func checkCRC(b []byte) bool {
	sum := crc32.Update(0, page.Castagnoli, b[:crcOffset])
	sum = crc32.Update(sum, page.Castagnoli, []byte{0, 0, 0, 0})
	sum = crc32.Update(sum, page.Castagnoli, b[crcOffset+4:])
	return sum == le.Uint32(b[crcOffset:])
}

// Decode reads a header of region i from its block. Every field is checked against the geometry:
// what Decode returns is safe to use as offsets and lengths.
func Decode(block []byte, g Geometry, id EngineID, i int) (*Header, error) {
	bad := func(what string, a ...any) (*Header, error) {
		return nil, fmt.Errorf("%w: region %d: %s", ErrHeader, i, fmt.Sprintf(what, a...))
	}
	if len(block) != g.Block || len(block) < fixedBytes {
		return bad("%d bytes, want %d", len(block), g.Block)
	}
	if le.Uint32(block) != headerMagic {
		return bad("no header")
	}
	if v := le.Uint16(block[4:]); v != Version {
		return bad("format version %d, this program knows %d", v, Version)
	}
	if !checkCRC(block) {
		return bad("checksum does not match")
	}
	h := &Header{
		Region: int(le.Uint32(block[32:])),
		Seq:    reclaim.Seq{Epoch: le.Uint64(block[40:]), Num: le.Uint64(block[48:])},
		F:      le.Uint64(block[56:]),
		W:      reclaim.Seq{Epoch: le.Uint64(block[64:]), Num: le.Uint64(block[72:])},
	}
	copy(h.Engine[:], block[16:32])
	n := int(le.Uint32(block[36:]))
	switch {
	case h.Engine != id:
		return bad("of another engine")
	case int64(le.Uint32(block[80:])) != int64(g.Batch) || int64(le.Uint32(block[84:])) != int64(g.Regions):
		return bad("of another geometry: %d regions of %d bytes", le.Uint32(block[84:]), le.Uint32(block[80:]))
	case h.Region != i:
		return bad("it says it is region %d", h.Region)
	case n < 1 || n > g.MaxSlots():
		return bad("%d slots, 1 to %d fit", n, g.MaxSlots())
	case int(le.Uint32(block[8:])) != fixedBytes+slotBytes*n:
		return bad("length %d for %d slots", le.Uint32(block[8:]), n)
	case h.Seq.Num < 1 || int((h.Seq.Num-1)%uint64(g.Regions)) != i:
		return bad("sequence %s does not belong here", h.Seq)
	case h.F >= h.Seq.Num || h.Seq.LE(h.W):
		return bad("sequence %s with F %d and watermark %s", h.Seq, h.F, h.W)
	}
	h.Slots = make([]Slot, n)
	total := 0
	for k := range h.Slots {
		p := block[fixedBytes+slotBytes*k:]
		s := Slot{
			Page:  page.ID{File: page.FileID(le.Uint32(p)), No: page.No(le.Uint64(p[8:]))},
			Flags: le.Uint16(p[4:]),
			LSN:   page.LSN(le.Uint64(p[16:])),
			CRC:   le.Uint32(p[24:]),
			Len:   le.Uint32(p[28:]),
		}
		if !page.ValidSize(int(s.Len)) {
			return bad("slot %d has %d bytes", k, s.Len)
		}
		if total += int(s.Len); total > g.Batch {
			return bad("slots of %d bytes and more do not fit", total)
		}
		h.Slots[k] = s
	}
	return h, nil
}

// SlotOffset is where slot k of h begins within its region.
func (h *Header) SlotOffset(g Geometry, k int) int {
	off := g.SlotsOffset()
	for i := range h.Slots[:k] {
		off += int(h.Slots[i].Len)
	}
	return off
}

// EncodeFileHeader fills block with the file's header.
func EncodeFileHeader(block []byte, g Geometry, id EngineID) {
	clear(block)
	le.PutUint32(block, fileMagic)
	le.PutUint16(block[4:], Version)
	le.PutUint32(block[8:], uint32(len(block)))
	copy(block[16:32], id[:])
	le.PutUint32(block[32:], uint32(g.Block))
	le.PutUint32(block[36:], uint32(g.Batch))
	le.PutUint32(block[40:], uint32(g.Regions))
	sealHeader(block)
}

// ErrForeign is a doublewrite file that belongs to another engine directory.
var ErrForeign = errors.New("doublewrite file belongs to another engine")

// DecodeFileHeader checks the file header. ErrHeader: unreadable or damaged; super's copy of the
// geometry stands in. ErrForeign: whole, and not ours.
func DecodeFileHeader(block []byte, id EngineID) (Geometry, error) {
	if len(block) < fixedBytes || le.Uint32(block) != fileMagic || !checkCRC(block) {
		return Geometry{}, fmt.Errorf("%w: file header is damaged", ErrHeader)
	}
	if v := le.Uint16(block[4:]); v != Version {
		return Geometry{}, fmt.Errorf("%w: file format version %d, this program knows %d", ErrHeader, v, Version)
	}
	if EngineID(block[16:32]) != id {
		return Geometry{}, ErrForeign
	}
	g := Geometry{
		Block: int(le.Uint32(block[32:])), Batch: int(le.Uint32(block[36:])), Regions: int(le.Uint32(block[40:])),
	}
	return g, g.Validate()
}
