package page

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// foreign are the formats whose pages are another system's, with the sizes they come in.
func foreign() []Format { return []Format{Postgres{}, InnoDBFullCRC32, InnoDBCRC32, InnoDBNone} }

// made is a page of a format with something in it.
func made(f Format, n int, no No, lsn LSN) []byte {
	b := randomPage(n, uint64(no)+uint64(lsn)<<8)
	if f == (Postgres{}) {
		clear(b[:20])
	}
	f.Seal(b, Seed{No: no}, lsn)
	return b
}

// TestDetects: recovery lets the LSN of a destination page decide only behind 32 bits of checksum.
func TestDetects(t *testing.T) {
	for _, f := range Formats() {
		if want := f != (Postgres{}) && f != InnoDBNone; f.Detects() != want {
			t.Errorf("%s: %v", f.Name(), f.Detects())
		}
	}
}

func TestFormatNames(t *testing.T) {
	for _, f := range Formats() {
		if FormatNamed(f.Name()) != f {
			t.Errorf("%s is not found by its name", f.Name())
		}
	}
	if FormatNamed("") != nil || FormatNamed("oracle") != nil {
		t.Error("a format that nobody knows was found")
	}
}

func TestForeignRoundTrip(t *testing.T) {
	for _, f := range foreign() {
		for n := MinSize; n <= MaxSize; n *= 2 {
			if f == (Postgres{}) && n > 32<<10 {
				continue // PostgreSQL has none
			}
			const no, lsn = 1234567, 0x1234_5678_9abc
			b := made(f, n, no, lsn)
			was := bytes.Clone(b)
			got, err := f.Check(b, Seed{Incarnation: 99, No: no})
			if err != nil || got != lsn || f.LSN(b) != lsn {
				t.Errorf("%s, %d bytes: LSN %x, %v", f.Name(), n, got, err)
			}
			if !bytes.Equal(b, was) {
				t.Errorf("%s: Check changed the page", f.Name())
			}
			if f.Header() != 0 {
				t.Errorf("%s has a header of ours", f.Name())
			}
			if _, err := f.Check(b, Seed{No: no + 1}); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: a page in another's place: %v", f.Name(), err)
			}
			empty := randomPage(n, 5)
			f.Init(empty, Seed{No: no})
			if lsn, err := f.Check(empty, Seed{No: no}); err != nil || lsn != 0 {
				t.Errorf("%s: an empty page: LSN %d, %v", f.Name(), lsn, err)
			}
		}
	}
}

// pgByTheBook computes the checksum as the comment of checksum_impl.h describes it, word by word.
func pgByTheBook(img []byte, block uint32) uint16 {
	p := bytes.Clone(img)
	p[8], p[9] = 0, 0
	var sums [32]uint32
	copy(sums[:], pgStart[:])
	step := func(lane int, value uint32) {
		t := sums[lane] ^ value
		sums[lane] = t*16777619 ^ t>>17
	}
	for i := 0; i < len(p)/4; i++ {
		step(i%32, binary.LittleEndian.Uint32(p[4*i:]))
	}
	x := uint32(0)
	for lane := range sums {
		step(lane, 0)
		step(lane, 0)
		x ^= sums[lane]
	}
	return uint16((x^block)%65535 + 1)
}

func TestPostgresChecksumByTheBook(t *testing.T) {
	for n := 1024; n <= 32<<10; n *= 2 {
		for i := range uint64(20) {
			b := randomPage(n, i)
			block := uint32(i * 0x1357_9bdf)
			if got, want := (Postgres{}).Checksum(b, No(block)), pgByTheBook(b, block); got != want {
				t.Errorf("%d bytes, block %d: %04x, want %04x", n, block, got, want)
			}
		}
	}
}

