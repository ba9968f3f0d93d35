//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/untorn/untorn/hwprobe/nvmebed/spec"
)

const mib = 1 << 20

// errnos tries every column of the table on one device, or on a new file of a mounted file system,
// and returns a letter for each.
func errnos(path string, inside bool) (string, error) {
	if inside {
		path = filepath.Join(path, "writes")
		if err := os.WriteFile(path, make([]byte, 8*mib), 0o600); err != nil {
			return "", err
		}
		defer os.Remove(path)
	}
	direct, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(direct)
	buffered, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(buffered)
	if err := unix.Fsync(buffered); err != nil {
		return "", err
	}
	mem, err := unix.Mmap(-1, 0, 4*mib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return "", err
	}
	defer unix.Munmap(mem)
	for i := range mem {
		mem[i] = byte(i >> 8)
	}
	one := func(n int) [][]byte { return [][]byte{mem[:n]} }
	var out []byte
	for _, c := range spec.Columns {
		fd, iov, off, n := direct, one(4096), int64(0), 4096
		switch c {
		case "512":
			iov, n = one(512), 512
		case "4K":
		case "8K":
			iov, n = one(8192), 8192
		case "16K":
			iov, n = one(16384), 16384
		case "64K":
			iov, n = one(65536), 65536
		case "128K":
			iov, n = one(131072), 131072
		case "1M":
			iov, n = one(mib), mib
		case "12K":
			iov, n = one(12288), 12288
		case "misaligned":
			off = 512
		case "2 buffers":
			iov = [][]byte{mem[:2048], mem[8192 : 8192+2048]}
		case "mem+1":
			iov = [][]byte{mem[1:4097]}
		case "buffered":
			fd = buffered
		default:
			return "", fmt.Errorf("no such column %q", c)
		}
		out = append(out, try(fd, iov, off, n))
	}
	return string(out), nil
}

func try(fd int, iov [][]byte, off int64, want int) byte {
	n, err := unix.Pwritev2(fd, iov, off, unix.RWF_ATOMIC)
	switch {
	case err == unix.EINVAL:
		return 'I'
	case err == unix.EOPNOTSUPP:
		return 'N'
	case err != nil:
		return '?'
	case n != want:
		return 's' // short: never to be seen
	case !landed(fd, iov, off, n):
		return 'c' // other bytes read back
	}
	return 'o'
}

// landed reads back what was written, past the page cache as it was written.
func landed(fd int, iov [][]byte, off int64, n int) bool {
	back, err := unix.Mmap(-1, 0, max(n, 4096), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return false
	}
	defer unix.Munmap(back)
	got, err := unix.Pread(fd, back[:n], off)
	return err == nil && got == n && bytes.Equal(back[:n], bytes.Join(iov, nil))
}
