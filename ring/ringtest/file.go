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
	name := filepath.Join(dir, "data")
	w, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for left := size; left > 0; left -= int64(len(block)) {
		if _, err := w.Write(block[:min(left, int64(len(block)))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	f := &File{File: w}
	if d, err := openDirect(name); err == nil {
		w.Close()
		f = &File{File: d, Direct: true}
	}
	t.Cleanup(func() { f.Close() })
	return f
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
