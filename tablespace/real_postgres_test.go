package tablespace

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/untorn/untorn/page"
)

const pgPage = 8192

// startPostgres makes a cluster with data checksums and a bit of everything in it, and starts it.
func startPostgres(t *testing.T) (s *server, data string) {
	t.Helper()
	s = newServer(t, "initdb", "pg_ctl", "pgbench", "psql", "pg_checksums")
	data = filepath.Join(s.dir, "d")
	s.do("initdb", "-k", "-N", "-A", "trust", "-U", "postgres", "-D", data)
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = conf.WriteString("listen_addresses=''\nunix_socket_directories='" + s.dir + "'\nfsync=off\nshared_buffers=8MB\nmax_wal_size=1GB\nautovacuum=off\n")
	}
	if err == nil {
		err = conf.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.do("pg_ctl", "-D", data, "-w", "-l", filepath.Join(s.dir, "log"), "start")
	t.Cleanup(func() { _ = s.command("pg_ctl", "-D", data, "-m", "immediate", "stop").Run() })
	s.do("mkdir", filepath.Join(s.dir, "ts"))
	s.do("pgbench", "-q", "-i", "-s", "3", "postgres")
	s.feed(`
		create tablespace elsewhere location '`+filepath.Join(s.dir, "ts")+`';
		create table far tablespace elsewhere as select g, repeat('x', g % 300) from generate_series(1, 20000) g;
		create unlogged table quick as select g from generate_series(1, 20000) g;
		create index on far using hash (g);
		create index on quick using brin (g);
		create table text as select g, to_tsvector(repeat(g::text || ' ', 20)) v from generate_series(1, 2000) g;
		create index on text using gin (v);
		delete from far where g % 7 = 0;
		vacuum far;
		select lo_from_bytea(0, decode(repeat('ab', 100000), 'hex'));
		checkpoint;
	`, "psql", "-v", "ON_ERROR_STOP=1", "-q", "postgres")
	return s, data
}

// pgChecksums asks the server's own tool.
func pgChecksums(s *server, data string) (bad map[where]bool, files, blocks uint64) {
	s.t.Helper()
	out, err := s.command("pg_checksums", "--check", "-D", data).CombinedOutput()
	bad = map[where]bool{}
	line := regexp.MustCompile(`checksum verification failed in file "([^"]+)", block (\d+)`)
	for _, m := range line.FindAllStringSubmatch(string(out), -1) {
		no, _ := strconv.ParseUint(m[2], 10, 64)
		rel, _ := strings.CutPrefix(m[1], data+"/")
		bad[where{rel, no}] = true
	}
	count := func(what string) uint64 {
		m := regexp.MustCompile(what + `:\s+(\d+)`).FindStringSubmatch(string(out))
		if m == nil {
			s.t.Fatalf("pg_checksums: %v\n%s", err, out)
		}
		n, _ := strconv.ParseUint(m[1], 10, 64)
		return n
	}
	if n := count("Bad checksums"); n != uint64(len(bad)) {
		s.t.Fatalf("pg_checksums names %d of %d", len(bad), n)
	}
	return bad, count("Files scanned"), count("Blocks scanned")
}

