// Package tape is what the guest of package powercut tells: a stream of blocks in a raw partition of
// the very disk that is recorded. A block is written when something is about to begin, before it does,
// and when the engine has acknowledged something, after it did. Its write stands in the disk's log
// between the others, so a log cut anywhere says which acknowledgements had been given by then.
//
//	 0  magic "UNTAPE01"  8
//	 8  sequence          8: 0, 1, 2, ... of the partition
//	16  kind              2: 1 begin, 2 events
//	18  0                 2
//	20  round             4
//	24  payload bytes     4
//	28  CRC-32C           4: of bytes 0 to 27 and the payload
//	32  payload, then zeros up to a multiple of 512
//
// Nothing is flushed: a flush of ours would make durable what the engine forgot to flush.
package tape

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/torture"
)

// Job is what the guest is told, as JSON in its file system.
type Job struct {
	FS     string      // ext4 or xfs
	Mode   untorn.Mode // of the files
	Mutant string
	Seed   uint64
	Shape  torture.Shape
	Rounds int
	Millis int // of each round
	// Recorder is "qemu", or "dm": dm-log-writes in the guest, onto its second disk.
	Recorder string
	// Pull: the guest verifies what it finds by /told, and then runs untornctl pull until it dies, told
	// to Report; if that is "" it powers off. With SysRq it kills itself, after Millis.
	Pull   bool
	Report string
	SysRq  bool
}

// Kind of a block.
type Kind uint16

// Begin says that a round begins, Events that its workload tells something.
const (
	Begin Kind = iota + 1
	Events
)

const (
	magic      = 0x3130455041544e55 // "UNTAPE01"
	headerSize = 32
	block      = 512
	maxPayload = 1 << 20
)

var (
	le    = binary.LittleEndian
	table = crc32.MakeTable(crc32.Castagnoli)
)

func appendBlock(b []byte, seq uint64, k Kind, round uint32, payload []byte) []byte {
	at := len(b)
	b = le.AppendUint64(b, magic)
	b = le.AppendUint64(b, seq)
	b = le.AppendUint16(b, uint16(k))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, round)
	b = le.AppendUint32(b, uint32(len(payload)))
	b = le.AppendUint32(b, crc32.Update(crc32.Checksum(b[at:], table), table, payload))
	b = append(b, payload...)
	return append(b, make([]byte, -(len(b)-at)&(block-1))...)
}

// ErrFormat is a tape that is none.
var ErrFormat = errors.New("powercut: damaged tape")

// header reads the first bytes of a block; size is what it takes on the tape.
func header(b []byte) (seq uint64, k Kind, round uint32, size int, ok bool) {
	n := le.Uint32(b[24:])
	if le.Uint64(b) != magic || n > maxPayload || le.Uint16(b[18:]) != 0 {
		return 0, 0, 0, 0, false
	}
	size = (headerSize + int(n) + block - 1) &^ (block - 1)
	return le.Uint64(b[8:]), Kind(le.Uint16(b[16:])), le.Uint32(b[20:]), size, true
}

// payload returns it if the checksum is right. b is the whole block.
func payload(b []byte) ([]byte, bool) {
	n := int(le.Uint32(b[24:]))
	p := b[headerSize : headerSize+n]
	return p, crc32.Update(crc32.Checksum(b[:28], table), table, p) == le.Uint32(b[28:])
}

// Reader takes the tape's writes as they stand in the disk's log: nearly in order. Where two flushes
// ran at a time dm-log-writes logs what belongs to the later one first, if that completed first.
type Reader struct {
	at    int64 // the tape has been taken so far
	seq   uint64
	buf   []byte
	ahead map[int64][]byte // by place
}

// Whole reports whether nothing that was told before something taken is missing.
func (r *Reader) Whole() bool { return len(r.ahead) == 0 }

// Take takes a write at a byte of the partition, and calls each for every whole block. What it is
// given is valid during the call.
func (r *Reader) Take(off int64, data []byte, each func(k Kind, round uint32, payload []byte) error) error {
	if off < r.at {
		return fmt.Errorf("%w: a write at byte %d follows one up to %d", ErrFormat, off, r.at)
	}
	if off > r.at {
		if r.ahead == nil {
			r.ahead = map[int64][]byte{}
		}
		r.ahead[off] = bytes.Clone(data)
		return nil
	}
	for ok := true; ok; {
		if err := r.take(data, each); err != nil {
			return err
		}
		data, ok = r.ahead[r.at]
		delete(r.ahead, r.at)
	}
	return nil
}

func (r *Reader) take(data []byte, each func(k Kind, round uint32, payload []byte) error) error {
	r.at += int64(len(data))
	r.buf = append(r.buf, data...)
	for len(r.buf) >= headerSize {
		seq, k, round, size, ok := header(r.buf)
		if !ok || seq != r.seq || k != Begin && k != Events {
			return fmt.Errorf("%w: no block %d before byte %d", ErrFormat, r.seq, r.at)
		}
		if len(r.buf) < size {
			return nil
		}
		p, ok := payload(r.buf[:size])
		if !ok {
			return fmt.Errorf("%w: wrong checksum of block %d", ErrFormat, seq)
		}
		if err := each(k, round, p); err != nil {
			return err
		}
		r.seq++
		r.buf = r.buf[size:]
	}
	return nil
}

// Device is a raw partition: its writes take aligned memory.
type Device interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
}

// Writer writes a tape, several callers at a time.
type Writer struct {
	dev   Device
	mem   []byte // aligned
	limit int64
	at    int64

	mu   sync.Mutex // of next and gen
	next []byte
	seq  uint64
	gen  uint64

	io   sync.Mutex // of what follows
	done uint64     // batches written
	err  error
}

// ErrFull: the partition is.
var ErrFull = errors.New("powercut: the tape is full")

// NewWriter continues the tape of a partition of limit bytes. mem is aligned memory, 64 KiB at least.
func NewWriter(dev Device, limit int64, mem []byte) (*Writer, error) {
	w := &Writer{dev: dev, mem: mem, limit: limit}
	for w.at < limit {
		if _, err := dev.ReadAt(mem[:block], w.at); err != nil {
			return nil, err
		}
		seq, _, _, size, ok := header(mem)
		if !ok || seq != w.seq {
			break
		}
		w.seq++
		w.at += int64(size)
	}
	return w, nil
}

// Put returns when the block has been written. It is not flushed.
func (w *Writer) Put(k Kind, round uint32, payload []byte) error {
	w.mu.Lock()
	w.next = appendBlock(w.next, w.seq, k, round, payload)
	w.seq++
	mine := w.gen
	w.mu.Unlock()

	w.io.Lock()
	defer w.io.Unlock()
	if w.done > mine || w.err != nil {
		return w.err // somebody else's batch took it along
	}
	w.mu.Lock()
	b := w.next
	w.next = nil
	w.gen++
	w.mu.Unlock()
	w.err = w.write(b)
	w.done = mine + 1
	return w.err
}

func (w *Writer) write(b []byte) error {
	if w.at+int64(len(b)) > w.limit {
		return ErrFull
	}
	for len(b) > 0 {
		n := copy(w.mem, b)
		if _, err := w.dev.WriteAt(w.mem[:n], w.at); err != nil {
			return err
		}
		w.at += int64(n)
		b = b[n:]
	}
	return nil
}
