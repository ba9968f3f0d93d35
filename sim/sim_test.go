package sim

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"
	"unsafe"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// rig is a disk, a ring on it and one open file.
type rig struct {
	t *testing.T
	d *Disk
	r ring.Ring
	f fsys.File
}

const fileSize = 64 << 10

// newRig starts recording with a durable file of zeros, /f.
func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	d := New(cfg)
	if err := d.WriteFile("/f", make([]byte, fileSize)); err != nil {
		t.Fatal(err)
	}
	d.Record()
	g := &rig{t: t, d: d, r: d.Ring()}
	g.f = g.open("/f", fsys.OpenFlags{Direct: true})
	t.Cleanup(func() { d.PowerOff(); _ = g.r.Close() })
	return g
}

func (g *rig) open(name string, o fsys.OpenFlags) fsys.File {
	g.t.Helper()
	f, err := g.d.FS().Open(name, o)
	if err != nil {
		g.t.Fatal(err)
	}
	return f
}

// buf is an aligned buffer full of one byte.
func buf(n int, fill byte) []byte {
	b := make([]byte, n+4096)
	for uintptr(unsafe.Pointer(&b[0]))%4096 != 0 {
		b = b[1:]
	}
	b = b[:n:n]
	for i := range b {
		b[i] = fill
	}
	return b
}

func (g *rig) write(f fsys.File, off int64, n int, fill byte, flags ring.Flags) error {
	return g.r.Do(&ring.Op{Kind: ring.Write, Flags: flags, File: f, Off: off, Buf: buf(n, fill)})
}

func (g *rig) mustWrite(off int64, n int, fill byte) {
	g.t.Helper()
	if err := g.write(g.f, off, n, fill, 0); err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) flush(f fsys.File) error {
	return g.r.Do(&ring.Op{Kind: ring.DataSync, File: f})
}

func (g *rig) mustFlush() {
	g.t.Helper()
	if err := g.flush(g.f); err != nil {
		g.t.Fatal(err)
	}
}

// start submits an op that is held in flight; the function lets it complete and returns its error.
func (g *rig) start(op *ring.Op) func() error {
	done := make(chan *ring.Op, 1)
	op.Done = done
	armed := true
	g.d.Inject(func(o *ring.Op) Fault { return Fault{Hold: armed && o == op} })
	g.r.Submit(op)
	armed = false
	return func() error {
		g.d.Release(func(o *ring.Op) bool { return o == op })
		return (<-done).Err
	}
}

// found collects, over all states a power cut may leave now, the values of a byte of a file; -1
// stands for a file that is not there, -2 for one too short.
func (g *rig) found(name string, off int64, x Explore) map[int]int {
	g.t.Helper()
	seen := map[int]int{}
	for _, d := range g.d.Point().States(x) {
		b, err := d.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			seen[-1]++
		case err != nil:
			g.t.Fatal(err)
		case off >= int64(len(b)):
			seen[-2]++
		default:
			seen[int(b[off])]++
		}
	}
	return seen
}

func (g *rig) want(name string, off int64, values ...int) {
	g.t.Helper()
	seen := g.found(name, off, Explore{NoGarbage: true, Exhaustive: 10})
	for _, v := range values {
		if seen[v] == 0 {
			g.t.Errorf("%s at %d: %d is never found, only %v", name, off, v, seen)
		}
		delete(seen, v)
	}
	if len(seen) > 0 {
		g.t.Errorf("%s at %d: found %v besides %v", name, off, seen, values)
	}
}

func TestUnflushedWriteTearsAndFlushedWriteStays(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(0, 2048, 1)
	for off := int64(0); off < 2048; off += 512 {
		g.want("/f", off, 0, 1)
	}
	g.want("/f", 2048, 0)
	if n := g.d.Point().Units(); n != 4 {
		t.Error("units:", n)
	}
	patterns := map[string]bool{}
	for _, d := range g.d.Point().States(Explore{NoGarbage: true}) {
		b, _ := d.ReadFile("/f")
		patterns[string([]byte{b[0], b[512], b[1024], b[1536]})] = true
	}
	if len(patterns) != 16 {
		t.Error("every pattern of four sectors must come:", len(patterns))
	}
	g.mustFlush()
	g.want("/f", 0, 1)
	if n := g.d.Point().Units(); n != 0 {
		t.Error("units after the flush:", n)
	}
}

