package untorn_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
)

func in(op *ring.Op, part string) bool { return strings.Contains(op.File.Name(), part) }

// TestLostSuperIsSaid: whoever opens a directory whose super is gone is told so, and not that it is no
// engine's, with MustExist and read-only too: untornctl recover is one of those.
func TestLostSuperIsSaid(t *testing.T) {
	o := small(t)
	e := open(t, o)
	create(t, e, "table", untorn.FileOptions{Pages: 1})
	mustClose(t, e)
	must(t, os.Remove(filepath.Join(o.Dir, "super")))
	for _, x := range []untorn.Options{o, {Dir: o.Dir, MustExist: true}, {Dir: o.Dir, ReadOnly: true}} {
		if _, err := untorn.Open(ctx, x); !errors.Is(err, untorn.ErrNoSuper) {
			t.Errorf("MustExist %v, ReadOnly %v: %v", x.MustExist, x.ReadOnly, err)
		}
	}
}

// cutAll opens every crash state of what was recorded.
func cutAll(t *testing.T, d *sim.Disk, x sim.Explore, onlyFile string) {
	log := d.Log()
	seen := map[string]bool{}
	for at, p := range log.Points(log.Cuts()) {
		if at < log.Len() && onlyFile != "" && !strings.Contains(log.At(at).File, onlyFile) {
			continue
		}
		bad, all := 0, 0
		for c, y := range p.States(x) {
			all++
			e, err := untorn.Open(ctx, onSim(y))
			if err != nil {
				bad++
				k := strings.SplitN(err.Error(), ";", 2)[0]
				if !seen[k] {
					ev := "end"
					if at < log.Len() {
						ev = log.At(at).String()
					}
					t.Errorf("cut before %q, %s: %v", ev, c, err)
				}
				seen[k] = true
				continue
			}
			e.Close(ctx)
		}
		if bad > 0 {
			t.Logf("cut %d: units %d, %d of %d states refused", at, p.Units(), bad, all)
		}
	}
}

// TestSuperAfterPoison: super is not written again after a failed flush (I5): a second attempt with the same sequence
// and other bytes would leave copies that disagree.
func TestSuperAfterPoison(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	e := open(t, o)
	create(t, e, "a", untorn.FileOptions{Pages: 2, PageSize: 4096})
	create(t, e, "b", untorn.FileOptions{Pages: 2, PageSize: 4096})
	mustClose(t, e)
	e = open(t, o)
	var n atomic.Int32
	d.Inject(func(op *ring.Op) sim.Fault {
		if op.Kind == ring.DataSync && in(op, "/super") && n.Add(1) == 1 {
			return sim.Fault{Err: syscall.EIO}
		}
		return sim.Fault{}
	})
	d.Record()
	if _, err := e.OpenFile(ctx, "a", untorn.FileOptions{Mode: untorn.ModeDetect}); err == nil {
		t.Error("the failed update was acknowledged")
	}
	_, err := e.OpenFile(ctx, "b", untorn.FileOptions{Mode: untorn.ModeDetect})
	if err == nil {
		t.Errorf("an update of super was acknowledged after its flush had failed")
	}
	log := d.Log()
	_ = e.Close(ctx)
	bad := map[string]int{}
	for at, p := range log.Points(log.Cuts()) {
		for c, x := range p.States(sim.Explore{NoGarbage: true}) {
			e, err := untorn.Open(ctx, onSim(x))
			if err != nil {
				k := err.Error()
				if bad[k] == 0 {
					t.Errorf("cut at %d, %s: %v", at, c, err)
				}
				bad[k]++
				continue
			}
			e.Close(ctx)
		}
	}
}