// pattern fills a page with something a person can make again anywhere.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestVectors(t *testing.T) {
	// Those of 8 KiB are what page_checksum of PostgreSQL's pageinspect computes for the same bytes;
	// those of InnoDB were computed with a bitwise CRC-32C. Real files of both are judged in tablespace.
	pg := func(n int, block No) string {
		return fmt.Sprintf("%04x", Postgres{}.Checksum(pattern(n), block))
	}
	ib := func(k InnoDB, n int) string { return fmt.Sprintf("%08x", k.Checksum(pattern(n))) }
	for _, c := range []struct{ what, got, want string }{
		{"postgres 8192/0", pg(8192, 0), "3e33"},
		{"postgres 8192/1", pg(8192, 1), "3e32"},
		{"postgres 8192/131072", pg(8192, 131072), "3e35"},
		{"postgres 4096/7", pg(4096, 7), "cea5"},
		{"postgres 32768/7", pg(32768, 7), "858e"},
		{"full 16384", ib(InnoDBFullCRC32, 16384), "a4652905"},
		{"full 4096", ib(InnoDBFullCRC32, 4096), "e4843dce"},
		{"crc32 16384", ib(InnoDBCRC32, 16384), "20829ef0"},
		{"crc32 65536", ib(InnoDBCRC32, 65536), "45ba6b0b"},
		{"none", ib(InnoDBNone, 16384), "deadbeef"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
}

// TestInnoDBRegions: which bytes each kind covers.
func TestInnoDBRegions(t *testing.T) {
	const n = 16384
	b := pattern(n)
	two := crc32.Checksum(b[4:26], Castagnoli) ^ crc32.Checksum(b[38:n-8], Castagnoli)
	if got := InnoDBCRC32.Checksum(b); got != two {
		t.Errorf("crc32: %08x, want %08x", got, two)
	}
	if got, want := InnoDBFullCRC32.Checksum(b), crc32.Checksum(b[:n-4], Castagnoli); got != want {
		t.Errorf("full_crc32: %08x, want %08x", got, want)
	}
}

func TestPostgresRefuses(t *testing.T) {
	p := Postgres{}
	for _, c := range []struct {
		what   string
		change func(b []byte)
		seal   bool
		want   string
	}{
		{"the checksum", func(b []byte) { b[8] ^= 1 }, false, "checksum"},
		{"the LSN", func(b []byte) { b[3] ^= 0x80 }, false, "checksum"},
		{"the flags", func(b []byte) { b[10] ^= 2 }, false, "checksum"},
		{"the hole", func(b []byte) { b[4000] ^= 0x10 }, false, "checksum"},
		{"the last byte", func(b []byte) { b[8191] ^= 1 }, false, "checksum"},
		{"upper made 0", func(b []byte) { b[14], b[15] = 0, 0 }, false, "not all zeros"},
		{"unknown flags, sealed", func(b []byte) { b[11] = 0x80 }, true, "no sense"},
		{"lower above upper, sealed", func(b []byte) { b[12], b[13] = 0xff, 0xff }, true, "no sense"},
		{"special beyond the page, sealed", func(b []byte) { b[16], b[17] = 8, 0x20 }, true, "no sense"},
		{"special odd, sealed", func(b []byte) { b[16], b[17] = 0xfc, 0x1f }, true, "no sense"},
	} {
		b := made(p, 8192, 3, 77)
		c.change(b)
		if c.seal {
			p.Seal(b, Seed{No: 3}, 77)
		}
		if _, err := p.Check(b, Seed{No: 3}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	for _, n := range []int{0, 1, 24, 127, 8191} {
		if _, err := p.Check(make([]byte, n), Seed{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestLostMarkIsNoPage: what recovery leaves in place of a lost page must not pass for one, whatever
// number it has. 16 bits of checksum alone would let one block in 65535 through.
func TestLostMarkIsNoPage(t *testing.T) {
	b := make([]byte, 8192)
	copy(b, "untorn: this page was lost; see untornctl recover -accept-loss\n")
	for no := range No(70000) {
		if _, err := (Postgres{}).Check(b, Seed{No: no}); err == nil {
			t.Fatalf("as block %d it is a page", no)
		}
	}
	for _, k := range []InnoDB{InnoDBFullCRC32, InnoDBCRC32, InnoDBNone} {
		if _, err := k.Check(b, Seed{No: k.No(b)}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", k.Name(), err)
		}
	}
}

func TestInnoDBRefuses(t *testing.T) {
	const n = 16384
	for _, c := range []struct {
		what  string
		at    int
		finds []InnoDB
	}{
		{"the checksum in front, or the key version", 1, []InnoDB{InnoDBFullCRC32, InnoDBCRC32, InnoDBNone}},
		{"the page number", 7, []InnoDB{InnoDBFullCRC32, InnoDBCRC32, InnoDBNone}},
		{"the low half of the LSN", 23, []InnoDB{InnoDBFullCRC32, InnoDBCRC32, InnoDBNone}},
		{"the space id", 36, []InnoDB{InnoDBFullCRC32}},
		{"the body", 9000, []InnoDB{InnoDBFullCRC32, InnoDBCRC32}},
		{"the end, 8 before", n - 8, []InnoDB{InnoDBFullCRC32, InnoDBCRC32, InnoDBNone}},
		{"the last byte", n - 1, []InnoDB{InnoDBFullCRC32, InnoDBCRC32, InnoDBNone}},
	} {
		for _, k := range []InnoDB{InnoDBFullCRC32, InnoDBCRC32, InnoDBNone} {
			b := randomPage(n, 8)
			be.PutUint16(b[ibType:], 17855)
			be.PutUint32(b[ibKey:], 0)
			k.Seal(b, Seed{No: 9}, 5555)
			b[c.at] ^= 4
			want := false
			for _, f := range c.finds {
				want = want || f == k
			}
			if _, err := k.Check(b, Seed{No: 9}); errors.Is(err, ErrDamaged) != want {
				t.Errorf("%s, %s: %v", k.Name(), c.what, err)
			}
		}
	}
}

// TestInnoDBOthers: pages of the owner's own compression and encryption.
func TestInnoDBOthers(t *testing.T) {
	const n = 16384
	s := Seed{No: 3}
	// full_crc32, compressed to 5 KiB: type 0x8000 | size / 256, checksum at the end of that.
	b := randomPage(n, 1)
	be.PutUint32(b, 0)
	be.PutUint32(b[ibOffset:], 3)
	be.PutUint16(b[ibType:], 0x8000|5120>>8)
	be.PutUint32(b[5120-4:], crc32.Checksum(b[:5120-4], Castagnoli))
	if _, err := InnoDBFullCRC32.Check(b, s); err != nil {
		t.Errorf("compressed: %v", err)
	}
	b[n-1] ^= 1 // behind the page: nobody reads it
	if _, err := InnoDBFullCRC32.Check(b, s); err != nil {
		t.Errorf("compressed, the rest: %v", err)
	}
	b[5000] ^= 1
	if _, err := InnoDBFullCRC32.Check(b, s); !errors.Is(err, ErrDamaged) {
		t.Errorf("compressed, damaged: %v", err)
	}
	for _, size := range []uint16{0, 0x7fff} {
		be.PutUint16(b[ibType:], 0x8000|size)
		if _, err := InnoDBFullCRC32.Check(b, s); !errors.Is(err, ErrDamaged) {
			t.Errorf("compressed to %d: %v", size, err)
		}
	}
	// full_crc32, encrypted: a key version, and no LSN behind.
	b = randomPage(n, 2)
	be.PutUint32(b, 1)
	be.PutUint32(b[ibOffset:], 3)
	be.PutUint16(b[ibType:], 17855)
	be.PutUint32(b[n-4:], crc32.Checksum(b[:n-4], Castagnoli))
	if _, err := InnoDBFullCRC32.Check(b, s); err != nil {
		t.Errorf("encrypted: %v", err)
	}
	// crc32, encrypted by MariaDB: key version and checksum at 26.
	b = made(InnoDBCRC32, n, 3, 9)
	b[5000] ^= 0xff
	be.PutUint32(b[ibKey:], 1)
	be.PutUint32(b[ibKey+4:], InnoDBCRC32.Checksum(b))
	if _, err := InnoDBCRC32.Check(b, s); err != nil {
		t.Errorf("encrypted, crc32: %v", err)
	}
	b[6000] ^= 1
	if _, err := InnoDBCRC32.Check(b, s); !errors.Is(err, ErrDamaged) {
		t.Errorf("encrypted, crc32, damaged: %v", err)
	}
	// Types that say there is nothing to compare.
	for _, typ := range []uint16{ibPageCompressed, ibPageCompressedEncrypted, ibMyCompressed,
		ibMyEncrypted, ibMyCompressedEncrypted, ibMyEncryptedRTree} {
		b := randomPage(n, 4)
		be.PutUint16(b[ibType:], typ)
		if _, err := InnoDBCRC32.Check(b, s); !errors.Is(err, ErrUnchecked) || errors.Is(err, ErrDamaged) {
			t.Errorf("type %d: %v", typ, err)
		}
	}
}

// TestForeignTears: mixtures of sectors of two versions. PostgreSQL's 16 bits let one in 65535
// through; none with these bytes.
func TestForeignTears(t *testing.T) {
	const n, sector = 8192, 1024
	for _, f := range []Format{Postgres{}, InnoDBFullCRC32, InnoDBCRC32} {
		old, fresh := made(f, n, 5, 10), made(f, n, 5, 20)
		for mask := 1; mask < 1<<(n/sector)-1; mask++ {
			b := bytes.Clone(old)
			for i := range n / sector {
				if mask>>i&1 != 0 {
					copy(b[i*sector:], fresh[i*sector:(i+1)*sector])
				}
			}
			if _, err := f.Check(b, Seed{No: 5}); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s: sectors %08b of the new page over the old one: %v", f.Name(), mask, err)
			}
		}
	}
}

// FuzzForeignCheck: no panic, Check changes nothing, and a flipped bit is found.
func FuzzForeignCheck(f *testing.F) {
	f.Add([]byte{}, uint64(0), uint64(0), 0)
	f.Add(made(Postgres{}, 8192, 1, 2), uint64(1), uint64(2), 77)
	f.Add(made(InnoDBFullCRC32, 4096, 1, 2), uint64(1), uint64(2), 4096*8-1)
	compressed := made(InnoDBFullCRC32, 4096, 1, 2)
	compressed[24], compressed[25] = 0x80, 4
	f.Add(compressed, uint64(1), uint64(0), 300)
	f.Fuzz(func(t *testing.T, b []byte, no, lsn uint64, bit int) {
		s := Seed{No: No(no)}
		was := bytes.Clone(b)
		for _, x := range Formats() {
			_, _ = x.Check(b, s)
		}
		if !bytes.Equal(b, was) {
			t.Fatal("Check changed the page")
		}
		s.No &= 0xffffffff
		for _, x := range []Format{InnoDBFullCRC32, Postgres{}} {
			p := make([]byte, MinSize)
			copy(p, b)
			if x == (Postgres{}) {
				clear(p[:pgHeader])
			}
			x.Seal(p, s, LSN(lsn))
			if Zeros(p) {
				continue
			}
			if got, err := x.Check(p, s); err != nil || got != LSN(lsn) {
				t.Fatalf("%s: sealed with LSN %d, reads %d: %v", x.Name(), lsn, got, err)
			}
			at := int(uint(bit) % (MinSize * 8))
			p[at/8] ^= 1 << (at % 8)
			// PostgreSQL's 16 bits let one flip in 65535 through: there the checksum must really agree.
			collides := x == (Postgres{}) && pgByTheBook(p, uint32(s.No)) == le.Uint16(p[pgChecksum:])
			if _, err := x.Check(p, s); err == nil && !Zeros(p) && !collides {
				t.Fatalf("%s: bit %d flipped and accepted", x.Name(), at)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for _, f := range Formats() {
		const n = 8192
		p := made(f, n, 1, 2)
		b.Run(fmt.Sprintf("format=%s/bytes=%d", f.Name(), n), func(b *testing.B) {
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Check(p, Seed{No: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestCheckAllocates: nothing, on the hot path.
func TestCheckAllocates(t *testing.T) {
	for _, f := range Formats() {
		p := made(f, 8192, 1, 2)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := f.Check(p, Seed{No: 1}); err != nil {
				t.Fatal(err)
			}
			f.Seal(p, Seed{No: 1}, 2)
		}); n != 0 {
			t.Errorf("%s: %v allocations a page", f.Name(), n)
		}
	}
}
