package tablespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/untorn/untorn/page"
)

// segmentBytes is the length of a full segment file of a relation.
const segmentBytes = 1 << 30

// Postgres checks a data directory, or one file of a relation. It reads what pg_checksums reads:
// base, global and the tablespaces behind pg_tblspc, every fork; not temporary files, nor
// pg_control, pg_filenode.map, pg_internal.init and PG_VERSION, which are no pages.
//
// The error is ErrNoChecksums for a cluster without data checksums, and otherwise one of reading.
func Postgres(ctx context.Context, o Options) (*Verdict, error) {
	begun := time.Now()
	st, err := os.Stat(o.Path)
	if err != nil {
		return nil, err
	}
	s := &survey{v: newVerdict("postgres", o.Path)}
	if st.IsDir() {
		err = s.cluster(o)
	} else {
		var path string
		if path, err = filepath.EvalSymlinks(o.Path); err != nil {
			return nil, err
		}
		err = s.relationFile(path, filepath.Base(o.Path), st.Size(), pgPageBytes(o.PageBytes), 0)
	}
	if err != nil {
		return nil, err
	}
	return s.run(ctx, o, begun)
}

func newVerdict(format, path string) *Verdict {
	return &Verdict{Schema: 1, Format: format, Path: path, Findings: []Finding{}, Notes: []string{}}
}

func pgPageBytes(n int) int {
	if n == 0 {
		return 8 << 10
	}
	return n
}

// ErrNoChecksums is a cluster that has none.
var ErrNoChecksums = errors.New("data checksums are not enabled in this cluster: no page of it can be checked (pg_checksums --enable turns them on while it is shut down)")

// ErrNotCluster is a directory that is no data directory of PostgreSQL's.
var ErrNotCluster = errors.New("not a data directory of PostgreSQL: no global/pg_control")

// cluster surveys a data directory.
func (s *survey) cluster(o Options) error {
	c, err := readControl(filepath.Join(o.Path, "global", "pg_control"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", o.Path, ErrNotCluster)
	case err != nil:
		return err
	case c.Checksums == 0:
		return fmt.Errorf("%s: %w", o.Path, ErrNoChecksums)
	case o.PageBytes != 0 && o.PageBytes != c.BlockBytes:
		return fmt.Errorf("%s: the cluster has blocks of %d bytes, not %d", o.Path, c.BlockBytes, o.PageBytes)
	}
	if !c.Sound {
		s.v.note("pg_control fails its own checksum: the server would not start")
	}
	s.running(o.Path, c)
	for _, sub := range []string{"base", "global"} {
		if err := s.walk(sub, filepath.Join(o.Path, sub), c); err != nil {
			return err
		}
	}
	return s.tablespaces(o.Path, c)
}

// running says whether the server may be writing.
func (s *survey) running(dir string, c *control) {
	pid := 0
	b, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err == nil {
		first, _, _ := strings.Cut(string(b), "\n")
		pid, _ = strconv.Atoi(strings.TrimSpace(first))
	}
	gone := pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	const blocks = "blocks being written are read again before they are called damaged; pg_checksums would refuse"
	switch {
	case err == nil && !gone:
		s.live = true
		s.v.note("the server is running (postmaster.pid names process %d): %s", pid, blocks)
	case c.Stopped():
	case err == nil:
		s.live = true
		s.v.note("the server died (postmaster.pid names process %d, which is gone; pg_control says %s): recovery may repair torn blocks from the page images in its log", pid, c.StateName())
	default:
		s.live = true
		s.v.note("the cluster was not shut down (pg_control says %s): it may be running, or recovery may repair torn blocks from the page images in its log", c.StateName())
	}
}

// relation is the name of a file of a relation: its number (of a temporary one with the backend in
// front), fork and segment.
var relation = regexp.MustCompile(`^(t\d+_)?\d+(_(fsm|vm|init))?(\.(\d+))?$`)

// skipped reports whether pg_checksums passes over a name.
func skipped(name string) bool {
	switch name {
	case "pg_control", "pg_filenode.map", "PG_VERSION":
		return true
	}
	return strings.HasPrefix(name, "pg_internal.init") || strings.HasPrefix(name, "pgsql_tmp")
}

// walk surveys everything below dir, under the name called.
func (s *survey) walk(called, dir string, c *control) error {
	dir, err := filepath.EvalSymlinks(dir) // WalkDir would not go into a link
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if s.live && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		name := d.Name()
		shown := filepath.Join(called, below(dir, path))
		switch {
		case path == dir:
			return nil
		case skipped(name) && d.IsDir():
			return fs.SkipDir
		case d.IsDir() || skipped(name):
			return nil
		case !d.Type().IsRegular() || !relation.MatchString(name):
			s.v.note("%s is no file of a relation: not checked", shown)
			return nil
		}
		st, err := d.Info()
		if err != nil {
			if s.live && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		return s.relationFile(path, shown, st.Size(), c.BlockBytes, c.SegmentBlocks)
	})
}

// relationFile adds a file; its segment number is in its name. segment 0: a full segment has 1 GiB.
func (s *survey) relationFile(path, name string, bytes int64, pageBytes, segment int) error {
	if pageBytes < 1<<10 || pageBytes > 32<<10 || pageBytes&(pageBytes-1) != 0 {
		return fmt.Errorf("%s: %d is no block size of PostgreSQL's: a power of two from 1024 to 32768", path, pageBytes)
	}
	if segment == 0 {
		segment = segmentBytes / pageBytes
	}
	x := &file{path: path, name: name, kind: "main", size: bytes, pageBytes: pageBytes, check: checkPostgres}
	if m := relation.FindStringSubmatch(filepath.Base(path)); m != nil {
		if m[3] != "" {
			x.kind = m[3]
		}
		if m[5] != "" {
			n, err := strconv.ParseUint(m[5], 10, 32)
			if err != nil {
				return fmt.Errorf("%s: segment number: %w", path, err)
			}
			x.first = page.No(n) * page.No(segment)
		}
	}
	s.files = append(s.files, x)
	return nil
}

func checkPostgres(img []byte, no page.No) error {
	_, err := page.Postgres{}.Check(img, page.Seed{No: no})
	return err
}

// tablespaces surveys what pg_tblspc links to. Only the directory of this very server version counts
// there: another cluster may keep its own beside it.
func (s *survey) tablespaces(dir string, c *control) error {
	list, err := os.ReadDir(filepath.Join(dir, "pg_tblspc"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || len(list) == 0 {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return err
	}
	version := fmt.Sprintf("PG_%s_%d", strings.TrimSpace(string(b)), c.Catalog)
	for _, d := range list {
		if skipped(d.Name()) || d.Type().IsRegular() {
			continue
		}
		// The link is the layout: it leads out of the directory on purpose.
		to := filepath.Join(dir, "pg_tblspc", d.Name(), version)
		if _, err := os.Stat(to); err != nil {
			s.v.Findings = append(s.v.Findings, Finding{File: below(dir, to), What: "tablespace: " + err.Error(), Whole: true})
			continue
		}
		if err := s.walk(below(dir, to), to, c); err != nil {
			return err
		}
	}
	return nil
}
