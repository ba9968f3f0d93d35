package tablespace

import (
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn/page"
)

// madeSpace is a data file of n pages, used ones first, then n/4 empty ones, from page first on. The
// first page says what the file is.
func madeSpace(sum page.InnoDB, bytes, n int, space uint32, first page.No, flags uint32) []byte {
	rng := rand.NewChaCha8([32]byte{byte(n), byte(space), byte(sum)})
	file := make([]byte, n*bytes)
	for i := range n - n/4 {
		b := file[i*bytes:][:bytes]
		_, _ = rng.Read(b[100 : bytes-8])
		be.PutUint16(b[fieldType:], 17855)
		if i == 0 && first == 0 {
			clear(b[fieldBody:])
			be.PutUint16(b[fieldType:], 8)
			be.PutUint32(b[fieldFlags:], flags)
			// The first extent is in use as far as pages are, the rest of it free.
			for p := n - n/4 - 2; p < n; p++ {
				b[150+24+p*2/8] |= 1 << (p * 2 % 8)
			}
		}
		be.PutUint32(b[fieldSpace:], space)
		seal(sum, b, first+page.No(i))
	}
	return file
}

func seal(sum page.InnoDB, b []byte, no page.No) { sum.Seal(b, page.Seed{No: no}, 7000+page.LSN(no)) }

// madeFlags are those of a file, as the server writes them.
func madeFlags(sum page.InnoDB, bytes int) uint32 {
	n := uint32(0)
	for s := 512; s < bytes; s *= 2 {
		n++
	}
	switch {
	case sum == page.InnoDBFullCRC32:
		return n | flagFull
	case bytes == 16<<10:
		return 0x21
	}
	return n<<6 | 0x21
}

// TestInnoDBKinds: every checksum and page size, told from the first page and, where that is
// damaged, from the others.
func TestInnoDBKinds(t *testing.T) {
	for _, sum := range []page.InnoDB{page.InnoDBFullCRC32, page.InnoDBCRC32} {
		for bytes := page.MinSize; bytes <= page.MaxSize; bytes *= 2 {
			x := tree{"a.ibd": madeSpace(sum, bytes, 16, 9, 0, madeFlags(sum, bytes))}
			v := verifyInnoDB(t, x.write(t))
			if !v.OK || v.Files[0].PageBytes != bytes || v.Pages != 16 || v.Empty != 4 || len(v.Notes) != 0 {
				t.Errorf("%s, %d: %+v", sum.Name(), bytes, v)
			}
			v = verifyInnoDB(t, x.at("a.ibd", 60, 1).write(t))
			if v.OK || v.Files[0].PageBytes != bytes || v.Damaged != 1 || len(v.Notes) != 1 {
				t.Errorf("%s, %d, headless: %+v", sum.Name(), bytes, v)
			}
		}
	}
}