// TestSuperAfterAFailedFlush: after a failed flush of super, a reopen on the same machine and a power cut, two copies are
// whole in every state (I8).
func TestSuperAfterAFailedFlush(t *testing.T) {
	for fail := int32(1); fail <= 2; fail++ {
		d := sim.New(sim.Config{Seed: 1})
		o := onSim(d)
		e := open(t, o)
		create(t, e, "a", untorn.FileOptions{Pages: 2, PageSize: 4096})
		if err := e.Checkpoint(ctx, 0, bytes.Repeat([]byte{1}, 4000)); err != nil {
			t.Fatal(err)
		}
		var n atomic.Int32
		d.Inject(func(op *ring.Op) sim.Fault {
			if op.Kind == ring.DataSync && in(op, "/super") && n.Add(1) == fail {
				return sim.Fault{Err: syscall.EIO}
			}
			return sim.Fault{}
		})
		if err := e.Checkpoint(ctx, 0, bytes.Repeat([]byte{2}, 4000)); !errors.Is(err, untorn.ErrPoisoned) {
			t.Fatalf("checkpoint with super's flush failing: %v", err)
		}
		_ = e.Close(ctx)
		d.ClearFaults()
		d.Record()
		e = open(t, o)
		cutAll(t, d, sim.Explore{Samples: 48, Items: 8}, "/super")
		_ = e.Close(ctx)
	}
}

// TestHeaderAfterAFailedFlush: the same for the headers of a data file: no healthy file is behind super.
func TestHeaderAfterAFailedFlush(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	e := open(t, o)
	create(t, e, "a", untorn.FileOptions{Pages: 2, PageSize: 4096})
	if err := e.Checkpoint(ctx, 0, nil); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	d.Inject(func(op *ring.Op) sim.Fault {
		if op.Kind == ring.DataSync && in(op, "/data/") && n.Add(1) == 1 {
			return sim.Fault{Err: syscall.EIO}
		}
		return sim.Fault{}
	})
	if err := e.Checkpoint(ctx, 0, nil); !errors.Is(err, untorn.ErrPoisoned) {
		t.Fatalf("checkpoint with a data file's flush failing: %v", err)
	}
	_ = e.Close(ctx)
	d.ClearFaults()
	d.Record()
	e = open(t, o)
	cutAll(t, d, sim.Explore{Exhaustive: 10, Samples: 200}, "/data/")
	_ = e.Close(ctx)
}

// TestPowerCutsAroundFiles: creations, growth, renames, removals and checkpoints open again from every crash state.
func TestPowerCutsAroundFiles(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	e := open(t, o)
	create(t, e, "a", untorn.FileOptions{Pages: 2, PageSize: 4096})
	d.Record()
	f := create(t, e, "b", untorn.FileOptions{Pages: 2, PageSize: 4096})
	writeVersion(t, e, f, upTo(2), 1, untorn.Durable)
	if err := f.Grow(ctx, 5); err != nil {
		t.Fatal(err)
	}
	writeVersion(t, e, f, upTo(5), 2, untorn.Protected)
	if err := e.Rename(ctx, "b", "c"); err != nil {
		t.Fatal(err)
	}
	if err := e.Checkpoint(ctx, 0, bytes.Repeat([]byte{2}, 2000)); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	mustClose(t, e)
	open(t, o)
	cutAll(t, d, sim.Explore{Samples: 6, Items: 6}, "")
}

// TestStaleCreationMarker: a marker that a power cut brought back never lets an open throw away a directory.
func TestStaleCreationMarker(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	e := open(t, onSim(d))
	f := create(t, e, "a", untorn.FileOptions{Pages: 2, PageSize: 4096})
	writeVersion(t, e, f, upTo(2), 3, untorn.Durable)
	x := d.Crash()
	if _, err := x.FS().Stat("/db/creating"); err == nil {
		t.Log("after the power cut the marker is back")
	}
	e2 := open(t, onSim(x))
	mustClose(t, e2)
	if _, err := x.FS().Stat("/db/creating"); err == nil {
		t.Error("an open leaves the marker where it is")
	}
	if err := x.FS().Remove("/db/super"); err != nil {
		t.Fatal(err)
	}
	e3, err := untorn.Open(ctx, onSim(x))
	if err == nil {
		t.Errorf("super lost: open created the directory anew; files now %v", e3.Files())
		e3.Close(ctx)
	} else {
		t.Log(err)
	}
}

