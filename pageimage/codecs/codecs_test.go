package codecs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
)

// rows is a page like those of a table: keys that count up, text that repeats, some that does not.
func rows(n int) []byte {
	b := make([]byte, 0, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := uint64(0); len(b) < n*3/4; i++ {
		b = binary.LittleEndian.AppendUint64(b, 1000+i)
		b = fmt.Appendf(b, "customer %d of some street, number %d;", r.IntN(1000), r.IntN(50))
	}
	return append(b, make([]byte, n-len(b))...)
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{3})
	_, _ = r.Read(b)
	return b
}

func TestCodecs(t *testing.T) {
	for _, c := range All() {
		for _, size := range []int{page.MinSize, page.MaxSize} {
			p := rows(size)
			dst := make([]byte, size-1)
			n := c.Compress(dst, p)
			if n == 0 || n > size*2/3 {
				t.Errorf("%s: %d bytes become %d", c.Name(), size, n)
				continue
			}
			got := make([]byte, size)
			if err := c.Decompress(got, dst[:n]); err != nil || !bytes.Equal(got, p) {
				t.Errorf("%s: %v, the same %v", c.Name(), err, bytes.Equal(got, p))
			}
			for what, bad := range map[string][]byte{"cut": dst[:n-3], "none": nil} {
				if err := c.Decompress(make([]byte, size), bad); err == nil {
					t.Errorf("%s: accepts %s", c.Name(), what)
				}
			}
			for _, other := range []int{size - 1, size + 1} {
				if err := c.Decompress(make([]byte, other), dst[:n]); err == nil {
					t.Errorf("%s: a page of %d bytes into %d", c.Name(), size, other)
				}
			}
			if n := c.Compress(make([]byte, size-1), noise(size)); n != 0 {
				t.Errorf("%s: noise of %d bytes becomes %d", c.Name(), size, n)
			}
		}
		got, err := ByName(c.Name())
		if err != nil || got.ID() != c.ID() {
			t.Errorf("%s: %v", c.Name(), err)
		}
	}
	if c, err := ByName("none"); c != nil || err != nil {
		t.Errorf("none: %v, %v", c, err)
	}
	if _, err := ByName("rar"); err == nil {
		t.Error("an unknown codec was found")
	}
}

// TestCodecsAreShared: one codec serves many goroutines.
func TestCodecsAreShared(t *testing.T) {
	for _, c := range All() {
		var g sync.WaitGroup
		for range 4 {
			g.Go(func() {
				p, dst, got := rows(16384), make([]byte, 16384), make([]byte, 16384)
				for i := range 30 {
					p[100] = byte(i)
					if err := c.Decompress(got, dst[:c.Compress(dst, p)]); err != nil || !bytes.Equal(got, p) {
						t.Errorf("%s: %v", c.Name(), err)
					}
				}
			})
		}
		g.Wait()
	}
}

// FuzzDecompress: whatever bytes are in a log, a codec neither panics nor writes beyond the page.
func FuzzDecompress(f *testing.F) {
	for _, c := range All() {
		dst := make([]byte, 4096)
		f.Add(dst[:c.Compress(dst, rows(4096))], c.ID())
	}
	f.Fuzz(func(t *testing.T, b []byte, id uint8) {
		c, err := All().Find(1 + id%2)
		if err != nil {
			t.Fatal(err)
		}
		room := make([]byte, 4096+64)
		_ = c.Decompress(room[:4096], b)
		if !bytes.Equal(room[4096:], make([]byte, 64)) {
			t.Fatal("beyond the page")
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	p := rows(16384)
	for _, c := range append(pageimage.Codecs{nil}, All()...) {
		name := "none"
		if c != nil {
			name = c.Name()
		}
		b.Run(name, func(b *testing.B) {
			var head [pageimage.HeadBytes]byte
			m := pageimage.Image{Page: page.ID{File: 1}}
			scratch := make([]byte, 2*page.MaxSize)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				x, y := m.Encode(&head, p, c, scratch)
				n = len(x) + len(y)
			}
			b.ReportMetric(float64(n), "bytes/image")
		})
	}
}
