package untorn_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// cloneable fills a directory with pages, several segments and a checkpoint, and closes it.
func cloneable(t *testing.T, o untorn.Options) (id string, want map[change]uint64, end untorn.LSN) {
	t.Helper()
	o.LogHeaders = true
	e := open(t, o)
	w := newChanger(e, create(t, e, "table", untorn.FileOptions{Pages: 6, PageSize: 4096}))
	for i := range uint64(70) {
		if err := w.write(i%6, untorn.Accepted); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			if _, _, err := e.Append(make([]byte, 15000)); err != nil {
				t.Fatal(err)
			}
		}
		if i == 40 {
			if err := w.f.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			if err := e.Checkpoint(ctx, e.EndLSN(), []byte("here")); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, e)
	want = map[change]uint64{}
	for no, v := range w.ver {
		want[change{File: "table", No: no}] = v
	}
	return e.Info().EngineID, want, e.EndLSN()
}

// isClone checks that a directory has the contents of the original and, unless same, another id.
func isClone(t *testing.T, o untorn.Options, id string, want map[change]uint64, end untorn.LSN, same bool) {
	t.Helper()
	o.MustExist = true
	e := open(t, o)
	if got := e.Info().EngineID; (got == id) != same {
		t.Errorf("the id is %s, it was %s", got, id)
	}
	if !e.Report().Clean {
		t.Error("it was not taken for closed in order")
	}
	if e.EndLSN() < end {
		t.Errorf("the log ends at %d, it ended at %d", e.EndLSN(), end)
	}
	if redo, payload := e.LastCheckpoint(); redo == 0 || string(payload) != "here" {
		t.Errorf("the checkpoint is at %d with %q", redo, payload)
	}
	mustClose(t, e)
	got := replayCopy(t, o)
	for k, v := range want {
		if got[k] != v {
			t.Errorf("page %d has version %d, not %d", k.No, got[k], v)
		}
	}
}

