package super

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
)

// Version is the format version of super and of data file headers.
const Version = 1

const (
	superMagic = 0x55536e75 // "unSU"
	lengthAt   = 8
	crcAt      = 12
	headBytes  = 32 // magic, version, length, crc, sequence, zero
)

// Limits of what a copy may hold.
const (
	MaxFiles   = 512
	MaxName    = 128
	MaxPath    = 1024
	MaxPayload = 16 << 10
	MaxCuts    = 64
)

// Errors of decoding and of choosing a copy.
var (
	ErrInvalid = errors.New("super copy is not valid")
	ErrVersion = errors.New("unknown format version")
	ErrFull    = errors.New("super is full")
)

var le = binary.LittleEndian

// encode returns the bytes of a copy, at most zone long.
func encode(s *State, seq uint64, zone int) ([]byte, error) {
	if len(s.Files) > MaxFiles || len(s.Payload) > MaxPayload || len(s.Cuts) > MaxCuts {
		return nil, fmt.Errorf("%w: %d files, a payload of %d bytes and %d cuts, limits are %d, %d and %d",
			ErrFull, len(s.Files), len(s.Payload), len(s.Cuts), MaxFiles, MaxPayload, MaxCuts)
	}
	b := make([]byte, headBytes, 4096)
	le.PutUint32(b, superMagic)
	le.PutUint16(b[4:], Version)
	le.PutUint64(b[16:], seq)
	w := writer{b}
	w.raw(s.Engine[:])
	w.u64(uint64(s.Created))
	w.u32(uint32(s.Block))
	w.u64(s.Epoch)
	w.bool(s.Clean)
	w.u32(s.Recoveries)
	w.u64(uint64(s.Recovering))
	w.u64(s.Stamp.Epoch)
	w.u64(s.Stamp.Checkpoint)
	w.u64(s.Watermark.Epoch)
	w.u64(s.Watermark.Num)
	w.u64(s.Durable.Epoch)
	w.u64(uint64(s.Durable.LSN))
	w.u64(s.Redo.Epoch)
	w.u64(uint64(s.Redo.LSN))
	w.u64(uint64(s.CatalogLSN))
	w.u32(uint32(s.NextFile))
	w.u64(uint64(s.LogSegment))
	w.u32(uint32(s.DWBBlock))
	w.u32(uint32(s.DWBBatch))
	w.u32(uint32(s.DWBRegions))
	w.bytes(s.Payload)
	w.u32(uint32(len(s.Files)))
	for i := range s.Files {
		w.file(&s.Files[i])
	}
	w.u64(uint64(s.PageLSN))
	w.u32(uint32(len(s.Cuts)))
	for _, c := range s.Cuts {
		w.u64(c.Epoch)
		w.u64(uint64(c.From))
		w.u64(uint64(c.To))
		w.u64(uint64(c.Given))
	}
	if len(w.b) > zone {
		return nil, fmt.Errorf("%w: %d bytes, a zone has %d", ErrFull, len(w.b), zone)
	}
	le.PutUint32(w.b[lengthAt:], uint32(len(w.b)))
	le.PutUint32(w.b[crcAt:], crcWithout(w.b))
	return w.b, nil
}

// Fits reports whether a copy can hold s; the error wraps ErrFull.
func Fits(s *State) error {
	_, err := encode(s, 1, Zone)
	return err
}

// crcWithout is the CRC-32C of b with the CRC field taken as zero.
func crcWithout(b []byte) uint32 {
	sum := crc32.Update(0, page.Castagnoli, b[:crcAt])
	sum = crc32.Update(sum, page.Castagnoli, []byte{0, 0, 0, 0})
	return crc32.Update(sum, page.Castagnoli, b[crcAt+4:])
}

