package untorn_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Directories that something happened to: damaged, old, of somebody else.

// TestSuperCopies: with two valid copies or more the engine opens and mends the rest, with fewer
// it refuses and changes nothing.
func TestSuperCopies(t *testing.T) {
	for bad := range 5 {
		for _, how := range []string{"garbled", "zeroed"} {
			t.Run(fmt.Sprintf("%d %s", bad, how), func(t *testing.T) {
				d := sim.New(sim.Config{Seed: 1})
				o := onSim(d)
				e := open(t, o)
				f := create(t, e, "table", untorn.FileOptions{Pages: 4, PageSize: 4096})
				writeVersion(t, e, f, upTo(4), 7, untorn.Durable)
				mustClose(t, e)
				b, err := d.ReadFile("/db/super")
				if err != nil {
					t.Fatal(err)
				}
				for i := range bad {
					z := b[i*super.Zone : (i+1)*super.Zone]
					if how == "zeroed" {
						clear(z)
					} else {
						z[100] ^= 0x10
					}
				}
				if err := d.WriteFile("/db/super", b); err != nil {
					t.Fatal(err)
				}
				e, err = reopen(o)
				if bad > 2 {
					if !errors.Is(err, untorn.ErrSuper) {
						t.Fatalf("%d bad copies: %v", bad, err)
					}
					after, _ := d.ReadFile("/db/super")
					if string(after) != string(b) {
						t.Error("a refused open changed super")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				f, err = e.OpenFile(ctx, "table", untorn.FileOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if v := readVersion(t, f, 2); v != 7 {
					t.Errorf("version %d", v)
				}
				mustClose(t, e)
			})
		}
	}
}

func TestShortSuper(t *testing.T) {
	o := small(t)
	mustClose(t, open(t, o))
	if err := os.Truncate(filepath.Join(o.Dir, "super"), 2*super.Zone); err != nil {
		t.Fatal(err)
	}
	e, err := reopen(o)
	if err != nil {
		t.Fatalf("two of four copies: %v", err)
	}
	mustClose(t, e)
	if err := os.Truncate(filepath.Join(o.Dir, "super"), super.Zone+100); err != nil {
		t.Fatal(err)
	}
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrSuper) {
		t.Errorf("one of four copies: %v", err)
	}
}

func TestUnknownVersion(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	mustClose(t, open(t, o))
	b, _ := d.ReadFile("/db/super")
	for i := range super.Copies {
		b[i*super.Zone+4]++
	}
	if err := d.WriteFile("/db/super", b); err != nil {
		t.Fatal(err)
	}
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrVersion) {
		t.Errorf("%v", err)
	}
}

// TestForeignSegment: a segment of another engine, or of a format that is not known, is one of the errors
// a program tests for, like any other file that is.
func TestForeignSegment(t *testing.T) {
	d, other := sim.New(sim.Config{Seed: 1}), sim.New(sim.Config{Seed: 2})
	for _, x := range []*sim.Disk{d, other} {
		e := open(t, onSim(x))
		if _, _, err := e.AppendSync(ctx, []byte("record")); err != nil {
			t.Fatal(err)
		}
		mustClose(t, e)
	}
	seg := dirFiles(t, d, "/db/wal")[0]
	theirs, err := other.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := d.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	// The header of a segment: version, and the checksum over what is before it (docs/format.md).
	newer := bytes.Clone(ours)
	newer[4]++
	binary.LittleEndian.PutUint32(newer[64:], crc32.Checksum(newer[:64], page.Castagnoli))
	for _, c := range []struct {
		what      string
		b         []byte
		is, exact error
	}{{"another engine's segment", theirs, untorn.ErrForeign, walstage.ErrForeign},
		{"a newer version's segment", newer, untorn.ErrVersion, walstage.ErrVersion}} {
		if err := d.WriteFile(seg, c.b); err != nil {
			t.Fatal(err)
		}
		if err := opened(reopen(onSim(d))); !errors.Is(err, c.is) || !errors.Is(err, c.exact) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if err := d.WriteFile(seg, ours); err != nil {
		t.Fatal(err)
	}
	if err := opened(reopen(onSim(d))); err != nil {
		t.Errorf("with its own segment again: %v", err)
	}
}

// TestOldAndForeignFiles: a data file restored from an older copy is behind super; one of another engine
// is foreign. Both by name, and nothing is changed.
func TestOldAndForeignFiles(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 4, PageSize: 4096})
	writeVersion(t, e, f, upTo(4), 1, untorn.Durable)
	mustClose(t, e)
	data := dirFiles(t, d, "/db/data")[0]
	old, _ := d.ReadFile(data)
	e = open(t, o)
	mustClose(t, e)
	current, _ := d.ReadFile(data)

	put := func(path string, b []byte) {
		if err := d.WriteFile(path, b); err != nil {
			t.Fatal(err)
		}
	}
	put(data, old)
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrBehind) {
		t.Errorf("an older copy: %v", err)
	}
	put(data, current[:len(current)-4096])
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrBehind) {
		t.Errorf("a short file: %v", err)
	}
	if err := d.FS().Remove(data); err != nil {
		t.Fatal(err)
	}
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrMissingFile) {
		t.Errorf("a missing file: %v", err)
	}

	other := sim.New(sim.Config{Seed: 2})
	oo := onSim(other)
	e = open(t, oo)
	create(t, e, "table", untorn.FileOptions{Pages: 4, PageSize: 4096})
	mustClose(t, e)
	foreign, _ := other.ReadFile(data)
	put(data, foreign)
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrForeign) {
		t.Errorf("another engine's data file: %v", err)
	}
	put(data, current)
	dwb, _ := d.ReadFile("/db/dwb/regions")
	theirs, _ := other.ReadFile("/db/dwb/regions")
	put("/db/dwb/regions", theirs)
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrForeign) {
		t.Errorf("another engine's doublewrite file: %v", err)
	}
	put("/db/dwb/regions", dwb[:len(dwb)/2])
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrDWBMissing) {
		t.Errorf("a short doublewrite file: %v", err)
	}
	dwb[200] ^= 1 // its header's padding: super has the geometry
	put("/db/dwb/regions", dwb)
	e, err := reopen(o)
	if err != nil {
		t.Fatalf("a damaged doublewrite file header: %v", err)
	}
	mustClose(t, e)
}

func TestTruncatedSegment(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	e := open(t, o)
	for range 50 {
		if _, end, err := e.Append(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		} else if err := e.WaitDurable(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, e)
	seg := dirFiles(t, d, "/db/wal")[0]
	b, _ := d.ReadFile(seg)
	if err := d.WriteFile(seg, b[:40<<10]); err != nil {
		t.Fatal(err)
	}
	var c *walstage.CorruptError
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrCorrupt) || !errors.As(err, &c) {
		t.Fatalf("%v", err)
	} else if c.LSN == 0 || c.Evidence.Source == "" {
		t.Errorf("it does not say where and why: %+v", c)
	}
}
