package untorn_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/pageimage/codecs"
	"github.com/untorn/untorn/sim"
)

// TestFullLogNeverKeepsPagesBack: when the log has no room for an image, the file goes through the
// doublewrite buffer; every page can be written, and a checkpoint then empties the log. Opened
// again, the file logs images again, and none of before the change comes back.
func TestFullLogNeverKeepsPagesBack(t *testing.T) {
	for _, mode := range []untorn.Mode{untorn.ModeFullpage, untorn.ModeShadow} {
		d := sim.New(sim.Config{Seed: 1})
		o := onSim(d)
		o.MaxLogBytes = 3 * o.SegmentBytes
		e := open(t, o)
		f := create(t, e, "table", untorn.FileOptions{Pages: 300, PageSize: 4096, Mode: mode})
		writeVersion(t, e, f, upTo(300), 1, untorn.Durable)
		in := fileInfo(t, e, "table")
		if in.Protection != "doublewrite" || !strings.Contains(in.Moved, "log") {
			t.Errorf("%s: 300 images in a log of 192 pages: %+v", mode, in)
		}
		if _, _, err := e.Append(make([]byte, 4000)); !errors.Is(err, untorn.ErrLogFull) {
			t.Errorf("the log is not full: %v", err)
		}
		if err := e.Checkpoint(ctx, e.EndLSN(), nil); err != nil {
			t.Fatal(err)
		}
		writeVersion(t, e, f, upTo(100), 2, untorn.Durable)
		for range 3 {
			crashed := d.Crash()
			e := open(t, on(o, crashed))
			f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, no := range upTo(300) {
				want := uint64(2)
				if no >= 100 {
					want = 1
				}
				if v := readVersion(t, f, no); v != want {
					t.Fatalf("page %d comes back as version %d, not %d", no, v, want)
				}
			}
			before := e.Stats().Images
			writeVersion(t, e, f, upTo(10), 3, untorn.Durable)
			if got := e.Stats().Images - before; got != 10 {
				t.Errorf("%s: %d images of 10 pages after an open", mode, got)
			}
			mustClose(t, e)
		}
	}
}

// TestOneImageBetweenCheckpoints: the first write of a page after a Checkpoint call logs an image,
// later ones do not, unless no record has what they change.
func TestOneImageBetweenCheckpoints(t *testing.T) {
	e := open(t, small(t))
	f := create(t, e, "table", untorn.FileOptions{Pages: 50, Mode: untorn.ModeFullpage})
	images := func() (n uint64) {
		n = e.Stats().Images
		return n
	}
	want := func(what string, n uint64, do func()) {
		t.Helper()
		was := images()
		if do(); images()-was != n {
			t.Errorf("%s: %d images, want %d", what, images()-was, n)
		}
	}
	write := func(n, v uint64) func() {
		return func() { writeVersion(t, e, f, upTo(n), v, untorn.Protected) }
	}
	unrecorded := func() {
		b := make([]byte, f.PageSize())
		if err := f.WritePages(ctx, []untorn.PageWrite{{No: 1, LSN: e.EndLSN(), Data: b, Unrecorded: true}, {No: 2, Data: b}}, untorn.Durable); err != nil {
			t.Fatal(err)
		}
	}
	checkpoint := func() {
		if err := e.Checkpoint(ctx, e.EndLSN(), nil); err != nil {
			t.Fatal(err)
		}
	}
	want("the first write", 20, write(20, 1))
	want("the second", 0, write(20, 2))
	want("more pages", 10, write(30, 3))
	want("no record, no LSN", 2, unrecorded)
	checkpoint()
	want("after a checkpoint", 30, write(30, 4))
	checkpoint()
	want("after another", 50, write(50, 5))
	if err := f.Grow(ctx, 70000); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, f.PageSize())
	last := []untorn.PageWrite{{No: 69999, LSN: e.EndLSN(), Data: b}}
	for i := range uint64(2) {
		want("a page that came later", 1-i, func() {
			if err := f.WritePages(ctx, last, untorn.Durable); err != nil {
				t.Fatal(err)
			}
		})
	}
	if s := e.Stats(); s.ImageBytes == 0 || s.ImageBytes > s.Log.RecordBytes {
		t.Errorf("%d bytes of images in %d of records", s.ImageBytes, s.Log.RecordBytes)
	}
}

