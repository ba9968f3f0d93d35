package untorn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/untorn/untorn"
)

// fill makes the caller's part of a page a function of its number and version, every byte of it.
func fill(b []byte, no, version uint64) {
	x := no*0x9e3779b97f4a7c15 ^ version*0xbf58476d1ce4e5b9 | 1
	for i := untorn.PageHeader; i < len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	binary.LittleEndian.PutUint64(b[untorn.PageHeader:], version)
}

// version returns which version of page no b holds, or an error if it is none.
func version(b []byte, no uint64) (uint64, error) {
	v := binary.LittleEndian.Uint64(b[untorn.PageHeader:])
	want := make([]byte, len(b))
	fill(want, no, v)
	if !bytes.Equal(want[untorn.PageHeader:], b[untorn.PageHeader:]) {
		return 0, fmt.Errorf("page %d does not hold version %d", no, v)
	}
	return v, nil
}

func open(t testing.TB, o untorn.Options) *untorn.Engine {
	t.Helper()
	e, err := untorn.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	return e
}

func small(t testing.TB) untorn.Options {
	return untorn.Options{
		Dir: filepath.Join(t.TempDir(), "db"), SegmentBytes: 1 << 20, BatchBytes: 256 << 10, Memory: 8 << 20, Unsafe: true,
	}
}

