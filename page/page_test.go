package page

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func randomPage(n int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func TestNativeRoundTrip(t *testing.T) {
	for n := MinSize; n <= MaxSize; n *= 2 {
		b := randomPage(n, uint64(n))
		s := Seed{Incarnation: 42, No: 7}
		crc := Native{}.Seal(b, s, 99)
		if crc != ImageCRC(b) {
			t.Errorf("%d: Seal returns %08x, ImageCRC %08x", n, crc, ImageCRC(b))
		}
		if lsn, err := (Native{}).Check(b, s); err != nil || lsn != 99 {
			t.Errorf("%d: LSN %d, %v", n, lsn, err)
		}
		for _, wrong := range []Seed{{41, 7}, {42, 8}, {}} {
			if _, err := (Native{}).Check(b, wrong); !errors.Is(err, ErrDamaged) {
				t.Errorf("%d: seed %+v accepted", n, wrong)
			}
		}
	}
}

// TestImageCRCIsOfTheWholePage: the order of the bytes is ours, the CRC is CRC-32C.
func TestImageCRCIsOfTheWholePage(t *testing.T) {
	b := randomPage(MinSize, 1)
	want := crc32.Checksum(append(bytes.Clone(b[8:]), b[:8]...), Castagnoli)
	if got := ImageCRC(b); got != want {
		t.Errorf("%08x, want %08x", got, want)
	}
}

// TestNativeFindsEveryTear: any mix of sectors of two versions is damage.
func TestNativeFindsEveryTear(t *testing.T) {
	s := Seed{Incarnation: 3, No: 5}
	old, new := randomPage(MinSize, 2), randomPage(MinSize, 3)
	Native{}.Seal(old, s, 10)
	Native{}.Seal(new, s, 20)
	const sector = 512
	for mask := 1; mask < 1<<(MinSize/sector)-1; mask++ {
		b := bytes.Clone(old)
		for i := range MinSize / sector {
			if mask>>i&1 != 0 {
				copy(b[i*sector:], new[i*sector:(i+1)*sector])
			}
		}
		if _, err := (Native{}).Check(b, s); err == nil {
			t.Fatalf("sectors %08b of the new page over the old one pass for whole", mask)
		}
	}
}

func TestZerosAreDamage(t *testing.T) {
	if _, err := (Native{}).Check(make([]byte, MinSize), Seed{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a page of zeros: %v", err)
	}
	b := make([]byte, MinSize)
	Native{}.Init(b, Seed{1, 2})
	if lsn, err := (Native{}).Check(b, Seed{1, 2}); err != nil || lsn != 0 {
		t.Errorf("an empty page: LSN %d, %v", lsn, err)
	}
}

// FuzzNativeCheck: no panic, and no flipped bit accepted.
func FuzzNativeCheck(f *testing.F) {
	f.Add([]byte{}, uint64(0), uint64(0), 0)
	f.Add(make([]byte, MinSize), uint64(1), uint64(2), 77)
	f.Fuzz(func(t *testing.T, b []byte, inc, no uint64, bit int) {
		s := Seed{inc, No(no)}
		_, _ = Native{}.Check(b, s)
		p := make([]byte, MinSize)
		copy(p, b)
		Native{}.Seal(p, s, LSN(no))
		bit = int(uint(bit) % (MinSize * 8))
		p[bit/8] ^= 1 << (bit % 8)
		if _, err := (Native{}).Check(p, s); err == nil {
			t.Fatalf("bit %d flipped and accepted", bit)
		}
	})
}

// BenchmarkChecksum is what a page costs in CPU: sealed before it is written, checked after it was
// read.
func BenchmarkChecksum(b *testing.B) {
	for n := MinSize; n <= MaxSize; n *= 4 {
		b.Run("op=check/"+sizeName(n), func(b *testing.B) {
			p := randomPage(n, 1)
			Native{}.Seal(p, Seed{1, 2}, 3)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (Native{}).Check(p, Seed{1, 2}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("op=seal/"+sizeName(n), func(b *testing.B) {
			p := randomPage(n, 1)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				Native{}.Seal(p, Seed{1, 2}, 3)
			}
		})
	}
}

func sizeName(n int) string {
	return map[int]string{4096: "bytes=4096", 16384: "bytes=16384", 65536: "bytes=65536"}[n]
}