func TestNewID(t *testing.T) {
	o := smallLog(t)
	id, want, end := cloneable(t, o)
	r, err := untorn.NewID(ctx, o, untorn.NewIDOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.OldID != id || r.NewID == id || r.Resumed || r.Files != 1 || r.Segments < 3 {
		t.Errorf("%+v", r)
	}
	// Nothing that was carries the old id.
	raw, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(o.Dir, func(path string, x os.DirEntry, err error) error {
		if err != nil || x.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, raw) {
			t.Errorf("%s still has the old id", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	isClone(t, o, id, want, end, false)
}

// TestNewIDIsCrashSafe cuts the power at every step, in every way: what is left opens with the old id,
// or is refused with ErrNewIDUnfinished and another call finishes it.
func TestNewIDIsCrashSafe(t *testing.T) {
	d := sim.New(sim.Config{})
	o := onSim(d)
	o.SegmentBytes = 64 << 10
	id, want, end := cloneable(t, o)
	d.Record()
	if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{}); err != nil {
		t.Fatal(err)
	}
	log := d.Log()
	x := sim.Explore{Exhaustive: 2, Items: 2, Samples: 1, Max: 6}
	old, unfinished, done := 0, 0, 0
	for at, p := range log.Points(log.Cuts()) {
		for choice, d := range p.States(x) {
			c := o
			c.FS, c.NewRing = onSim(d).FS, onSim(d).NewRing
			c.MustExist = true
			e, err := untorn.Open(ctx, c)
			same := false
			switch {
			case err == nil:
				same = e.Info().EngineID == id
				if same {
					old++
				} else {
					done++
				}
				mustClose(t, e)
			case errors.Is(err, untorn.ErrNewIDUnfinished):
				unfinished++
				r, err := untorn.NewID(ctx, c, untorn.NewIDOptions{})
				if err != nil || !r.Resumed {
					t.Fatalf("cut at %d of %d, %s: going on: %v", at, log.Len(), p.Describe(choice), err)
				}
			default:
				t.Fatalf("cut at %d of %d, %s: %v", at, log.Len(), p.Describe(choice), err)
			}
			isClone(t, c, id, want, end, same)
			if t.Failed() {
				t.Fatalf("cut at %d of %d, %s", at, log.Len(), p.Describe(choice))
			}
		}
	}
	t.Logf("%d states with the old id, %d unfinished, %d with the new one", old, unfinished, done)
	if old == 0 || unfinished == 0 || done == 0 {
		t.Error("not every kind of state was seen")
	}
}

// TestNewIDAfterAFailedFlush: each flush of a directory fails once. What it had covered is undecided for
// good, whatever is flushed later, so the call that goes on makes it anew: after that one a power cut
// leaves the new id and nothing else.
func TestNewIDAfterAFailedFlush(t *testing.T) {
	n := 1
	for ; ; n++ {
		d := sim.New(sim.Config{})
		o := onSim(d)
		o.SegmentBytes = 64 << 10
		id, want, end := cloneable(t, o)
		d.Record()
		flushes := 0
		d.InjectFS(func(op, _ string) error {
			if op == "syncdir" {
				if flushes++; flushes == n {
					return syscall.EIO
				}
			}
			return nil
		})
		_, err := untorn.NewID(ctx, o, untorn.NewIDOptions{})
		if flushes < n { // it needs no more than that
			break
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("flush %d of a directory failed, and the call said %v", n, err)
		}
		d.ClearFaults()
		if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{}); err != nil {
			t.Fatalf("after flush %d of a directory failed: %v", n, err)
		}
		log := d.Log()
		for choice, d := range log.Replay(log.Len()).States(sim.Explore{Exhaustive: 4, Items: 4, Samples: 2, Max: 40}) {
			isClone(t, on(o, d), id, want, end, false)
			if t.Failed() {
				t.Fatalf("flush %d of a directory had failed; cut at the end: %s", n, choice.Name)
			}
		}
	}
	if n < 3 {
		t.Errorf("%d flushes of directories", n-1)
	}
}

// TestNewIDGoesOnOverAFailedFlush: each flush of a file fails once, and what it had covered is known to the
// page cache alone. The call that goes on may be cut off anywhere: what is left opens, or another call
// finishes it (I8).
func TestNewIDGoesOnOverAFailedFlush(t *testing.T) {
	n := 1
	for ; ; n++ {
		d := sim.New(sim.Config{Sector: 512})
		o := onSim(d)
		o.SegmentBytes = 64 << 10
		id, want, end := cloneable(t, o)
		var flushes atomic.Int64
		d.Inject(func(op *ring.Op) (f sim.Fault) {
			if op.Kind == ring.DataSync || op.Kind == ring.Sync {
				if flushes.Add(1) == int64(n) {
					f.Err = syscall.EIO
				}
			}
			return f
		})
		d.Record()
		_, err := untorn.NewID(ctx, o, untorn.NewIDOptions{})
		if flushes.Load() < int64(n) { // it needs no more than that
			break
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("flush %d failed, and the call said %v", n, err)
		}
		d.ClearFaults()
		begun := d.Mark("again")
		if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{}); err != nil {
			t.Fatalf("after flush %d failed: %v", n, err)
		}
		log := d.Log()
		for at, p := range log.Points(log.Cuts()) {
			if at <= begun {
				continue
			}
			for choice, d := range p.States(sim.Explore{Exhaustive: 2, Items: 2, Max: 3}) {
				c := on(o, d)
				c.MustExist = true
				e, err := untorn.Open(ctx, c)
				same := err == nil && e.Info().EngineID == id
				if err == nil {
					mustClose(t, e)
				} else if errors.Is(err, untorn.ErrNewIDUnfinished) {
					_, err = untorn.NewID(ctx, c, untorn.NewIDOptions{})
				}
				if err != nil {
					t.Fatalf("flush %d had failed; cut at %d of %d, %s: %v", n, at, log.Len(), p.Describe(choice), err)
				}
				isClone(t, c, id, want, end, same)
			}
		}
	}
	if n < 8 {
		t.Errorf("%d flushes", n-1)
	}
}

// TestNewIDAfterAFailedRead: each read fails once. A header of a data file that could not be read may be the
// one that counts, and what the other says must not be written over it. The call is refused, or goes well.
func TestNewIDAfterAFailedRead(t *testing.T) {
	n, failed := 1, 0
	for ; ; n++ {
		d := sim.New(sim.Config{})
		o := onSim(d)
		o.SegmentBytes = 64 << 10
		id, want, end := cloneable(t, o)
		var reads atomic.Int64
		d.Inject(func(op *ring.Op) (f sim.Fault) {
			if op.Kind == ring.Read && reads.Add(1) == int64(n) {
				f.Err = syscall.EIO
			}
			return f
		})
		_, err := untorn.NewID(ctx, o, untorn.NewIDOptions{})
		d.ClearFaults()
		if reads.Load() < int64(n) { // it needs no more than that
			break
		}
		if err != nil {
			failed++
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("read %d failed, and the call said %v", n, err)
			}
			if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{}); err != nil {
				t.Fatalf("after read %d failed: %v", n, err)
			}
		}
		if isClone(t, o, id, want, end, false); t.Failed() {
			t.Fatalf("read %d had failed", n)
		}
	}
	if n < 10 || failed < 4 {
		t.Errorf("%d reads, %d calls that failed", n-1, failed)
	}
	t.Logf("%d reads, %d calls that failed", n-1, failed)
}

