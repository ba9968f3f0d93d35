//go:build unix && !linux

package ring

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel does I/O by direct system calls. Systems other than Linux have no flags on a write: DSync
// is a write and a flush of the whole file, which is more than was asked for, and Atomic is
// refused.
type kernel struct{}

func (k *kernel) issue(op *Op) (int, syscall.Errno) {
	fd := int(op.File.Fd())
	if op.Kind == DataSync || op.Kind == Sync {
		return 0, flush(fd, op.Kind)
	}
	if op.Flags&Atomic != 0 {
		return 0, syscall.ENOTSUP
	}
	n, e := pieces(fd, op)
	if e == 0 && op.Flags&DSync != 0 && op.t.from+n >= op.t.length {
		e = flush(fd, DataSync)
	}
	return n, e
}

// pieces does a vectored request piece by piece: there is no request to keep in one.
func pieces(fd int, op *Op) (int, syscall.Errno) {
	if op.Vec == nil {
		return piece(fd, op.Kind, op.Buf[op.t.from:], op.Off+int64(op.t.from))
	}
	skip, at, total := op.t.from, op.Off, 0
	for _, b := range op.Vec {
		if skip >= len(b) {
			skip -= len(b)
			at += int64(len(b))
			continue
		}
		at += int64(skip)
		b, skip = b[skip:], 0
		n, e := piece(fd, op.Kind, b, at)
		if e != 0 {
			return 0, e
		}
		at += int64(n)
		total += n
		if n < len(b) {
			break
		}
	}
	return total, 0
}

func piece(fd int, k Kind, b []byte, off int64) (int, syscall.Errno) {
	b = b[:min(len(b), maxCall)]
	var n int
	var err error
	if k == Read {
		n, err = unix.Pread(fd, b, off)
	} else {
		n, err = unix.Pwrite(fd, b, off)
	}
	return max(n, 0), errno(err)
}

func errno(err error) syscall.Errno {
	var e syscall.Errno
	if err != nil && !errors.As(err, &e) {
		return syscall.EIO
	}
	return e
}
