package untorn_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// says makes a Prober that always gives the same answers.
func says(flushes string, v untorn.AtomicVerdict) untorn.Prober {
	return func(context.Context, string) (untorn.Probed, error) {
		return untorn.Probed{Flushes: flushes, FlushesWhy: "a test says so",
			Atomic: func(int) untorn.AtomicVerdict { return v }}, nil
	}
}

var (
	relaxed  = untorn.AtomicVerdict{Relaxed: true, Answer: "relaxed", Kind: "hardware", Rule: "14", Reason: "a test says so"}
	software = untorn.AtomicVerdict{Relaxed: true, Answer: "relaxed", Kind: "software", Rule: "8", Reason: "a test says so"}
	unknown  = untorn.AtomicVerdict{Answer: "unknown", Rule: "11b", Reason: "a test does not know", Next: []string{"another drive"}}
)

// onAtomic are options for an engine on a simulated drive that takes pages whole.
func onAtomic(seed uint64) (*sim.Disk, untorn.Options) {
	d := sim.New(sim.Config{Seed: seed, Atomic: 64 << 10})
	o := onSim(d)
	o.Batches, o.Unflushed = 3, 2
	o.Probe = says("sent", relaxed)
	return d, o
}

func fileInfo(t testing.TB, e *untorn.Engine, name string) untorn.FileInfo {
	t.Helper()
	for _, f := range e.Info().Files {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("Info lists no file %s", name)
	return untorn.FileInfo{}
}

// TestAtomic: in mode atomic each page is written once, whole, by one atomic write, and the
// doublewrite file is left alone; a power cut leaves every acknowledged page.
func TestAtomic(t *testing.T) {
	for _, level := range []untorn.Level{untorn.Durable, untorn.Protected} {
		d, o := onAtomic(1)
		e := open(t, o)
		f := create(t, e, "table", untorn.FileOptions{Pages: 40, PageSize: 8192, Mode: untorn.ModeAtomic})
		d.Record()
		for v := uint64(1); v <= 3; v++ {
			writeVersion(t, e, f, upTo(40), v, level)
		}
		log, atomic, flushed := d.Log(), 0, false
		for i := range log.Len() {
			x := log.At(i)
			switch {
			case x.Kind == sim.WriteSubmit && strings.Contains(x.File, "/dwb/"):
				t.Fatalf("%v goes to the doublewrite buffer", x)
			case x.Kind == sim.WriteSubmit && strings.Contains(x.File, "/data/"):
				if atomic++; !x.Atomic() || x.Len != 8192 || x.Off%8192 != 0 {
					t.Fatalf("%v is not one atomic write of a page", x)
				}
			case x.Kind == sim.FlushDone && strings.Contains(x.File, "/data/"):
				flushed = true
			}
		}
		if atomic < 40 || atomic > 120 || !flushed {
			t.Errorf("%d atomic writes, flushed %v", atomic, flushed)
		}
		if in := fileInfo(t, e, "table"); in.Mode != "atomic" || in.Protection != "atomic" || in.Verdict.Rule != "14" || in.Moved != "" {
			t.Errorf("Info says %+v", in)
		}
		for _, crashed := range []*sim.Disk{d.Crash(), d.Crash(), d.Crash()} {
			e := open(t, on(o, crashed))
			f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, no := range upTo(40) {
				if v := readVersion(t, f, no); v != 3 {
					t.Errorf("page %d comes back as version %d", no, v)
				}
			}
			mustClose(t, e)
		}
		mustClose(t, e)
	}
}

// TestAtomicIsProvenOrRefused: what a verdict, an override and the mode stored in the catalogue
// make of each other.
func TestAtomicIsProvenOrRefused(t *testing.T) {
	d, o := onAtomic(2)
	var out bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&out, nil))
	e := open(t, o)
	create(t, e, "a", untorn.FileOptions{Pages: 4, Mode: untorn.ModeAtomic})
	create(t, e, "b", untorn.FileOptions{Pages: 4, Mode: untorn.ModeAuto})
	mustClose(t, e)
	if s := out.String(); strings.Count(s, "protection of a data file") != 2 || !strings.Contains(s, `verdict="relaxed hardware" rule=14`) {
		t.Errorf("the log says %s", s)
	}
	for _, c := range []struct {
		name     string
		probe    untorn.Prober
		file     string
		mode     untorn.Mode
		override string
		use      untorn.Mode // "" = refused
	}{
		{"proven", says("sent", relaxed), "a", "", "", untorn.ModeAtomic},
		{"auto, proven", says("sent", relaxed), "b", "", "", untorn.ModeAtomic},
		{"not proven", says("sent", unknown), "a", "", "", ""},
		{"auto, not proven", says("sent", unknown), "b", "", "", untorn.ModeDoublewrite},
		{"overridden", says("sent", unknown), "a", "", "11b", untorn.ModeAtomic},
		{"auto, overridden", says("sent", unknown), "b", "", "11b", untorn.ModeAtomic},
		{"another rule overridden", says("sent", unknown), "a", "", "11", ""},
		{"auto, another rule", says("sent", unknown), "b", "", "8", untorn.ModeDoublewrite},
		{"in software", says("sent", software), "a", "", "", untorn.ModeAtomic},
		{"auto, in software", says("sent", software), "b", "", "", untorn.ModeDoublewrite},
		{"auto, in software all the same", says("sent", software), "b", "", "8", untorn.ModeAtomic},
		{"given up", says("sent", unknown), "a", untorn.ModeDoublewrite, "", untorn.ModeDoublewrite},
		{"nothing is known of a simulated disk", nil, "b", untorn.ModeAtomic, "", ""},
		{"and that can be overridden", nil, "b", untorn.ModeAtomic, "0", untorn.ModeAtomic},
		{"the prober fails", func(context.Context, string) (untorn.Probed, error) { return untorn.Probed{}, errors.New("no") },
			"b", untorn.ModeAtomic, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := o
			s := d.Snapshot()
			o.FS, o.Probe = s.FS(), c.probe
			o.NewRing = func(string, ring.Config) (ring.Ring, error) { return s.Ring(), nil }
			e := open(t, o)
			if p := fileInfo(t, e, c.file).Protection; p != "" {
				t.Errorf("before it is opened its protection is %q", p)
			}
			f, err := e.OpenFile(ctx, c.file, untorn.FileOptions{Mode: c.mode, AtomicOverride: c.override})
			if c.use == "" {
				var na *untorn.NotAtomicError
				if f != nil || !errors.Is(err, untorn.ErrNotAtomic) || !errors.As(err, &na) || na.Verdict.Rule == "" ||
					!strings.Contains(err.Error(), na.Verdict.Reason) || !strings.Contains(err.Error(), "AtomicOverride") {
					t.Fatalf("%v, %v", f, err)
				}
				// Nothing changed: another mode is still to be had.
				if f, err = e.OpenFile(ctx, c.file, untorn.FileOptions{Mode: untorn.ModeDoublewrite}); err != nil {
					t.Fatal(err)
				}
				writeVersion(t, e, f, upTo(4), 1, untorn.Durable)
				mustClose(t, e)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Protection() != c.use || fileInfo(t, e, c.file).Override != c.override && c.use == untorn.ModeAtomic {
				t.Errorf("protected by %s; %+v", f.Protection(), fileInfo(t, e, c.file))
			}
			writeVersion(t, e, f, upTo(4), 1, untorn.Durable)
			if again, err := e.OpenFile(ctx, c.file, untorn.FileOptions{}); again != f || err != nil {
				t.Errorf("a second open: %v", err)
			}
			mustClose(t, e)
		})
	}
	t.Run("refused at creation", func(t *testing.T) {
		o := o
		o.Probe = says("sent", unknown)
		e := open(t, o)
		_, err := e.OpenFile(ctx, "c", untorn.FileOptions{Create: true, Pages: 4, Mode: untorn.ModeAtomic})
		if !errors.Is(err, untorn.ErrNotAtomic) {
			t.Error(err)
		}
		if n, _ := d.FS().ReadDir("/db/data"); len(n) != 2 || len(e.Files()) != 2 {
			t.Errorf("it left %v, %v", n, e.Files())
		}
		create(t, e, "c", untorn.FileOptions{Pages: 4, Mode: untorn.ModeAtomic, AtomicOverride: "11b"})
		mustClose(t, e)
	})
	t.Run("read-only", func(t *testing.T) {
		o := o
		o.Probe, o.ReadOnly = says("sent", unknown), true
		e := open(t, o)
		if _, err := e.OpenFile(ctx, "a", untorn.FileOptions{}); err != nil {
			t.Error(err)
		}
		mustClose(t, e)
	})
	t.Run("through the page cache", func(t *testing.T) {
		d := sim.New(sim.Config{NoDirect: true, Atomic: 4096})
		o := onSim(d)
		o.Probe = says("sent", relaxed)
		_, err := open(t, o).OpenFile(ctx, "x", untorn.FileOptions{Create: true, Mode: untorn.ModeAtomic})
		if !errors.Is(err, untorn.ErrNotAtomic) || !strings.Contains(err.Error(), "rule 5") {
			t.Error(err)
		}
	})
}

