package tablespace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/untorn/untorn/page"
)

// InnoDB checks every data file below a directory, or one file. What a file's pages look like is read
// from its first page, checksum first; where that page is damaged, it is found out from the others.
func InnoDB(ctx context.Context, o Options) (*Verdict, error) {
	begun := time.Now()
	st, err := os.Stat(o.Path)
	if err != nil {
		return nil, err
	}
	if n := o.PageBytes; n != 0 && !page.ValidSize(n) {
		return nil, fmt.Errorf("%d is no page size of InnoDB's: a power of two from %d to %d", n, page.MinSize, page.MaxSize)
	}
	s := &survey{v: newVerdict("innodb", o.Path)}
	root, err := filepath.EvalSymlinks(o.Path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		err = s.space(root, filepath.Base(o.Path), o, nil)
	} else {
		err = s.server(root, o)
	}
	if err != nil {
		return nil, err
	}
	return s.run(ctx, o, begun)
}

// ErrNoSpaces is a directory without a data file of InnoDB's.
var ErrNoSpaces = errors.New("no data file of InnoDB's in it: no ibdata*, undo*, *.ibd or *.ibu")

// server surveys a data directory.
func (s *survey) server(root string, o Options) error {
	var system []string
	var others []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir() && strings.HasPrefix(name, "#"):
			return fs.SkipDir // of MySQL: temporary tablespaces and the log
		case !d.Type().IsRegular():
		case systemPart(name) > 0 && filepath.Dir(path) == root:
			system = append(system, path)
		case strings.HasPrefix(name, "undo") || strings.HasPrefix(name, "innodb_undo"),
			strings.HasSuffix(name, ".ibd"), strings.HasSuffix(name, ".ibu"):
			others = append(others, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(system)+len(others) == 0 {
		return fmt.Errorf("%s: %w", root, ErrNoSpaces)
	}
	// The system tablespace goes on from file to file, and only the first tells its format.
	slices.SortFunc(system, func(a, b string) int { return systemPart(filepath.Base(a)) - systemPart(filepath.Base(b)) })
	var before *file
	for _, path := range system {
		n := len(s.files)
		if err := s.space(path, below(root, path), o, before); err != nil {
			return err
		}
		if len(s.files) > n {
			before = s.files[n]
		}
	}
	for _, path := range others {
		if err := s.space(path, below(root, path), o, nil); err != nil {
			return err
		}
	}
	return nil
}

// systemPart is N of ibdataN, 0 for another name.
func systemPart(name string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "ibdata"))
	if err != nil || !strings.HasPrefix(name, "ibdata") {
		return 0
	}
	return n
}

// headBytes is how much of a file is looked at to find out its format.
const headBytes = 4 << 20

// space adds a data file. before is the file of the system tablespace that it continues.
func (s *survey) space(path, name string, o Options, before *file) error {
	f, err := openFile(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // dropped meanwhile
		}
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if pid, held := locked(f); held && !s.live {
		s.live = true
		s.v.note("the server is running (process %d holds %s): pages being written are read again before they are called damaged; innochecksum would refuse", pid, name)
	}
	head := make([]byte, min(headBytes, st.Size()))
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		head = head[:n] // the run will name the pages that cannot be read
	}
	x := &file{path: path, name: name, size: st.Size()}
	var why string
	var k *kind
	if before != nil {
		k = before.innodb
		x.first = before.first + page.No(before.size/int64(before.pageBytes))
	} else if k, x.first, why = findKind(head[:n], o.PageBytes); k == nil {
		s.v.Findings = append(s.v.Findings, Finding{File: name, What: why, Whole: true})
		return nil
	} else if why != "" {
		s.v.note("%s: %s", name, why)
	}
	x.innodb, x.kind, x.pageBytes, x.check = k, k.String(), k.physical, k.check
	s.files = append(s.files, x)
	return nil
}