// TestAnotherEnginesLog: a creation that is tried again elsewhere does not empty the log of an engine that lives there.
func TestAnotherEnginesLog(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1, Capacity: 20 << 20})
	_ = d.FS().Mkdir("/w")
	o := onSim(d)
	o.Dir, o.WALDir = "/a", "/w"
	e := open(t, o)
	_, lsn, _ := e.Append([]byte("precious"))
	_ = e.WaitDurable(ctx, lsn)
	mustClose(t, e)
	b := onSim(d)
	b.Dir, b.SegmentBytes = "/b", 64<<20
	_, err := untorn.Open(ctx, b)
	t.Log("b without WALDir:", err)
	b.WALDir, b.SegmentBytes = "/w", 256<<10
	e2, err := untorn.Open(ctx, b)
	t.Log("b with a's WALDir:", err)
	if err == nil {
		e2.Close(ctx)
	}
	if _, err := untorn.Open(ctx, o); err != nil {
		t.Errorf("a: %v", err)
	}
}

// TestInfoAfterClose: Info and Stats answer after Close.
func TestInfoAfterClose(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	e := open(t, onSim(d))
	mustClose(t, e)
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("panic: %v", r)
		}
	}()
	e.Info()
}

// TestRemoveRefused: a file whose removal was refused, the log being full, stays in use.
func TestRemoveRefused(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	o.SegmentBytes, o.MaxLogBytes = 64<<10, 3*64<<10
	e := open(t, o)
	f := create(t, e, "a", untorn.FileOptions{Pages: 2, PageSize: 4096})
	create(t, e, "b", untorn.FileOptions{Pages: 2, PageSize: 4096})
	from, to := "b", "c"
	var err error
	for {
		if err = e.Rename(ctx, from, to); err != nil {
			break
		}
		from, to = to, from
	}
	err = e.Remove(ctx, "a")
	if err := f.ReadPages(ctx, []untorn.PageRead{{No: 1, Data: make([]byte, 4096)}}); err != nil {
		t.Errorf("after a refused remove: %v", err)
	}
	if !errors.Is(err, untorn.ErrLogFull) {
		t.Fatalf("remove with a full log: %v", err)
	}
	if err := errors.Join(e.Checkpoint(ctx, e.EndLSN(), nil), f.Sync(ctx), e.Remove(ctx, "a")); err != nil {
		t.Errorf("after the log was emptied: %v", err)
	}
}

// TestSymlinkAboveThePlace: a symlink above the directory is followed, one in it is not.
func TestSymlinkAboveThePlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	o := small(t)
	o.Dir = filepath.Join(dir, "link", "db")
	e, err := untorn.Open(ctx, o)
	if err != nil {
		t.Fatalf("a directory below a symlink: %v", err)
	}
	mustClose(t, e)
}

// TestRefusedOpensAreNoLoop: opens that are refused by decision do not count as recoveries that died.
func TestRefusedOpensAreNoLoop(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "a", untorn.FileOptions{Pages: 4, PageSize: 4096})
	writeVersion(t, e, f, upTo(4), 1, untorn.Durable)
	d = d.Crash()
	o = onSim(d)
	data := dirFiles(t, d, "/db/data")[0]
	_ = d.FS().Remove(data)
	for i := range 10 {
		_, err := untorn.Open(ctx, o)
		t.Log(i, err)
		if errors.Is(err, untorn.ErrRecoveryLoop) {
			t.Errorf("the real reason is hidden after %d tries", i)
			break
		}
	}
}

// TestCopyWithoutRecord: a page written without a record counts, whatever LSN it had before (I6: LSN 0 is in no space).
func TestCopyWithoutRecord(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	e := open(t, onSim(d))
	f := create(t, e, "t", untorn.FileOptions{Pages: 4, PageSize: 4096})
	writeVersion(t, e, f, []uint64{1}, 1, untorn.Durable)
	d.Inject(func(op *ring.Op) sim.Fault {
		return sim.Fault{Hold: op.Kind == ring.Write && in(op, "/data/")}
	})
	b := make([]byte, 4096)
	fill(b, 1, 2)
	if err := f.WritePages(ctx, []untorn.PageWrite{{No: 1, Data: b}}, untorn.Protected); err != nil {
		t.Fatal(err)
	}
	e2 := open(t, onSim(d.Crash()))
	f2, _ := e2.OpenFile(ctx, "t", untorn.FileOptions{})
	if v := readVersion(t, f2, 1); v != 2 {
		t.Errorf("version %d, 2 was Protected: %+v", v, e2.Report().Pages)
	}
	d.PowerOff()
}

