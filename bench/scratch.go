package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// scratch is a directory of our own inside one the user named. Nothing else in there is touched.
type scratch struct {
	Path    string
	created []string // parents that were not there, deepest first
	keep    bool
}

// newScratch makes one in parent ("" = the current directory), with parents if need be.
func newScratch(parent string, keep bool) (*scratch, error) {
	if parent == "" {
		parent = "."
	}
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, err
	}
	s := &scratch{keep: keep}
	for p := parent; ; p = filepath.Dir(p) {
		if _, err := os.Lstat(p); err == nil || p == filepath.Dir(p) {
			break
		}
		s.created = append(s.created, p)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	if s.Path, err = os.MkdirTemp(parent, "untornbench-scratch-"); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// sub makes a directory in it.
func (s *scratch) sub(name string) (string, error) {
	p := filepath.Join(s.Path, name)
	return p, os.Mkdir(p, 0o700)
}

// room refuses what would not fit, before it fills the disk.
func (s *scratch) room(need int64) error {
	free, err := freeBytes(s.Path)
	if err != nil {
		return nil // not told: the disk itself will say
	}
	// A tenth stays free: a full disk is another benchmark.
	if free-free/10 < need {
		return fmt.Errorf("%s has %s free, this run takes about %s there: a smaller run, or another directory",
			filepath.Dir(s.Path), FormatBytes(free), FormatBytes(need))
	}
	return nil
}

// remove takes away what we made: the directory, and parents if they are empty again.
func (s *scratch) remove() error {
	if s.keep {
		return nil
	}
	var err error
	if s.Path != "" {
		err = os.RemoveAll(s.Path)
	}
	for _, p := range s.created {
		if os.Remove(p) != nil {
			break // not made, or somebody else uses it by now
		}
	}
	return err
}
