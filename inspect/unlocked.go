package inspect

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/untorn/untorn/fsys"
)

// unlocked is a file system on which nothing can be changed, and whose locks mean nothing.
type unlocked struct{ fsys.FS }

var errLookOnly = errors.New("only looking")

func refuse(op, path string) error { return &fs.PathError{Op: op, Path: path, Err: errLookOnly} }

func (unlocked) Mkdir(path string) error     { return refuse("mkdir", path) }
func (unlocked) Rename(from, _ string) error { return refuse("rename", from) }
func (unlocked) Remove(path string) error    { return refuse("remove", path) }
func (unlocked) SyncDir(path string) error   { return refuse("flush", path) }

func (u unlocked) Open(path string, f fsys.OpenFlags) (fsys.File, error) {
	if f.Create {
		return nil, refuse("create", path)
	}
	f.ReadOnly = true
	x, err := u.FS.Open(path, f)
	if err != nil {
		return nil, err
	}
	return unlockedFile{x}, nil
}

type unlockedFile struct{ fsys.File }

func (unlockedFile) Lock(bool) error                  { return nil }
func (f unlockedFile) Truncate(int64) error           { return refuse("truncate", f.Name()) }
func (f unlockedFile) Preallocate(int64, int64) error { return refuse("preallocate", f.Name()) }

// wrong is a fault found in a file, with its path in front.
func wrong(path string, err error) error { return fmt.Errorf("%s: %w", path, err) }
