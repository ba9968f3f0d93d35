package fsys

import (
	"errors"
	"io/fs"
	"syscall"
)

// named is an errno that also has a name of this package.
type named struct {
	name  error
	errno error
}

func (e *named) Error() string   { return e.name.Error() + " (" + e.errno.Error() + ")" }
func (e *named) Unwrap() []error { return []error{e.name, e.errno} }

// pathError says which operation failed on which path. Out of space and over quota get one name,
// because the engine answers both the same way: refuse, stay healthy.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = &named{ErrNoSpace, err}
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