func TestAnyUnflushedVersionMayBeFound(t *testing.T) {
	g := newRig(t, Config{})
	for v := byte(1); v <= 3; v++ {
		g.mustWrite(0, 512, v)
	}
	g.want("/f", 0, 0, 1, 2, 3)
	g.mustFlush()
	g.want("/f", 0, 3)
}

func TestGarbage(t *testing.T) {
	for _, physical := range []int{512, 4096} {
		g := newRig(t, Config{Physical: physical})
		g.mustWrite(1024, 512, 1)
		neighbour, garbage := false, false
		for _, d := range g.d.Point().States(Explore{}) {
			b, _ := d.ReadFile("/f")
			for i := 1024; i < 1536; i++ {
				garbage = garbage || b[i] > 1
			}
			neighbour = neighbour || !bytes.Equal(b[:1024], make([]byte, 1024))
			if !bytes.Equal(b[4096:8192], make([]byte, 4096)) {
				t.Fatal("garbage outside the physical block")
			}
		}
		if !garbage || neighbour != (physical > 512) {
			t.Errorf("physical %d: garbage %v, neighbour harmed %v", physical, garbage, neighbour)
		}
	}
}

func TestPhysicalBlockLandsWhole(t *testing.T) {
	g := newRig(t, Config{Physical: 4096})
	g.mustWrite(0, 4096, 1)
	g.mustWrite(512, 512, 2)
	got := map[[2]byte]bool{}
	for _, d := range g.d.Point().States(Explore{NoGarbage: true}) {
		b, _ := d.ReadFile("/f")
		if !bytes.Equal(b[0:512], b[1024:1536]) || !bytes.Equal(b[0:512], b[3584:4096]) {
			t.Fatal("a physical block is torn")
		}
		got[[2]byte{b[0], b[512]}] = true
	}
	for _, want := range [][2]byte{{0, 0}, {1, 1}, {0, 2}, {1, 2}} {
		if !got[want] {
			t.Errorf("%v never found", want)
		}
	}
}

func TestIdenticalRewriteLeavesTheBytesIntact(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(0, 1024, 0)
	if n := g.d.Point().Units(); n != 0 {
		t.Error("a rewrite of what is durable is undecided:", n)
	}
	g.mustWrite(0, 512, 7)
	g.mustWrite(0, 512, 7)
	g.want("/f", 0, 0, 7)
}

func TestDSyncCoversItsOwnBytesOnly(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(0, 1024, 1)
	if err := g.write(g.f, 512, 1024, 2, ring.DSync); err != nil {
		t.Fatal(err)
	}
	g.want("/f", 0, 0, 1)
	g.want("/f", 512, 2) // the older version cannot come back over it
	g.want("/f", 1024, 2)
}

func TestFlushCoversItsOwnFile(t *testing.T) {
	for _, wide := range []bool{false, true} {
		g := newRig(t, Config{DeviceFlush: wide})
		if err := g.d.FS().Mkdir("/d"); err != nil {
			t.Fatal(err)
		}
		other := g.open("/d/other", fsys.OpenFlags{Create: true})
		g.mustWrite(0, 512, 1)
		if err := g.flush(other); err != nil {
			t.Fatal(err)
		}
		if wide {
			g.want("/f", 0, 1)
		} else {
			g.want("/f", 0, 0, 1)
		}
	}
}

func TestFlushCoversOnlyWhatHadCompletedBefore(t *testing.T) {
	g := newRig(t, Config{})
	land := g.start(&ring.Op{Kind: ring.Write, File: g.f, Buf: buf(512, 1)})
	g.want("/f", 0, 0, 1) // in flight it may land already
	g.mustFlush()
	if err := land(); err != nil {
		t.Fatal(err)
	}
	g.want("/f", 0, 0, 1)

	// Completed, but after the flush had been submitted.
	g.mustFlush()
	flushed := g.start(&ring.Op{Kind: ring.DataSync, File: g.f})
	g.mustWrite(512, 512, 2)
	if err := flushed(); err != nil {
		t.Fatal(err)
	}
	g.want("/f", 0, 1)
	g.want("/f", 512, 0, 2)
}