// TestImagesOfAnotherModeAreForgotten is I7: a file that leaves mode fullpage and comes back to an
// open is not given an image of before.
func TestImagesOfAnotherModeAreForgotten(t *testing.T) {
	d := sim.New(sim.Config{Seed: 3})
	o := onSim(d)
	write := func(f *untorn.File, v uint64) {
		t.Helper()
		b := make([]byte, f.PageSize())
		fill(b, 1, v)
		if err := f.WritePages(ctx, []untorn.PageWrite{{No: 1, Data: b}}, untorn.Durable); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, o)
	write(create(t, e, "table", untorn.FileOptions{Pages: 4, Mode: untorn.ModeFullpage}), 1)
	v := uint64(1)
	for _, mode := range []untorn.Mode{untorn.ModeDetect, untorn.ModeFullpage, untorn.ModeDoublewrite, untorn.ModeShadow, untorn.ModeDetect, untorn.ModeFullpage} {
		mustClose(t, e)
		e = open(t, o)
		f, err := e.OpenFile(ctx, "table", untorn.FileOptions{Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		check := func(want uint64) {
			t.Helper()
			crashed := d.Crash()
			e := open(t, on(o, crashed))
			f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := readVersion(t, f, 1); got != want {
				t.Errorf("mode %s: version %d comes back as %d", mode, want, got)
			}
			mustClose(t, e)
		}
		check(v)
		v++
		write(f, v)
		check(v)
	}
}

// TestImageTooLarge: a page whose image the log cannot hold is refused when the file is opened.
func TestImageTooLarge(t *testing.T) {
	o := onSim(sim.New(sim.Config{Seed: 4}))
	o.SegmentBytes = 64 << 10
	e := open(t, o)
	_, err := e.OpenFile(ctx, "table", untorn.FileOptions{Create: true, Pages: 1, PageSize: 16384, Mode: untorn.ModeFullpage})
	if !errors.Is(err, untorn.ErrTooLarge) {
		t.Errorf("a page of 16384 bytes, groups of 16384: %v", err)
	}
}

// TestImagesAllocateNothing: the way of a page through its image costs no allocation once it is warm,
// whether it logs one or relies on one.
func TestImagesAllocateNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	for _, codec := range append(pageimage.Codecs{nil}, codecs.All()...) {
		o := small(t)
		o.SegmentBytes, o.ImageCodec = 64<<20, codec
		e := open(t, o)
		f := create(t, e, "table", untorn.FileOptions{Pages: 64, Mode: untorn.ModeFullpage})
		bufs, ws := make([][]byte, 16), make([]untorn.PageWrite, 16)
		_, lsn, err := e.Append([]byte("record"))
		if err != nil {
			t.Fatal(err)
		}
		write := func() {
			if err := f.Alloc(ctx, bufs); err != nil {
				t.Fatal(err)
			}
			for i := range ws {
				ws[i] = untorn.PageWrite{No: untorn.PageNo(i), Data: bufs[i], LSN: lsn * untorn.LSN(i%2)} // half of them log images
			}
			if err := f.WritePages(ctx, ws, untorn.Durable); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			write()
		}
		// What the log's own goroutines allocate, or pools after a collection, is a matter of timing: less
		// than one in eight pages, and an allocation on the way of a page is there every time.
		least := testing.AllocsPerRun(100, write)
		for range 4 {
			if least < 2 {
				break
			}
			least = min(least, testing.AllocsPerRun(100, write))
		}
		if least >= 2 {
			t.Errorf("codec %v: %v allocations in a call of 16 pages", codec, least)
		}
		mustClose(t, e)
	}
}

// TestCompressedImages: images come back from any codec the program was given, and an image in
// another stops the open with a name.
func TestCompressedImages(t *testing.T) {
	for _, codec := range codecs.All() {
		d := sim.New(sim.Config{Seed: 9})
		o := onSim(d)
		o.ImageCodec = codec
		e := open(t, o)
		f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 8192, Mode: untorn.ModeFullpage})
		b := make([]byte, f.PageSize())
		copy(b[untorn.PageHeader:], bytes.Repeat([]byte("not much in it; "), 300))
		for no := range untorn.PageNo(8) {
			if err := f.WritePages(ctx, []untorn.PageWrite{{No: no, Data: b}}, untorn.Durable); err != nil {
				t.Fatal(err)
			}
		}
		if n := e.Stats().ImageBytes; n > 8*1000 {
			t.Errorf("%s: 8 images take %d bytes", codec.Name(), n)
		}
		again := func(c ...pageimage.Codec) (*untorn.Engine, error) {
			crashed := d.Crash()
			o := on(o, crashed)
			o.ImageCodec, o.ImageCodecs = nil, c
			return untorn.Open(ctx, o)
		}
		if _, err := again(); !errors.Is(err, pageimage.ErrCodec) || !strings.Contains(err.Error(), codec.Name()) {
			t.Errorf("%s: without it the open says %v", codec.Name(), err)
		}
		e2, err := again(codecs.All()...)
		if err != nil {
			t.Fatal(err)
		}
		if r := e2.Report(); r.Images != 8 || r.Installed != 8 {
			t.Errorf("%s: %d images, %d installed", codec.Name(), r.Images, r.Installed)
		}
		f2, err := e2.OpenFile(ctx, "table", untorn.FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, f.PageSize())
		if err := f2.ReadPages(ctx, []untorn.PageRead{{No: 3, Data: got}}); err != nil || !bytes.Equal(got[untorn.PageHeader:], b[untorn.PageHeader:]) {
			t.Errorf("%s: %v", codec.Name(), err)
		}
		mustClose(t, e2)
		mustClose(t, e)
	}
}