// TestFailedCreateElsewhere: a creation that failed leaves nothing behind, elsewhere either.
func TestFailedCreateElsewhere(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1, Capacity: 20 << 20})
	_ = d.FS().Mkdir("/elsewhere")
	e := open(t, onSim(d))
	_, err := e.OpenFile(ctx, "a", untorn.FileOptions{Create: true, Pages: 1 << 20, PageSize: 4096, Path: "/elsewhere/a"})
	t.Log(err)
	_, err = e.OpenFile(ctx, "a", untorn.FileOptions{Create: true, Pages: 2, PageSize: 4096, Path: "/elsewhere/a"})
	if err != nil {
		t.Errorf("second: %v", err)
	}
}

// TestOptionsBeforeFiles: options that do not fit are refused before anything is made.
func TestOptionsBeforeFiles(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	o.SegmentBytes = 1000
	_, err := untorn.Open(ctx, o)
	t.Log(err, dirFiles(t, d, "/db"))
}

// TestCatalogErrorsArePoison: what poison refuses says so.
func TestCatalogErrorsArePoison(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	e := open(t, onSim(d))
	d.Inject(func(op *ring.Op) sim.Fault {
		if op.Kind == ring.Write && in(op, "/wal/") {
			return sim.Fault{Err: errors.New("EIO")}
		}
		return sim.Fault{}
	})
	_, err := e.OpenFile(ctx, "x", untorn.FileOptions{Create: true, Pages: 1})
	if !errors.Is(err, untorn.ErrPoisoned) {
		t.Errorf("create: %v", err)
	}
}

// TestLoggedWaits: Logged is not acknowledged before the log is durable (I4).
func TestLoggedWaits(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	e := open(t, onSim(d))
	f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096})
	held := make(chan struct{}, 16)
	d.Inject(func(op *ring.Op) sim.Fault {
		hold := op.Kind == ring.DataSync && in(op, "/wal/")
		if hold {
			held <- struct{}{}
		}
		return sim.Fault{Hold: hold}
	})
	_, lsn, err := e.Append([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	fill(b, 1, 7)
	done := make(chan error, 1)
	go func() { done <- f.WritePages(ctx, []untorn.PageWrite{{No: 1, LSN: lsn, Data: b}}, untorn.Logged) }()
	<-held
	select {
	case err := <-done:
		t.Errorf("acknowledged with the log's flush in flight: %v", err)
	default:
	}
	d.ClearFaults()
	d.Release(nil)
	if err := <-done; err != nil || e.DurableLSN() < lsn {
		t.Errorf("%v, durable through %d of %d", err, e.DurableLSN(), lsn)
	}
	mustClose(t, e)
}

// TestOwnersOfAllocedMemory: what the engine took over is refused, never written or freed twice, and
// a call that is refused leaves it with the caller.
func TestOwnersOfAllocedMemory(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	e := open(t, onSim(d))
	f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096})
	bufs := make([][]byte, 2)
	if err := f.Alloc(ctx, bufs); err != nil {
		t.Fatal(err)
	}
	fill(bufs[0], 1, 5)
	twice := []untorn.PageWrite{{No: 1, Data: bufs[0]}, {No: 2, Data: bufs[0]}}
	if err := f.WritePages(ctx, twice, untorn.Durable); !errors.Is(err, untorn.ErrNotYours) {
		t.Errorf("one buffer twice in a call: %v", err)
	}
	if err := f.WritePages(ctx, twice[:1], untorn.Accepted); err != nil {
		t.Errorf("the buffer of a refused call: %v", err)
	}
	if err := f.WritePages(ctx, twice[1:], untorn.Durable); !errors.Is(err, untorn.ErrNotYours) {
		t.Errorf("a buffer that was written: %v", err)
	}
	f.Free([][]byte{twice[0].Data}) // forgotten, not freed
	f.Free(bufs[1:])
	if v := readVersion(t, f, 1); v != 5 {
		t.Errorf("version %d", v)
	}
	if err := f.Alloc(ctx, make([][]byte, 1<<20)); !errors.Is(err, untorn.ErrTooLarge) {
		t.Errorf("more than there is: %v", err)
	}
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	mustClose(t, e)
	if n := e.Stats().Memory.InUse; n != 0 {
		t.Errorf("%d bytes are still out", n)
	}
}

