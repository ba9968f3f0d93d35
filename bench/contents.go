package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/untorn/untorn/page"
)

// contents makes and checks what is in pages. The layout of a 512-byte sector:
//
//	offset  size  field
//	     0    32  filler (in the first sector: the engine's page header)
//	    32     8  page number, and the sector's number in the upper 16 bits
//	    40     8  version of the page: 1, 2, 3, ...
//	    48   464  filler
//
// The filler is the same in all pages, so filling a page that held one before is a stamp a sector:
// a client's own work stays small beside what is measured, and still no two images are alike, no
// sector of one can pass for another's, and every byte is checked.
type contents struct {
	filler [page.MaxSize]byte
}

const (
	sector   = 512
	stampAt  = page.NativeHeader
	stampEnd = stampAt + 16
)

// newContents makes filler of which zeros percent compress away.
func newContents(seed uint64, zeros int) *contents {
	c := &contents{}
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = r.Read(c.filler[:])
	// Behind the marker, or a page that was never written would look like ours.
	for at := 0; at < len(c.filler); at += sector {
		clear(c.filler[at+sector-(sector-stampEnd-16)*zeros/100 : at+sector])
	}
	return c
}

// fill makes buf version of page no, except for the header.
func (c *contents) fill(buf []byte, no page.No, version uint64) {
	last := len(buf) - sector
	if !c.marked(buf, 0) || !c.marked(buf, last) {
		copy(buf[stampAt:], c.filler[stampAt:len(buf)])
	}
	for at := 0; at < len(buf); at += sector {
		binary.LittleEndian.PutUint64(buf[at+stampAt:], stamp(no, at))
		binary.LittleEndian.PutUint64(buf[at+stampAt+8:], version)
	}
}

// marked reports whether the sector at holds filler.
func (c *contents) marked(buf []byte, at int) bool {
	return bytes.Equal(buf[at+stampEnd:at+stampEnd+16], c.filler[at+stampEnd:at+stampEnd+16])
}

func stamp(no page.No, at int) uint64 { return uint64(no) | uint64(at/sector)<<48 }

var errContents = errors.New("wrong contents")

// check returns the version of a page image; 0 is the empty page a file begins with.
func (c *contents) check(buf []byte, no page.No) (uint64, error) {
	version := binary.LittleEndian.Uint64(buf[stampAt+8:])
	if version == 0 {
		if i := bytes.IndexFunc(buf[stampAt:], func(r rune) bool { return r != 0 }); i >= 0 {
			return 0, fmt.Errorf("%w: page %d is half empty: byte %d", errContents, no, i+stampAt)
		}
		return 0, nil
	}
	for at := 0; at < len(buf); at += sector {
		if got := binary.LittleEndian.Uint64(buf[at+stampAt:]); got != stamp(no, at) {
			return 0, fmt.Errorf("%w: page %d, byte %d: stamp %#x, not %#x", errContents, no, at, got, stamp(no, at))
		}
		if got := binary.LittleEndian.Uint64(buf[at+stampAt+8:]); got != version {
			return 0, fmt.Errorf("%w: page %d is torn: version %d at byte 0, %d at byte %d", errContents, no, version, got, at)
		}
		if at > 0 && !bytes.Equal(buf[at:at+stampAt], c.filler[at:at+stampAt]) ||
			!bytes.Equal(buf[at+stampEnd:at+sector], c.filler[at+stampEnd:at+sector]) {
			return 0, fmt.Errorf("%w: page %d: filler damaged within 512 bytes of %d", errContents, no, at)
		}
	}
	return version, nil
}
