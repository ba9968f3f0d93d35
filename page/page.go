package page

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// LSN is a byte position in the log stream. A page's LSN is the end of the last record that
// changed it; 0 means "no record", which is always durable.
type LSN uint64

// FileID names a data file for the life of an engine directory. Ids are never reused.
type FileID uint32

// No is a page number inside its file, counted from 0.
type No uint64

// ID is a page's identity.
type ID struct {
	File FileID
	No   No
}

func (id ID) String() string { return fmt.Sprintf("%d/%d", id.File, id.No) }

// Page sizes the engine accepts: powers of two between these, inclusive, in bytes.
const (
	MinSize = 4 << 10
	MaxSize = 64 << 10
)

// ValidSize reports whether n bytes is a page size the engine accepts.
func ValidSize(n int) bool { return n >= MinSize && n <= MaxSize && n&(n-1) == 0 }

// ErrDamaged is what a Format returns for an image that fails its own checks.
var ErrDamaged = errors.New("page is damaged")

// ErrUnchecked is what a Format returns for an image that carries no checksum it could compare:
// compressed or encrypted by its owner.
var ErrUnchecked = errors.New("page cannot be checked")

// Seed ties a page's checksum to the place it belongs: a whole page written to the wrong file or
// the wrong position, or left over from an earlier file of the same name, does not check.
type Seed struct {
	Incarnation uint64 // of the file, random at creation
	No          No
}

// Format knows where a page keeps its checksum and its LSN. Implementations hold no state.
type Format interface {
	// Name is what super and reports call the format.
	Name() string
	// Check verifies a whole page image and returns its LSN. The LSN is read only after the
	// checksum holds. The error wraps ErrDamaged and says what is wrong.
	Check(buf []byte, s Seed) (LSN, error)
	// Seal stores lsn and the checksum in buf and returns ImageCRC(buf).
	Seal(buf []byte, s Seed, lsn LSN) uint32
	// Init makes buf a valid empty page with LSN 0.
	Init(buf []byte, s Seed)
	// Detects reports whether Check finds torn pages surely enough that the LSN of a page it takes may
	// decide what recovery does. Without a checksum, or with 16 bits of one, it does not: recovery then
	// installs the newest logged image whatever the destination says, as PostgreSQL does.
	Detects() bool
	// Header is how many bytes at the start of a page Seal writes for the engine. 0: the format is
	// another system's, and every byte of a page is the caller's. The engine then writes pages as
	// they are, if they pass Check, and takes their LSN from LSN.
	Header() int
	// LSN is the one a page says it has, to be believed only after Check.
	LSN(buf []byte) LSN
}

// Formats lists every format there is.
func Formats() []Format {
	return []Format{Native{}, Postgres{}, InnoDBFullCRC32, InnoDBCRC32, InnoDBNone}
}

// FormatNamed finds a format by its name; nil when there is none.
func FormatNamed(name string) Format {
	for _, f := range Formats() {
		if f.Name() == name {
			return f
		}
	}
	return nil
}

// Zeros reports whether a page holds nothing: what a page looks like that was never written, to
// formats which allow that.
func Zeros(buf []byte) bool {
	for ; len(buf) >= 8; buf = buf[8:] {
		if le.Uint64(buf) != 0 {
			return false
		}
	}
	for _, b := range buf {
		if b != 0 {
			return false
		}
	}
	return true
}

// Castagnoli is the CRC-32C table; hash/crc32 uses the CPU's instruction for it.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// imagePrefix is the part of a page ImageCRC takes last, so that a format that keeps its checksum
// there pays for one pass over the page, not two.
const imagePrefix = 8

// ImageCRC is the CRC-32C of a whole page image, as doublewrite headers hold it: of the bytes from
// 8 to the end followed by the bytes 0 to 7.
func ImageCRC(buf []byte) uint32 {
	return finishImage(crc32.Update(0, Castagnoli, buf[imagePrefix:]), buf)
}

func finishImage(tail uint32, buf []byte) uint32 {
	return crc32.Update(tail, Castagnoli, buf[:imagePrefix])
}
