package super

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
)

func sample() *State {
	return &State{
		Engine: EngineID{1, 2, 3}, Created: 1700000000, Block: 4096, Epoch: 7, Clean: true, Recoveries: 2,
		Recovering: 99, Stamp: Stamp{7, 3}, Watermark: reclaim.Seq{Epoch: 7, Num: 12},
		Durable: EpochLSN{7, 1000}, Redo: EpochLSN{6, 900}, CatalogLSN: 950, NextFile: 4,
		LogSegment: 1 << 20, DWBBlock: 4096, DWBBatch: 1 << 20, DWBRegions: 6, Payload: []byte("hello"),
		Files: []File{
			{ID: 1, Name: "a", PageSize: 16384, Pages: 10, Start: 65536, Incarnation: 5, Format: "native", Mode: "doublewrite"},
			{ID: 3, Name: "b", Path: "/elsewhere/b", PageSize: 4096, Start: 65536, Format: "native", Mode: "none", ForeignLSN: true, SmallPages: true},
		},
	}
}

func TestStateRoundTrip(t *testing.T) {
	for _, s := range []*State{sample(), {}} {
		b, err := encode(s, 5, Zone)
		if err != nil {
			t.Fatal(err)
		}
		z := make([]byte, Zone)
		copy(z, b)
		got, seq, err := decode(z)
		if err != nil || seq != 5 || !reflect.DeepEqual(got, s) {
			t.Errorf("seq %d, %v:\n got %+v\nwant %+v", seq, err, got, s)
		}
	}
}

// TestEveryBitIsChecked: no single flipped bit of a zone goes unnoticed, padding included.
func TestEveryBitIsChecked(t *testing.T) {
	b, _ := encode(sample(), 5, Zone)
	z := make([]byte, Zone)
	copy(z, b)
	for i := 0; i < (len(b)+64)*8; i++ {
		z[i/8] ^= 1 << (i % 8)
		if _, _, err := decode(z); err == nil {
			t.Fatalf("bit %d flipped and accepted", i)
		}
		z[i/8] ^= 1 << (i % 8)
	}
}

func TestSuperFull(t *testing.T) {
	s := sample()
	s.Payload = make([]byte, MaxPayload+1)
	if _, err := encode(s, 1, Zone); !errors.Is(err, ErrFull) {
		t.Errorf("oversized payload: %v", err)
	}
	s = sample()
	for i := range MaxFiles {
		s.Files = append(s.Files, File{ID: page.FileID(10 + i), Name: "x", PageSize: 4096})
	}
	if _, err := encode(s, 1, Zone); !errors.Is(err, ErrFull) {
		t.Errorf("too many files: %v", err)
	}
}

func TestFileHeaderRoundTrip(t *testing.T) {
	h := &FileHeader{Engine: EngineID{9}, Seq: 4, Stamp: Stamp{7, 3}, File: sample().Files[1]}
	b := make([]byte, 4096)
	if err := EncodeFileHeader(b, h); err != nil {
		t.Fatal(err)
	}
	got, err := DecodeFileHeader(b)
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("%v: %+v, want %+v", err, got, h)
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := DecodeFileHeader(b); err == nil {
			t.Fatalf("bit %d flipped and accepted", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	if n := Newer(nil, h); n != h {
		t.Error("Newer(nil, h)")
	}
	if n := Newer(&FileHeader{Seq: 5}, h); n.Seq != 5 {
		t.Error("the higher sequence counts")
	}
}

func TestUnknownVersion(t *testing.T) {
	b, _ := encode(sample(), 5, Zone)
	le.PutUint16(b[4:], Version+1)
	if _, _, err := decode(b); !errors.Is(err, ErrVersion) {
		t.Errorf("super of a later version: %v", err)
	}
	h := make([]byte, 4096)
	_ = EncodeFileHeader(h, &FileHeader{Seq: 1, File: sample().Files[0]})
	le.PutUint16(h[4:], Version+1)
	if _, err := DecodeFileHeader(h); !errors.Is(err, ErrVersion) {
		t.Errorf("data file of a later version: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	b, _ := encode(sample(), 5, Zone)
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		// Most inputs die at the checksum. Mend it, so that what is behind gets exercised.
		for _, mend := range []bool{false, true} {
			if mend {
				if b = slices.Clone(b); len(b) < headBytes {
					return
				}
				n := min(int64(le.Uint32(b[lengthAt:])), int64(len(b)))
				if n < headBytes {
					return
				}
				le.PutUint32(b[crcAt:], crcWithout(b[:n]))
			}
			s, seq, err := decode(b)
			if err != nil {
				continue
			}
			if len(s.Files) > MaxFiles || len(s.Payload) > MaxPayload {
				t.Fatal("limits exceeded")
			}
			z, err := encode(s, seq, Zone)
			if err != nil {
				continue // more than a zone holds
			}
			if again, _, err := decode(z); err != nil || !reflect.DeepEqual(again, s) {
				t.Fatalf("read as %+v, written and read again as %+v, %v", s, again, err)
			}
		}
	})
}

func FuzzFileHeader(f *testing.F) {
	b := make([]byte, 4096)
	_ = EncodeFileHeader(b, &FileHeader{Seq: 1, File: sample().Files[0]})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, mend := range []bool{false, true} {
			if mend {
				if b = slices.Clone(b); len(b) < fileHeadBytes {
					return
				}
				le.PutUint32(b[crcAt:], crcWithout(b))
			}
			h, err := DecodeFileHeader(b)
			if err == nil && !page.ValidSize(h.File.PageSize) {
				t.Fatalf("page size %d", h.File.PageSize)
			}
		}
	})
}
