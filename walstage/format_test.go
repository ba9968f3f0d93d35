package walstage

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"testing"

	"github.com/untorn/untorn/page"
)

func sampleSegment() segmentHeader {
	return segmentHeader{id: [16]byte{0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		block: 4096, length: 64 << 10, seq: 3, epoch: 5, first: 128 << 10}
}

func sampleGroup() groupHeader {
	return groupHeader{id: [16]byte{0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		epoch: 5, seq: 3, off: 8192, lsn: 0x22000, payload: 9, length: 4096, records: 1,
		payloadCRC: 0x01020304, prev: 0x05060708, durable: 0x21042, mark: Watermark{4, 77}}
}

// TestLayout holds the grids of doc.go still: a change of a byte on disk is a new version.
func TestLayout(t *testing.T) {
	b := make([]byte, 4096)
	s := sampleSegment()
	s.encode(b)
	want := "756e575301004800a00102030405060708090a0b0c0d0e0f0010000000000000" +
		"0000010000000000030000000000000005000000000000000000020000000000f94244ae00000000"
	if got := hex.EncodeToString(b[:segmentHeaderSize]); got != want {
		t.Errorf("segment header\n got %s\nwant %s", got, want)
	}
	g := sampleGroup()
	g.encode(b)
	want = "756e574701007000a00102030405060708090a0b0c0d0e0f0500000000000000" +
		"030000000000000000200000000000000020020000000000090000000010000001000000" +
		"0403020108070605000000004210020000000000" + "04000000000000004d00000000000000" +
		"0000000063e41836"
	if got := hex.EncodeToString(b[:groupHeaderSize]); got != want {
		t.Errorf("group header\n got %s\nwant %s", got, want)
	}
	putFrame(b, 0xab, 0x010203)
	if got := hex.EncodeToString(b[:frameSize]); got != "03020100ab000000" {
		t.Errorf("frame %s", got)
	}
}

func TestHeadersRoundTrip(t *testing.T) {
	b := make([]byte, 4096)
	s := sampleSegment()
	s.encode(b)
	if got, err := decodeSegmentHeader(b); err != nil || got != s {
		t.Errorf("%+v, %v", got, err)
	}
	g := sampleGroup()
	g.encode(b)
	if got, err := decodeGroupHeader(b, 4096); err != nil || got != g {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*segmentHeader)
	}{
		{"block", func(h *segmentHeader) { h.block = 512 }},
		{"odd block", func(h *segmentHeader) { h.block = 5000 }},
		{"no length", func(h *segmentHeader) { h.length = 4096 }},
		{"odd length", func(h *segmentHeader) { h.length++ }},
		{"huge length", func(h *segmentHeader) { h.length = math.MaxUint64 &^ 4095 }},
		{"sequence", func(h *segmentHeader) { h.seq = 0 }},
		{"odd LSN", func(h *segmentHeader) { h.first = 1 }},
		{"huge LSN", func(h *segmentHeader) { h.first = math.MaxUint64 &^ 4095 }},
	} {
		h, b := sampleSegment(), make([]byte, 4096)
		c.edit(&h)
		h.encode(b)
		if _, err := decodeSegmentHeader(b); !isDamage(err) {
			t.Errorf("segment header with a bad %s: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		name string
		edit func(*groupHeader)
	}{
		{"no record", func(h *groupHeader) { h.records = 0 }},
		{"more records than fit", func(h *groupHeader) { h.records = 2 }},
		{"payload beyond the group", func(h *groupHeader) { h.payload = 4096 }},
		{"huge payload", func(h *groupHeader) { h.payload = math.MaxUint32 }},
		{"length", func(h *groupHeader) { h.length = 8192 }},
		{"durable after itself", func(h *groupHeader) { h.durable = h.lsn + 1 }},
	} {
		h, b := sampleGroup(), make([]byte, 4096)
		c.edit(&h)
		h.encode(b)
		if _, err := decodeGroupHeader(b, 4096); !isDamage(err) {
			t.Errorf("group header with %s: %v", c.name, err)
		}
	}
	var b [4096]byte
	for n := range segmentHeaderSize {
		if _, err := decodeSegmentHeader(b[:n]); !isDamage(err) {
			t.Fatal(n, err)
		}
	}
	for n := range groupHeaderSize {
		if _, err := decodeGroupHeader(b[:n], 4096); !isDamage(err) {
			t.Fatal(n, err)
		}
	}
	for _, f := range []string{"", "00", "0100000000000000", "0200000000000000ff",
		"ffffffff00000000ff", "0100000000010000ff"} {
		raw, _ := hex.DecodeString(f)
		if _, _, err := decodeFrame(raw); !isDamage(err) {
			t.Errorf("frame %s: %v", f, err)
		}
	}
}

// whole builds a whole group of the given records.
func whole(h groupHeader, recs ...string) (groupHeader, []byte) {
	g := group{buf: make([]byte, 64<<10)}
	g.reset(&segment{}, 0, len(g.buf))
	for _, r := range recs {
		g.put(0, []byte(r))
	}
	h.payload, h.records, h.payloadCRC = uint32(g.fill-groupHeaderSize), g.records, g.crc
	h.length = uint32(roundUp(g.fill, 4096))
	h.encode(g.buf)
	return h, g.buf[:h.length]
}

func decodeGroup(b []byte) (groupHeader, error) {
	h, err := decodeGroupHeader(b, 4096)
	if err != nil {
		return h, err
	}
	if int(h.length) > len(b) {
		return h, errShort
	}
	return h, checkPayload(&h, b[groupHeaderSize:h.length])
}

// TestEveryBit flips each bit of a group and of a segment header: none may go unnoticed.
func TestEveryBit(t *testing.T) {
	_, b := whole(sampleGroup(), "one", "twotwo", record(3, 500))
	if _, err := decodeGroup(b); err != nil {
		t.Fatal(err)
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := decodeGroup(b); err == nil {
			t.Fatalf("bit %d of byte %d of a group may be flipped", i%8, i/8)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	s := sampleSegment()
	b = make([]byte, 4096)
	s.encode(b)
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := decodeSegmentHeader(b); err == nil {
			t.Fatalf("bit %d of byte %d of a segment header may be flipped", i%8, i/8)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

func TestVersionIsNotDamage(t *testing.T) {
	_, b := whole(sampleGroup(), "x")
	le.PutUint16(b[4:], 2)
	le.PutUint32(b[108:], crcOf(b[:108]))
	if _, err := decodeGroupHeader(b, 4096); !errors.Is(err, ErrVersion) || isDamage(err) {
		t.Error(err)
	}
}

func TestSegmentNames(t *testing.T) {
	for _, seq := range []uint64{1, 255, math.MaxUint64} {
		if got, ok := segmentSeq(segmentName(seq)); !ok || got != seq {
			t.Errorf("%d is %s is %d, %v", seq, segmentName(seq), got, ok)
		}
	}
	for _, name := range []string{"", ".wal", "1.wal", "0000000000000000.wal",
		"000000000000000A.wal", "0000000000000001.wal.tmp", "0000000000000001", "lost+found"} {
		if seq, ok := segmentSeq(name); ok {
			t.Errorf("%q is segment %d", name, seq)
		}
	}
}

func FuzzSegmentHeader(f *testing.F) {
	b := make([]byte, 4096)
	s := sampleSegment()
	s.encode(b)
	f.Add(b)
	f.Add(b[:segmentHeaderSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeSegmentHeader(b)
		if err != nil {
			return
		}
		again := make([]byte, len(b))
		h.encode(again)
		if !bytes.Equal(again, b) {
			t.Errorf("accepted bytes that mean %+v but are not its encoding", h)
		}
	})
}

func FuzzGroup(f *testing.F) {
	_, b := whole(sampleGroup(), "one", "twotwo", record(3, 5000))
	f.Add(b)
	f.Add(b[:200])
	f.Fuzz(func(t *testing.T, b []byte) {
		// Most inputs die at a checksum. Mend them, so that what is behind gets exercised.
		for _, mend := range []bool{false, true} {
			if mend && len(b) >= groupHeaderSize {
				b = bytes.Clone(b)
				if n := groupHeaderSize + int64(le.Uint32(b[56:])); n <= int64(len(b)) {
					le.PutUint32(b[68:], crcOf(b[groupHeaderSize:n]))
				}
				le.PutUint32(b[108:], crcOf(b[:108]))
			}
			h, err := decodeGroup(b)
			if err != nil {
				continue
			}
			again := bytes.Clone(b[:h.length])
			clear(again[:groupHeaderSize])
			h.encode(again)
			if !bytes.Equal(again, b[:h.length]) {
				t.Errorf("accepted a header that means %+v but is not its encoding", h)
			}
			n := uint32(0)
			g := foundGroup{groupHeader: h, payload: b[groupHeaderSize:][:h.payload]}
			if _, err := visitGroup(&g, 0, func(r Record) bool { n++; return true }); err != nil ||
				n != h.records {
				t.Errorf("%d records of %d, %v", n, h.records, err)
			}
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 7, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, data, err := decodeFrame(b)
		if err != nil {
			return
		}
		var head [frameSize]byte
		putFrame(head[:], kind, len(data))
		if len(data) == 0 || !bytes.Equal(head[:], b[:frameSize]) ||
			!bytes.Equal(data, b[frameSize:frameSize+len(data)]) {
			t.Errorf("accepted %x as kind %d, %d bytes", b[:frameSize], kind, len(data))
		}
	})
}

func TestWatermarkOrder(t *testing.T) {
	a, b, c := Watermark{1, 9}, Watermark{2, 0}, Watermark{2, 1}
	if !a.Less(b) || !b.Less(c) || c.Less(b) || a.Less(a) {
		t.Error("watermarks are ordered by epoch, then number")
	}
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, page.Castagnoli) }
