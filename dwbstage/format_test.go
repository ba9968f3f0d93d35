package dwbstage

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
)

var shape = Geometry{Block: 4096, Batch: 1 << 20, Regions: 6}

func sampleHeader() *Header {
	h := &Header{
		Engine: EngineID{1, 2}, Region: 2, Seq: reclaim.Seq{Epoch: 9, Num: 15}, F: 14,
		W: reclaim.Seq{Epoch: 9, Num: 11},
	}
	for i := range 5 {
		h.Slots = append(h.Slots, Slot{
			Page: page.ID{File: 3, No: page.No(100 + i)}, LSN: page.LSN(1000 + i), CRC: uint32(i) * 77,
			Len: 16384, Flags: uint16(i % 2),
		})
	}
	return h
}

func TestHeaderRoundTrip(t *testing.T) {
	h := sampleHeader()
	b := make([]byte, shape.Block)
	h.Encode(b, shape)
	got, err := Decode(b, shape, h.Engine, h.Region)
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, got, h)
	}
	if off := h.SlotOffset(shape, 3); off != 2*4096+3*16384 {
		t.Errorf("slot 3 at %d", off)
	}
}

// TestEveryBitOfAHeader: no flipped bit is accepted, padding included (I6).
func TestEveryBitOfAHeader(t *testing.T) {
	h := sampleHeader()
	b := make([]byte, shape.Block)
	h.Encode(b, shape)
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := Decode(b, shape, h.Engine, h.Region); !errors.Is(err, ErrHeader) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

// TestHeadersThatLie: whole headers that do not belong where they stand, or say what cannot be.
func TestHeadersThatLie(t *testing.T) {
	for name, change := range map[string]func(*Header){
		"another engine":         func(h *Header) { h.Engine[0]++ },
		"another region":         func(h *Header) { h.Region = 3 },
		"sequence of another":    func(h *Header) { h.Seq.Num++ },
		"no sequence":            func(h *Header) { h.Seq.Num = 0 },
		"F at itself":            func(h *Header) { h.F = h.Seq.Num },
		"watermark at itself":    func(h *Header) { h.W = h.Seq },
		"page of 5000 bytes":     func(h *Header) { h.Slots[0].Len = 5000 },
		"more than a batch":      func(h *Header) { h.Slots = make([]Slot, 100); fill(h.Slots, 65536) },
		"no slots":               func(h *Header) { h.Slots = nil },
		"more slots than fit in": func(h *Header) { h.Slots = make([]Slot, 124); fill(h.Slots, 1<<16) },
	} {
		h := sampleHeader()
		id, region := h.Engine, h.Region
		change(h)
		b := make([]byte, shape.Block)
		h.Encode(b, shape)
		if _, err := Decode(b, shape, id, region); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func fill(s []Slot, n uint32) {
	for i := range s {
		s[i].Len = n
	}
}

func TestFileHeader(t *testing.T) {
	b := make([]byte, 4096)
	id := EngineID{4}
	EncodeFileHeader(b, shape, id)
	if g, err := DecodeFileHeader(b, id); err != nil || g != shape {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := DecodeFileHeader(b, EngineID{5}); !errors.Is(err, ErrForeign) {
		t.Errorf("foreign: %v", err)
	}
	b[2000] ^= 1
	if _, err := DecodeFileHeader(b, id); !errors.Is(err, ErrHeader) {
		t.Errorf("damaged: %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	b := make([]byte, shape.Block)
	sampleHeader().Encode(b, shape)
	f.Add(b, 2)
	f.Fuzz(func(t *testing.T, b []byte, region int) {
		// Most inputs die at the checksum. Mend it, so that what is behind gets exercised.
		for _, mend := range []bool{false, true} {
			if mend {
				if b = slices.Clone(b); len(b) < fixedBytes {
					return
				}
				sealHeader(b)
			}
			h, err := Decode(b, shape, EngineID{1, 2}, region)
			if err != nil {
				continue
			}
			if len(h.Slots) > shape.MaxSlots() || h.SlotOffset(shape, len(h.Slots)) > shape.SlotsOffset()+shape.Batch {
				t.Fatalf("slots reach beyond the region: %+v", h)
			}
			again := make([]byte, shape.Block)
			h.Encode(again, shape)
			if g, err := Decode(again, shape, h.Engine, h.Region); err != nil || !reflect.DeepEqual(g, h) {
				t.Fatalf("read as %+v, written and read again as %+v, %v", h, g, err)
			}
		}
	})
}

// FuzzPeek: what finds a geometry in a damaged file believes nothing without a checksum.
func FuzzPeek(f *testing.F) {
	b := make([]byte, shape.Block)
	sampleHeader().Encode(b, shape)
	f.Add(b, 77)
	f.Fuzz(func(t *testing.T, b []byte, bit int) {
		if _, ok := Peek(b); ok {
			b = slices.Clone(b)
			bit = int(uint(bit) % uint(len(b)*8))
			b[bit/8] ^= 1 << (bit % 8)
			if _, ok := Peek(b); ok {
				t.Fatalf("bit %d flipped and accepted", bit)
			}
		}
	})
}

// TestEveryBitOfTheFileHeader: no flipped bit is accepted, padding included.
func TestEveryBitOfTheFileHeader(t *testing.T) {
	b := make([]byte, 4096)
	EncodeFileHeader(b, shape, EngineID{4})
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if g, err := DecodeFileHeader(b, EngineID{4}); !errors.Is(err, ErrHeader) {
			t.Fatalf("bit %d flipped: %+v, %v", i, g, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

func FuzzFileHeader(f *testing.F) {
	b := make([]byte, 4096)
	EncodeFileHeader(b, shape, EngineID{1})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, mend := range []bool{false, true} {
			if mend {
				if b = slices.Clone(b); len(b) < fixedBytes {
					return
				}
				sealHeader(b)
			}
			if g, err := DecodeFileHeader(b, EngineID{1}); err == nil && g.Validate() != nil {
				t.Fatalf("%+v", g)
			}
		}
	})
}
