package aligned

import (
	"runtime"
	"testing"
)

func yield() { runtime.Gosched() }

func TestSlab(t *testing.T) {
	for _, c := range []struct{ n, align int }{{1, 1}, {5000, 4096}, {3 << 20, 4096}, {Chunk, Chunk}} {
		s, err := NewSlab(c.n, c.align)
		if err != nil {
			t.Fatal(err)
		}
		b := s.Bytes()
		if len(b) != c.n || cap(b) != c.n || addr(b)&uintptr(c.align-1) != 0 {
			t.Errorf("%+v: %d bytes, cap %d", c, len(b), cap(b))
		}
		if c.n >= HugePage && addr(b)&(HugePage-1) != 0 {
			t.Errorf("%+v: not at a huge page", c)
		}
		b[0], b[c.n-1] = 1, 1
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, c := range []struct{ n, align int }{{0, 4096}, {-1, 1}, {10, 3}, {10, 0}, {maxInt, 4096}} {
		if _, err := NewSlab(c.n, c.align); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

func TestAlloc(t *testing.T) {
	for _, align := range []int{1, 512, 4096, 64 << 10} {
		for _, n := range []int{0, 1, 4096, 10000} {
			b := Alloc(n, align)
			if len(b) != n || cap(b) != n || n > 0 && addr(b)&uintptr(align-1) != 0 {
				t.Errorf("Alloc(%d, %d): %d bytes, cap %d", n, align, len(b), cap(b))
			}
		}
	}
}

func TestIsAligned(t *testing.T) {
	b := Alloc(8192, 4096)
	if !IsAligned(b, 4096) || IsAligned(b[1:4097], 4096) || IsAligned(b[:100], 4096) {
		t.Fatal("wrong")
	}
}
