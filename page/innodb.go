package page

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// InnoDB is the page of an InnoDB tablespace, 4 to 64 KiB, neither compressed nor, with InnoDBCRC32
// and InnoDBNone, encrypted. The three kinds differ in their checksum.
//
//	offset  size  field
//	     0     4  crc32, none: checksum; full_crc32: key version, 0 if not encrypted
//	     4     4  page number
//	    16     8  LSN
//	    24     2  page type
//	    26     8  flush LSN, or key version and checksum (crc32) of an encrypted page
//	    34     4  space id
//	    38        the page's own
//	    -8     4  crc32, none: checksum again; full_crc32: low half of the LSN again
//	    -4     4  crc32, none: low half of the LSN again; full_crc32: checksum
//
// All fields are big endian; offsets below 0 count from the end. A page of zeros is valid: the
// server extends files with them.
//
// Sources: storage/innobase/include/fil0types.h (fields), buf0checksum.cc (crc32),
// buf_page_is_corrupted in buf0buf.cc (what a server accepts) and the description of MDEV-12026
// (full_crc32), all of MariaDB; "InnoDB page structure" in the MySQL internals manual.
type InnoDB uint8

// The kinds of InnoDB.
const (
	// InnoDBFullCRC32: CRC-32C of the whole page but the checksum itself. MariaDB's own for new files.
	InnoDBFullCRC32 InnoDB = iota
	// InnoDBCRC32: CRC-32C of bytes 4 to 25 xor CRC-32C of byte 38 to the last eight. MySQL's own,
	// and of older MariaDB files. Bytes 26 to 37 (with the space id) are not covered.
	InnoDBCRC32
	// InnoDBNone: a constant in place of the checksum. A tear is found only if it falls between the
	// two places of the LSN, so Detects is false.
	InnoDBNone
)

const (
	ibOffset    = 4
	ibLSN       = 16
	ibType      = 24
	ibKey       = 26 // key version of an encrypted page; its checksum follows
	ibSpace     = 34
	ibBody      = 38
	ibMagicNone = 0xdeadbeef
)

// Page types that tell an owner's compression or encryption. The first two are MariaDB's, the
// others MySQL's.
const (
	ibPageCompressed          = 34354
	ibPageCompressedEncrypted = 37401
	ibMyCompressed            = 14
	ibMyEncrypted             = 15
	ibMyCompressedEncrypted   = 16
	ibMyEncryptedRTree        = 17
)

var be = binary.BigEndian

var innodbNames = [...]string{"innodb-full-crc32", "innodb-crc32", "innodb-none"}

// Name implements Format.
func (k InnoDB) Name() string { return innodbNames[k] }

// Detects implements Format.
func (k InnoDB) Detects() bool { return k != InnoDBNone }

// Header implements Format.
func (InnoDB) Header() int { return 0 }

// LSN implements Format.
func (InnoDB) LSN(buf []byte) LSN { return LSN(be.Uint64(buf[ibLSN:])) }

// Space is the id of the tablespace that a page says it belongs to. InnoDBCRC32 does not protect it;
// in encrypted and compressed pages of InnoDBFullCRC32 it is not legible.
func (InnoDB) Space(buf []byte) uint32 { return be.Uint32(buf[ibSpace:]) }

// No is the number a page says it has.
func (InnoDB) No(buf []byte) No { return No(be.Uint32(buf[ibOffset:])) }

// Checksum is what the server stores in a page.
func (k InnoDB) Checksum(buf []byte) uint32 {
	switch k {
	case InnoDBFullCRC32:
		return crc32.Update(0, Castagnoli, buf[:len(buf)-4])
	case InnoDBCRC32:
		return crc32.Update(0, Castagnoli, buf[ibOffset:ibKey]) ^
			crc32.Update(0, Castagnoli, buf[ibBody:len(buf)-8])
	}
	return ibMagicNone
}

