package tablespace

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn/page"
)

// mariadb makes a data directory with tables of every kind this server can make with the options,
// by feeding a server without a network that ends with its input.
func mariadb(s *server, name string, more string, options ...string) (data string) {
	s.t.Helper()
	data = filepath.Join(s.dir, name)
	s.do("mkdir", data)
	key := filepath.Join(s.dir, "key")
	if err := os.WriteFile(key, []byte("1;"+strings.Repeat("5a", 32)+"\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	sql := "create database x;\nuse x;\n" +
		"create table t(a int primary key, b varchar(200), key(b)) engine=innodb;\n" +
		"insert into t select seq, repeat(char(65 + seq % 26), seq % 200) from seq_1_to_6000;\n"
	for table, kind := range map[string]string{"z": "row_format=compressed", "p": "page_compressed=1",
		"e": "encrypted=yes", "pe": "encrypted=yes page_compressed=1", "r": "row_format=redundant"} {
		if table == "z" && (strings.Contains(name, "32k") || strings.Contains(name, "64k")) {
			continue // not with pages that large
		}
		sql += fmt.Sprintf("create table %s(a int primary key, b varchar(200)) engine=innodb %s;\n", table, kind) +
			fmt.Sprintf("insert into %s select a, b from t;\n", table)
	}
	sql += more
	args := append([]string{"--no-defaults", "--bootstrap", "--datadir=" + data, "--plugin-load-add=file_key_management",
		"--file-key-management-filename=" + key, "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=8M",
		"--innodb-buffer-pool-size=24M"}, options...)
	if out := s.feed(sql, "mariadbd", args...); strings.Contains(out, "ERROR: ") {
		s.t.Fatalf("%s: %s", name, out)
	}
	return data
}

// innochecksum asks the server's own tool about every file of a verdict.
func innochecksum(s *server, data string, files []File, options ...string) map[where]bool {
	s.t.Helper()
	bad := map[where]bool{}
	fail := regexp.MustCompile(`Fail: page::(\d+) invalid`)
	for _, f := range files {
		args := append(slices.Clone(options), "-a", "1000000", filepath.Join(data, f.Name))
		out, _ := s.command("innochecksum", args...).CombinedOutput() // its status says the same
		for _, m := range fail.FindAllStringSubmatch(string(out), -1) {
			no, _ := strconv.ParseUint(m[1], 10, 64)
			bad[where{f.Name, no}] = true
		}
	}
	return bad
}

func verifyInnoDB(t *testing.T, path string) *Verdict {
	t.Helper()
	v, err := InnoDB(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestRealInnoDB: files of a real server in both checksums and all page sizes, sound and damaged,
// judged by us and by innochecksum.
func TestRealInnoDB(t *testing.T) {
	s := newServer(t, "mariadbd", "innochecksum")
	for _, sum := range []string{"full_crc32", "crc32"} {
		for _, size := range []string{"4k", "8k", "16k", "32k", "64k"} {
			t.Run(sum+"-"+size, func(t *testing.T) {
				s.t = t
				agreeOnInnoDB(s, sum, size)
			})
		}
	}
}

func agreeOnInnoDB(s *server, sum, size string) {
	t := s.t
	data := mariadb(s, sum+"-"+size, "", "--innodb-page-size="+size, "--innodb-checksum-algorithm="+sum)
	defer os.RemoveAll(data)
	v := verifyInnoDB(t, data)
	kinds := map[string]string{}
	for _, f := range v.Files {
		kinds[f.Name] = f.Kind
		want := size
		if strings.Contains(f.Kind, "COMPRESSED") {
			continue // half of it, or less
		}
		if got := fmt.Sprintf("%dk", f.PageBytes>>10); got != want {
			t.Errorf("%s: pages of %s", f.Name, got)
		}
	}
	for file, want := range map[string]string{"ibdata1": sum, "x/t.ibd": sum, "x/e.ibd": sum + ", encrypted by MariaDB",
		"x/p.ibd": sum + ", page compressed", "x/pe.ibd": sum + ", page compressed, encrypted by MariaDB"} {
		if kinds[file] != want {
			t.Errorf("%s is taken for %q", file, kinds[file])
		}
	}
	if !v.OK {
		t.Errorf("sound files: %v", v.Findings)
	}
	compareInnoDB(t, s, data, v, "as made")

	changed, damaged := 0, 0
	for seed := range uint64(3) {
		d := newDamager(t, seed)
		changed += damageInnoDB(d, data, v)
		damaged += compareInnoDB(t, s, data, verifyInnoDB(t, data), fmt.Sprintf("seed %d", seed))
		d.restore()
	}

	// The page that says what the file is: innochecksum stops there, we find out from the others.
	d := newDamager(t, 9)
	for _, f := range v.Files {
		if !strings.Contains(f.Kind, "COMPRESSED") {
			d.page(filepath.Join(data, f.Name), f.PageBytes, 0, func(img, _ []byte) { d.flip(img[50:1000]) })
		}
	}
	headless := verifyInnoDB(t, data)
	for i, f := range headless.Files {
		if strings.Contains(f.Kind, "COMPRESSED") {
			continue
		}
		// Without the flags the compressed pages of a crc32 file cannot be told from damaged ones.
		if squeezed := sum == "crc32" && strings.Contains(kinds[f.Name], "page compressed"); f.PageBytes != v.Files[i].PageBytes ||
			!squeezed && f.Damaged != 1 {
			t.Errorf("%s without its first page: %s, pages of %d, %d damaged", f.Name, f.Kind, f.PageBytes, f.Damaged)
		}
	}
	d.restore()
	if damaged < changed/4 {
		t.Errorf("only %d of %d changed pages were damaged", damaged, changed)
	}
	t.Logf("%d files, %d pages, %d unchecked; 3 seeds, %d pages changed, %d of them damaged: the same ones as innochecksum says",
		len(v.Files), v.Pages, v.Unchecked, changed, damaged)
}

// compareInnoDB holds our findings against innochecksum's, which differ in known ways only, and says
// how many both have.
func compareInnoDB(t *testing.T, s *server, data string, v *Verdict, what string) int {
	t.Helper()
	ours := found(t, v)
	theirs := innochecksum(s, data, v.Files)
	for _, f := range v.Files {
		extent := max(64, 1<<20/max(f.PageBytes, 1))
		for no := range f.Pages {
			w := where{f.Name, no}
			switch {
			case f.Name == "ibdata1" && no >= uint64(extent) && no < 3*uint64(extent):
				// The doublewrite buffer holds pages of other places: innochecksum calls them invalid.
				delete(theirs, w)
			case ours[w] != "" && !theirs[w] && strings.HasPrefix(f.Kind, "crc32") && strings.Contains(f.Kind, "page compressed"):
				// innochecksum passes over compressed pages whatever they hold.
				delete(ours, w)
			}
		}
	}
	compare(t, what, ours, theirs)
	return len(theirs)
}

// damageInnoDB changes pages in many ways, none the first of a file, and says how many.
func damageInnoDB(d *damager, data string, v *Verdict) int {
	type change func(img, all []byte)
	changes := []change{
		func(img, _ []byte) { d.flip(img) },
		func(img, _ []byte) { d.flip(img[:4]) },
		func(img, _ []byte) { d.flip(img[4:8]) },   // page number
		func(img, _ []byte) { d.flip(img[16:24]) }, // LSN
		func(img, _ []byte) { d.flip(img[34:38]) }, // space id
		func(img, _ []byte) { d.flip(img[len(img)-8:]) },
		func(img, _ []byte) { d.flip(img[38:]) },
		func(img, _ []byte) { clear(img) },
		func(img, _ []byte) { clear(img[len(img)/2:]) },
		func(img, _ []byte) { clear(img[:512]) },
		func(img, all []byte) { copy(img, all[(1+d.rng.IntN(3))*len(img):][:len(img)]) }, // another's image
	}
	n := 0
	for _, f := range v.Files {
		used := f.Pages - f.Empty
		if used < 8 {
			continue
		}
		for i := range 12 {
			no := 1 + d.rng.Uint64N(used-1)
			d.page(filepath.Join(data, f.Name), f.PageBytes, no, changes[(i+int(no))%len(changes)])
			n++
		}
	}
	return n
}

// TestRealInnoDBPowerCuts: a table before and after it was updated, written through the engine.
func TestRealInnoDBPowerCuts(t *testing.T) {
	s := newServer(t, "mariadbd")
	for _, sum := range []page.InnoDB{page.InnoDBFullCRC32, page.InnoDBCRC32} {
		name := strings.ReplaceAll(strings.TrimPrefix(sum.Name(), "innodb-"), "-", "_")
		options := []string{"--innodb-page-size=16k", "--innodb-checksum-algorithm=" + name}
		data := mariadb(s, name, "", options...)
		table := filepath.Join(data, "x", "t.ibd")
		before, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		s.feed("update x.t set b = reverse(concat(b, 'y')) where a % 3 = 0;\n", "mariadbd",
			append([]string{"--no-defaults", "--bootstrap", "--datadir=" + data, "--plugin-load-add=file_key_management",
				"--file-key-management-filename=" + filepath.Join(s.dir, "key")}, options...)...)
		after, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(before[:32*16384], after[:32*16384]) {
			t.Error("the update changed nothing")
		}
		comeBackWhole(t, cutImages(sum, 16384, 32, before, after), 100)
	}
}

// TestRealInnoDBSystem: a system tablespace of two files, undo tablespaces, and a file alone.
func TestRealInnoDBSystem(t *testing.T) {
	s := newServer(t, "mariadbd", "innochecksum")
	more := "set global innodb_file_per_table=0;\ncreate table inside(a int primary key, b varchar(255)) engine=innodb;\n" +
		strings.Repeat("insert into inside select a + (select count(*) from inside), repeat('q', 255) from t;\n", 6)
	data := mariadb(s, "sys", more, "--innodb-page-size=8k", "--innodb-data-file-path=ibdata1:6M;ibdata2:4M:autoextend",
		"--innodb-undo-tablespaces=2")
	v := verifyInnoDB(t, data)
	if !v.OK {
		t.Errorf("sound files: %v", v.Findings)
	}
	byName := map[string]File{}
	for _, f := range v.Files {
		byName[f.Name] = f
	}
	second := byName["ibdata2"]
	if second.Pages-second.Empty < 10 || byName["undo001"].Pages == 0 || byName["undo002"].Pages == 0 {
		t.Fatalf("not what was asked for: %+v", v.Files)
	}
	d := newDamager(t, 1)
	d.page(filepath.Join(data, "ibdata2"), 8192, 3, func(img, _ []byte) { d.flip(img) })
	d.page(filepath.Join(data, "undo001"), 8192, 3, func(img, _ []byte) { d.flip(img) })
	ours := found(t, verifyInnoDB(t, data))
	for _, w := range []where{{"ibdata2", 3}, {"undo001", 3}} {
		if ours[w] == "" || len(ours) != 2 {
			t.Errorf("damaged: %v", ours)
		}
	}
	// The second file says nothing of itself: found out from its pages.
	alone := verifyInnoDB(t, filepath.Join(data, "ibdata2"))
	if alone.Damaged != 1 || alone.Files[0].PageBytes != 8192 || len(alone.Notes) != 1 {
		t.Errorf("alone: %+v", alone)
	}
	d.restore()

	// A running server locks its files, and that is said.
	c := s.command("mariadbd", "--no-defaults", "--bootstrap", "--datadir="+data, "--innodb-page-size=8k",
		"--innodb-data-file-path=ibdata1:6M;ibdata2:4M:autoextend", "--innodb-undo-tablespaces=2")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; {
		v := verifyInnoDB(t, data)
		if !v.OK {
			t.Errorf("running: %v", v.Findings)
		}
		if v.InUse && strings.Contains(strings.Join(v.Notes, " "), "the server is running") {
			break
		}
		if time.Since(begun) > 2*time.Minute {
			t.Errorf("running: in use %v, %q", v.InUse, v.Notes)
			break
		}
	}
	if err := in.Close(); err != nil { // ends it
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if v := verifyInnoDB(t, filepath.Join(data, "x", "t.ibd")); !v.OK || len(v.Files) != 1 || page.ValidSize(v.Files[0].PageBytes) == false {
		t.Errorf("one file: %+v", v)
	}
}
