package dwbstage

import (
	"fmt"

	"github.com/untorn/untorn/reclaim"
)

// Trace is what a block says that is a whole batch header, whatever file it may belong to.
type Trace struct {
	Engine EngineID
	Region int
	Seq    reclaim.Seq
	W      reclaim.Seq
	Shape  Geometry // not validated
}

// Peek reads a batch header, a block of the file, without knowing the geometry: for finding out the geometry of a file
// whose own header is gone. Recovery never looks at a block this way.
func Peek(block []byte) (Trace, bool) {
	if len(block) < fixedBytes || le.Uint32(block) != headerMagic || le.Uint16(block[4:]) != Version ||
		!checkCRC(block) {
		return Trace{}, false
	}
	t := Trace{
		Region: int(le.Uint32(block[32:])),
		Seq:    reclaim.Seq{Epoch: le.Uint64(block[40:]), Num: le.Uint64(block[48:])},
		W:      reclaim.Seq{Epoch: le.Uint64(block[64:]), Num: le.Uint64(block[72:])},
	}
	copy(t.Engine[:], block[16:32])
	t.Shape = Geometry{
		Block: len(block), Batch: int(le.Uint32(block[80:])), Regions: int(le.Uint32(block[84:])),
	}
	return t, true
}

// PeekFileHeader reads the file header from the first bytes of a file, whoever it belongs to. b
// holds at least one protocol block.
func PeekFileHeader(b []byte) (EngineID, Geometry, error) {
	if len(b) < fixedBytes || le.Uint32(b) != fileMagic {
		return EngineID{}, Geometry{}, fmt.Errorf("%w: no file header", ErrHeader)
	}
	n := int(le.Uint32(b[8:]))
	if n < fixedBytes || n > len(b) {
		return EngineID{}, Geometry{}, fmt.Errorf("%w: file header of %d bytes", ErrHeader, n)
	}
	id := EngineID(b[16:32])
	g, err := DecodeFileHeader(b[:n], id)
	return id, g, err
}
