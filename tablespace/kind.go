package tablespace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/untorn/untorn/page"
)

// kind is how the pages of an InnoDB data file look, from the flags in its first page.
//
//	crc32 files                          full_crc32 files (bit 4 set)
//	bit  0     row format above Redundant   bits 0-3  page size: 512 << n
//	bits 1-4   compressed: 512 << n, or 0   bits 5-7  page compression algorithm
//	bits 6-9   page size: 512 << n, 0 = 16 KiB
//	bit  13    encrypted, by MySQL
//	bit  16    page compression, of MariaDB
//
// Sources: storage/innobase/include/fsp0types.h of MariaDB and of MySQL.
type kind struct {
	sum      page.InnoDB
	logical  int  // page size in memory
	physical int  // and on disk: smaller, mostly, with ROW_FORMAT=COMPRESSED
	zip      bool // that format
	space    uint32
	// squeezed: MariaDB's page compression; sealed, mysql: encryption by MariaDB, by MySQL.
	squeezed, sealed, mysql bool
}

var be = binary.BigEndian

const (
	fieldNo       = 4
	fieldType     = 24
	fieldKey      = 26
	fieldSpace    = 34
	fieldBody     = 38
	fieldFlags    = fieldBody + 16
	headerMin     = fieldFlags + 4
	noChecksum    = 0xdeadbeef
	typeMyFirst   = 14 // MySQL: compressed, encrypted, both, encrypted R-tree
	typeMyLast    = 17
	flagFull      = 1 << 4
	flagEncrypted = 1 << 13
	flagSqueezed  = 1 << 16
)

// parseKind reads the first page of a file. ok: the page sizes make sense.
func parseKind(first []byte) (*kind, bool) {
	if len(first) < headerMin {
		return nil, false
	}
	flags := be.Uint32(first[fieldFlags:])
	k := &kind{sum: page.InnoDBCRC32, space: be.Uint32(first[fieldSpace:])}
	if flags&flagFull != 0 {
		k.sum = page.InnoDBFullCRC32
		k.logical = 512 << (flags & 15)
		k.squeezed = flags>>5&7 != 0
	} else {
		k.logical = 16 << 10
		if n := flags >> 6 & 15; n != 0 {
			k.logical = 512 << n
		}
		k.squeezed, k.mysql = flags&flagSqueezed != 0, flags&flagEncrypted != 0
	}
	k.physical = k.logical
	if n := flags >> 1 & 15; n != 0 && k.sum == page.InnoDBCRC32 {
		k.physical, k.zip = 512<<n, true
	}
	if !page.ValidSize(k.logical) || k.physical < 1<<10 || k.physical > k.logical {
		return nil, false
	}
	k.sealed = hasCryptData(first, k)
	return k, true
}

// extent is how many pages make one: 1 MiB of them, and never less than 64.
func (k *kind) extent() int { return max(64, 1<<20/k.logical) }

// hasCryptData looks for MariaDB's encryption data in the first page: behind the extent descriptors,
// of 24 bytes and 2 bits a page each.
func hasCryptData(first []byte, k *kind) bool {
	at := fieldBody + 150 + (24+k.extent()/4)*k.physical/k.extent()
	return at+7 <= len(first) && bytes.Equal(first[at:at+6], []byte("s\x0e\x0cREt")) && first[at+6] == 1
}

func (k *kind) String() string {
	var s []string
	switch {
	case k.zip:
		s = append(s, fmt.Sprintf("crc32, ROW_FORMAT=COMPRESSED from %s", size(int64(k.logical))))
	case k.sum == page.InnoDBFullCRC32:
		s = append(s, "full_crc32")
	default:
		s = append(s, "crc32")
	}
	if k.squeezed {
		s = append(s, "page compressed")
	}
	if k.sealed {
		s = append(s, "encrypted by MariaDB")
	}
	if k.mysql {
		s = append(s, "encrypted by MySQL")
	}
	return strings.Join(s, ", ")
}

// check judges a page.
func (k *kind) check(img []byte, no page.No) error {
	if page.Zeros(img) {
		if no == 0 {
			return fmt.Errorf("%w: the header page is all zeros", page.ErrDamaged)
		}
		return nil
	}
	if k.space == 0 && int(no) >= k.extent() && int(no) < 3*k.extent() {
		return &errUnchecked{"the server's doublewrite buffer: copies of other pages"}
	}
	if err := k.checksum(img, no); err != nil {
		return err
	}
	// In full_crc32 files the space id of a page is compressed or encrypted with the rest of it.
	if k.sum == page.InnoDBFullCRC32 && (be.Uint32(img) != 0 || be.Uint16(img[fieldType:])&0x8000 != 0) {
		return nil
	}
	if space := k.sum.Space(img); space != k.space {
		return fmt.Errorf("%w: it says it belongs to space %d, the file is space %d", page.ErrDamaged, space, k.space)
	}
	return nil
}

func (k *kind) checksum(img []byte, no page.No) error {
	if k.zip {
		return k.checkCompressed(img, no)
	}
	_, err := k.sum.Check(img, page.Seed{No: no})
	if err == nil || k.sum == page.InnoDBFullCRC32 {
		return err
	}
	if errors.Is(err, page.ErrUnchecked) {
		return k.doubt(img, err)
	}
	if n := len(img); be.Uint32(img) == noChecksum && be.Uint32(img[n-8:]) == noChecksum {
		if _, none := page.InnoDBNone.Check(img, page.Seed{No: no}); none != nil {
			return none
		}
		return &errUnchecked{"written without a checksum (innodb_checksum_algorithm=none)"}
	}
	if k.mysql && be.Uint16(img[fieldType:]) != 8 { // all but the header page
		return &errUnchecked{"encrypted by MySQL"}
	}
	return err
}

