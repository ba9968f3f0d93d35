package page

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// NativeHeader is the number of bytes at the start of a native page that belong to the engine;
// the caller's bytes follow.
//
//	offset  size  field
//	     0     4  magic "unPG"
//	     4     4  checksum: CRC-32C of bytes 8..end, mixed with the seed
//	     8     8  LSN
//	    16     8  page number
//	    24     4  page length in bytes
//	    28     4  zero
//
// All fields are little endian. A page of zeros is damage, not novelty: Grow formats its pages.
const NativeHeader = 32

const nativeMagic = 0x47506e75 // "unPG"

// Native is the engine's own page format.
type Native struct{}

var le = binary.LittleEndian

// Name implements Format.
func (Native) Name() string { return "native" }

// Detects implements Format.
func (Native) Detects() bool { return true }

// Header implements Format.
func (Native) Header() int { return NativeHeader }

// LSN implements Format.
func (Native) LSN(buf []byte) LSN { return LSN(le.Uint64(buf[8:])) }

// mix spreads the seed over 32 bits (the finalizer of splitmix64, by Sebastiano Vigna).
func (s Seed) mix() uint32 {
	x := s.Incarnation ^ uint64(s.No)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return uint32(x ^ x>>31)
}

// Check implements Format.
func (Native) Check(buf []byte, s Seed) (LSN, error) {
	if len(buf) < MinSize {
		return 0, fmt.Errorf("%w: %d bytes are no page", ErrDamaged, len(buf))
	}
	if le.Uint32(buf) != nativeMagic {
		return 0, fmt.Errorf("%w: no native page header", ErrDamaged)
	}
	sum := crc32.Update(0, Castagnoli, buf[imagePrefix:]) ^ s.mix()
	if got := le.Uint32(buf[4:]); got != sum {
		return 0, fmt.Errorf("%w: checksum %08x, computed %08x", ErrDamaged, got, sum)
	}
	if no := No(le.Uint64(buf[16:])); no != s.No {
		return 0, fmt.Errorf("%w: it says it is page %d", ErrDamaged, no)
	}
	if n := le.Uint32(buf[24:]); int(n) != len(buf) {
		return 0, fmt.Errorf("%w: it says it has %d bytes", ErrDamaged, n)
	}
	return LSN(le.Uint64(buf[8:])), nil
}

// Seal implements Format.
func (Native) Seal(buf []byte, s Seed, lsn LSN) uint32 {
	le.PutUint32(buf, nativeMagic)
	le.PutUint64(buf[8:], uint64(lsn))
	le.PutUint64(buf[16:], uint64(s.No))
	le.PutUint32(buf[24:], uint32(len(buf)))
	le.PutUint32(buf[28:], 0)
	tail := crc32.Update(0, Castagnoli, buf[imagePrefix:])
	le.PutUint32(buf[4:], tail^s.mix())
	return finishImage(tail, buf)
}

// Init implements Format.
func (n Native) Init(buf []byte, s Seed) {
	clear(buf)
	n.Seal(buf, s, 0)
}