// Check implements Format: checksum, LSN at both ends, and the page number.
func (k InnoDB) Check(buf []byte, s Seed) (LSN, error) {
	if len(buf) < MinSize || len(buf) > MaxSize {
		return 0, fmt.Errorf("%w: %d bytes are no page", ErrDamaged, len(buf))
	}
	if Zeros(buf) {
		return 0, nil
	}
	var err error
	if k == InnoDBFullCRC32 {
		err = k.checkFull(buf)
	} else {
		err = k.checkOld(buf)
	}
	if err != nil {
		return 0, err
	}
	if no := k.No(buf); no != s.No {
		return 0, fmt.Errorf("%w: it says it is page %d of space %d", ErrDamaged, no, k.Space(buf))
	}
	return k.LSN(buf), nil
}

// checkFull checks a page of a full_crc32 file. The checksum is made last, so it holds for pages
// that are encrypted, and for compressed ones, which are shorter and say so in their type.
func (k InnoDB) checkFull(buf []byte) error {
	page, compressed := buf, false
	if t := be.Uint16(buf[ibType:]); t&0x8000 != 0 {
		n := int(t&^0x8000) << 8
		if n > len(buf) || n < ibBody+8 {
			return fmt.Errorf("%w: compressed, it says, to %d bytes", ErrDamaged, n)
		}
		page, compressed = buf[:n], n < len(buf)
	}
	n := len(page)
	if got, sum := be.Uint32(page[n-4:]), k.Checksum(page); got != sum {
		return fmt.Errorf("%w: checksum %08x, computed %08x", ErrDamaged, got, sum)
	}
	encrypted := be.Uint32(page) != 0
	if low := be.Uint32(page[n-8:]); !compressed && !encrypted && low != be.Uint32(page[ibLSN+4:]) {
		return fmt.Errorf("%w: the LSN ends in %08x in front and in %08x behind", ErrDamaged,
			be.Uint32(page[ibLSN+4:]), low)
	}
	return nil
}

// checkOld checks a page of a file that is not full_crc32.
func (k InnoDB) checkOld(buf []byte) error {
	n := len(buf)
	sum := k.Checksum(buf)
	if k == InnoDBCRC32 && be.Uint32(buf[ibKey:]) != 0 && be.Uint32(buf[ibKey+4:]) == sum {
		return nil // encrypted by MariaDB, which stores the checksum of what it wrote here
	}
	front, behind := be.Uint32(buf), be.Uint32(buf[n-8:])
	var err error
	switch head, low := be.Uint32(buf[ibLSN+4:]), be.Uint32(buf[n-4:]); {
	case front != behind:
		err = fmt.Errorf("%w: checksum %08x in front and %08x behind", ErrDamaged, front, behind)
	case front != sum:
		err = fmt.Errorf("%w: checksum %08x, computed %08x", ErrDamaged, front, sum)
	case low != head:
		err = fmt.Errorf("%w: the LSN ends in %08x in front and in %08x behind", ErrDamaged, head, low)
	}
	if err == nil {
		return nil
	}
	switch t := be.Uint16(buf[ibType:]); t {
	case ibPageCompressed, ibPageCompressedEncrypted, ibMyCompressed, ibMyEncrypted,
		ibMyCompressedEncrypted, ibMyEncryptedRTree:
		return fmt.Errorf("%w: page type %d, compressed or encrypted without a checksum of what is stored",
			ErrUnchecked, t)
	}
	return err
}

// Seal implements Format: for callers who make pages.
func (k InnoDB) Seal(buf []byte, s Seed, lsn LSN) uint32 {
	n := len(buf)
	be.PutUint32(buf[ibOffset:], uint32(s.No))
	be.PutUint64(buf[ibLSN:], uint64(lsn))
	if k == InnoDBFullCRC32 {
		be.PutUint32(buf, 0)
		be.PutUint16(buf[ibType:], be.Uint16(buf[ibType:])&^0x8000)
		be.PutUint32(buf[n-8:], uint32(lsn))
		be.PutUint32(buf[n-4:], k.Checksum(buf))
		return ImageCRC(buf)
	}
	be.PutUint32(buf[n-4:], uint32(lsn))
	sum := k.Checksum(buf)
	be.PutUint32(buf, sum)
	be.PutUint32(buf[n-8:], sum)
	return ImageCRC(buf)
}

// Init implements Format: a page that was never written is all zeros.
func (InnoDB) Init(buf []byte, _ Seed) { clear(buf) }
