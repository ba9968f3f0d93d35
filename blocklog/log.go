package blocklog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Flags of an entry.
type Flags uint64

// What an entry is, besides a write.
const (
	Flush Flags = 1 << iota
	FUA
	Discard
	Mark
	Metadata
	known = Flush | FUA | Discard | Mark | Metadata
)

const (
	magic      = 0x6a736677736872
	version    = 1
	superSize  = 28
	entrySize  = 32
	minSector  = 512
	maxSector  = 1 << 20
	maxEntries = 1 << 27 // 4 GiB of entries in memory would be somebody's mistake
)

// ErrDamaged is a log that cannot be what dm-log-writes or qemu wrote.
var ErrDamaged = errors.New("blocklog: damaged log")

// Entry is one request. Bytes, not sectors.
type Entry struct {
	Off, Len int64 // of the disk
	Flags    Flags
	data     int64 // where its data, or a mark's text, is in the log
	text     int64 // bytes of a mark's text
}

// Log is a log whose entries have been read; their data is read when asked for.
type Log struct {
	SectorSize int64
	Entries    []Entry
	r          io.ReaderAt
}

var le = binary.LittleEndian

func damaged(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, a...))
}

// Read reads the entries of a log of size bytes. Nothing is believed that the size does not allow.
func Read(r io.ReaderAt, size int64) (*Log, error) {
	var b [minSector]byte
	if size < minSector {
		return nil, damaged("%d bytes are no log", size)
	}
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return nil, err
	}
	n, sector := le.Uint64(b[16:]), int64(le.Uint32(b[24:]))
	switch {
	case le.Uint64(b[:]) != magic:
		return nil, damaged("magic %#x", le.Uint64(b[:]))
	case le.Uint64(b[8:]) != version:
		return nil, damaged("version %d", le.Uint64(b[8:]))
	case sector < minSector || sector > maxSector || bits.OnesCount64(uint64(sector)) != 1:
		return nil, damaged("sectors of %d bytes", sector)
	case n > uint64(size/sector) || n > maxEntries:
		return nil, damaged("%d entries in %d bytes", n, size)
	}
	l := &Log{SectorSize: sector, r: r}
	at := sector
	for i := range n {
		e, next, err := l.entry(at, size, b[:entrySize])
		if err != nil {
			return nil, fmt.Errorf("entry %d at byte %d: %w", i, at, err)
		}
		l.Entries = append(l.Entries, e)
		at = next
	}
	return l, nil
}

func (l *Log) entry(at, size int64, b []byte) (e Entry, next int64, err error) {
	if at > size-l.SectorSize {
		return e, 0, damaged("beyond the end")
	}
	if _, err := l.r.ReadAt(b, at); err != nil {
		return e, 0, err
	}
	start, n, text := le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[24:])
	e.Flags = Flags(le.Uint64(b[16:]))
	most := uint64(1) << 62 / uint64(l.SectorSize)
	if e.Flags&^known != 0 || start > most || n > most-start {
		return e, 0, damaged("flags %#x, %d sectors at %d", uint64(e.Flags), n, start)
	}
	e.Off, e.Len = int64(start)*l.SectorSize, int64(n)*l.SectorSize
	next = at + l.SectorSize
	switch {
	case e.Flags&Mark != 0:
		if n != 0 || text > uint64(l.SectorSize-entrySize) {
			return e, 0, damaged("a mark of %d bytes and %d sectors", text, n)
		}
		e.data, e.text = at+entrySize, int64(text)
		return e, next, nil
	case text != 0:
		return e, 0, damaged("inline data of %d bytes", text)
	case n == 0 && e.Flags&(Flush|FUA) == 0:
		return e, 0, damaged("an entry that says nothing")
	case e.Flags&Discard != 0:
		return e, next, nil
	}
	if e.Len > size-next {
		return e, 0, damaged("%d bytes of data, %d are left", e.Len, size-next)
	}
	e.data = next
	return e, next + e.Len, nil
}

// Data returns the bytes of a write, or a mark's text, in b if that is large enough.
func (l *Log) Data(i int, b []byte) ([]byte, error) {
	e := &l.Entries[i]
	n := e.Len
	switch {
	case e.Flags&Mark != 0:
		n = e.text
	case e.Flags&Discard != 0:
		n = 0
	}
	if int64(cap(b)) < n {
		b = make([]byte, n)
	}
	b = b[:n]
	if n == 0 {
		return b, nil
	}
	if _, err := l.r.ReadAt(b, e.data); err != nil {
		return nil, fmt.Errorf("blocklog: data of entry %d: %w", i, err)
	}
	return b, nil
}

// Writes reports whether an entry changes the disk.
func (e *Entry) Writes() bool { return e.Len > 0 && e.Flags&Mark == 0 }