// TestGrowAfterAFailedGrow: a growth whose flush failed leaves a size that only the cache knows. The
// next one, in the same life of the machine, must not take it for durable (I8).
func TestGrowAfterAFailedGrow(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "a", untorn.FileOptions{Pages: 2, PageSize: 4096})
	var n atomic.Int32
	d.Inject(func(op *ring.Op) sim.Fault {
		if op.Kind == ring.DataSync && in(op, "/data/") && n.Add(1) == 1 {
			return sim.Fault{Err: syscall.EIO}
		}
		return sim.Fault{}
	})
	if err := f.Grow(ctx, 6); !errors.Is(err, untorn.ErrPoisoned) {
		t.Fatalf("grow with a failing flush: %v", err)
	}
	_ = e.Close(ctx)
	d.ClearFaults()
	e = open(t, o)
	f, err := e.OpenFile(ctx, "a", untorn.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Grow(ctx, 4); err != nil {
		t.Fatal(err)
	}
	d.Record()
	writeVersion(t, e, f, upTo(4), 3, untorn.Durable)
	cutAll(t, d, sim.Explore{Samples: 24, Items: 12}, "")
}

// TestAHeaderGoneAstray: a data file whose older header was overwritten with another file's, as a write
// that went to the wrong place does, is still known by its own.
func TestAHeaderGoneAstray(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	e := open(t, o)
	create(t, e, "b", untorn.FileOptions{Pages: 2, PageSize: 4096})
	mustClose(t, e)
	e = open(t, o)
	create(t, e, "a", untorn.FileOptions{Pages: 2, PageSize: 4096})
	mustClose(t, e)
	e = open(t, o)
	mustClose(t, e)
	names := dirFiles(t, d, "/db/data")
	b, err := d.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	const block = 4096
	heads := [2]uint64{}
	for k := range heads {
		h, err := super.DecodeFileHeader(a[k*block : (k+1)*block])
		if err != nil {
			t.Fatal(err)
		}
		heads[k] = h.Seq
	}
	older := 0
	if heads[1] < heads[0] {
		older = 1
	}
	var stray []byte // b's newest: its number is higher than a's older one
	var most uint64
	for k := range 2 {
		if h, err := super.DecodeFileHeader(b[k*block : (k+1)*block]); err == nil && h.Seq >= most {
			most, stray = h.Seq, b[k*block:(k+1)*block]
		}
	}
	if most <= max(heads[0], heads[1]) {
		t.Fatalf("header %d would not hide %v", most, heads)
	}
	mask := make([]byte, block)
	for i := range mask {
		mask[i] = a[older*block+i] ^ stray[i]
	}
	if err := d.Corrupt(names[1], int64(older*block), mask...); err != nil {
		t.Fatal(err)
	}
	mustClose(t, open(t, o))
}

// TestErrorsNameARenamedFile: an error names a file as it is called, also after a rename that only the
// log has. Found by a soak: the pages of a refusal for losses were of a file that was no longer there.
func TestErrorsNameARenamedFile(t *testing.T) {
	d := sim.New(sim.Config{})
	e := open(t, onSim(d))
	f := create(t, e, "before", untorn.FileOptions{Pages: 2, PageSize: 4096})
	must(t, e.Checkpoint(ctx, e.EndLSN(), nil))
	names := func(when string, err error, name string) {
		t.Helper()
		var x *untorn.Error
		if !errors.As(err, &x) || x.File != name {
			t.Errorf("%s: %v", when, err)
		}
	}
	read := func(f *untorn.File) error {
		return f.ReadPages(ctx, []untorn.PageRead{{No: 7, Data: make([]byte, 4096)}})
	}
	d.Record()
	must(t, e.Rename(ctx, "before", "after"))
	names("where it was renamed", read(f), "after")
	log := d.Log()
	mustClose(t, e)
	had := map[string]bool{}
	for at, p := range log.Points(append(log.Cuts(), log.Len())) {
		e := open(t, onSim(p.Make(sim.Choice{})))
		name := e.Files()[0]
		had[name] = true
		f, err := e.OpenFile(ctx, name, untorn.FileOptions{})
		must(t, err)
		names(fmt.Sprintf("recovered before event %d", at), read(f), name)
		mustClose(t, e)
	}
	if !had["before"] || !had["after"] {
		t.Errorf("the files were called %v", had)
	}
}
