//go:build linux || darwin

package fsys

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Fd is the descriptor, or all ones once the file is closed, which no system call accepts.
func (o *file) Fd() uintptr { return uintptr(o.fd.Load()) }

func (o *file) Name() string { return o.path }

func (o *file) Direct() (bool, error) { return o.direct, o.why }

// open returns the descriptor, or fs.ErrClosed.
func (o *file) open(op string) (int, error) {
	fd := int(o.fd.Load())
	if fd == noFd {
		return fd, pathError(op, o.path, fs.ErrClosed)
	}
	return fd, nil
}

func (o *file) Size() (int64, error) {
	fd, err := o.open("size")
	if err != nil {
		return 0, err
	}
	n, err := o.size(fd)
	return n, pathError("size", o.path, err)
}

func (o *file) size(fd int) (int64, error) {
	if o.device {
		return deviceSize(fd)
	}
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(fd, &st) })
	return st.Size, err
}

func (o *file) Truncate(size int64) error {
	fd, err := o.open("truncate")
	if err != nil {
		return err
	}
	return pathError("truncate", o.path, ftruncate(fd, size))
}

func ftruncate(fd int, size int64) error {
	return retry(func() error { return unix.Ftruncate(fd, size) })
}

func (o *file) Preallocate(off, n int64) error {
	fd, err := o.open("preallocate")
	if err != nil {
		return err
	}
	if off < 0 || n < 0 || off+n < off {
		return pathError("preallocate", o.path, unix.EINVAL)
	}
	if n == 0 {
		return nil
	}
	was, err := o.size(fd)
	if err != nil {
		return pathError("preallocate", o.path, err)
	}
	if o.device { // a device has its space, or has it not
		if off+n > was {
			err = unix.ENOSPC
		}
		return pathError("preallocate", o.path, err)
	}
	err = allocate(fd, off, n, was)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = o.writeZeros(fd, was, off+n)
	}
	if err != nil {
		// ext4 grows the size as it allocates, and keeps what it got before it ran out.
		if now, serr := o.size(fd); serr == nil && now > was {
			err = errors.Join(err, ftruncate(fd, was))
		}
	}
	return pathError("preallocate", o.path, err)
}

// zeroStep is how much writeZeros writes at once.
const zeroStep = 1 << 20

// writeZeros reserves [was, end) on a file system that cannot preallocate, by filling it. Nothing
// below was is touched. Steps lie on multiples of the direct-I/O alignment; the odd ends become
// holes of less than one such block.
func (o *file) writeZeros(fd int, was, end int64) error {
	if end <= was {
		return nil
	}
	zeros, err := unix.Mmap(-1, 0, zeroStep, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_ANON|unix.MAP_PRIVATE) // mapped memory has the alignment direct I/O wants
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(zeros) }()
	align := int64(o.Align().Off)
	at := (was + align - 1) / align * align
	stop := (end + align - 1) / align * align
	for at < stop {
		var n int
		err := retry(func() error {
			n, err = unix.Pwrite(fd, zeros[:min(zeroStep, stop-at)], at)
			return err
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return unix.ENOSPC
		}
		at += int64(n) / align * align // a short direct write ends on a block; be safe if not
		if int64(n) < align {
			return unix.EIO
		}
	}
	return ftruncate(fd, end)
}

func (o *file) Lock(exclusive bool) error {
	fd, err := o.open("lock")
	if err != nil {
		return err
	}
	how := unix.LOCK_SH | unix.LOCK_NB
	if exclusive {
		how = unix.LOCK_EX | unix.LOCK_NB
	}
	err = retry(func() error { return unix.Flock(fd, how) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = &named{ErrLocked, err}
	}
	return pathError("lock", o.path, err)
}

// Close releases the descriptor; a second Close does nothing. EINTR from close(2) is not an error:
// the descriptor is gone, and closing it again could hit another file.
func (o *file) Close() error {
	fd := int(o.fd.Swap(noFd))
	if fd == noFd {
		return nil
	}
	err := unix.Close(fd)
	if errors.Is(err, unix.EINTR) {
		err = nil
	}
	return pathError("close", o.path, err)
}

// settle fills in what follows from the other fields.
func (a Align) settle() Align {
	a.Block = max(4096, a.Off, a.Physical)
	return a
}

// buffered is the alignment of I/O through the page cache: none.
var buffered = Align{Mem: 1, Off: 1}