func mustClose(t testing.TB, e *untorn.Engine) {
	t.Helper()
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, e *untorn.Engine, name string, o untorn.FileOptions) *untorn.File {
	t.Helper()
	o.Create = true
	f, err := e.OpenFile(context.Background(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func writeVersion(t testing.TB, e *untorn.Engine, f *untorn.File, nos []uint64, v uint64, level untorn.Level) {
	t.Helper()
	_, lsn, err := e.Append([]byte(fmt.Sprintf("version %d", v)))
	if err != nil {
		t.Fatal(err)
	}
	var ws []untorn.PageWrite
	for _, no := range nos {
		b := make([]byte, f.PageSize())
		fill(b, no, v)
		ws = append(ws, untorn.PageWrite{No: untorn.PageNo(no), LSN: lsn, Data: b})
	}
	if err := f.WritePages(context.Background(), ws, level); err != nil {
		t.Fatal(err)
	}
}

func readVersion(t testing.TB, f *untorn.File, no uint64) uint64 {
	t.Helper()
	b := make([]byte, f.PageSize())
	if err := f.ReadPages(context.Background(), []untorn.PageRead{{No: untorn.PageNo(no), Data: b}}); err != nil {
		t.Fatal(err)
	}
	v, err := version(b, no)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func upTo(n uint64) (nos []uint64) {
	for i := range n {
		nos = append(nos, i)
	}
	return nos
}

// TestEndToEnd: every mode and backend, written, read, closed, opened again.
func TestEndToEnd(t *testing.T) {
	for _, backend := range []string{"auto", "threads", "buffered"} {
		for _, mode := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeFullpage, untorn.ModeShadow, untorn.ModeDetect, untorn.ModeNone} {
			t.Run(fmt.Sprintf("backend=%s,mode=%s", backend, mode), func(t *testing.T) {
				o := small(t)
				o.Backend = backendOf(backend)
				e := open(t, o)
				f := create(t, e, "table", untorn.FileOptions{Pages: 200, Mode: mode, PageSize: 8192})
				for v := uint64(1); v <= 3; v++ {
					for _, level := range []untorn.Level{untorn.Durable, untorn.Protected, untorn.Logged, untorn.Accepted} {
						writeVersion(t, e, f, upTo(200), v, level)
						if got := readVersion(t, f, 137); got != v {
							t.Fatalf("level %s: version %d, want %d", level, got, v)
						}
					}
				}
				mustClose(t, e)

				e = open(t, o)
				if !e.Report().Clean {
					t.Error("closed in order, and yet not clean")
				}
				f, err := e.OpenFile(context.Background(), "table", untorn.FileOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if f.Mode() != mode || f.PageSize() != 8192 || f.Pages() != 200 {
					t.Errorf("mode %s, %d pages of %d bytes", f.Mode(), f.Pages(), f.PageSize())
				}
				for no := range uint64(200) {
					if got := readVersion(t, f, no); got != 3 {
						t.Fatalf("page %d has version %d, want 3", no, got)
					}
				}
				n := 0
				for r, err := range e.Replay(context.Background()) {
					if err != nil {
						t.Fatal(err)
					}
					n++
					if want := fmt.Sprintf("version %d", (n-1)/4+1); string(r.Data) != want {
						t.Fatalf("record %d is %q, want %q", n, r.Data, want)
					}
				}
				if n != 12 {
					t.Errorf("%d records replayed, want 12", n)
				}
				mustClose(t, e)
			})
		}
	}
}

// TestManyWriters: writers of overlapping pages, readers beside them; every read is whole and never
// older than what its writer was told is durable (I4, I9).
func TestManyWriters(t *testing.T) {
	e := open(t, small(t))
	f := create(t, e, "table", untorn.FileOptions{Pages: 64})
	const writers, rounds = 8, 60
	ctx := context.Background()
	errc := make(chan error, 2*writers)
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		wg.Add(2)
		go func() { // each writer owns 8 pages
			defer wg.Done()
			b := make([]byte, f.PageSize())
			for v := uint64(1); v <= rounds; v++ {
				_, lsn, err := e.Append([]byte("x"))
				var ws []untorn.PageWrite
				for i := range uint64(8) {
					p := append([]byte(nil), b...)
					fill(p, w*8+i, v)
					ws = append(ws, untorn.PageWrite{No: untorn.PageNo(w*8 + i), LSN: lsn, Data: p})
				}
				if err == nil {
					err = f.WritePages(ctx, ws, untorn.Level(v%4))
				}
				for i := range uint64(8) {
					if err == nil {
						err = f.ReadPages(ctx, []untorn.PageRead{{No: untorn.PageNo(w*8 + i), Data: b}})
					}
					if err == nil {
						var got uint64
						if got, err = version(b, w*8+i); err == nil && got != v {
							err = fmt.Errorf("page %d has version %d after %d was accepted", w*8+i, got, v)
						}
					}
				}
				if err != nil {
					errc <- err
					return
				}
			}
		}()
		go func() { // readers of everybody's
			defer wg.Done()
			b := make([]byte, f.PageSize())
			var last [64]uint64
			for i := range 200 {
				no := uint64(i*7+int(w)) % 64
				err := f.ReadPages(ctx, []untorn.PageRead{{No: untorn.PageNo(no), Data: b}})
				var v uint64
				if err == nil && binary.LittleEndian.Uint64(b[untorn.PageHeader:]) != 0 {
					v, err = version(b, no)
				}
				if err == nil && v < last[no] {
					err = fmt.Errorf("page %d went back from version %d to %d", no, last[no], v)
				}
				if err != nil {
					errc <- err
					return
				}
				last[no] = v
			}
		}()
	}
	wg.Wait()
	close(errc)
	for err := range errc {
		t.Error(err)
	}
	mustClose(t, e)
}

func TestCheckpointAndLifeOfAFile(t *testing.T) {
	ctx := context.Background()
	o := small(t)
	e := open(t, o)
	f := create(t, e, "a", untorn.FileOptions{Pages: 10})
	writeVersion(t, e, f, upTo(10), 1, untorn.Durable)
	redo := e.EndLSN()
	writeVersion(t, e, f, upTo(10), 2, untorn.Accepted)
	if err := e.Checkpoint(ctx, redo, []byte("payload")); err != nil {
		t.Fatal(err)
	}
	if err := f.Grow(ctx, 30); err != nil {
		t.Fatal(err)
	}
	writeVersion(t, e, f, []uint64{29}, 3, untorn.Protected)
	if err := e.Rename(ctx, "a", "b"); err != nil {
		t.Fatal(err)
	}
	g := create(t, e, "gone", untorn.FileOptions{Pages: 4})
	writeVersion(t, e, g, upTo(4), 1, untorn.Accepted)
	if err := e.Remove(ctx, "gone"); err != nil {
		t.Fatal(err)
	}
	if err := g.WritePages(ctx, []untorn.PageWrite{{Data: make([]byte, g.PageSize())}}, untorn.Durable); !errors.Is(err, untorn.ErrUnknownFile) {
		t.Errorf("write to a removed file: %v", err)
	}
	mustClose(t, e)

	e = open(t, o)
	if got := fmt.Sprint(e.Files()); got != "[b]" {
		t.Errorf("files %s", got)
	}
	if r, p := e.LastCheckpoint(); r != redo || string(p) != "payload" {
		t.Errorf("checkpoint %d %q, want %d", r, p, redo)
	}
	f, err := e.OpenFile(ctx, "b", untorn.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Pages() != 30 {
		t.Errorf("%d pages", f.Pages())
	}
	if v := readVersion(t, f, 29); v != 3 {
		t.Errorf("page 29 has version %d", v)
	}
	if v := readVersion(t, f, 5); v != 2 {
		t.Errorf("page 5 has version %d", v)
	}
	b := make([]byte, f.PageSize())
	if err := f.ReadPages(ctx, []untorn.PageRead{{No: 15, Data: b}}); err != nil {
		t.Errorf("a page never written: %v", err)
	}
	n := 0
	for _, err := range e.Replay(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d records from the redo LSN on, want 3", n)
	}
}
