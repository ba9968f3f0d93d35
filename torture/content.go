package torture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/untorn/untorn"
)

var le = binary.LittleEndian

// version names one image of a page: the round it was written in, and a count within it. Versions
// of one page grow, because one goroutine at a time writes it.
type version uint64

func makeVersion(round uint32, n uint32) version { return version(round)<<32 | version(n) }

func (v version) String() string {
	if v == 0 {
		return "empty"
	}
	return fmt.Sprintf("%d.%d", v>>32, uint32(v))
}

// mix is the finalizer of splitmix64, by Sebastiano Vigna.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func mixAll(xs ...uint64) uint64 {
	h := uint64(0)
	for _, x := range xs {
		h = mix(h ^ x)
	}
	return h
}

// fill writes the stream of key into b.
func fill(b []byte, key uint64) {
	x := key | 1
	for len(b) >= 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		le.PutUint64(b, x)
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(x >> (8 * i))
	}
}

const (
	pageMagic  = 0x4547415054524f54 // "TORTPAGE"
	pageFixed  = 40                 // after the engine's header: magic, version, page, tag, key
	recMagic   = 0x4345525f54524f54 // "TORT_REC"
	recFixed   = 48
	sectorSize = 512
)

func pageKey(seed uint64, tag uint32, no uint64, v version) uint64 {
	return mixAll(seed, uint64(tag), no, uint64(v))
}

// putPage makes the image of a version; the engine's header is the engine's.
func putPage(buf []byte, seed uint64, tag uint32, no uint64, v version) {
	b := buf[untorn.PageHeader:]
	key := pageKey(seed, tag, no, v)
	le.PutUint64(b, pageMagic)
	le.PutUint64(b[8:], uint64(v))
	le.PutUint64(b[16:], no)
	le.PutUint64(b[24:], uint64(tag))
	le.PutUint64(b[32:], key)
	fill(b[pageFixed:], key)
}

var errContent = errors.New("contents are wrong")

// readPage returns the version of an image after checking every byte of it.
func readPage(buf []byte, seed uint64, tag uint32, no uint64) (version, error) {
	b := buf[untorn.PageHeader:]
	if le.Uint64(b) == 0 {
		if i := firstNot(b, nil); i >= 0 {
			return 0, fmt.Errorf("%w: an empty page with byte %#x at %d", errContent, b[i],
				i+untorn.PageHeader)
		}
		return 0, nil
	}
	v := version(le.Uint64(b[8:]))
	if le.Uint64(b) != pageMagic || le.Uint64(b[16:]) != no || le.Uint64(b[24:]) != uint64(tag) {
		return 0, fmt.Errorf("%w: it says it is page %d of file %d", errContent, le.Uint64(b[16:]),
			le.Uint64(b[24:]))
	}
	want := make([]byte, len(buf))
	putPage(want, seed, tag, no, v)
	if i := firstNot(b, want[untorn.PageHeader:]); i >= 0 {
		return 0, fmt.Errorf("%w: it begins as version %s and differs from it at byte %d",
			errContent, v, i+untorn.PageHeader)
	}
	return v, nil
}

// firstNot is the first position where b differs from want (nil: zeros), or -1.
func firstNot(b, want []byte) int {
	if want != nil && bytes.Equal(b, want) {
		return -1
	}
	for i, c := range b {
		w := byte(0)
		if want != nil {
			w = want[i]
		}
		if c != w {
			return i
		}
	}
	return -1
}

// describe says sector by sector which of the versions a damaged image is made of.
func describe(buf []byte, seed uint64, tag uint32, no uint64, known []version) string {
	images := make([][]byte, len(known))
	for i, v := range known {
		images[i] = make([]byte, len(buf))
		if v != 0 {
			putPage(images[i], seed, tag, no, v)
		}
	}
	var out []byte
	last, from := "", 0
	flush := func(to int) {
		if last != "" {
			out = fmt.Appendf(out, "%ssectors %d-%d: %s", map[bool]string{true: "",
				false: ", "}[len(out) == 0], from, to-1, last)
		}
	}
	n := len(buf) / sectorSize
	for s := range n {
		lo, hi := s*sectorSize, (s+1)*sectorSize
		if s == 0 {
			lo = untorn.PageHeader
		}
		what := "unknown bytes"
		for i, v := range known {
			if bytes.Equal(buf[lo:hi], images[i][lo:hi]) {
				what = "version " + v.String()
				break
			}
		}
		if what != last {
			flush(s)
			last, from = what, s
		}
	}
	flush(n)
	return string(out)
}

// record is what the harness knows of a record's contents.
type record struct {
	seq   uint64 // its ordinal in the log
	round uint32
	at    uint16 // position in its batch
	of    uint16 // records of the batch
	size  uint32
}

// recordSize makes sizes that cross blocks and groups now and then.
func recordSize(key uint64, least int) int {
	n := least + int(key%600)
	if key>>32%16 == 0 {
		n += int(key >> 40 % 3000) // seven of them still fit into the smallest group
	}
	return n
}

// putRecord makes a record of r.size bytes, at least recFixed.
func putRecord(b []byte, seed uint64, r record) []byte {
	b = append(b[:0], make([]byte, r.size)...)
	le.PutUint64(b, recMagic)
	le.PutUint64(b[8:], r.seq)
	le.PutUint32(b[16:], r.round)
	le.PutUint16(b[20:], r.at)
	le.PutUint16(b[22:], r.of)
	le.PutUint32(b[24:], r.size)
	key := mixAll(seed, r.seq, uint64(r.round), uint64(r.size), uint64(r.at)<<16|uint64(r.of))
	le.PutUint64(b[32:], key)
	fill(b[recFixed:], key)
	return b
}

// readRecord checks every byte of a record.
func readRecord(b []byte, seed uint64) (record, error) {
	if len(b) < recFixed || le.Uint64(b) != recMagic {
		return record{}, fmt.Errorf("%w: %d bytes that are no record of ours", errContent, len(b))
	}
	r := record{
		seq: le.Uint64(b[8:]), round: le.Uint32(b[16:]), at: le.Uint16(b[20:]),
		of: le.Uint16(b[22:]), size: le.Uint32(b[24:]),
	}
	if int(r.size) != len(b) {
		return r, fmt.Errorf("%w: record %d has %d bytes, was written with %d", errContent, r.seq,
			len(b), r.size)
	}
	if i := firstNot(b, putRecord(nil, seed, r)); i >= 0 {
		return r, fmt.Errorf("%w: record %d differs at byte %d", errContent, r.seq, i)
	}
	return r, nil
}
