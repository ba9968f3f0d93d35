//go:build linux || darwin

package fsys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func mustOpen(t *testing.T, path string, f OpenFlags) File {
	t.Helper()
	o, err := OS().Open(path, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// wantError checks an error's names and that it says what was done to which path.
func wantError(t *testing.T, err error, path string, names ...error) {
	t.Helper()
	for _, n := range names {
		if !errors.Is(err, n) {
			t.Errorf("%v is not %v", err, n)
		}
	}
	var pe *fs.PathError
	if !errors.As(err, &pe) || pe.Op == "" || pe.Path != path {
		t.Errorf("%v does not carry operation and path %s", err, path)
	}
}

func TestOpenCreatesAndRefuses(t *testing.T) {
	dir, osfs := t.TempDir(), OS()
	file, link, sub := filepath.Join(dir, "a"), filepath.Join(dir, "l"), filepath.Join(dir, "d")
	fifo, gone := filepath.Join(dir, "p"), filepath.Join(dir, "gone")

	mustOpen(t, file, OpenFlags{Create: true})
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", st.Mode(), err)
	}
	if err := errors.Join(os.Symlink("a", link), osfs.Mkdir(sub), osfs.Mkdir(sub),
		unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		path  string
		flags OpenFlags
		want  error
	}{
		{file, OpenFlags{Create: true}, fs.ErrExist},
		{gone, OpenFlags{}, fs.ErrNotExist},
		{link, OpenFlags{}, ErrSymlink},
		{link, OpenFlags{Create: true}, ErrSymlink},
		{sub, OpenFlags{}, ErrNotFile},
		{fifo, OpenFlags{}, ErrNotFile},
		{"/dev/null", OpenFlags{Device: true}, ErrNotFile},
	}
	for _, c := range cases {
		_, err := osfs.Open(c.path, c.flags)
		wantError(t, err, c.path, c.want)
	}
	wantError(t, osfs.Mkdir(link), link, ErrSymlink)
	wantError(t, osfs.Mkdir(file), file, fs.ErrExist)
	wantError(t, osfs.SyncDir(link), link, ErrSymlink)
	wantError(t, osfs.Remove(sub), sub, ErrNotFile)
	wantError(t, osfs.Remove(gone), gone, fs.ErrNotExist)
	_, err := osfs.Stat(gone)
	wantError(t, err, gone, fs.ErrNotExist)
	_, err = osfs.Mount(link)
	wantError(t, err, link, ErrSymlink)
}

func TestSymlinkToADirectoryIsNotListed(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "l")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	_, err := OS().ReadDir(link)
	wantError(t, err, link, ErrSymlink)
}

