package fsys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocate reserves the range and grows the size to cover it.
func allocate(fd int, off, n, _ int64) error {
	return retry(func() error { return unix.Fallocate(fd, 0, off, n) })
}

// deviceSize is the size of a block device in bytes.
func deviceSize(fd int) (int64, error) {
	var n uint64
	err := retry(func() error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64,
			uintptr(unsafe.Pointer(&n)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	return int64(n), err
}

// flushDir makes the entries of an open directory durable.
func flushDir(fd int) error {
	return retry(func() error { return unix.Fsync(fd) })
}