// TestFlushesOffBelow: a write cache that gets no flushes is refused at open and at each
// checkpoint, in every mode, unless allowed.
func TestFlushesOffBelow(t *testing.T) {
	for _, mode := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeAtomic, untorn.ModeDetect, untorn.ModeNone} {
		_, o := onAtomic(3)
		var mu sync.Mutex
		state := "off"
		set := func(s string) { mu.Lock(); state = s; mu.Unlock() }
		o.Probe = func(ctx context.Context, path string) (untorn.Probed, error) {
			mu.Lock()
			defer mu.Unlock()
			return says(state, relaxed)(ctx, path)
		}
		if _, err := untorn.Open(ctx, o); !errors.Is(err, untorn.ErrFlushesOff) || !strings.Contains(err.Error(), "a test says so") {
			t.Fatalf("open: %v", err)
		}
		set("sent")
		e := open(t, o)
		f := create(t, e, "table", untorn.FileOptions{Pages: 4, Mode: mode})
		writeVersion(t, e, f, upTo(4), 1, untorn.Durable)
		set("off")
		if err := e.Checkpoint(ctx, e.EndLSN(), nil); !errors.Is(err, untorn.ErrFlushesOff) {
			t.Errorf("%s: checkpoint: %v", mode, err)
		}
		set("needless")
		if err := e.Checkpoint(ctx, e.EndLSN(), nil); err != nil {
			t.Errorf("%s: checkpoint: %v", mode, err)
		}
		mustClose(t, e)
		set("off")
		o.AllowFlushesOff = true
		e = open(t, o)
		if got := e.Info().Flushes; len(got) != 1 || got[0] != "off: a test says so" {
			t.Errorf("Info says %q", got)
		}
		mustClose(t, e)
	}
}

