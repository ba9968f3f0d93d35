package ring

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func realUring(t *testing.T, cfg Config) *uring {
	t.Helper()
	cfg.Backend = Uring
	r, err := New(cfg)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { r.Close() })
	return r.(*uring)
}

func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func submitted(r Ring, op *Op) error {
	done := make(chan *Op, 1)
	op.Done = done
	r.Submit(op)
	return (<-done).Err
}

// The completions of a real ring are tampered with: what the op does about them is real I/O again.
func TestUringRepeats(t *testing.T) {
	const size = 64 << 10
	times := func(n int, res func(real int32) int32) func(*Op, int32) int32 {
		return func(_ *Op, real int32) int32 {
			if n--; n >= 0 {
				return res(real)
			}
			return real
		}
	}
	errno := func(e syscall.Errno) func(int32) int32 {
		return func(int32) int32 { return -int32(e) }
	}
	third := func(real int32) int32 { return real / 3 }
	for _, c := range []struct {
		name  string
		kind  Kind
		flags Flags
		vec   bool
		fake  func(*Op, int32) int32
		again uint64
		want  error
	}{
		{"short", Write, 0, false, times(1, third), 1, nil},
		{"short often", Write, DSync, false, times(5, third), 5, nil},
		{"short vectored", Write, 0, true, times(5, third), 5, nil},
		{"short read", Read, 0, true, times(3, third), 3, nil},
		{"nothing", Write, 0, false, times(1, func(int32) int32 { return 0 }), 1, nil},
		{"EINTR", Write, 0, false, times(3, errno(syscall.EINTR)), 3, nil},
		{"ECANCELED", DataSync, 0, false, times(2, errno(syscall.ECANCELED)), 2, nil},
		{"EAGAIN until a helper takes it", Write, 0, true, times(1000, errno(syscall.EAGAIN)),
			patience + 1, nil},
		{"EIO", Write, 0, false, times(1, errno(syscall.EIO)), 0, syscall.EIO},
		{"EIO of a flush", DataSync, 0, false, times(1, errno(syscall.EIO)), 0, syscall.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := realUring(t, Config{Entries: 4, FlushBy: FlushRing})
			f := tempFile(t)
			want := bytes.Repeat([]byte("untorn.."), size/8)
			if _, err := f.WriteAt(want, 0); err != nil {
				t.Fatal(err)
			}
			u.fake = c.fake // seen by the reaper through the first Submit
			op := &Op{Kind: c.kind, Flags: c.flags, File: f}
			buf := make([]byte, size)
			if c.kind == Write {
				want = bytes.Repeat([]byte("rewrites"), size/8)
				copy(buf, want)
			}
			switch {
			case c.kind == DataSync:
			case c.vec:
				op.Vec = [][]byte{buf[:5000], buf[5000:6000], buf[6000:]}
			default:
				op.Buf = buf
			}
			if err := submitted(u, op); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if s := u.Stats(); s.Resubmitted != c.again || s.Completed != 1 {
				t.Errorf("%+v", s)
			}
			got, err := io.ReadAll(io.NewSectionReader(f, 0, size+1))
			if err != nil || !bytes.Equal(got, want) {
				t.Error("the file holds something else", err)
			}
			if c.kind == Read && !bytes.Equal(buf, want) {
				t.Error("read something else")
			}
		})
	}
}

// Short counts and errors at random, from many goroutines, with hardly any entries.
func TestUringRepeatsUnderLoad(t *testing.T) {
	u := realUring(t, Config{Entries: 2, Group: 2})
	n := 0
	u.fake = func(op *Op, res int32) int32 {
		switch n++; n % 5 {
		case 1:
			return res / 2
		case 3:
			return -int32(syscall.EAGAIN)
		}
		return res
	}
	f := tempFile(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			buf := bytes.Repeat([]byte{byte('a' + g)}, 8192)
			for range 50 {
				if err := submitted(u, &Op{Kind: Write, File: f, Off: int64(g) * 8192, Buf: buf}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range got {
		if b != byte('a'+i/8192) {
			t.Fatalf("byte %d is %q", i, b)
		}
	}
}

func TestWhyNoUring(t *testing.T) {
	for e, want := range map[syscall.Errno]string{
		syscall.ENOSYS: "too old", syscall.EPERM: "seccomp", syscall.ENOMEM: "ulimit -l",
		syscall.EMFILE: "too many open files",
	} {
		err := whyNoUring(os.NewSyscallError("io_uring_setup", e))
		if !errors.Is(err, e) || !strings.Contains(err.Error(), want) &&
			!strings.Contains(err.Error(), "io_uring_disabled") {
			t.Errorf("%v: %v", e, err)
		}
	}
}

func TestFixed(t *testing.T) {
	u := &uring{}
	mem := make([]byte, 1<<20)[:100] // too large for the stack, which moves
	if _, ok := u.fixed(1, mem); ok {
		t.Fatal("nothing is registered")
	}
	u.regions.Store(&[]region{{base: 1}, {base: addrOf(mem), size: 90, index: 7}})
	for _, c := range []struct {
		fixed, from, to int
		ok              bool
	}{
		{2, 0, 90, true}, {2, 10, 20, true}, {2, 80, 91, false}, {2, 95, 100, false},
		{1, 0, 10, false}, {3, 0, 10, false}, {-1, 0, 10, false}, {2, 5, 5, false},
	} {
		if i, ok := u.fixed(c.fixed, mem[c.from:c.to]); ok != c.ok || ok && i != 7 {
			t.Errorf("%+v: %d, %t", c, i, ok)
		}
	}
	// A region of more than 1 GiB is several buffers, and nothing may straddle two of them.
	u.regions.Store(&[]region{{base: addrOf(mem) - pieceSize + 50, size: 2 * pieceSize, index: 3}})
	for i, c := range []struct {
		from, to int
		index    uint16
		ok       bool
	}{{0, 50, 3, true}, {50, 100, 4, true}, {49, 51, 0, false}} {
		if index, ok := u.fixed(1, mem[c.from:c.to]); ok != c.ok || index != c.index {
			t.Errorf("case %d: %d, %t", i, index, ok)
		}
	}
}