func TestReadDirIsSortedAndTyped(t *testing.T) {
	dir, osfs := t.TempDir(), OS()
	a := mustOpen(t, filepath.Join(dir, "b"), OpenFlags{Create: true})
	if err := errors.Join(a.Truncate(123), osfs.Mkdir(filepath.Join(dir, "c")),
		os.Symlink("b", filepath.Join(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	got, err := osfs.ReadDir(dir)
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	for i, want := range []Entry{{Name: "a", Kind: Symlink}, {Name: "b", Size: 123, Kind: Regular},
		{Name: "c", Kind: Dir}} {
		if got[i].Name != want.Name || got[i].Kind != want.Kind ||
			want.Kind == Regular && got[i].Size != want.Size {
			t.Errorf("%d: %+v, want %+v", i, got[i], want)
		}
	}
}

func TestRenameReplacesAndSyncDir(t *testing.T) {
	dir, osfs := t.TempDir(), OS()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	fa := mustOpen(t, a, OpenFlags{Create: true})
	mustOpen(t, b, OpenFlags{Create: true})
	if err := errors.Join(fa.Truncate(7), osfs.Rename(a, b), osfs.SyncDir(dir)); err != nil {
		t.Fatal(err)
	}
	if e, err := osfs.Stat(b); err != nil || e.Size != 7 {
		t.Fatal(e, err)
	}
	if err := osfs.Remove(b); err != nil {
		t.Fatal(err)
	}
	if n, err := fa.Size(); err != nil || n != 7 {
		t.Fatal("an open file lives on after its name:", n, err)
	}
}

func TestPreallocate(t *testing.T) {
	f := mustOpen(t, filepath.Join(t.TempDir(), "f"), OpenFlags{Create: true, Direct: true})
	size := func(want int64) {
		t.Helper()
		if n, err := f.Size(); err != nil || n != want {
			t.Fatalf("size %d, want %d, %v", n, want, err)
		}
	}
	for _, c := range []struct{ off, n, size int64 }{
		{0, 8192, 8192}, {0, 4096, 8192}, {8192, 5000, 13192}, {0, 0, 13192},
	} {
		if err := f.Preallocate(c.off, c.n); err != nil {
			t.Fatal(err)
		}
		size(c.size)
	}
	wantError(t, f.Preallocate(-1, 4), f.Name(), syscall.EINVAL)
	size(13192)
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	size(4096)
}

// The road taken where fallocate is not supported: what is there stays, the rest becomes zeros.
func TestWriteZeros(t *testing.T) {
	for _, direct := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte("keep me"), 0o600); err != nil {
			t.Fatal(err)
		}
		o := mustOpen(t, path, OpenFlags{Direct: direct}).(*file)
		const end = 3<<20 + 77
		if err := o.writeZeros(int(o.Fd()), 7, end); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || len(got) != end || string(got[:7]) != "keep me" {
			t.Fatal(len(got), err)
		}
		for i, b := range got[7:] {
			if b != 0 {
				t.Fatal("not zero at", 7+i)
			}
		}
	}
}

func TestLockBelongsToTheDescription(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	a := mustOpen(t, path, OpenFlags{Create: true})
	b := mustOpen(t, path, OpenFlags{ReadOnly: true})
	if err := a.Lock(true); err != nil {
		t.Fatal(err)
	}
	wantError(t, b.Lock(false), path, ErrLocked)
	if err := errors.Join(a.Close(), a.Close(), b.Lock(false)); err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, path, OpenFlags{})
	if err := c.Lock(false); err != nil {
		t.Fatal("two readers share:", err)
	}
	wantError(t, c.Lock(true), path, ErrLocked)
}

func TestClosedFile(t *testing.T) {
	f := mustOpen(t, filepath.Join(t.TempDir(), "f"), OpenFlags{Create: true})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, serr := f.Size()
	for _, err := range []error{serr, f.Truncate(1), f.Preallocate(0, 1), f.Lock(true)} {
		wantError(t, err, f.Name(), fs.ErrClosed)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); !errors.Is(err, unix.EBADF) {
		t.Error("the descriptor of a closed file must be none:", err)
	}
}

// Direct I/O works at the alignment Align names, and the status flags hold nothing else.
func TestAlignHoldsOnThisFile(t *testing.T) {
	f := mustOpen(t, filepath.Join(t.TempDir(), "f"), OpenFlags{Create: true, Direct: true})
	direct, why := f.Direct()
	if direct == (why != nil) {
		t.Fatal("direct", direct, "because", why)
	}
	a := f.Align()
	if a.Mem < 1 || a.Off < 1 || a.Off&(a.Off-1) != 0 || a.Block < 4096 || a.Block < a.Off {
		t.Fatalf("%+v", a)
	}
	if err := f.Preallocate(0, int64(4*a.Block)); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(-1, 0, 4*a.Block, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mem) }()
	if n, err := unix.Pwrite(int(f.Fd()), mem[a.Mem:a.Mem+a.Off], int64(a.Off)); n != a.Off {
		t.Fatalf("direct write at the alignment %+v: %d, %v", a, n, err)
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Fatalf("flags %#x, %v", flags, err)
	}
	if fd, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || fd&unix.FD_CLOEXEC == 0 {
		t.Fatal("a child would inherit the file", err)
	}
}

func TestMountOfTheTestFolder(t *testing.T) {
	dir := t.TempDir()
	m, err := OS().Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.Type == "" || m.Point == "" || m.Device == "" {
		t.Fatalf("%+v", m)
	}
	t.Logf("%+v", m)
}