// decode reads one copy. b may be longer than the copy: the rest must be zero.
func decode(b []byte) (s *State, seq uint64, err error) {
	if len(b) < headBytes || le.Uint32(b) != superMagic {
		return nil, 0, fmt.Errorf("%w: no super here", ErrInvalid)
	}
	if v := le.Uint16(b[4:]); v != Version {
		return nil, 0, fmt.Errorf("%w %d of super, this program knows %d", ErrVersion, v, Version)
	}
	n := int(le.Uint32(b[lengthAt:]))
	if n < headBytes || n > len(b) {
		return nil, 0, fmt.Errorf("%w: length %d", ErrInvalid, n)
	}
	if sum := crcWithout(b[:n]); sum != le.Uint32(b[crcAt:]) {
		return nil, 0, fmt.Errorf("%w: checksum %08x, computed %08x", ErrInvalid, le.Uint32(b[crcAt:]), sum)
	}
	if rest := b[n:]; len(rest) > 0 && (rest[0] != 0 || !bytes.Equal(rest[1:], rest[:len(rest)-1])) {
		return nil, 0, fmt.Errorf("%w: bytes after its end", ErrInvalid)
	}
	seq = le.Uint64(b[16:])
	r := reader{b: b[headBytes:n]}
	s = &State{}
	copy(s.Engine[:], r.raw(16))
	s.Created = int64(r.u64())
	s.Block = int(r.u32())
	s.Epoch = r.u64()
	s.Clean = r.bool()
	s.Recoveries = r.u32()
	s.Recovering = page.LSN(r.u64())
	s.Stamp = Stamp{r.u64(), r.u64()}
	s.Watermark = reclaim.Seq{Epoch: r.u64(), Num: r.u64()}
	s.Durable = EpochLSN{r.u64(), page.LSN(r.u64())}
	s.Redo = EpochLSN{r.u64(), page.LSN(r.u64())}
	s.CatalogLSN = page.LSN(r.u64())
	s.NextFile = page.FileID(r.u32())
	s.LogSegment = int64(r.u64())
	s.DWBBlock = int(r.u32())
	s.DWBBatch = int(r.u32())
	s.DWBRegions = int(r.u32())
	s.Payload = r.bytes(MaxPayload)
	files := int(r.u32())
	if files > MaxFiles {
		return nil, 0, fmt.Errorf("%w: %d files", ErrInvalid, files)
	}
	for range files {
		if r.bad {
			break
		}
		s.Files = append(s.Files, r.file())
	}
	s.PageLSN = page.LSN(r.u64())
	cuts := int(r.u32())
	if cuts > MaxCuts {
		return nil, 0, fmt.Errorf("%w: %d cuts", ErrInvalid, cuts)
	}
	for range cuts {
		c := Cut{r.u64(), page.LSN(r.u64()), page.LSN(r.u64()), page.LSN(r.u64())}
		r.bad = r.bad || c.From >= c.To
		s.Cuts = append(s.Cuts, c)
	}
	if r.bad || len(r.b) != 0 || seq == 0 {
		return nil, 0, fmt.Errorf("%w: fields do not add up", ErrInvalid)
	}
	return s, seq, nil
}

type writer struct{ b []byte }

func (w *writer) raw(p []byte) { w.b = append(w.b, p...) }
func (w *writer) u32(x uint32) { w.b = le.AppendUint32(w.b, x) }
func (w *writer) u64(x uint64) { w.b = le.AppendUint64(w.b, x) }
func (w *writer) bytes(p []byte) {
	w.u32(uint32(len(p)))
	w.raw(p)
}
func (w *writer) bool(x bool) {
	if x {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) file(f *File) {
	w.u32(uint32(f.ID))
	w.bytes([]byte(f.Name))
	w.bytes([]byte(f.Path))
	w.u32(uint32(f.PageSize))
	w.u64(f.Pages)
	w.u64(uint64(f.Start))
	w.u64(f.Incarnation)
	w.bytes([]byte(f.Format))
	w.bytes([]byte(f.Mode))
	w.bool(f.ForeignLSN)
	w.bool(f.SmallPages)
	w.bool(f.Device)
	w.u64(uint64(f.Images))
}

// reader takes fields off b; once bad it returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) raw(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, min(n, 16))
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}
func (r *reader) u32() uint32 { return le.Uint32(r.raw(4)) }
func (r *reader) u64() uint64 { return le.Uint64(r.raw(8)) }
func (r *reader) bool() bool {
	x := r.raw(1)[0]
	r.bad = r.bad || x > 1
	return x == 1
}
func (r *reader) bytes(limit int) []byte {
	n := int(r.u32())
	if n > limit {
		r.bad = true
		return nil
	}
	if n == 0 || r.bad {
		return nil
	}
	return append([]byte(nil), r.raw(n)...)
}

func (r *reader) file() (f File) {
	f.ID = page.FileID(r.u32())
	f.Name = string(r.bytes(MaxName))
	f.Path = string(r.bytes(MaxPath))
	f.PageSize = int(r.u32())
	f.Pages = r.u64()
	f.Start = int64(r.u64())
	f.Incarnation = r.u64()
	f.Format = string(r.bytes(MaxName))
	f.Mode = string(r.bytes(MaxName))
	f.ForeignLSN, f.SmallPages, f.Device = r.bool(), r.bool(), r.bool()
	f.Images = page.LSN(r.u64())
	if !page.ValidSize(f.PageSize) || f.Start < 0 || f.ID == 0 || f.Name == "" ||
		f.Pages > uint64(1<<62)/uint64(max(f.PageSize, 1)) {
		r.bad = true
	}
	return f
}
