package pageimage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/untorn/untorn/page"
)

// Kind of the log records that hold images.
const Kind = 16

// HeadBytes is the length of what precedes the page's bytes.
const HeadBytes = 40

const version = 1

// Flags of an image.
const (
	// Foreign: the page's LSN belongs to another log.
	Foreign = 1 << iota
	// Always: an image is logged of every change of this page that no record of the log holds, so a
	// destination with the same LSN is not newer than the newest image.
	Always
)

// Errors of Decode and Restore.
var (
	ErrInvalid = errors.New("page image record is not valid")
	ErrVersion = errors.New("unknown version of a page image record")
)

var le = binary.LittleEndian

// Image is one record.
type Image struct {
	Page    page.ID
	LSN     page.LSN
	CRC     uint32 // page.ImageCRC of the whole page
	Len     int    // of the page in bytes
	Flags   uint16
	Codec   uint8
	HoleAt  int
	HoleLen int
	body    []byte // as the record has it
}

// Encode finds the hole of buf, compresses what is left if codec is not nil and that makes it
// smaller, and fills head. The record is head, a, b. a and b alias buf or scratch; scratch has at
// least 2 * len(buf) bytes if codec is not nil. The caller has set Page, LSN, CRC and Flags.
func (m *Image) Encode(head *[HeadBytes]byte, buf []byte, codec Codec, scratch []byte) (a, b []byte) {
	m.Len, m.Codec = len(buf), Plain
	m.HoleAt, m.HoleLen = hole(buf)
	a, b = buf[:m.HoleAt], buf[m.HoleAt+m.HoleLen:]
	if codec != nil {
		src := buf
		if m.HoleLen > 0 {
			src = scratch[:len(buf)-m.HoleLen]
			copy(src[copy(src, a):], b)
		}
		// Room for one byte less than there is: it has to become smaller.
		dst := scratch[len(buf):][:max(0, len(src)-1)]
		if n := codec.Compress(dst, src); n > 0 {
			m.Codec, a, b = codec.ID(), dst[:n], nil
		}
	}
	h := head[:]
	h[0], h[1] = version, m.Codec
	le.PutUint16(h[2:], m.Flags)
	le.PutUint32(h[4:], uint32(m.Page.File))
	le.PutUint64(h[8:], uint64(m.Page.No))
	le.PutUint64(h[16:], uint64(m.LSN))
	le.PutUint32(h[24:], m.CRC)
	le.PutUint32(h[28:], uint32(m.Len))
	le.PutUint32(h[32:], uint32(m.HoleAt))
	le.PutUint32(h[36:], uint32(m.HoleLen))
	return a, b
}

// Decode reads a record's data, which the image aliases until Restore.
func Decode(data []byte) (Image, error) {
	var m Image
	if len(data) < HeadBytes {
		return m, fmt.Errorf("%w: %d bytes", ErrInvalid, len(data))
	}
	if data[0] != version {
		return m, fmt.Errorf("%w: %d", ErrVersion, data[0])
	}
	m.Codec = data[1]
	m.Flags = le.Uint16(data[2:])
	m.Page = page.ID{File: page.FileID(le.Uint32(data[4:])), No: page.No(le.Uint64(data[8:]))}
	m.LSN = page.LSN(le.Uint64(data[16:]))
	m.CRC = le.Uint32(data[24:])
	n, at, gap := uint64(le.Uint32(data[28:])), uint64(le.Uint32(data[32:])), uint64(le.Uint32(data[36:]))
	m.body = data[HeadBytes:]
	if !page.ValidSize(int(n)) || at+gap > n || m.Flags&^(Foreign|Always) != 0 ||
		m.Codec == Plain && uint64(len(m.body)) != n-gap ||
		m.Codec != Plain && uint64(len(m.body)) >= n-gap {
		return m, fmt.Errorf("%w: a page of %d bytes, a hole of %d at %d, %d bytes in codec %d, flags %#x",
			ErrInvalid, n, gap, at, len(m.body), m.Codec, m.Flags)
	}
	m.Len, m.HoleAt, m.HoleLen = int(n), int(at), int(gap)
	return m, nil
}

// Restore fills dst, which has Len bytes, with the page and checks it. scratch has at least Len
// bytes.
func (m *Image) Restore(dst, scratch []byte, codecs Codecs) error {
	if len(dst) != m.Len {
		return fmt.Errorf("%w: a page of %d bytes into %d", ErrInvalid, m.Len, len(dst))
	}
	body := m.body
	if m.Codec != Plain {
		c, err := codecs.Find(m.Codec)
		if err != nil {
			return err
		}
		body = scratch[:m.Len-m.HoleLen]
		if err := c.Decompress(body, m.body); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, c.Name(), err)
		}
	}
	copy(dst, body[:m.HoleAt])
	clear(dst[m.HoleAt : m.HoleAt+m.HoleLen])
	copy(dst[m.HoleAt+m.HoleLen:], body[m.HoleAt:])
	if crc := page.ImageCRC(dst); crc != m.CRC {
		return fmt.Errorf("%w: its page has CRC %08x, the record says %08x", ErrInvalid, crc, m.CRC)
	}
	return nil
}

// Stored is the number of bytes of the page that the record holds.
func (m *Image) Stored() int { return len(m.body) }