// doubt decides on a page whose type says that it has no checksum: the file has to say so too, or the
// type is what is damaged.
func (k *kind) doubt(img []byte, err error) error {
	t := be.Uint16(img[fieldType:])
	mine := k.squeezed && t > typeMyLast
	// MySQL compresses pages without a word in the file's flags, and leaves in the header which
	// version, algorithm and sizes.
	its := t == typeMyFirst && img[fieldKey] > 0 && img[fieldKey] < 3 && img[fieldKey+1] > 0 && img[fieldKey+1] < 4
	switch {
	case mine, its:
		return &errUnchecked{"page compression, which leaves no checksum"}
	case k.mysql && t >= typeMyFirst && t <= typeMyLast:
		return &errUnchecked{"encrypted by MySQL"}
	}
	return fmt.Errorf("%w: its type says compressed or encrypted, the file's flags do not (%w)", page.ErrDamaged, err)
}

// checkCompressed checks a page of a ROW_FORMAT=COMPRESSED file: CRC-32C of page number and links,
// xor that of the type, xor that of all from the space id on. Source: page_zip_calc_checksum in
// storage/innobase/page/page0zip.cc.
func (k *kind) checkCompressed(img []byte, no page.No) error {
	c := func(b []byte) uint32 { return crc32.Update(0, page.Castagnoli, b) }
	sum := c(img[fieldNo:16]) ^ c(img[fieldType:fieldKey]) ^ c(img[fieldSpace:])
	got := be.Uint32(img)
	switch {
	case k.sealed && be.Uint32(img[fieldKey:]) != 0 && be.Uint32(img[fieldKey+4:]) == sum:
	case got == noChecksum:
		return &errUnchecked{"written without a checksum (innodb_checksum_algorithm=none)"}
	case got != sum && k.mysql && no != 0:
		return &errUnchecked{"encrypted by MySQL"}
	case got != sum:
		return fmt.Errorf("%w: checksum %08x, computed %08x", page.ErrDamaged, got, sum)
	}
	if at := k.sum.No(img); at != no {
		return fmt.Errorf("%w: it says it is page %d of space %d", page.ErrDamaged, at, k.sum.Space(img))
	}
	return nil
}

// free reports whether the extent descriptor of a page says that it is not in use. Descriptors stand
// in every page whose number is a multiple of the page size: from byte 150 on one for each extent,
// with 24 bytes and then 2 bits a page, of which the first says free.
func (k *kind) free(in io.ReaderAt, f *file, no page.No) bool {
	home := no - no%page.No(k.physical)
	if home < f.first || home == no {
		return false
	}
	img := make([]byte, k.physical)
	if _, err := in.ReadAt(img, int64(home-f.first)*int64(k.physical)); err != nil || k.check(img, home) != nil {
		return false // of a damaged descriptor nothing is believed
	}
	i := int(no - home)
	at := 150 + i/k.extent()*(24+k.extent()/4) + 24 + i%k.extent()*2/8
	return at < len(img) && img[at]>>(i%k.extent()*2%8)&1 != 0
}

// findKind finds out what the pages of a file look like and which number its first page has. The
// first page is believed if it checks as what it says it is; else every possibility is tried on the
// beginning of the file. why says what was unusual, and with a nil kind why nothing fits.
func findKind(head []byte, pageBytes int) (_ *kind, first page.No, why string) {
	k, ok := parseKind(head)
	if ok && (pageBytes == 0 || k.logical == pageBytes) && be.Uint32(head[fieldNo:]) == 0 &&
		len(head) >= k.physical && k.check(head[:k.physical], 0) == nil {
		return k, 0, ""
	}
	best, score := &kind{}, 0
	for n := page.MinSize; n <= page.MaxSize; n *= 2 {
		for _, sum := range []page.InnoDB{page.InnoDBFullCRC32, page.InnoDBCRC32} {
			if pageBytes != 0 && n != pageBytes {
				continue
			}
			k := &kind{sum: sum, logical: n, physical: n}
			if at, hits := k.fit(head); hits > score {
				best, first, score = k, at, hits
			}
		}
	}
	if score == 0 {
		return nil, 0, "no page at its beginning checks under any page size and checksum: not InnoDB's, or encrypted, or damaged throughout"
	}
	return best, first, fmt.Sprintf("its first page does not say what the file is; taken for %s pages with %s, as which %d pages at its beginning check, from page number %d on",
		size(int64(best.logical)), best, score, first)
}

// fit counts the pages of head that check as this kind of one space, in their order. It sets space.
func (k *kind) fit(head []byte) (first page.No, hits int) {
	for i := 0; (i+1)*k.physical <= len(head); i++ {
		img := head[i*k.physical : (i+1)*k.physical]
		no := k.sum.No(img)
		if page.Zeros(img) || no < page.No(i) {
			continue
		}
		if _, err := k.sum.Check(img, page.Seed{No: no}); err != nil {
			continue
		}
		at, space := no-page.No(i), k.sum.Space(img)
		if hits == 0 {
			first, k.space = at, space
		}
		if first == at && k.space == space {
			hits++
		}
	}
	return first, hits
}
