package tablespace

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn/page"
)

// madeControl is a pg_control of version 1300 as far as it is read.
func madeControl(state, checksums, block uint32) []byte {
	le := binary.LittleEndian
	b := make([]byte, controlBytes)
	le.PutUint32(b[8:], 1300)
	le.PutUint32(b[12:], 202209061)
	le.PutUint32(b[16:], state)
	const at = 208
	le.PutUint64(b[at:], math.Float64bits(1234567))
	le.PutUint32(b[at+8:], block)
	le.PutUint32(b[at+12:], 131072)
	le.PutUint32(b[at+44:], checksums)
	le.PutUint32(b[at+80:], crc32.Checksum(b[:at+80], page.Castagnoli))
	return b
}

// madeRelation is a file of n sound pages, the third of them new, from block first on.
func madeRelation(n int, first page.No) []byte {
	var file []byte
	rng := rand.NewChaCha8([32]byte{byte(first), byte(n)})
	for i := range n {
		b := make([]byte, pgPage)
		if i != 2 {
			_, _ = rng.Read(b[100:])
			page.Postgres{}.Seal(b, page.Seed{No: first + page.No(i)}, page.LSN(500+i))
		}
		file = append(file, b...)
	}
	return file
}

type tree map[string][]byte

// write makes the files of a tree below a new directory.
func (x tree) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range x {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func madeCluster() tree {
	return tree{
		"PG_VERSION": []byte("15\n"), "global/pg_control": madeControl(1, 1, pgPage),
		"base/5/16384": madeRelation(8, 0), "base/5/16384.1": madeRelation(4, 131072),
		"base/5/16384.12":  madeRelation(3, 12*131072),
		"base/5/16384_fsm": madeRelation(3, 0), "base/5/16384_vm": madeRelation(1, 0),
		"base/5/16390_init": madeRelation(1, 0), "base/5/t3_16391": madeRelation(2, 0), "base/5/16399": nil,
		"base/5/PG_VERSION": []byte("15\n"), "base/5/pg_filenode.map": []byte("no pages"),
		"base/5/pg_internal.init.77": []byte("nor this"), "base/pgsql_tmp/pgsql_tmp7.0": []byte("nor this"),
		"global/1262":                   madeRelation(2, 0),
		"elsewhere/PG_15_202209061/5/7": madeRelation(2, 0), "elsewhere/PG_14_202107181/5/7": []byte("of another server"),
	}
}

// at changes bytes of one file of a tree.
func (x tree) at(name string, off int, b ...byte) tree {
	x[name] = append([]byte(nil), x[name]...)
	for i := range b {
		x[name][off+i] ^= b[i]
	}
	return x
}

func TestPostgresCluster(t *testing.T) {
	other := madeRelation(8, 0)
	for _, c := range []struct {
		what   string
		change func(x tree)
		want   []string // findings, as FILE/PAGE: words
		notes  []string
		live   bool
	}{
		{what: "sound"},
		{what: "the last bit", change: func(x tree) { x.at("base/5/16384", 8*pgPage-1, 1) },
			want: []string{"base/5/16384/7: checksum"}},
		{what: "the checksum", change: func(x tree) { x.at("base/5/16384", pgPage+8, 1) },
			want: []string{"base/5/16384/1: checksum"}},
		{what: "in three files", change: func(x tree) {
			x.at("base/5/16384_fsm", 200, 1).at("global/1262", pgPage+9, 4).at("elsewhere/PG_15_202209061/5/7", 30, 8)
		}, want: []string{"base/5/16384_fsm/0: checksum", "global/1262/1: checksum", "pg_tblspc/77/PG_15_202209061/5/7/0: checksum"}},
		{what: "second segment", change: func(x tree) { x.at("base/5/16384.1", pgPage+99, 1) },
			want: []string{"base/5/16384.1/1: block 131073"}},
		{what: "another's block", change: func(x tree) {
			x["base/5/16384"] = append(append(append([]byte(nil), other[:5*pgPage]...), other[:pgPage]...), other[6*pgPage:]...)
		}, want: []string{"base/5/16384/5: computed"}},
		{what: "zeroed", change: func(x tree) {
			x["base/5/16384"] = append(append(append([]byte(nil), other[:5*pgPage]...), make([]byte, pgPage)...), other[6*pgPage:]...)
		}},
		{what: "a new page with something in it", change: func(x tree) { x.at("base/5/16384", 2*pgPage+4000, 1) },
			want: []string{"base/5/16384/2: not all zeros"}},
		{what: "cut short", change: func(x tree) { x["base/5/16384"] = other[:7*pgPage+100] },
			want: []string{"base/5/16384/7: ends 100 bytes into"}},
		{what: "cut short while running", live: true, change: func(x tree) {
			x["postmaster.pid"] = []byte(strconv.Itoa(os.Getpid()) + "\n/data\n")
			x["base/5/16384"] = other[:7*pgPage+100]
		}, notes: []string{"the server is running", "may be growing"}},
		{what: "running and damaged", live: true, change: func(x tree) {
			x["postmaster.pid"] = []byte(strconv.Itoa(os.Getpid()) + "\n/data\n")
			x.at("base/5/16384", 5, 1)
		}, want: []string{"base/5/16384/0: checksum"}, notes: []string{"the server is running"}},
		{what: "crashed", live: true, change: func(x tree) { x["global/pg_control"] = madeControl(6, 1, pgPage) },
			notes: []string{`pg_control says "in production"`}},
		{what: "died", live: true, change: func(x tree) {
			x["global/pg_control"] = madeControl(6, 1, pgPage)
			x["postmaster.pid"] = []byte("999999999\n")
		}, notes: []string{"which is gone"}},
		{what: "a file of nobody's", change: func(x tree) { x["base/5/notes.txt"] = []byte("hello") },
			notes: []string{"base/5/notes.txt is no file of a relation"}},
		{what: "control damaged", change: func(x tree) { x.at("global/pg_control", 40, 1) },
			notes: []string{"pg_control fails its own checksum"}},
	} {
		x := madeCluster()
		if c.change != nil {
			c.change(x)
		}
		dir := x.write(t)
		if err := os.Mkdir(filepath.Join(dir, "pg_tblspc"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "pg_tblspc", "77")); err != nil {
			t.Fatal(err)
		}
		v := verifyPostgres(t, dir)
		expect(t, c.what, v, c.want, c.notes)
		if v.InUse != c.live {
			t.Errorf("%s: in use %v", c.what, v.InUse)
		}
		if len(v.Files) != 10 {
			t.Errorf("%s: %d files", c.what, len(v.Files))
		}
		if c.what == "sound" && (v.Pages != 26 || v.Empty != 4 || v.Bytes != 26*pgPage) {
			t.Errorf("sound: %d pages, %d empty, %d bytes", v.Pages, v.Empty, v.Bytes)
		}
	}
}

// expect compares findings and notes with what they should say.
func expect(t *testing.T, what string, v *Verdict, want, notes []string) {
	t.Helper()
	if v.OK != (len(want) == 0) || len(v.Findings) != len(want) {
		t.Errorf("%s: ok %v, %d findings, want %q: %+v", what, v.OK, len(v.Findings), want, v.Findings)
		return
	}
	for i, f := range v.Findings {
		place, words, _ := strings.Cut(want[i], ": ")
		if got := f.File + "/" + strconv.FormatUint(f.Page, 10); got != place || !strings.Contains(f.What, words) {
			t.Errorf("%s: %s: %s; want %s", what, got, f.What, want[i])
		}
	}
	if len(v.Notes) != len(notes) {
		t.Errorf("%s: notes %q", what, v.Notes)
	}
	for i := range min(len(notes), len(v.Notes)) {
		if !strings.Contains(v.Notes[i], notes[i]) {
			t.Errorf("%s: %q says nothing of %q", what, v.Notes[i], notes[i])
		}
	}
	var b strings.Builder
	if err := v.Write(&b); err != nil || !strings.Contains(b.String(), "pages sound") ||
		len(want) > 0 && !strings.Contains(b.String(), "damaged  ") {
		t.Errorf("%s: %v:\n%s", what, err, b.String())
	}
}

func TestPostgresRefused(t *testing.T) {
	big := madeControl(1, 1, pgPage)
	clear(big[208:216])
	binary.BigEndian.PutUint64(big[208:], math.Float64bits(1234567))
	for _, c := range []struct {
		what string
		x    tree
		o    Options
		want error
		says string
	}{
		{"no cluster", tree{"a": nil}, Options{}, ErrNotCluster, ""},
		{"checksums off", tree{"global/pg_control": madeControl(1, 0, pgPage)}, Options{}, ErrNoChecksums, ""},
		{"big endian", tree{"global/pg_control": big}, Options{}, ErrControl, "big-endian"},
		{"short control", tree{"global/pg_control": []byte("x")}, Options{}, ErrControl, ""},
		{"no mark", tree{"global/pg_control": make([]byte, 8192)}, Options{}, ErrControl, ""},
		{"blocks of 3", tree{"global/pg_control": madeControl(1, 1, 3)}, Options{}, ErrControl, ""},
		{"another page size", madeCluster(), Options{PageBytes: 4096}, nil, "8192 bytes, not 4096"},
	} {
		c.o.Path = c.x.write(t)
		_, err := Postgres(t.Context(), c.o)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	for _, n := range []int{100, 3000, 65536} {
		path := filepath.Join(tree{"16384": madeRelation(1, 0)}.write(t), "16384")
		if _, err := Postgres(t.Context(), Options{Path: path, PageBytes: n}); err == nil {
			t.Errorf("blocks of %d were taken", n)
		}
	}
}

// TestPostgresOneFile: the segment is in the name, the page size in the options.
func TestPostgresOneFile(t *testing.T) {
	dir := tree{"16384.3": madeRelation(5, 3*131072), "small": nil}.write(t)
	if v := verifyPostgres(t, filepath.Join(dir, "16384.3")); !v.OK || v.Pages != 5 {
		t.Errorf("%+v", v)
	}
	b := make([]byte, 16384)
	for i := range 4 {
		page.Postgres{}.Seal(b[i*4096:][:4096], page.Seed{No: 262144 + page.No(i)}, 9)
	}
	path := filepath.Join(dir, "700.1")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := Postgres(t.Context(), Options{Path: path, PageBytes: 4096})
	if err != nil || !v.OK || v.Pages != 4 {
		t.Errorf("blocks of 4 KiB: %+v, %v", v, err)
	}
	if v := verifyPostgres(t, path); v.OK {
		t.Error("read as blocks of 8 KiB it is sound")
	}
}

// TestReadTwice: what looks damaged once and is whole then is whole.
func TestReadTwice(t *testing.T) {
	dir := tree{"a": make([]byte, 4*4096)}.write(t)
	for _, c := range []struct {
		live      bool
		bad       int // readings of page 2 that look damaged
		damaged   uint64
		readAgain uint64
	}{{false, 0, 0, 0}, {false, 1, 0, 1}, {false, 2, 1, 0}, {true, 3, 0, 1}, {true, 9, 1, 0}} {
		left := c.bad
		s := &survey{v: newVerdict("made", dir), live: c.live}
		s.files = []*file{{path: filepath.Join(dir, "a"), name: "a", size: 4 * 4096, pageBytes: 4096,
			check: func(_ []byte, no page.No) error {
				if no == 2 && left > 0 {
					left--
					return page.ErrDamaged
				}
				return nil
			}}}
		v, err := s.run(t.Context(), Options{}, time.Now())
		if err != nil || v.Damaged != c.damaged || v.Reread != c.readAgain || v.OK != (c.damaged == 0) {
			t.Errorf("%+v: %d damaged, %d read again, %v", c, v.Damaged, v.Reread, err)
		}
	}
}

func TestProgressAndCancel(t *testing.T) {
	dir := tree{"16384": madeRelation(300, 0)}.write(t)
	var last, of int64
	path := filepath.Join(dir, "16384")
	v, err := Postgres(t.Context(), Options{Path: path, Progress: func(done, total int64) { last, of = done, total }})
	if err != nil || of != v.Bytes || last > of {
		t.Errorf("%d of %d: %v", last, of, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Postgres(ctx, Options{Path: path}); err == nil {
		t.Error("cancelled, and a verdict all the same")
	}
}

func FuzzControl(f *testing.F) {
	f.Add(madeControl(1, 1, pgPage))
	f.Add(madeControl(6, 0, 32768)[:300])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseControl(b)
		if err == nil && (c.BlockBytes < 1024 || c.BlockBytes > 32768) {
			t.Fatalf("%+v", c)
		}
		if err == nil {
			_ = c.StateName()
		}
	})
}
