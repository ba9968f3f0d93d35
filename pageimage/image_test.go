package pageimage

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/untorn/untorn/page"
)

// halves is a codec for tests: it takes pages whose second half repeats the first.
type halves struct{}

func (halves) ID() uint8    { return 9 }
func (halves) Name() string { return "halves" }

func (halves) Compress(dst, src []byte) int {
	n := len(src) / 2
	if len(src)%2 != 0 || !bytes.Equal(src[:n], src[n:]) || len(dst) < n {
		return 0
	}
	return copy(dst, src[:n])
}

func (halves) Decompress(dst, src []byte) error {
	if len(dst) != 2*len(src) {
		return errors.New("not twice as long")
	}
	copy(dst[copy(dst, src):], src)
	return nil
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func encode(m Image, buf []byte, c Codec) []byte {
	var head [HeadBytes]byte
	m.CRC = page.ImageCRC(buf)
	a, b := m.Encode(&head, buf, c, make([]byte, 2*len(buf)))
	return slices.Concat(head[:], a, b)
}

func TestRoundTrip(t *testing.T) {
	id := page.ID{File: 7, No: 1 << 40}
	pages := map[string][]byte{"noise": noise(4096), "zeros": make([]byte, 4096)}
	for _, at := range []int{0, 8, 1000, 4096 - 640} {
		b := noise(4096)
		clear(b[at:min(len(b), at+640)])
		pages["hole at "+string(rune('a'+at/500))] = b
	}
	twice := noise(8192)
	copy(twice[4096:], twice[:4096])
	pages["twice"] = twice
	for name, b := range pages {
		for _, c := range []Codec{nil, halves{}} {
			rec := encode(Image{Page: id, LSN: 99, Flags: Always}, b, c)
			if len(rec) > HeadBytes+len(b) {
				t.Errorf("%s: %d bytes for a page of %d", name, len(rec), len(b))
			}
			m, err := Decode(rec)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if m.Page != id || m.LSN != 99 || m.Flags != Always || m.Len != len(b) {
				t.Errorf("%s: %+v", name, m)
			}
			got := bytes.Repeat([]byte{0xee}, len(b))
			if err := m.Restore(got, make([]byte, len(b)), Codecs{halves{}}); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s: restored %v, %v", name, bytes.Equal(got, b), err)
			}
			if c != nil && name == "twice" {
				if m.Codec != 9 || m.Stored() != 4096 {
					t.Errorf("codec %d, %d bytes stored", m.Codec, m.Stored())
				}
				if err := m.Restore(got, make([]byte, len(b)), nil); !errors.Is(err, ErrCodec) {
					t.Errorf("without the codec: %v", err)
				}
			}
			if c != nil && name == "noise" && m.Codec != Plain {
				t.Error("kept although it is not smaller")
			}
		}
	}
}

func TestRestoreChecksTheImage(t *testing.T) {
	b := noise(4096)
	rec := encode(Image{Page: page.ID{File: 1}}, b, nil)
	rec[HeadBytes+5] ^= 1
	m, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(make([]byte, 4096), nil, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("another image than was logged: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := encode(Image{Page: page.ID{File: 1}}, noise(4096), nil)
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"short":        {func(b []byte) []byte { return b[:HeadBytes-1] }, ErrInvalid},
		"version":      {func(b []byte) []byte { b[0] = 2; return b }, ErrVersion},
		"flags":        {func(b []byte) []byte { b[2] = 4; return b }, ErrInvalid},
		"page length":  {func(b []byte) []byte { b[28] = 1; return b }, ErrInvalid},
		"hole":         {func(b []byte) []byte { b[36] = 9; return b }, ErrInvalid},
		"hole outside": {func(b []byte) []byte { b[35] = 0xff; return b }, ErrInvalid},
		"cut":          {func(b []byte) []byte { return b[:len(b)-1] }, ErrInvalid},
		"not smaller":  {func(b []byte) []byte { b[1] = LZ4; return b }, ErrInvalid},
	} {
		if _, err := Decode(c.change(slices.Clone(good))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestHole holds the search against the plain one.
func TestHole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := noise(1024)
		for range r.IntN(6) {
			at := r.IntN(len(b))
			clear(b[at:min(len(b), at+r.IntN(400))])
		}
		at, n := hole(b)
		best, run := 0, 0
		for i := 0; i < len(b); i += 8 {
			if run += 8; le.Uint64(b[i:]) != 0 {
				run = 0
			}
			best = max(best, run)
		}
		if best < minHole {
			best = 0
		}
		if n != best || !bytes.Equal(b[at:at+n], make([]byte, n)) {
			t.Fatalf("%d at %d, the longest run has %d", n, at, best)
		}
	}
}

// FuzzDecode: no panic on any bytes, and what Restore accepts has the CRC the record says.
func FuzzDecode(f *testing.F) {
	f.Add(encode(Image{Page: page.ID{File: 1}, LSN: 5}, noise(4096), nil))
	f.Add(encode(Image{Page: page.ID{File: 1}, Flags: Foreign}, make([]byte, 4096), halves{}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		dst := make([]byte, m.Len)
		if m.Restore(dst, make([]byte, m.Len), Codecs{halves{}}) == nil && page.ImageCRC(dst) != m.CRC {
			t.Fatal("restored something else than was logged")
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for name, p := range map[string][]byte{"noise": noise(16384), "hole": append(noise(8192), make([]byte, 8192)...)} {
		b.Run(name, func(b *testing.B) {
			var head [HeadBytes]byte
			m := Image{Page: page.ID{File: 1}}
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				m.Encode(&head, p, nil, nil)
			}
		})
	}
}
