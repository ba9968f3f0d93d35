package fsys

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// goDirect turns on O_DIRECT for a description that was opened without it. The reason comes back
// when the file system refuses, or accepts and then goes through the page cache all the same.
func goDirect(fd int) (why error) {
	if err := setFlags(fd, unix.O_DIRECT, 0); err != nil {
		return fmt.Errorf("O_DIRECT refused: %w", err)
	}
	// A zero says that direct I/O on this file is quietly buffered: ext4 with data=journal or
	// fs-verity, btrfs with compression, ...
	mem, off, known := dioAlign(fd)
	if known && (mem == 0 || off == 0) {
		return errors.Join(errors.New("the file system does no direct I/O on this file"),
			setFlags(fd, 0, unix.O_DIRECT))
	}
	return nil
}

// dioAlign asks statx, which knows since Linux 6.1 and on most file systems.
func dioAlign(fd int) (mem, off int, known bool) {
	var st unix.Statx_t
	err := retry(func() error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	})
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return 0, 0, false
	}
	return int(st.Dio_mem_align), int(st.Dio_offset_align), true
}

func (o *file) Align() Align {
	if a := o.align.Load(); a != nil {
		return *a
	}
	a, certain := o.findAlign()
	if certain {
		o.align.Store(&a)
	}
	return a
}

// findAlign asks statx, then the block layer, then tries reads. Only an answer from an empty file
// that could not be tried is not certain: a later call asks again.
func (o *file) findAlign() (a Align, certain bool) {
	fd, err := o.open("align")
	if err != nil {
		return buffered.settle(), false
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return buffered.settle(), false
	}
	dev := uint64(st.Dev)
	if o.device {
		dev = uint64(st.Rdev)
	}
	q := queueOf(dev, o.path)
	a = buffered
	a.Physical = q.number("physical_block_size")
	if !o.direct {
		return a.settle(), true
	}
	if mem, off, known := dioAlign(fd); known && mem > 0 && off > 0 {
		a.Mem, a.Off = mem, off
		return a.settle(), true
	}
	if n := q.number("logical_block_size"); n > 0 {
		a.Mem, a.Off = n, n
		return a.settle(), true
	}
	n, certain := probeAlign(fd)
	if n == 0 {
		n = int(st.Blksize) // the file system's own block: aligned enough on every one known
	}
	a.Mem, a.Off = n, n
	return a.settle(), certain
}

// probeAlign finds the smallest alignment at which a direct read of this file works. It cannot
// tell from a file too short to read from, because a read past the end skips the check.
func probeAlign(fd int) (n int, certain bool) {
	const most = 64 << 10
	mem, err := unix.Mmap(-1, 0, 2*most, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return 0, false
	}
	defer func() { _ = unix.Munmap(mem) }()
	for n := 512; n <= most; n *= 2 {
		var got int
		err := retry(func() error {
			got, err = unix.Pread(fd, mem[n:2*n], int64(n))
			return err
		})
		switch {
		case errors.Is(err, unix.EINVAL):
			continue
		case err == nil && got > 0:
			return n, true
		default:
			return 0, false
		}
	}
	return 0, false
}