func TestInnoDBServer(t *testing.T) {
	const n = 16 << 10
	full := madeFlags(page.InnoDBFullCRC32, n)
	sound := func() tree {
		return tree{
			"ibdata1": madeSpace(page.InnoDBCRC32, n, 256, 0, 0, 0), "ibdata2": madeSpace(page.InnoDBCRC32, n, 8, 0, 256, 0),
			"undo001": madeSpace(page.InnoDBFullCRC32, n, 16, 5, 0, full), "x/t.ibd": madeSpace(page.InnoDBFullCRC32, n, 16, 9, 0, full),
			"x/old.ibd": madeSpace(page.InnoDBCRC32, n, 16, 11, 0, 0), "x/t.frm": []byte("no page"), "ib_logfile0": []byte("nor this"),
			"ibtmp1": []byte("nor this"), "#innodb_temp/temp_1.ibt": []byte("nor this"), "aria_log.00000001": nil,
		}
	}
	for _, c := range []struct {
		what      string
		change    func(x tree)
		want      []string
		notes     []string
		unchecked uint64
		free      uint64
	}{
		{what: "sound", unchecked: 128},
		{what: "a bit each", unchecked: 128, change: func(x tree) {
			x.at("x/t.ibd", 3*n+500, 1).at("undo001", 2*n+4, 1).at("ibdata1", 5*n+n-1, 1).at("ibdata2", n+9000, 2)
		}, want: []string{"ibdata1/5: the LSN ends in", "ibdata2/1: checksum", "undo001/2: checksum", "x/t.ibd/3: checksum"}},
		{what: "in the doublewrite buffer", unchecked: 128, change: func(x tree) { x.at("ibdata1", 70*n+900, 1) }},
		{what: "zeroed", unchecked: 128, change: func(x tree) { clear(x["x/t.ibd"][4*n : 5*n]) }},
		{what: "first page zeroed", unchecked: 128, change: func(x tree) { clear(x["x/t.ibd"][:n]) },
			want: []string{"x/t.ibd/0: all zeros"}, notes: []string{"does not say what the file is"}},
		{what: "another block of the file", unchecked: 128, change: func(x tree) { copy(x["x/t.ibd"][4*n:5*n], x["x/t.ibd"][6*n:]) },
			want: []string{"x/t.ibd/4: it says it is page 6 of space 9"}},
		{what: "the same block of another file", unchecked: 128, change: func(x tree) { copy(x["x/t.ibd"][4*n:5*n], x["undo001"][4*n:]) },
			want: []string{"x/t.ibd/4: it says it belongs to space 5"}},
		{what: "a free page", unchecked: 128, free: 1, change: func(x tree) { x.at("x/t.ibd", 11*n+700, 1) },
			notes: []string{"1 pages do not check and are free"}},
		{what: "a free page of a damaged descriptor", unchecked: 128, change: func(x tree) { x.at("x/t.ibd", 11*n+700, 1).at("x/t.ibd", 900, 1) },
			want: []string{"x/t.ibd/0: checksum", "x/t.ibd/11: checksum"}, notes: []string{"does not say"}},
		{what: "written without checksums", unchecked: 129, change: func(x tree) { seal(page.InnoDBNone, x["x/old.ibd"][3*n:4*n], 3) }},
		{what: "that, and torn", unchecked: 128, change: func(x tree) {
			seal(page.InnoDBNone, x["x/old.ibd"][3*n:4*n], 3)
			x.at("x/old.ibd", 4*n-1, 1)
		}, want: []string{"x/old.ibd/3: the LSN ends in"}},
		{what: "a type that says encrypted in a file that does not", unchecked: 128, change: func(x tree) {
			be.PutUint16(x["x/old.ibd"][3*n+fieldType:], 15)
		}, want: []string{"x/old.ibd/3: the file's flags do not"}},
		{what: "encrypted by MySQL", unchecked: 128 + 11, change: func(x tree) {
			x["x/old.ibd"] = madeSpace(page.InnoDBCRC32, n, 16, 11, 0, 0x21|flagEncrypted)
			for i := 1; i < 12; i++ {
				b := x["x/old.ibd"][i*n:]
				be.PutUint16(b[fieldType:], 15)
				b[5000] ^= 1
			}
		}},
		{what: "compressed by MySQL", unchecked: 129, change: func(x tree) {
			b := x["x/old.ibd"][3*n:]
			be.PutUint16(b[fieldType:], 14)
			b[fieldKey], b[fieldKey+1] = 2, 1
		}},
		{what: "no page of it", unchecked: 128, change: func(x tree) { x["x/t.ibd"] = []byte(strings.Repeat("not a page ", 9999)) },
			want: []string{"x/t.ibd/0: no page at its beginning checks"}},
		{what: "cut short", unchecked: 128, change: func(x tree) { x["x/t.ibd"] = x["x/t.ibd"][:9*n+77] },
			want: []string{"x/t.ibd/9: ends 77 bytes"}},
	} {
		x := sound()
		if c.change != nil {
			c.change(x)
		}
		v := verifyInnoDB(t, x.write(t))
		expect(t, c.what, v, c.want, c.notes)
		if v.Unchecked != c.unchecked || v.Free != c.free {
			t.Errorf("%s: %d unchecked, %d free and damaged", c.what, v.Unchecked, v.Free)
		}
	}
}

