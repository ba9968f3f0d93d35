package tablespace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/untorn/untorn/page"
)

// control is what pg_control says of a cluster, as far as it is needed here.
type control struct {
	Version       uint32 // of pg_control
	Catalog       uint32 // catalogue version, in the names of tablespace directories
	State         uint32
	BlockBytes    int
	SegmentBlocks int    // blocks in a full segment file
	Checksums     uint32 // version of data checksums, 0 = off
	Sound         bool   // its own checksum holds
}

// states of a cluster, by number (DBState in src/include/catalog/pg_control.h).
var states = [...]string{"starting up", "shut down", "shut down in recovery", "shutting down",
	"in crash recovery", "in archive recovery", "in production"}

// StateName is the state in pg_controldata's words.
func (c *control) StateName() string {
	if int(c.State) < len(states) {
		return `"` + states[c.State] + `"`
	}
	return fmt.Sprintf("state %d", c.State)
}

// Stopped reports whether the server was shut down in order.
func (c *control) Stopped() bool { return c.State == 1 || c.State == 2 }

const (
	controlBytes = 8 << 10
	controlMin   = 64
)

// ErrControl is a pg_control that cannot be read.
var ErrControl = errors.New("pg_control cannot be understood")

func readControl(path string) (*control, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, controlBytes)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	c, err := parseControl(b[:n])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// parseControl reads pg_control of any version since 9.3. Its middle changes from version to
// version, its end hardly: block size and checksums are found by their distance from the constant
// 1234567.0, which stands there for the machine's way to write floating point numbers.
//
//	offset  size  field                          from the constant on
//	     0     8  system identifier                 0     8  1234567.0
//	     8     4  version of pg_control             8     4  block size
//	    12     4  catalogue version                12     4  blocks in a segment
//	    16     4  state                            44     4  version of data checksums
//
// Behind that come, up to version 942, the CRC-32C of what precedes it; then also a nonce of 32
// bytes, and from version 1800 on a flag. Source: src/include/catalog/pg_control.h.
func parseControl(b []byte) (*control, error) {
	le := binary.LittleEndian
	if len(b) < controlMin {
		return nil, fmt.Errorf("%w: %d bytes", ErrControl, len(b))
	}
	c := &control{Version: le.Uint32(b[8:]), Catalog: le.Uint32(b[12:]), State: le.Uint32(b[16:])}
	mark := math.Float64bits(1234567)
	for at := 24; at+52 <= len(b); at += 8 {
		if binary.BigEndian.Uint64(b[at:]) == mark {
			return nil, fmt.Errorf("%w: it was written on a big-endian machine", ErrControl)
		}
		if le.Uint64(b[at:]) != mark {
			continue
		}
		c.BlockBytes, c.SegmentBlocks = int(le.Uint32(b[at+8:])), int(le.Uint32(b[at+12:]))
		c.Checksums = le.Uint32(b[at+44:])
		for _, sum := range []int{at + 48, at + 80, at + 84} {
			if sum+4 <= len(b) && crc32.Checksum(b[:sum], page.Castagnoli) == le.Uint32(b[sum:]) {
				c.Sound = true
			}
		}
		if c.BlockBytes < 1<<10 || c.BlockBytes > 32<<10 || c.BlockBytes&(c.BlockBytes-1) != 0 || c.SegmentBlocks <= 0 {
			return nil, fmt.Errorf("%w: blocks of %d bytes, %d in a segment", ErrControl, c.BlockBytes, c.SegmentBlocks)
		}
		return c, nil
	}
	return nil, fmt.Errorf("%w: its mark is not there", ErrControl)
}
