package tape

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// disk remembers its writes in order.
type disk struct {
	mu     sync.Mutex
	b      []byte
	writes []int64
	lens   []int
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) { return copy(p, d.b[off:]), nil }

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes, d.lens = append(d.writes, off), append(d.lens, len(p))
	return copy(d.b[off:], p), nil
}

// TestTape: several writers, a second life that continues, and every prefix read back.
func TestTape(t *testing.T) {
	d := &disk{b: make([]byte, 1<<20)}
	for life := range 2 {
		w, err := NewWriter(d, 1<<20, make([]byte, 4096))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Put(Begin, uint32(life), nil); err != nil {
			t.Fatal(err)
		}
		var g sync.WaitGroup
		for c := range 4 {
			g.Go(func() {
				for i := range 20 {
					p := bytes.Repeat([]byte{byte(c)}, 1+i*300)
					if err := w.Put(Events, uint32(life), p); err != nil {
						t.Error(err)
					}
				}
			})
		}
		g.Wait()
	}
	var r Reader
	got := map[string]int{}
	begun := 0
	for i, off := range d.writes {
		err := r.Take(off, d.b[off:off+int64(d.lens[i])], func(k Kind, round uint32, p []byte) error {
			if k == Begin {
				begun++
				return nil
			}
			got[fmt.Sprintf("%d %d %d", round, p[0], len(p))]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if begun != 2 || len(got) != 160 {
		t.Errorf("%d lives, %d messages", begun, len(got))
	}
	var x Reader
	n := 0
	count := func(Kind, uint32, []byte) error { n++; return nil }
	if err := x.Take(512, d.b[512:2048], count); err != nil || n != 0 || x.Whole() {
		t.Errorf("ahead of its time: %v, %d blocks", err, n)
	}
	if err := x.Take(0, d.b[:512], count); err != nil || n < 2 || !x.Whole() {
		t.Errorf("then what came before: %v, %d blocks", err, n)
	}
	if err := x.Take(512, d.b[512:2048], count); !errors.Is(err, ErrFormat) {
		t.Errorf("twice: %v", err)
	}
	w, err := NewWriter(d, int64(len(d.b)), make([]byte, 4096))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = w.Put(Events, 3, make([]byte, 60000))
	}
	if !errors.Is(err, ErrFull) {
		t.Error(err)
	}
}

// FuzzTake: no panic, no flipped bit.
func FuzzTake(f *testing.F) {
	f.Add(appendBlock(appendBlock(nil, 0, Begin, 1, nil), 1, Events, 1, []byte("abc")), uint16(3))
	f.Fuzz(func(t *testing.T, b []byte, flip uint16) {
		var r Reader
		n := 0
		end := 0
		_ = r.Take(0, b, func(k Kind, round uint32, p []byte) error {
			n++
			end += (headerSize + len(p) + block - 1) &^ (block - 1)
			return nil
		})
		if n == 0 {
			return
		}
		_, _, _, size, _ := header(b)
		used := headerSize + int(le.Uint32(b[24:]))
		b = bytes.Clone(b[:size])
		i := int(flip) % (used * 8)
		b[i/8] ^= 1 << (i % 8)
		r = Reader{}
		_ = r.Take(0, b, func(Kind, uint32, []byte) error { t.Fatalf("bit %d flipped", i); return nil })
	})
}