// TestInnoDBCompressed: ROW_FORMAT=COMPRESSED, pages of 4 KiB in a server with 16.
func TestInnoDBCompressed(t *testing.T) {
	const n = 4096
	file := make([]byte, 10*n)
	rng := rand.NewChaCha8([32]byte{1})
	for i := range 8 {
		b := file[i*n:][:n]
		_, _ = rng.Read(b[600:])
		be.PutUint32(b[fieldNo:], uint32(i))
		be.PutUint32(b[fieldSpace:], 6)
		if i == 0 {
			be.PutUint32(b[fieldFlags:], 3<<1|0x21)
		}
		c := func(b []byte) uint32 { return crc32.Checksum(b, page.Castagnoli) }
		be.PutUint32(b, c(b[4:16])^c(b[24:26])^c(b[34:]))
	}
	x := tree{"z.ibd": file}
	v := verifyInnoDB(t, x.write(t))
	if expect(t, "sound", v, nil, nil); v.Files[0].PageBytes != n || !strings.Contains(v.Files[0].Kind, "COMPRESSED from 16 KiB") {
		t.Errorf("%+v", v.Files)
	}
	expect(t, "damaged", verifyInnoDB(t, x.at("z.ibd", 5*n+3000, 1).write(t)), []string{"z.ibd/5: checksum"}, nil)
	copy(file[6*n:7*n], file[7*n:8*n])
	expect(t, "moved", verifyInnoDB(t, tree{"z.ibd": file}.write(t)), []string{"z.ibd/6: it says it is page 7"}, nil)
}

func TestInnoDBRefused(t *testing.T) {
	if _, err := InnoDB(t.Context(), Options{Path: tree{"a.txt": nil}.write(t)}); err == nil || !strings.Contains(err.Error(), "no data file of InnoDB's") {
		t.Error(err)
	}
	if _, err := InnoDB(t.Context(), Options{Path: t.TempDir(), PageBytes: 5000}); err == nil {
		t.Error("pages of 5000 bytes were taken")
	}
	if _, err := InnoDB(t.Context(), Options{Path: filepath.Join(t.TempDir(), "nothing")}); err == nil {
		t.Error("nothing was taken for something")
	}
}

func FuzzKind(f *testing.F) {
	f.Add(madeSpace(page.InnoDBFullCRC32, 4096, 4, 9, 0, madeFlags(page.InnoDBFullCRC32, 4096)))
	f.Add(madeSpace(page.InnoDBCRC32, 4096, 4, 9, 0, madeFlags(page.InnoDBCRC32, 4096)))
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, head []byte) {
		k, first, _ := findKind(head, 0)
		if k == nil {
			return
		}
		_ = k.String()
		for i := 0; (i+1)*k.physical <= len(head); i++ {
			_ = k.check(head[i*k.physical:][:k.physical], first+page.No(i))
		}
	})
}

// TestInnoDBEncrypted: MariaDB's encryption data is found where a server of 16 KiB pages puts it.
func TestInnoDBEncrypted(t *testing.T) {
	const n = 16 << 10
	file := madeSpace(page.InnoDBFullCRC32, n, 8, 4, 0, madeFlags(page.InnoDBFullCRC32, n))
	copy(file[10428:], "s\x0e\x0cREt\x01\x10")
	seal(page.InnoDBFullCRC32, file[:n], 0)
	v := verifyInnoDB(t, tree{"e.ibd": file}.write(t))
	if !v.OK || v.Files[0].Kind != "full_crc32, encrypted by MariaDB" {
		t.Errorf("%+v", v.Files)
	}
}
