package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/untorn/untorn/blocklog"
	"github.com/untorn/untorn/powercut/tape"
)

// TestSlowDisk speaks to it as qemu does.
func TestSlowDisk(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "disk")
	if err := makeFile(file, 1<<20); err != nil {
		t.Fatal(err)
	}
	d, socket, err := newSlowDisk(file, dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	send := func(b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if h := read(18); string(h[:16]) != "NBDMAGICIHAVEOPT" {
		t.Fatalf("%x", h)
	}
	option := func(opt uint32) (kinds []uint32, last []byte) {
		b := append([]byte("IHAVEOPT"), 0, 0, 0, byte(opt), 0, 0, 0, 6)
		send(append(b, 0, 0, 0, 0, 0, 0))
		for {
			h := read(20)
			kinds = append(kinds, be.Uint32(h[12:]))
			data := read(int(be.Uint32(h[16:])))
			if be.Uint32(h[12:]) != nbdInfo {
				return kinds, last
			}
			last = data
		}
	}
	send([]byte{0, 0, 0, 3})
	if kinds, _ := option(8); len(kinds) != 1 || kinds[0] != nbdUnsupported {
		t.Errorf("structured replies: %x", kinds)
	}
	kinds, info := option(nbdOptGo)
	if len(kinds) != 2 || be.Uint64(info[2:]) != 1<<20 {
		t.Fatalf("%v, %x", kinds, info)
	}
	do := func(kind uint16, off uint64, n int, data []byte) (errno uint32, got []byte) {
		b := binary.BigEndian.AppendUint32(nil, nbdRequest)
		b = be.AppendUint16(b, 0)
		b = be.AppendUint16(b, kind)
		b = be.AppendUint64(b, 77)
		b = be.AppendUint64(b, off)
		b = be.AppendUint32(b, uint32(n))
		send(append(b, data...))
		r := read(16)
		if be.Uint32(r) != nbdSimpleReply || be.Uint64(r[8:]) != 77 {
			t.Fatalf("%x", r)
		}
		if errno = be.Uint32(r[4:]); kind == 0 && errno == 0 {
			got = read(n)
		}
		return errno, got
	}
	if e, _ := do(1, 4096, 5, []byte("hello")); e != 0 {
		t.Error(e)
	}
	if e, _ := do(3, 0, 0, nil); e != 0 {
		t.Error(e)
	}
	if e, b := do(0, 4096, 5, nil); e != 0 || string(b) != "hello" {
		t.Errorf("%d, %q", e, b)
	}
	if e, _ := do(0, 1<<20-1, 2, nil); e == 0 {
		t.Error("a read beyond the end")
	}
	if e, _ := do(4, 0, 512, nil); e == 0 {
		t.Error("a trim, which was not offered")
	}
	d.hangInBatch()
	if e, _ := do(3, 0, 0, nil); e != 0 {
		t.Error("a flush without a batch:", e)
	}
	batch := make([]byte, batchBytes+512)
	if e, _ := do(1, 64<<10, len(batch), batch); e != 0 {
		t.Error(e)
	}
	flush := make(chan uint32)
	go func() { flush <- d.do(3, 0, nil) }()
	<-d.hung
	if e, _ := do(1, 8192, 5, []byte("there")); e != 0 {
		t.Error("a write while a flush hangs:", e)
	}
	c.Close()
	if err := d.close(); err != nil {
		t.Error(err)
	}
	if e := <-flush; e == 0 {
		t.Error("a flush that hung until the power went has ended well")
	}
	if b, err := os.ReadFile(file); err != nil || string(b[4096:4101]) != "hello" {
		t.Error(err)
	}
	if n := len(d.order); n != 2+len(batch)/512 || d.order[0].Sector != 8 || d.order[n-1].Sector != 16 {
		t.Errorf("the disk took %v", d.order)
	}
}

// TestOrder: a log in another order than the disk's is never judged: dm-log-writes' is put in order, and
// what cannot be is refused.
func TestOrder(t *testing.T) {
	sector := func(c byte) []byte { return bytes.Repeat([]byte{c}, 512) }
	flush := byte(0)
	for _, c := range []struct {
		name, recorder string
		log            []byte // writes of sector 9, and flushes
		disk           string
		fit            bool
		moved          int
	}{
		{"in order", "qemu", []byte{'a', flush, 'b', flush}, "ab", true, 0},
		{"out of order", "qemu", []byte{'b', flush, 'a', flush}, "ab", false, 0},
		{"lists of two flushes", "dm", []byte{'b', flush, 'a', flush}, "ab", true, 1},
		{"a write is missing", "dm", []byte{'b', flush, flush}, "ab", false, 0},
	} {
		rec := recordingIn(t.TempDir(), tape.Job{Recorder: c.recorder})
		b := make([]byte, 512)
		le := binary.LittleEndian
		le.PutUint64(b, 0x6a736677736872)
		le.PutUint64(b[8:], 1)
		le.PutUint64(b[16:], uint64(len(c.log)))
		le.PutUint32(b[24:], 512)
		for _, w := range c.log {
			e := make([]byte, 512)
			if w == flush {
				e[16] = byte(blocklog.Flush)
				b = append(b, e...)
				continue
			}
			e[0], e[8] = 9, 1
			b = append(append(b, e...), sector(w)...)
		}
		var took []blocklog.Stroke
		for i := range c.disk {
			took = blocklog.Strokes(took, 9*512, sector(c.disk[i]))
		}
		if err := errors.Join(os.WriteFile(rec.log, b, 0o600), writeStrokes(rec.order, took)); err != nil {
			t.Fatal(err)
		}
		l, o, done, err := rec.read()
		if err == nil {
			err = done()
		}
		if (err == nil) != c.fit || err != nil && (!errors.Is(err, errOrder) || exit(err) != 3) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.fit && (o.Moved != c.moved || len(l.Entries) != len(c.log)) {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
}

// TestPlan: places without anything pending are looked at once, those with much pending first, and the
// budget is kept.
func TestPlan(t *testing.T) {
	win := blocklog.Window{Len: 1 << 20}
	w := blocklog.Entry{Off: 0, Len: 4096}
	tape := blocklog.Entry{Off: 1 << 20, Len: 512}
	flush := blocklog.Entry{Flags: blocklog.Flush}
	l := &blocklog.Log{Entries: []blocklog.Entry{w, flush, tape, flush, w, tape, flush, w, w, w, tape, flush}}
	cuts, flushes := plan(l, win, 2, 1000, rand.New(rand.NewPCG(1, 1)))
	got := map[cut]int{}
	for _, c := range cuts {
		got[c]++
	}
	for _, want := range []cut{{4, 1}, {7, 1}, {12, 1}, {6, 8}, {11, 8}} {
		if got[want] == 0 {
			t.Errorf("%+v is not looked at", want)
		}
	}
	if flushes != 3 || len(got) != 5 {
		t.Errorf("%d flushes, %v", flushes, cuts)
	}
	cuts, _ = plan(l, win, 2, 20, rand.New(rand.NewPCG(1, 1)))
	n := 0
	for _, c := range cuts {
		n += c.states
	}
	if n > 20 || !slices.Contains(cuts, cut{11, 8}) && !slices.Contains(cuts, cut{10, 8}) {
		t.Errorf("%v", cuts)
	}
}

// TestChunks copies sparsely and exactly.
func TestChunks(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	b := make([]byte, 3*chunkSize+100)
	b[5], b[2*chunkSize], b[len(b)-1] = 1, 2, 3
	if err := os.WriteFile(from, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(to, from); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%v, %d bytes", err, len(got))
	}
}

// TestWrong: what the suite takes for a failure.
func TestWrong(t *testing.T) {
	for _, c := range []struct {
		o   Outcome
		bad bool
	}{
		{Outcome{Mode: "doublewrite"}, false},
		{Outcome{Mode: "doublewrite", Violations: 1}, true},
		{Outcome{Mode: "doublewrite", Mutant: "m"}, true},
		{Outcome{Mode: "doublewrite", Mutant: "m", Violations: 1}, false},
		{Outcome{Mode: "none"}, true},
		{Outcome{Mode: "none", Torn: 1}, false},
		{Outcome{Mode: "none", Stopped: true}, false},
	} {
		if (c.o.wrong() != "") != c.bad {
			t.Errorf("%+v: %q", c.o, c.o.wrong())
		}
	}
}
