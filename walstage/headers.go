package walstage

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// The ring of headers is the log's second opinion, in a file of its own: with Options.HeaderRing a
// group is acknowledged only when a copy of its header lies there too, durable. The copy is written
// when the group itself is durable, never beside it: a copy that landed while its group was torn would
// make a corruption (I10) of every power cut. So a copy in the ring proves that its group was there, and
// the rot of the last group of all, which no later group header speaks of, is told from a torn tail.
//
// Each copy has a protocol block of its own, overwritten headerSlots copies later: a torn one takes
// nothing with it but the claim of a group that has long been spoken of.
//
//	offset size field
//	     0    4 magic "unWP"
//	     4    2 version, 1
//	     6    2 bytes of a copy, 156
//	     8   16 engine id
//	    24    8 number of the copy, from 1; it lies in block (number - 1) modulo the file's blocks
//	    32    8 the log is durable through this LSN: the end of the group's last record
//	    40  112 the group header, as it lies in the log
//	   152    4 CRC of bytes 0..151
//	   156      zeros up to B
const (
	headersName  = "headers"
	headersMagic = 0x50576e75 // "unWP"
	headersSize  = 156
	headerSlots  = 64
)

// HeaderCopy is one entry of the ring of headers.
type HeaderCopy struct {
	Number  uint64
	Durable page.LSN
	Group   GroupCopy
	engine  [16]byte
	header  groupHeader
}

// GroupCopy is what the ring knows of a group.
type GroupCopy struct {
	Segment uint64
	Offset  int64
	LSN     page.LSN // of its first byte
	Bytes   int64
	Epoch   uint64
	Records int
}

func (h *HeaderCopy) claim() Claim {
	return Claim{h.header.epoch, h.Durable, fmt.Sprintf("copy %d in the ring of headers", h.Number)}
}

// encode fills one protocol block; head is the encoded group header.
func (h *HeaderCopy) encode(b, head []byte) {
	clear(b)
	le.PutUint32(b, headersMagic)
	le.PutUint16(b[4:], formatVersion)
	le.PutUint16(b[6:], headersSize)
	copy(b[8:24], h.engine[:])
	le.PutUint64(b[24:], h.Number)
	le.PutUint64(b[32:], uint64(h.Durable))
	copy(b[40:40+groupHeaderSize], head)
	le.PutUint32(b[152:], crc32.Checksum(b[:152], page.Castagnoli))
}

var errNoCopy = damaged("no copy of a header here")

// decodeHeaderCopy checks one protocol block.
func decodeHeaderCopy(b []byte) (HeaderCopy, error) {
	var h HeaderCopy
	if len(b) < headersSize || le.Uint32(b) != headersMagic {
		return h, errNoCopy
	}
	if got, sum := le.Uint32(b[152:]), crc32.Checksum(b[:152], page.Castagnoli); got != sum {
		return h, damaged("header copy checksum %08x, computed %08x", got, sum)
	}
	if v := le.Uint16(b[4:]); v != formatVersion {
		return h, fmt.Errorf("%w: header copy has version %d, this is %d", ErrVersion, v, formatVersion)
	}
	copy(h.engine[:], b[8:24])
	h.Number, h.Durable = le.Uint64(b[24:]), page.LSN(le.Uint64(b[32:]))
	var err error
	if h.header, err = decodeGroupHeader(b[40:40+groupHeaderSize], len(b)); err != nil {
		return h, err
	}
	g := &h.header
	if le.Uint16(b[6:]) != headersSize || !allZero(b[headersSize:]) || h.Number == 0 ||
		g.id != h.engine || h.Durable != g.lsn+groupHeaderSize+page.LSN(g.payload) {
		return h, damaged("header copy makes no sense: number %d, durable through %d", h.Number, h.Durable)
	}
	h.Group = GroupCopy{g.seq, int64(g.off), g.lsn, int64(g.length), g.epoch, int(g.records)}
	return h, nil
}

// headerRing is the open file. After Start it belongs to whoever proves a group.
type headerRing struct {
	file   fsys.File
	slots  int64
	number uint64 // of the newest copy
	copies []HeaderCopy
	buf    []byte
	op     ring.Op
}

func (r *headerRing) err(op string, err error) error {
	return &Error{Op: op, File: headersName, Err: err}
}

// openHeaders opens and locks the ring of headers, if there is one (I11). It reads nothing.
func openHeaders(ctx context.Context, o *Options, readOnly bool) (*headerRing, error) {
	path := filepath.Join(o.Dir, headersName)
	f, err := o.FS.Open(path, fsys.OpenFlags{ReadOnly: readOnly, Direct: !o.Buffered})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{Op: "open", File: path, Err: err}
	}
	return lockHeaders(ctx, o, f, readOnly)
}

