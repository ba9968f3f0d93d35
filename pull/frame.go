package pull

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

type kind uint8

const (
	kindHello   kind = iota + 1 // JSON hello: who is there
	kindWelcome                 // JSON welcome: the listener's answer
	kindBegin                   // JSON Session
	kindEvents                  // of package torture
	kindEnd                     // an orderly end; text: why
	kindConfirm                 // the sequence is in the told file
	kindBeat                    // still alive
	kindLast    = kindBeat
)

const (
	magic      = 0x474c5055 // "UPLG"
	headerSize = 32
	maxPayload = 1 << 20
	flagFirst  = 1
)

var (
	le    = binary.LittleEndian
	table = crc32.MakeTable(crc32.Castagnoli)
)

// frame is one message. payload is valid until the next read.
type frame struct {
	kind    kind
	first   bool // confirm at once
	session uint64
	seq     uint64
	payload []byte
}

func (f *frame) append(b []byte) []byte {
	at := len(b)
	flags := byte(0)
	if f.first {
		flags = flagFirst
	}
	b = le.AppendUint32(b, magic)
	b = append(b, byte(f.kind), flags, 0, 0)
	b = le.AppendUint64(b, f.session)
	b = le.AppendUint64(b, f.seq)
	b = le.AppendUint32(b, uint32(len(f.payload)))
	crc := crc32.Update(crc32.Checksum(b[at:], table), table, f.payload)
	return append(le.AppendUint32(b, crc), f.payload...)
}

// Errors of a stream of frames.
var (
	errDamaged = errors.New("damaged frame")
	errCut     = errors.New("frame cut off")
)

// reader reads frames and counts the bytes of whole ones.
type reader struct {
	r    io.Reader
	head [headerSize]byte
	buf  []byte
	at   int64
}

// next returns io.EOF at the end, errCut in the middle of a frame, errDamaged for what is none.
func (r *reader) next() (frame, error) {
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return frame{}, cut(err)
	}
	h := r.head[:]
	n := le.Uint32(h[24:])
	f := frame{kind: kind(h[4]), first: h[5] == flagFirst, session: le.Uint64(h[8:]), seq: le.Uint64(h[16:])}
	if le.Uint32(h) != magic || f.kind == 0 || f.kind > kindLast || h[5] > flagFirst || h[6] != 0 ||
		h[7] != 0 || n > maxPayload {
		return frame{}, fmt.Errorf("%w at byte %d: no header", errDamaged, r.at)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, n)
	}
	f.payload = r.buf[:n]
	if _, err := io.ReadFull(r.r, f.payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, cut(err)
	}
	if crc32.Update(crc32.Checksum(h[:28], table), table, f.payload) != le.Uint32(h[28:]) {
		return frame{}, fmt.Errorf("%w at byte %d: wrong checksum", errDamaged, r.at)
	}
	r.at += headerSize + int64(n)
	return f, nil
}

func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}