func TestOlderWriteInFlightMayLandOverAFlushedOne(t *testing.T) {
	g := newRig(t, Config{})
	land := g.start(&ring.Op{Kind: ring.Write, File: g.f, Buf: buf(512, 1)})
	g.mustWrite(0, 512, 2)
	g.mustFlush()
	g.want("/f", 0, 1, 2)
	if p := g.d.Problems(); len(p) != 1 || p[0].What != "write races write" {
		t.Error("the race was not noticed:", p)
	}
	if err := land(); err != nil {
		t.Fatal(err)
	}
}

func TestFailedFlush(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(0, 1024, 1)
	cause := errors.New("medium error")
	fail := true
	g.d.Inject(func(op *ring.Op) Fault {
		if fail && op.Kind == ring.DataSync {
			return Fault{Err: cause}
		}
		return Fault{}
	})
	err := g.flush(g.f)
	var re *ring.Error
	if !errors.Is(err, cause) || !errors.As(err, &re) || re.File != "/f" {
		t.Fatal(err)
	}
	fail = false
	g.mustFlush() // succeeds, and means nothing for what the first one lost
	g.want("/f", 0, 0, 1)
	if b, _ := g.d.ReadFile("/f"); b[0] != 1 {
		t.Error("what a failed flush lost stays readable")
	}
	g.mustWrite(0, 512, 1)
	g.mustFlush()
	g.want("/f", 0, 1)
	g.want("/f", 512, 0, 1)
}

func TestLyingFlush(t *testing.T) {
	g := newRig(t, Config{FlushesLie: true})
	g.mustWrite(0, 512, 1)
	g.mustFlush()
	g.want("/f", 0, 0, 1)
	if err := g.write(g.f, 512, 512, 1, ring.DSync); err != nil {
		t.Fatal(err)
	}
	g.want("/f", 512, 0, 1)
}

func TestFailedWriteStaysUndecidedUntilRewritten(t *testing.T) {
	g := newRig(t, Config{})
	cause := errors.New("medium error")
	fail := true
	g.d.Inject(func(op *ring.Op) Fault {
		if fail && op.Kind == ring.Write {
			return Fault{Err: cause, Land: 512}
		}
		return Fault{}
	})
	if err := g.write(g.f, 0, 1024, 1, 0); !errors.Is(err, cause) {
		t.Fatal(err)
	}
	fail = false
	b, _ := g.d.ReadFile("/f")
	if b[0] != 1 || b[512] != 0 {
		t.Error("half of it had landed:", b[0], b[512])
	}
	g.mustFlush()
	g.want("/f", 0, 0, 1)
	g.want("/f", 512, 0, 1)
	g.mustWrite(0, 1024, 2)
	g.mustFlush()
	g.want("/f", 0, 2)
}

func TestAtomicWriteLandsWhole(t *testing.T) {
	g := newRig(t, Config{Atomic: 4096})
	g.mustWrite(512, 512, 9)
	if err := g.write(g.f, 0, 4096, 1, ring.Atomic); err != nil {
		t.Fatal(err)
	}
	for c, d := range g.d.Point().States(Explore{NoGarbage: true}) {
		b, _ := d.ReadFile("/f")
		for off := 0; off < 4096; off += 512 {
			if off != 512 && b[off] != b[0] {
				t.Fatalf("%v: torn at %d", c, off)
			}
		}
	}
	g.want("/f", 0, 0, 1)
	g.want("/f", 512, 0, 1, 9)
	if err := g.write(g.f, 0, 8192, 1, ring.Atomic); err == nil {
		t.Error("larger than the drive promises")
	}
	plain := newRig(t, Config{})
	if err := plain.write(plain.f, 0, 4096, 1, ring.Atomic); err == nil {
		t.Error("a drive that promises nothing refuses")
	}
}
