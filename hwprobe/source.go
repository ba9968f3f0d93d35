package hwprobe

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSysfsBytes bounds one attribute: real ones fit a memory page.
const maxSysfsBytes = 64 << 10

// source reads /sys, /proc and /dev below a root, so that tests can lay out a tree of their own.
type source struct{ root string }

func (s source) path(p string) string { return filepath.Join(s.root, p) }

// text is the trimmed content of a file, as a Fact that remembers the path without the root.
func (s source) text(p string) Fact[string] {
	b, err := s.bytes(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Missing[string]("this kernel has no such file", p)
	case err != nil:
		return Missing[string](reason(err), p)
	}
	return Known(strings.TrimSpace(string(b)), p)
}

func (s source) num(p string) Fact[uint64] { return parseNum(s.text(p)) }

func (s source) bytes(p string) ([]byte, error) { return s.bytesMax(p, maxSysfsBytes) }

func (s source) bytesMax(p string, limit int) ([]byte, error) {
	f, err := os.Open(s.path(p))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = errors.New("larger than any such file")
	}
	return b, err
}

// list names the entries of a folder; nil where it cannot be read.
func (s source) list(p string) []string {
	es, err := os.ReadDir(s.path(p))
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(es))
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

func (s source) exists(p string) bool {
	_, err := os.Stat(s.path(p))
	return err == nil
}

// real resolves symbolic links and gives the path without the root.
func (s source) real(p string) (string, error) {
	full, err := filepath.EvalSymlinks(s.path(p))
	if err != nil {
		return "", err
	}
	root, err := filepath.EvalSymlinks(s.path("/"))
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(root, full)
	if err != nil {
		return "", err
	}
	return "/" + rel, nil
}

// link is the last element a symbolic link points to ("virtio_blk" for .../driver).
func (s source) link(p string) (string, bool) {
	t, err := os.Readlink(s.path(p))
	if err != nil {
		return "", false
	}
	return filepath.Base(t), true
}

// majorMinor parses "259:1".
func majorMinor(s string) (major, minor uint32, ok bool) {
	a, b, found := strings.Cut(strings.TrimSpace(s), ":")
	ma, err1 := strconv.ParseUint(a, 10, 32)
	mi, err2 := strconv.ParseUint(b, 10, 32)
	return uint32(ma), uint32(mi), found && err1 == nil && err2 == nil
}