// TestMarkerFromThePast: the last flush of a change fails, so a power cut may bring the marker back, long
// after an engine went to work. It counts no more: to go on with the change would empty the doublewrite
// file, whose copies are needed (I8).
func TestMarkerFromThePast(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1})
	o := onSim(d)
	o.DWBSync = untorn.DWBFlush
	e := open(t, o)
	create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096})
	mustClose(t, e)
	marked := false
	d.InjectFS(func(op, path string) error {
		marked = marked || op == "remove" && filepath.Base(path) == "new-id"
		if marked && op == "syncdir" {
			return syscall.EIO
		}
		return nil
	})
	if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the flush after the marker was removed failed, and the call said %v", err)
	}
	d.ClearFaults()
	e = open(t, o)
	id := e.Info().EngineID
	f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	writeVersion(t, e, f, upTo(8), 1, untorn.Durable)
	d.Record()
	writeVersion(t, e, f, upTo(8), 2, untorn.Protected)
	log := d.Log()
	back := 0
	for choice, d := range log.Replay(log.Len()).States(sim.Explore{Exhaustive: 4, Items: 4, Samples: 8, Max: 60}) {
		c := on(o, d)
		if _, err := d.FS().Stat("/db/new-id"); err == nil {
			back++
			if _, err := untorn.NewID(ctx, c, untorn.NewIDOptions{}); !errors.Is(err, untorn.ErrNeedsRecovery) {
				t.Fatalf("%s: going on with it: %v", choice.Name, err)
			}
		}
		e, err := untorn.Open(ctx, c)
		if err != nil {
			t.Fatalf("%s: %v", choice.Name, err)
		}
		if got := e.Info().EngineID; got != id {
			t.Errorf("%s: its id is %s, it was %s", choice.Name, got, id)
		}
		f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for no := range uint64(8) {
			if v := readVersion(t, f, no); v != 2 {
				t.Errorf("%s: page %d has version %d", choice.Name, no, v)
			}
		}
		mustClose(t, e)
		if _, err := d.FS().Stat("/db/new-id"); err == nil {
			t.Errorf("%s: the marker is still there", choice.Name)
		}
	}
	if back == 0 {
		t.Error("it never came back")
	}
	_ = e.Close(ctx) // its disk goes with the test
}

func TestNewIDIsRefused(t *testing.T) {
	o := smallLog(t)
	if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{}); !errors.Is(err, untorn.ErrNotEngine) && !errors.Is(err, os.ErrNotExist) {
		t.Error("of nothing:", err)
	}
	e := open(t, o)
	path := filepath.Join(t.TempDir(), "outside")
	create(t, e, "elsewhere", untorn.FileOptions{Pages: 2, Path: path})
	o.LockWait = -1
	if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{}); !errors.Is(err, untorn.ErrLocked) {
		t.Error("in use:", err)
	}
	mustClose(t, e)
	if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{}); !errors.Is(err, untorn.ErrOptions) || !strings.Contains(err.Error(), path) {
		t.Error("with a file outside:", err)
	}
	mustClose(t, open(t, o)) // nothing has been changed
	if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{Outside: true}); err != nil {
		t.Error(err)
	}
	mustClose(t, open(t, o))

	d := sim.New(sim.Config{})
	o = onSim(d)
	appendSome(t, open(t, o), 3)
	d = d.Crash()
	o = on(o, d)
	if _, err := untorn.NewID(ctx, o, untorn.NewIDOptions{}); !errors.Is(err, untorn.ErrNeedsRecovery) {
		t.Error("after a crash:", err)
	}
}
