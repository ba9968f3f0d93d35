package pull

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	var b []byte
	want := []frame{
		{kind: kindBegin, session: 7, payload: []byte("{}")},
		{kind: kindEvents, session: 7, seq: 1, first: true, payload: bytes.Repeat([]byte{9}, 70000)},
		{kind: kindEnd, session: 7, seq: 2},
	}
	for _, f := range want {
		b = f.append(b)
	}
	r := &reader{r: bytes.NewReader(b)}
	for i, w := range want {
		f, err := r.next()
		if err != nil || f.kind != w.kind || f.session != w.session || f.seq != w.seq || f.first != w.first ||
			!bytes.Equal(f.payload, w.payload) {
			t.Fatalf("frame %d: %v, %v", i, f, err)
		}
	}
	if _, err := r.next(); !errors.Is(err, io.EOF) || r.at != int64(len(b)) {
		t.Errorf("at the end: %v, %d bytes", err, r.at)
	}
	for _, n := range []int{1, headerSize, headerSize + 1} {
		r := &reader{r: bytes.NewReader(b[:len(b)-headerSize-70000-headerSize+n])}
		if _, err := r.next(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.next(); !errors.Is(err, errCut) {
			t.Errorf("%d bytes of a frame: %v", n, err)
		}
	}
}

// FuzzFrame: no flipped bit passes, nothing large is believed.
func FuzzFrame(f *testing.F) {
	one := frame{kind: kindEvents, session: 3, seq: 4, payload: []byte("abc")}
	f.Add(one.append(nil), uint16(0))
	f.Add(one.append(nil), uint16(200))
	f.Add([]byte{}, uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, flip uint16) {
		r := &reader{r: bytes.NewReader(b)}
		x, err := r.next()
		if err != nil {
			return
		}
		whole := x.append(nil)
		if !bytes.Equal(whole, b[:len(whole)]) {
			t.Fatalf("%x reads as %x", b[:len(whole)], whole)
		}
		i := int(flip) % (len(whole) * 8)
		whole[i/8] ^= 1 << (i % 8)
		if y, err := (&reader{r: bytes.NewReader(whole)}).next(); err == nil {
			t.Fatalf("bit %d flipped: still %v", i, y)
		}
	})
}