// TestVerdictChanges: a file whose stack is no longer proven at a checkpoint leaves mode atomic.
func TestVerdictChanges(t *testing.T) {
	d, o := onAtomic(4)
	var mu sync.Mutex
	v := relaxed
	o.Probe = func(ctx context.Context, path string) (untorn.Probed, error) {
		mu.Lock()
		defer mu.Unlock()
		return says("sent", v)(ctx, path)
	}
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 8, Mode: untorn.ModeAtomic})
	writeVersion(t, e, f, upTo(8), 1, untorn.Durable)
	if err := e.Checkpoint(ctx, e.EndLSN(), nil); err != nil || f.Protection() != untorn.ModeAtomic {
		t.Fatal(err, f.Protection())
	}
	mu.Lock()
	v = untorn.AtomicVerdict{Answer: "required", Rule: "11e", Reason: "formatted anew"}
	mu.Unlock()
	if err := e.Checkpoint(ctx, e.EndLSN(), nil); err != nil {
		t.Fatal(err)
	}
	in := fileInfo(t, e, "table")
	if f.Protection() != untorn.ModeDoublewrite || in.Refused != 0 || !strings.Contains(in.Moved, "formatted anew") {
		t.Errorf("%s, %+v", f.Protection(), in)
	}
	d.Record()
	writeVersion(t, e, f, upTo(8), 2, untorn.Durable)
	for i, l := 0, d.Log(); i < l.Len(); i++ {
		if l.At(i).Atomic() {
			t.Fatalf("%v after the file has moved", l.At(i))
		}
	}
	mustClose(t, e)
}

// refuser is a Ring that refuses atomic writes, at once or after a while, without doing anything.
type refuser struct {
	ring.Ring
	late   bool
	refuse func(*ring.Op) error
	wg     sync.WaitGroup
}

func (r *refuser) Submit(ops ...*ring.Op) {
	for i, op := range ops {
		var err error
		if op.Kind == ring.Write && op.Flags&ring.Atomic != 0 {
			err = r.refuse(op)
		}
		switch {
		case err == nil:
			r.Ring.Submit(ops[i : i+1]...)
		case !r.late:
			op.Err = &ring.Error{Kind: op.Kind, File: op.File.Name(), Off: op.Off, Len: op.Len(), Err: err}
			op.Done <- op
		default:
			r.wg.Go(func() {
				for range rand.IntN(500) { // meanwhile others go on
					runtime.Gosched()
				}
				op.Err = &ring.Error{Kind: op.Kind, File: op.File.Name(), Off: op.Off, Len: op.Len(), Err: err}
				op.Done <- op
			})
		}
	}
}