func lockHeaders(ctx context.Context, o *Options, f fsys.File, readOnly bool) (*headerRing, error) {
	r := &headerRing{file: f, buf: o.Alloc(o.Block, o.Block)}
	err := lockFile(ctx, f, !readOnly, o.LockWait)
	if err != nil {
		return nil, errors.Join(r.err("lock", err), f.Close())
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(r.err("size", err), f.Close())
	}
	r.slots = min(size/int64(o.Block), headerSlots)
	return r, nil
}

// makeHeaders makes the file, zeroed so that a data flush later carries no metadata, and durable
// together with its name. One that a crash left short is filled up.
func makeHeaders(ctx context.Context, o *Options, r *headerRing) (*headerRing, error) {
	path := filepath.Join(o.Dir, headersName)
	if r == nil {
		f, err := o.FS.Open(path, fsys.OpenFlags{Create: true, Direct: !o.Buffered})
		if err != nil {
			return nil, &Error{Op: "create", File: path, Err: err}
		}
		if r, err = lockHeaders(ctx, o, f, false); err != nil {
			return nil, err
		}
	}
	if r.slots == headerSlots {
		return r, nil
	}
	size := int64(headerSlots * o.Block)
	if err := r.file.Preallocate(0, size); err != nil {
		return r, r.err("preallocate", err)
	}
	s := segment{file: r.file, name: headersName}
	if err := s.zero(o, aligned.Zeros(zeroChunk, o.Block), r.slots*int64(o.Block), size); err != nil {
		return r, err
	}
	if err := s.flush(o, ring.Sync); err != nil {
		return r, err
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return r, &Error{Op: "flush directory of", File: path, Err: err}
	}
	r.slots = headerSlots
	return r, nil
}

// read finds the copies. Damage, a foreign id and a block that cannot be read are no evidence: the
// ring is a second opinion. It returns what it could not read, for reports.
func (r *headerRing) read(o *Options) (failed error) {
	r.copies, r.number = r.copies[:0], 0
	for i := range r.slots {
		r.op = ring.Op{Kind: ring.Read, File: r.file, Off: i * int64(o.Block), Buf: r.buf}
		if err := o.Ring.Do(&r.op); err != nil {
			failed = errors.Join(failed, r.err("read", err))
			continue
		}
		h, err := decodeHeaderCopy(r.buf)
		if err != nil || h.engine != o.EngineID || int64((h.Number-1)%headerSlots) != i {
			continue
		}
		r.copies = append(r.copies, h)
		r.number = max(r.number, h.Number)
	}
	return failed
}

// claims is what the copies say.
func (r *headerRing) claims() []Claim {
	if r == nil {
		return nil
	}
	var list []Claim
	for i := range r.copies {
		list = append(list, r.copies[i].claim())
	}
	return list
}

// at returns the newest copy of the header of the group that begins at lsn.
func (r *headerRing) at(lsn page.LSN) *HeaderCopy {
	var found *HeaderCopy
	if r == nil {
		return nil
	}
	for i := range r.copies {
		h := &r.copies[i]
		if h.Group.LSN == lsn && (found == nil || h.Number > found.Number) {
			found = h
		}
	}
	return found
}

func (r *headerRing) close() error {
	if r == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return r.err("close", err)
	}
	return nil
}

// put makes a copy of a durable group's header durable. Everything before the group is durable too.
func (r *headerRing) put(o *Options, method Commit, g *group) error {
	r.number++
	h := HeaderCopy{Number: r.number, Durable: g.end, engine: o.EngineID}
	return r.write(o, method, &h, g.buf[:groupHeaderSize])
}

func (r *headerRing) write(o *Options, method Commit, h *HeaderCopy, head []byte) error {
	h.encode(r.buf, head)
	off := int64((h.Number-1)%headerSlots) * int64(o.Block)
	r.op = ring.Op{Kind: ring.Write, File: r.file, Off: off, Buf: r.buf}
	if method == CommitDSync {
		r.op.Flags = ring.DSync
	}
	if err := o.Ring.Do(&r.op); err != nil {
		return r.err("write header copy", err)
	}
	if method == CommitFlush {
		r.op = ring.Op{Kind: ring.DataSync, File: r.file}
		if err := o.Ring.Do(&r.op); err != nil {
			return r.err("flush header copy", err)
		}
	}
	return nil
}
