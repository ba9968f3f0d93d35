package ring

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestFaulty(t *testing.T) {
	inner, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := NewFaulty(inner, func(op *Op) error {
		if op.Tag == 13 || op.Kind == DataSync {
			return syscall.EIO
		}
		return nil
	})
	defer r.Close()
	content := func(want string) {
		t.Helper()
		b, err := os.ReadFile(f.Name())
		if err != nil || string(b) != want {
			t.Errorf("the file is %q, want %q: %v", b, want, err)
		}
	}
	buf := func(c byte) []byte { return bytes.Repeat([]byte{c}, 8) }
	done := make(chan *Op, 3)
	r.Submit(
		&Op{Kind: Write, File: f, Off: 0, Buf: buf('a'), Done: done},
		&Op{Kind: Write, File: f, Off: 8, Buf: buf('b'), Done: done, Tag: 13},
		&Op{Kind: Write, File: f, Off: 8, Buf: buf('c'), Done: done},
	)
	for range 3 {
		op := <-done
		var e *Error
		if op.Tag == 13 && (!errors.Is(op.Err, syscall.EIO) || !errors.As(op.Err, &e) || e.Off != 8) ||
			op.Tag != 13 && op.Err != nil {
			t.Errorf("op %d: %v", op.Tag, op.Err)
		}
	}
	content("aaaaaaaacccccccc")
	if err := r.Do(&Op{Kind: DataSync, File: f}); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	if err := r.Do(&Op{Kind: Sync, File: f}); err != nil {
		t.Error(err)
	}

	all := func(*Op) bool { return true }
	r.ShortOnce(3, all)
	if err := r.Do(&Op{Kind: Write, File: f, Buf: buf('d')}); err != nil {
		t.Error(err)
	}
	content("ddddddddcccccccc")
	r.ShortOnce(3, all) // with an error of fail: torn
	r.Submit(&Op{Kind: Write, File: f, Buf: buf('e'), Tag: 13, Done: done})
	if op := <-done; !errors.Is(op.Err, syscall.EIO) {
		t.Error(op.Err)
	}
	content("eeedddddcccccccc")
	r.ShortOnce(4, all)
	err = r.Do(&Op{Kind: Write, Flags: Atomic, File: f, Buf: buf('f')})
	if !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
	content("ffffddddcccccccc")
	r.ShortOnce(4, func(op *Op) bool { return op.Vec != nil })
	v := [][]byte{buf('g')[:4], buf('h')}
	r.Submit(&Op{Kind: Write, File: f, Off: 2, Vec: v, Done: done})
	if op := <-done; op.Err != nil {
		t.Error(op.Err)
	}
	content("ffgggghhhhhhhhcc")
	if in := r.Info(); in.Backend != inner.Info().Backend {
		t.Errorf("%+v", in)
	}
}