func (r *refuser) Close() error {
	r.wg.Wait()
	return r.Ring.Close()
}

// TestRefused: the first atomic write that is refused, whatever it was refused with, goes through
// the doublewrite buffer, and so does the file from then on. Nothing is lost, the next open tries
// again, and it can be seen.
func TestRefused(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.EOPNOTSUPP} {
		for _, level := range []untorn.Level{untorn.Durable, untorn.Protected, untorn.Accepted} {
			d, o := onAtomic(5)
			var out bytes.Buffer
			o.Logger = slog.New(slog.NewTextHandler(&out, nil))
			var mu sync.Mutex
			limit := 64 << 10
			o.NewRing = func(string, ring.Config) (ring.Ring, error) {
				return &refuser{Ring: d.Ring(), refuse: func(op *ring.Op) error {
					mu.Lock()
					defer mu.Unlock()
					if op.Len() > limit {
						return errno
					}
					return nil
				}}, nil
			}
			e := open(t, o)
			f := create(t, e, "table", untorn.FileOptions{Pages: 20, Mode: untorn.ModeAtomic})
			other := create(t, e, "other", untorn.FileOptions{Pages: 20, PageSize: 4096, Mode: untorn.ModeAtomic})
			writeVersion(t, e, f, upTo(10), 1, level)
			if level == untorn.Accepted {
				if err := f.Sync(ctx); err != nil { // or they would all be refused
					t.Fatal(err)
				}
			}
			mu.Lock()
			limit = 4096
			mu.Unlock()
			writeVersion(t, e, f, upTo(20), 2, level)
			writeVersion(t, e, other, upTo(20), 2, level)
			writeVersion(t, e, f, upTo(15), 3, level)
			if err := f.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			for _, no := range upTo(20) {
				want := uint64(3)
				if no >= 15 {
					want = 2
				}
				if v := readVersion(t, f, no); v != want {
					t.Errorf("page %d is at version %d, want %d", no, v, want)
				}
			}
			in := fileInfo(t, e, "table")
			if in.Mode != "atomic" || in.Protection != "doublewrite" || in.Refused == 0 || !strings.Contains(in.Moved, errno.Error()) {
				t.Errorf("Info says %+v", in)
			}
			if in := fileInfo(t, e, "other"); in.Protection != "atomic" || in.Refused != 0 {
				t.Errorf("of the other file Info says %+v", in)
			}
			if e.Stats().Refused != in.Refused || strings.Count(out.String(), "leaves atomic writes") != 1 {
				t.Errorf("Stats: %d; log: %s", e.Stats().Refused, out.String())
			}
			d.Record()
			writeVersion(t, e, f, upTo(3), 4, untorn.Durable)
			dwb := false
			for i, l := 0, d.Log(); i < l.Len(); i++ {
				dwb = dwb || strings.Contains(l.At(i).File, "/dwb/")
				if l.At(i).Atomic() {
					t.Errorf("%v of a file that has moved", l.At(i))
				}
			}
			if !dwb {
				t.Error("the doublewrite buffer is not used")
			}
			mustClose(t, e)
			mu.Lock()
			limit = 64 << 10
			mu.Unlock()
			e = open(t, o)
			if f, _ = e.OpenFile(ctx, "table", untorn.FileOptions{}); f.Protection() != untorn.ModeAtomic {
				t.Errorf("after a reopen it is protected by %s", f.Protection())
			}
			if v := readVersion(t, f, 2); v != 4 {
				t.Errorf("version %d after a reopen", v)
			}
			mustClose(t, e)
		}
	}
}

// TestAtomicFails: EIO and a short count are no refusals: nobody knows what is on the disk (I5).
func TestAtomicFails(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		d, o := onAtomic(6)
		e := open(t, o)
		f := create(t, e, "table", untorn.FileOptions{Pages: 4, Mode: untorn.ModeAtomic})
		d.Inject(func(op *ring.Op) sim.Fault {
			if op.Flags&ring.Atomic != 0 {
				return sim.Fault{Err: cause}
			}
			return sim.Fault{}
		})
		err := f.WritePages(ctx, []untorn.PageWrite{{Data: make([]byte, f.PageSize())}}, untorn.Protected)
		if !errors.Is(err, untorn.ErrPoisoned) || !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
	}
}
