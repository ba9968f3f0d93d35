package page

import "fmt"

// Postgres is the page of PostgreSQL's heap and index files, of any block size, as the server
// writes it in a cluster with data checksums. The block number is the one within the relation's
// fork: block b of segment file s is s * 131072 + b with 8 KiB blocks (1 GiB a segment).
//
//	offset  size  field
//	     0     8  LSN: high half, then low half
//	     8     2  checksum
//	    10     2  flags
//	    12     2  lower: end of the line pointers
//	    14     2  upper: start of the rows; 0 on a new page
//	    16     2  special: start of the index's own data
//	    18     2  page size and layout version
//
// All fields have the byte order of the machine that wrote them; little endian is read here.
//
// The checksum is derived from FNV-1a. The page is taken as rows of 32 words; each column is hashed
// on its own, h = (h ^ w) * 16777619 ^ (h ^ w) >> 17, from a start value of its own, with two zero
// words at the end and the checksum field taken as zero. The 32 results and the block number are
// xored, and that modulo 65535, plus one, is the checksum: it is never 0, and it finds all but one
// in 65535 damaged pages. A page of zeros is valid: the server extends files with them.
//
// Sources: the comment of src/include/storage/checksum_impl.h and src/backend/storage/page/README
// of PostgreSQL (the algorithm and the start values); src/include/storage/bufpage.h (the layout);
// PageIsVerified in bufpage.c (what the server accepts).
type Postgres struct{}

const (
	pgLanes    = 32
	pgPrime    = 16777619
	pgRow      = 4 * pgLanes // bytes in a row of words
	pgHeader   = 24
	pgChecksum = 8
	pgAllFlags = 7 // has free line pointers, page full, all visible
)

// pgStart are the start values of the columns.
var pgStart = [pgLanes]uint32{
	0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c,
	0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb,
	0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4,
	0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
}

// Name implements Format.
func (Postgres) Name() string { return "postgres" }

// Detects implements Format. One torn page in 65535 passes, for the checksum has 16 bits: enough to
// tell a person, not enough to let a page's LSN outrank an image in the log.
func (Postgres) Detects() bool { return false }

// Header implements Format.
func (Postgres) Header() int { return 0 }

// LSN implements Format.
func (Postgres) LSN(buf []byte) LSN {
	return LSN(le.Uint32(buf))<<32 | LSN(le.Uint32(buf[4:]))
}

// Checksum is what the server stores in a page that is block no of its fork. It needs a multiple of
// 128 bytes and changes nothing.
func (Postgres) Checksum(buf []byte, no No) uint16 {
	var sum uint32
	for lane := 0; lane < pgLanes; lane += 8 {
		sum ^= pgColumns(buf, lane)
	}
	return uint16((sum^uint32(no))%65535 + 1)
}

// pgColumns hashes eight neighbouring columns: as many as stay in registers.
func pgColumns(buf []byte, lane int) uint32 {
	s := pgStart[lane : lane+8 : lane+8]
	a, b, c, d, e, f, g, h := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	mask := ^uint32(0)
	if lane == 0 {
		mask = 0xffff0000 // of the first row's third word: the checksum counts as zero
	}
	for at := 4 * lane; at+32 <= len(buf); at += pgRow {
		w := buf[at : at+32 : at+32]
		a = pgMix(a, le.Uint32(w))
		b = pgMix(b, le.Uint32(w[4:]))
		c = pgMix(c, le.Uint32(w[8:])&mask)
		d = pgMix(d, le.Uint32(w[12:]))
		e = pgMix(e, le.Uint32(w[16:]))
		f = pgMix(f, le.Uint32(w[20:]))
		g = pgMix(g, le.Uint32(w[24:]))
		h = pgMix(h, le.Uint32(w[28:]))
		mask = ^uint32(0)
	}
	return pgEnd(a) ^ pgEnd(b) ^ pgEnd(c) ^ pgEnd(d) ^ pgEnd(e) ^ pgEnd(f) ^ pgEnd(g) ^ pgEnd(h)
}

func pgMix(h, w uint32) uint32 {
	h ^= w
	return h*pgPrime ^ h>>17
}

// pgEnd mixes in two zero words.
func pgEnd(h uint32) uint32 { return pgMix(pgMix(h, 0), 0) }

// Check implements Format, with the server's rules: checksum and a header that makes sense, or
// zeros throughout.
func (p Postgres) Check(buf []byte, s Seed) (LSN, error) {
	if len(buf) < pgRow || len(buf)%pgRow != 0 {
		return 0, fmt.Errorf("%w: %d bytes are no page", ErrDamaged, len(buf))
	}
	lower, upper, special := le.Uint16(buf[12:]), le.Uint16(buf[14:]), le.Uint16(buf[16:])
	if upper == 0 {
		if Zeros(buf) {
			return 0, nil
		}
		return 0, fmt.Errorf("%w: its header is that of a new page, but it is not all zeros", ErrDamaged)
	}
	sum := p.Checksum(buf, s.No)
	if got := le.Uint16(buf[pgChecksum:]); got != sum {
		return 0, fmt.Errorf("%w: checksum %04x, computed %04x for block %d", ErrDamaged, got, sum, s.No)
	}
	if flags := le.Uint16(buf[10:]); flags&^pgAllFlags != 0 || lower > upper || upper > special ||
		int(special) > len(buf) || special%8 != 0 {
		return 0, fmt.Errorf("%w: its checksum holds, but its header makes no sense (flags %#x, lower %d, upper %d, special %d)",
			ErrDamaged, flags, lower, upper, special)
	}
	return p.LSN(buf), nil
}

// Seal implements Format: for callers who make pages. A page without a header that Check takes
// gets an empty one; a new page (all zeros) with LSN 0 stays one.
func (p Postgres) Seal(buf []byte, s Seed, lsn LSN) uint32 {
	if le.Uint16(buf[14:]) == 0 {
		if lsn == 0 && Zeros(buf) {
			return ImageCRC(buf)
		}
		le.PutUint16(buf[10:], 0)
		le.PutUint16(buf[12:], pgHeader)
		le.PutUint16(buf[14:], uint16(len(buf))) // 64 KiB does not fit, nor does PostgreSQL have it
		le.PutUint16(buf[16:], uint16(len(buf)))
		le.PutUint16(buf[18:], uint16(len(buf))|4)
	}
	le.PutUint32(buf, uint32(lsn>>32))
	le.PutUint32(buf[4:], uint32(lsn))
	le.PutUint16(buf[pgChecksum:], p.Checksum(buf, s.No))
	return ImageCRC(buf)
}

// Init implements Format: a new page is all zeros.
func (Postgres) Init(buf []byte, _ Seed) { clear(buf) }
