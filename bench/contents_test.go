package bench

import (
	"errors"
	"testing"

	"github.com/untorn/untorn/page"
)

func TestContentsComeBack(t *testing.T) {
	for _, zeros := range []int{0, 50, 100} {
		c := newContents(3, zeros)
		for _, n := range []int{4096, 16384, 65536} {
			b := make([]byte, n)
			if v, err := c.check(b, 9); v != 0 || err != nil {
				t.Fatalf("an empty page: version %d, %v", v, err)
			}
			for v := uint64(1); v < 4; v++ {
				c.fill(b, 9, v)
				page.Native{}.Seal(b, page.Seed{No: 9}, 0) // the header is the engine's
				if got, err := c.check(b, 9); got != v || err != nil {
					t.Fatalf("zeros %d, %d bytes: version %d, %v, want %d", zeros, n, got, err, v)
				}
			}
		}
	}
}

// A page made of sectors of two versions, or of two pages, or with any byte changed, is noticed.
func TestContentsNoticeDamage(t *testing.T) {
	const n = 16384
	c := newContents(1, 0)
	image := func(no page.No, v uint64) []byte {
		b := make([]byte, n)
		c.fill(b, no, v)
		return b
	}
	good := image(5, 2)
	bad := func(what string, b []byte) {
		t.Helper()
		if v, err := c.check(b, 5); !errors.Is(err, errContents) {
			t.Fatalf("%s: version %d, %v", what, v, err)
		}
	}
	for at := sector; at < n; at += sector {
		for what, other := range map[string][]byte{
			"older": image(5, 1), "another page's": image(6, 2), "empty": make([]byte, n),
		} {
			torn := append(append([]byte{}, good[:at]...), other[at:]...)
			bad(what, torn)
			one := append([]byte{}, good...)
			copy(one[at:at+sector], other[at:at+sector])
			bad(what+" sector", one)
		}
	}
	bad("another page", image(6, 2))
	for at := stampAt; at < n; at += 37 {
		b := append([]byte{}, good...)
		b[at] ^= 0x10
		if v, err := c.check(b, 5); err == nil && v == 2 {
			t.Fatalf("byte %d changed and nobody noticed", at)
		}
	}
}

func BenchmarkFill(b *testing.B) {
	c := newContents(1, 0)
	buf := make([]byte, 16384)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for v := uint64(1); b.Loop(); v++ {
		c.fill(buf, 1, v)
	}
}
