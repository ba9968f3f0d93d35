package explore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/untorn/untorn"
)

// stampBytes at the start of the caller's part of a page say which image it is: file, page, version.
const stampBytes = 24

// paint makes b the image of a version of a page: every byte of it follows from the three numbers.
// Version 0 is what creation and growth leave: zeros.
func paint(b []byte, uid, no, version uint64) {
	body := b[untorn.PageHeader:]
	if version == 0 {
		clear(body)
		return
	}
	binary.LittleEndian.PutUint64(body, uid)
	binary.LittleEndian.PutUint64(body[8:], no)
	binary.LittleEndian.PutUint64(body[16:], version)
	// No word is what it is in another image: the first ones differ, and all are as far from them.
	x := uid*0x9e3779b97f4a7c15 ^ no*0xd6e8feb86659fd93 ^ version*0xbf58476d1ce4e5b9 | 1
	for i := stampBytes; i+8 <= len(body); i += 8 {
		x += 0x9e3779b97f4a7c15
		binary.LittleEndian.PutUint64(body[i:], x)
	}
}

// maxVersion is more than any run writes: a larger one is garbage.
const maxVersion = 1 << 20

// sight is what was found in one page.
type sight struct {
	uid, version uint64
	lsn          untorn.LSN
	damaged      string // what the engine reported; it knows
	torn         string // what it did not report; it should have
}

// look reads an image back.
func look(b, scratch []byte, no uint64) (s sight) {
	body := b[untorn.PageHeader:]
	s.uid = binary.LittleEndian.Uint64(body)
	s.version = binary.LittleEndian.Uint64(body[16:])
	if s.version == 0 {
		s.uid = 0
	}
	scratch = scratch[:len(b)]
	paint(scratch, s.uid, no, s.version)
	want := scratch[untorn.PageHeader:]
	if bytes.Equal(body, want) {
		return s
	}
	at := 0
	for at < len(body) && body[at] == want[at] {
		at++
	}
	if s.version > maxVersion || binary.LittleEndian.Uint64(body[8:]) != no {
		s.torn, s.version, s.uid = "it is no version of this page from its first bytes on", 0, 0
		return s
	}
	s.torn = fmt.Sprintf("it begins as version %d and is something else from byte %d of %d on", s.version, at+untorn.PageHeader, len(b))
	return s
}

// payload is record id's data: its length and bytes follow from the number.
func payload(id uint64, n int) []byte {
	b := make([]byte, max(n, 12))
	binary.LittleEndian.PutUint64(b, id)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	for i := 12; i < len(b); i++ {
		b[i] = byte(id) + byte(i)*7
	}
	return b
}

// isPayload reports whether b is payload of record id.
func isPayload(b []byte, id uint64) bool {
	if int(binary.LittleEndian.Uint32(b[8:])) != len(b) {
		return false
	}
	for i := 12; i < len(b); i++ {
		if b[i] != byte(id)+byte(i)*7 {
			return false
		}
	}
	return true
}

// whose record it is; an error when it is nobody's.
func readPayload(b []byte) (id uint64, err error) {
	if len(b) < 12 {
		return 0, fmt.Errorf("record of %d bytes", len(b))
	}
	id = binary.LittleEndian.Uint64(b)
	cs := readChanges(b)
	if !isPayload(b, id) && (cs == nil || !bytes.Equal(b, withChanges(id, len(b)-len(cs)*changeBytes, cs))) {
		return id, fmt.Errorf("record %d is not what was appended", id)
	}
	return id, nil
}
