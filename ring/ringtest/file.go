//go:build unix

package ringtest

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// File is a real file, opened for direct I/O where that is possible.
type File struct {
	*os.File
	Direct bool
}

// Fd implements ring.File.
func (f *File) Fd() uintptr { return f.File.Fd() }

// Create makes a file of size bytes in dir, all written once, so that no later write allocates.
func Create(t testing.TB, dir string, size int64) *File {
	t.Helper()
	b := CreateBuffered(t, dir, size)
	d, err := Open(t, b.Name())
	if err != nil {
		return b
	}
	b.Close()
	return d
}

// Open opens what is there for direct I/O.
func Open(t testing.TB, name string) (*File, error) {
	d, err := openDirect(name)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { d.Close() })
	return &File{File: d, Direct: true}, nil
}

// CreateBuffered is Create, with the page cache in between.
func CreateBuffered(t testing.TB, dir string, size int64) *File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "data"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	block := make([]byte, 1<<20)
	for left := size; left > 0; left -= int64(len(block)) {
		if _, err := f.Write(block[:min(left, int64(len(block)))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return &File{File: f}
}

// Memory is n bytes of page-aligned memory outside the Go heap. It is never given back.
func Memory(n int) []byte {
	if n == 0 {
		return nil
	}
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	return b
}