func verifyPostgres(t *testing.T, path string) *Verdict {
	t.Helper()
	v, err := Postgres(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestRealPostgres: a cluster, running and stopped, sound and damaged, judged by us and by
// pg_checksums.
func TestRealPostgres(t *testing.T) {
	s, data := startPostgres(t)
	heap := filepath.Join(data, strings.TrimSpace(s.do("psql", "-AtX", "-c", "select pg_relation_filepath('pgbench_accounts')", "postgres")))
	before, err := os.ReadFile(heap)
	if err != nil {
		t.Fatal(err)
	}

	// Running, and written to: nothing is called damaged.
	bench := s.command("pgbench", "-n", "-c", "4", "-T", "4", "postgres")
	if err := bench.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- bench.Wait() }()
	runs, reread := 0, uint64(0)
	for over := false; !over; runs++ {
		select {
		case err := <-ended:
			over = true
			if err != nil {
				t.Fatal(err)
			}
		default:
		}
		v := verifyPostgres(t, data)
		if !v.InUse || !strings.Contains(strings.Join(v.Notes, "\n"), "the server is running") {
			t.Fatalf("the running cluster: in use %v, %q", v.InUse, v.Notes)
		}
		reread += v.Reread
		for w, what := range found(t, v) {
			t.Errorf("running: %s: %s", w, what)
		}
	}
	t.Logf("running: checked %d times, %d pages were whole only when read again", runs, reread)

	s.do("pg_ctl", "-D", data, "-w", "-m", "fast", "stop")
	after, err := os.ReadFile(heap)
	if err != nil {
		t.Fatal(err)
	}
	comeBackWhole(t, cutImages(page.Postgres{}, pgPage, 48, before, after), 200)
	segment(t, heap)
	v := verifyPostgres(t, data)
	bad, files, blocks := pgChecksums(s, data)
	if v.InUse || !v.OK || uint64(len(v.Files)) != files || v.Pages != blocks || len(bad) != 0 {
		t.Fatalf("stopped: ok %v, in use %v, %d files, %d pages; pg_checksums: %d files, %d blocks, %d bad; %v",
			v.OK, v.InUse, len(v.Files), v.Pages, files, blocks, len(bad), v.Findings)
	}
	t.Logf("stopped: %d files, %d pages, %d empty, none damaged: as pg_checksums", len(v.Files), v.Pages, v.Empty)

	damaged, total := 0, 0
	for seed := range uint64(12) {
		d := newDamager(t, seed)
		total += damagePostgres(d, data, v, before, heap)
		ours := found(t, verifyPostgres(t, data))
		theirs, _, _ := pgChecksums(s, data)
		damaged += len(theirs)
		for w, what := range ours {
			// The server refuses a page whose header is that of a new one and which is not all zeros; its
			// offline tool passes over it.
			if strings.Contains(what, "new page") && !theirs[w] {
				delete(ours, w)
			}
		}
		compare(t, "seed "+strconv.FormatUint(seed, 10), ours, theirs)
		d.restore()
	}
	if v := verifyPostgres(t, data); !v.OK {
		t.Errorf("restored: %v", v.Findings)
	}
	if damaged < total/2 {
		t.Errorf("only %d of %d changed pages were damaged", damaged, total)
	}
	t.Logf("12 seeds, %d pages changed, %d of them damaged: the same ones as pg_checksums says", total, damaged)

	// One file alone, and a cluster that was not shut down.
	if v := verifyPostgres(t, heap); !v.OK || v.Pages != uint64(len(before)/pgPage) && v.Pages == 0 {
		t.Errorf("one file: %+v", v)
	}
	s.do("pg_ctl", "-D", data, "-w", "-l", filepath.Join(s.dir, "log"), "start")
	s.do("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
	if v := verifyPostgres(t, data); !v.InUse || !strings.Contains(strings.Join(v.Notes, " "), "not shut down") {
		t.Errorf("after an immediate stop: %q", v.Notes)
	}
	s.do("pg_ctl", "-D", data, "-w", "-l", filepath.Join(s.dir, "log"), "start")
	s.do("pg_ctl", "-D", data, "-w", "-m", "fast", "stop")
	s.do("pg_checksums", "--disable", "-N", "-D", data)
	if _, err := Postgres(t.Context(), Options{Path: data}); !errors.Is(err, ErrNoChecksums) {
		t.Errorf("checksums off: %v", err)
	}
}

// segment makes a second segment file of a relation from pages of the first, with checksums of ours
// for the block numbers they have there.
func segment(t *testing.T, heap string) {
	t.Helper()
	b, err := os.ReadFile(heap)
	if err != nil {
		t.Fatal(err)
	}
	b = b[:50*pgPage]
	for i := range 50 {
		img := b[i*pgPage:][:pgPage]
		page.Postgres{}.Seal(img, page.Seed{No: 131072 + page.No(i)}, page.Postgres{}.LSN(img))
	}
	if err := os.WriteFile(heap+".1", b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// damagePostgres changes pages of many files in many ways and says how many.
func damagePostgres(d *damager, data string, v *Verdict, before []byte, heap string) int {
	le := binary.LittleEndian
	type change func(img, all []byte)
	hole := func(img []byte) []byte {
		lower, upper := int(le.Uint16(img[12:])), int(le.Uint16(img[14:]))
		if lower >= upper || upper > len(img) {
			return img[:24]
		}
		return img[lower:upper]
	}
	changes := []change{
		func(img, _ []byte) { d.flip(img) },
		func(img, _ []byte) { d.flip(hole(img)) },
		func(img, _ []byte) { d.flip(img[:8]) },   // LSN
		func(img, _ []byte) { d.flip(img[8:10]) }, // checksum
		func(img, _ []byte) { d.flip(img[10:24]) },
		func(img, _ []byte) { le.PutUint16(img[8:], 0) },
		func(img, _ []byte) { img[14], img[15] = 0, 0 }, // the header of a new page
		func(img, _ []byte) { clear(img) },
		func(img, _ []byte) { clear(img[len(img)/2:]) },
		func(img, _ []byte) { clear(img[:512]) },
		func(img, all []byte) { copy(img, all[d.rng.IntN(len(all)/pgPage)*pgPage:][:pgPage]) }, // another block
		func(img, _ []byte) { copy(img[:2048], before[:2048]) },
	}
	var files []File
	for _, f := range v.Files {
		if f.Pages > 0 {
			files = append(files, f)
		}
	}
	seen := map[where]bool{}
	for i := range 60 {
		f := files[d.rng.IntN(len(files))]
		w := where{f.Name, d.rng.Uint64N(f.Pages)}
		if seen[w] {
			continue
		}
		seen[w] = true
		d.page(filepath.Join(data, w.file), pgPage, w.page, changes[i%len(changes)])
	}
	// Torn: the beginning of the image before the run with the end of the one after it.
	for range 20 {
		no := d.rng.Uint64N(uint64(len(before) / pgPage))
		w := where{heap, no}
		if !seen[w] {
			seen[w] = true
			cut := 512 * (1 + d.rng.IntN(15))
			d.page(heap, pgPage, no, func(img, _ []byte) { copy(img[:cut], before[no*pgPage:]) })
		}
	}
	return len(seen)
}
