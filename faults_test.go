package untorn_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

var ctx = context.Background()

// onSim are options for an engine on a simulated disk.
func onSim(d *sim.Disk) untorn.Options {
	return untorn.Options{
		Dir: "/db", SegmentBytes: 256 << 10, BatchBytes: 64 << 10, Memory: 2 << 20, LockWait: -1,
		Commit: walstage.CommitFlush, FS: d.FS(), Unsafe: true,
		NewRing: func(string, ring.Config) (ring.Ring, error) { return d.Ring(), nil },
	}
}

func TestCallsThatAreRefused(t *testing.T) {
	e := open(t, small(t))
	f := create(t, e, "table", untorn.FileOptions{Pages: 10})
	page := make([]byte, f.PageSize())
	write := func(no uint64, lsn untorn.LSN, b []byte) error {
		return f.WritePages(ctx, []untorn.PageWrite{{No: untorn.PageNo(no), LSN: lsn, Data: b}}, untorn.Durable)
	}
	long := strings.Repeat("x", super.MaxName+1)
	openAs := func(name string, o untorn.FileOptions) error {
		_, err := e.OpenFile(ctx, name, o)
		return err
	}
	alloced := make([][]byte, 1)
	if err := f.Alloc(ctx, alloced); err != nil {
		t.Fatal(err)
	}
	big := create(t, e, "big", untorn.FileOptions{Pages: 1, PageSize: 64 << 10})
	for name, c := range map[string]struct{ got, want error }{
		"short buffer":           {write(0, 0, page[:100]), untorn.ErrBufferSize},
		"long buffer":            {write(0, 0, append(page, 0)), untorn.ErrBufferSize},
		"no buffer":              {write(0, 0, nil), untorn.ErrBufferSize},
		"foreign frame":          {big.WritePages(ctx, []untorn.PageWrite{{Data: alloced[0]}}, 0), untorn.ErrBufferSize},
		"page out of file":       {write(10, 0, page), untorn.ErrPageRange},
		"read out of file":       {f.ReadPages(ctx, []untorn.PageRead{{No: 10, Data: page}}), untorn.ErrPageRange},
		"read into short buffer": {f.ReadPages(ctx, []untorn.PageRead{{Data: page[1:]}}), untorn.ErrBufferSize},
		"LSN beyond the log":     {write(0, e.EndLSN()+1, page), untorn.ErrLSNBeyondLog},
		"wait beyond the log":    {e.WaitDurable(ctx, e.EndLSN()+1), untorn.ErrLSNBeyondLog},
		"redo beyond the log":    {e.Checkpoint(ctx, e.EndLSN()+1, nil), untorn.ErrRedo},
		"huge payload":           {e.Checkpoint(ctx, 0, make([]byte, super.MaxPayload+1)), untorn.ErrTooLarge},
		"empty record":           {second(e.Append(nil)), walstage.ErrEmpty},
		"huge record":            {second(e.Append(make([]byte, 1<<20))), walstage.ErrTooLarge},
		"unknown level":          {f.WritePages(ctx, []untorn.PageWrite{{Data: page}}, 9), untorn.ErrOptions},
		"name with slash":        {openAs("a/b", untorn.FileOptions{Create: true}), untorn.ErrName},
		"name dot dot":           {openAs("..", untorn.FileOptions{Create: true}), untorn.ErrName},
		"empty name":             {openAs("", untorn.FileOptions{Create: true}), untorn.ErrName},
		"long name":              {openAs(long, untorn.FileOptions{Create: true}), untorn.ErrName},
		"name with NUL":          {openAs("a\x00b", untorn.FileOptions{Create: true}), untorn.ErrName},
		"unknown file":           {openAs("nobody", untorn.FileOptions{}), untorn.ErrUnknownFile},
		"file that exists":       {openAs("table", untorn.FileOptions{Create: true}), untorn.ErrExists},
		"page size":              {openAs("x", untorn.FileOptions{Create: true, PageSize: 5000}), untorn.ErrOptions},
		"other page size":        {openAs("table", untorn.FileOptions{PageSize: 4096}), untorn.ErrOptions},
		"mode":                   {openAs("x", untorn.FileOptions{Create: true, Mode: "magic"}), untorn.ErrOptions},
		"mode of an open file":   {openAs("table", untorn.FileOptions{Mode: untorn.ModeDetect}), untorn.ErrInUse},
		"rename of nobody":       {e.Rename(ctx, "nobody", "x"), untorn.ErrUnknownFile},
		"rename onto another":    {e.Rename(ctx, "table", "big"), untorn.ErrExists},
		"remove of nobody":       {e.Remove(ctx, "nobody"), untorn.ErrUnknownFile},
		"shrink":                 {f.Grow(ctx, 5), untorn.ErrOptions},
		"too many pages":         {f.Grow(ctx, 1<<62), untorn.ErrTooLarge},
		"missing record":         {second2(e.ReadAt(ctx, 1<<40)), untorn.ErrLSNBeyondLog},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	f.Free(alloced)
	if err := write(0, 0, page); err != nil {
		t.Errorf("after all that: %v", err)
	}
	mustClose(t, e)
	if err := write(0, 0, page); !errors.Is(err, untorn.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := e.Close(ctx); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func second(_, _ untorn.LSN, err error) error         { return err }
func second2(_ untorn.Record, err error) error        { return err }
func opened(_ *untorn.Engine, err error) error        { return err }
func reopen(o untorn.Options) (*untorn.Engine, error) { return untorn.Open(ctx, o) }

func TestDirectoriesThatAreRefused(t *testing.T) {
	o := small(t)
	o.LockWait = -1
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    error
	}{
		"somebody else's": {func(d string) error { return os.WriteFile(filepath.Join(d, "notes.txt"), nil, 0o600) }, untorn.ErrNotEngine},
		"lock is a link":  {func(d string) error { return os.Symlink("/etc/passwd", filepath.Join(d, "lock")) }, fsys.ErrSymlink},
		"log without super": {func(d string) error {
			return errors.Join(os.WriteFile(filepath.Join(d, "lock"), nil, 0o600), os.Mkdir(filepath.Join(d, "wal"), 0o700),
				os.WriteFile(filepath.Join(d, "wal", "x"), nil, 0o600))
		}, untorn.ErrNoSuper},
		"super is a link": {func(d string) error {
			return errors.Join(os.WriteFile(filepath.Join(d, "lock"), nil, 0o600), os.Symlink("/etc/passwd", filepath.Join(d, "super")))
		}, fsys.ErrSymlink},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.Dir = t.TempDir()
			if err := c.prepare(o.Dir); err != nil {
				t.Fatal(err)
			}
			if _, err := untorn.Open(ctx, o); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	missing := o
	missing.MustExist = true
	if _, err := untorn.Open(ctx, missing); !errors.Is(err, untorn.ErrNotEngine) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
	e := open(t, o)
	if _, err := untorn.Open(ctx, o); !errors.Is(err, untorn.ErrLocked) {
		t.Errorf("a second opener: %v", err)
	}
	ro := o
	ro.ReadOnly = true
	if _, err := untorn.Open(ctx, ro); !errors.Is(err, untorn.ErrLocked) {
		t.Errorf("a read-only opener beside a writer: %v", err)
	}
	mustClose(t, e)
	a, b := open(t, ro), open(t, ro) // readers share
	if _, _, err := a.Append([]byte("x")); !errors.Is(err, untorn.ErrReadOnly) {
		t.Errorf("append: %v", err)
	}
	if err := a.Checkpoint(ctx, 0, nil); !errors.Is(err, untorn.ErrReadOnly) {
		t.Errorf("checkpoint: %v", err)
	}
	mustClose(t, a)
	mustClose(t, b)
}

// TestModesOfFiles: permissions are private, whatever the umask.
func TestPrivateFiles(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	o := small(t)
	e := open(t, o)
	create(t, e, "table", untorn.FileOptions{Pages: 1})
	mustClose(t, e)
	err := filepath.Walk(o.Dir, func(path string, i os.FileInfo, err error) error {
		if err == nil && i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, i.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

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

// dirFiles are the files of a simulated engine directory below a folder.
func dirFiles(t *testing.T, d *sim.Disk, dir string) []string {
	list, err := d.FS().ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var n []string
	for _, x := range list {
		n = append(n, filepath.Join(dir, x.Name))
	}
	return n
}

// TestOldDataFile: a data file restored from an older copy is behind super; one of another engine
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

// TestFlushesOff: a stack that drops flushes is refused, unless told otherwise (I1).
func TestFlushesOff(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1, Mount: fsys.Mount{Type: "ext4", FlushesOff: "barrier=0"}})
	o := onSim(d)
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrFlushesOff) {
		t.Errorf("open: %v", err)
	}
	o.AllowFlushesOff = true
	mustClose(t, open(t, o))
	o.AllowFlushesOff = false
	d.SetMount(fsys.Mount{Type: "ext4"})
	e := open(t, o)
	d.SetMount(fsys.Mount{Type: "ext4", FlushesOff: "barrier=0"})
	if err := e.Checkpoint(ctx, e.EndLSN(), nil); !errors.Is(err, untorn.ErrFlushesOff) {
		t.Errorf("checkpoint after a remount: %v", err)
	}
}

// TestPoison: after EIO on any durability path nothing more is acknowledged, reads of pages at rest
// go on, and a reopen in the same process finds everything that was acknowledged (I5).
func TestPoison(t *testing.T) {
	for _, c := range []struct {
		name, file string
		kind       ring.Kind
	}{
		{"doublewrite", "dwb", ring.Write}, {"doublewrite flush", "dwb", ring.DataSync},
		{"destination", "data", ring.Write}, {"destination flush", "data", ring.DataSync},
		{"log", "wal", ring.Write}, {"log flush", "wal", ring.DataSync},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := sim.New(sim.Config{Seed: 3})
			o := onSim(d)
			if c.kind == ring.DataSync {
				o.DWBSync = untorn.DWBFlush
			}
			e := open(t, o)
			f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096})
			writeVersion(t, e, f, upTo(8), 1, untorn.Durable)
			d.Inject(func(op *ring.Op) sim.Fault {
				if op.Kind == c.kind && strings.Contains(op.File.Name(), "/"+c.file) {
					return sim.Fault{Err: syscall.EIO}
				}
				return sim.Fault{}
			})
			b := make([]byte, 4096)
			fill(b, 0, 2)
			_, lsn, err := e.Append([]byte("doomed"))
			if err != nil {
				t.Fatal(err)
			}
			err = f.WritePages(ctx, []untorn.PageWrite{{LSN: lsn, Data: b}}, untorn.Durable)
			if !errors.Is(err, untorn.ErrPoisoned) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("the write: %v", err)
			}
			d.ClearFaults()
			if err := f.WritePages(ctx, []untorn.PageWrite{{No: 3, Data: b}}, untorn.Accepted); !errors.Is(err, untorn.ErrPoisoned) {
				t.Errorf("a later write: %v", err)
			}
			if _, _, err := e.Append([]byte("x")); !errors.Is(err, untorn.ErrPoisoned) {
				t.Errorf("a later append: %v", err)
			}
			if err := e.Checkpoint(ctx, 0, nil); !errors.Is(err, untorn.ErrPoisoned) {
				t.Errorf("a later checkpoint: %v", err)
			}
			if v := readVersion(t, f, 5); v != 1 {
				t.Errorf("a page at rest has version %d", v)
			}
			if err := e.Close(ctx); !errors.Is(err, untorn.ErrPoisoned) {
				t.Errorf("close: %v", err)
			}
			if n := e.Stats().Memory.InUse; n != 0 {
				t.Errorf("%d bytes of page memory were not given back", n)
			}
			e, err = reopen(o)
			if err != nil {
				t.Fatalf("reopen: %v", err)
			}
			if e.Report().Clean {
				t.Error("the poisoned directory counts as clean")
			}
			f, err = e.OpenFile(ctx, "table", untorn.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for no := range uint64(8) {
				if v := readVersion(t, f, no); v < 1 || v > 2 || no > 0 && v != 1 {
					t.Errorf("page %d has version %d", no, v)
				}
			}
			writeVersion(t, e, f, upTo(8), 9, untorn.Durable)
			mustClose(t, e)
		})
	}
}

// TestCancelledContexts: waiting stops, what was accepted goes on, and the error says so.
func TestCancelledContexts(t *testing.T) {
	d := sim.New(sim.Config{Seed: 4})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096})
	hold := true
	var mu sync.Mutex
	d.Inject(func(op *ring.Op) sim.Fault {
		mu.Lock()
		defer mu.Unlock()
		return sim.Fault{Hold: hold && op.Kind == ring.Write && strings.Contains(op.File.Name(), "/data/")}
	})
	b := make([]byte, 4096)
	fill(b, 1, 5)
	p, err := f.WritePagesAsync(ctx, []untorn.PageWrite{{No: 1, Data: b}}, untorn.Durable)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	var ue *untorn.Error
	if err := p.Wait(gone); !errors.Is(err, context.Canceled) || !errors.As(err, &ue) || !ue.MayBecomeDurable {
		t.Errorf("wait: %v", err)
	}
	if err := f.Sync(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("sync: %v", err)
	}
	if err := e.Checkpoint(gone, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("checkpoint: %v", err)
	}
	if v := readVersion(t, f, 1); v != 5 {
		t.Errorf("the accepted page reads as version %d", v)
	}
	mu.Lock()
	hold = false
	mu.Unlock()
	d.Release(func(*ring.Op) bool { return true })
	if err := p.Wait(ctx); err != nil {
		t.Errorf("waiting again: %v", err)
	}
	if _, err := untorn.Open(gone, onSim(sim.New(sim.Config{}))); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
	if err := f.Grow(gone, 100); !errors.Is(err, context.Canceled) || f.Pages() != 8 {
		t.Errorf("grow: %v, %d pages", err, f.Pages())
	}
	if _, err := e.OpenFile(gone, "other", untorn.FileOptions{Create: true, Pages: 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v", err)
	}
	if n := len(dirFiles(t, d, "/db/data")); n != 1 {
		t.Errorf("%d data files after a cancelled create", n)
	}
	mustClose(t, e)
}

// TestCloseDuringLoad: every call either succeeds or is ErrClosed, and what succeeded is there.
func TestCloseDuringLoad(t *testing.T) {
	o := small(t)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 32, PageSize: 4096})
	var acked [32]uint64
	var wg sync.WaitGroup
	started := make(chan struct{}, 32)
	for no := range uint64(32) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b := make([]byte, 4096)
			for v := uint64(1); ; v++ {
				fill(b, no, v)
				err := f.WritePages(ctx, []untorn.PageWrite{{No: untorn.PageNo(no), Data: b}}, untorn.Level(no%2))
				if errors.Is(err, untorn.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				acked[no] = v
				if v == 3 {
					started <- struct{}{}
				}
			}
		}()
	}
	for range 32 {
		<-started
	}
	mustClose(t, e)
	wg.Wait()
	e = open(t, o)
	f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for no := range uint64(32) {
		if v := readVersion(t, f, no); v != acked[no] {
			t.Errorf("page %d has version %d, %d was acknowledged", no, v, acked[no])
		}
	}
}

// TestDiskFull: creation, growth and the log are refused with ErrNoSpace, the engine stays healthy,
// and the directory opens again.
func TestDiskFull(t *testing.T) {
	d := sim.New(sim.Config{Seed: 5, Capacity: 4 << 20})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 16, PageSize: 4096})
	if err := f.Grow(ctx, 4096); !errors.Is(err, untorn.ErrNoSpace) {
		t.Fatalf("grow: %v", err)
	}
	if _, err := e.OpenFile(ctx, "huge", untorn.FileOptions{Create: true, Pages: 4096}); !errors.Is(err, untorn.ErrNoSpace) {
		t.Fatalf("create: %v", err)
	}
	var last untorn.LSN
	var err error
	n := 0
	for err == nil {
		var end untorn.LSN
		if _, end, err = e.Append(make([]byte, 8<<10)); err == nil {
			last = end
			n++
		}
	}
	if !errors.Is(err, untorn.ErrLogFull) {
		t.Fatalf("append on a full disk: %v", err)
	}
	if err := e.WaitDurable(ctx, last); err != nil {
		t.Fatalf("what was accepted: %v", err)
	}
	writeNoRecord := func(v uint64) {
		b := make([]byte, 4096)
		fill(b, 3, v)
		if err := f.WritePages(ctx, []untorn.PageWrite{{No: 3, LSN: last, Data: b}}, untorn.Durable); err != nil {
			t.Fatalf("pages on a full disk: %v", err)
		}
	}
	writeNoRecord(1)
	if err := e.Checkpoint(ctx, e.EndLSN(), nil); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	if _, _, err := e.Append(make([]byte, 8<<10)); err != nil {
		t.Fatalf("append after the log was emptied: %v", err)
	}
	writeNoRecord(2)
	mustClose(t, e)
	e = open(t, o)
	f, err = e.OpenFile(ctx, "table", untorn.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v := readVersion(t, f, 3); v != 2 {
		t.Errorf("version %d", v)
	}
}

// TestRecoveryLoop: recoveries that never finish end in an error that names the place.
func TestRecoveryLoop(t *testing.T) {
	d := sim.New(sim.Config{Seed: 6})
	o := onSim(d)
	o.MaxRecoveries = 3
	e := open(t, o)
	for range 10 {
		_, end, err := e.Append(make([]byte, 100))
		if err == nil {
			err = e.WaitDurable(ctx, end)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		d = d.Crash()
		o = onSim(d)
		o.MaxRecoveries = 3
		e, err := reopen(o)
		if i == 3 {
			var loop *untorn.RecoveryLoopError
			if !errors.Is(err, untorn.ErrRecoveryLoop) || !errors.As(err, &loop) || loop.Begun != 3 || loop.LSN == 0 {
				t.Fatalf("attempt %d: %v", i+1, err)
			}
			break
		}
		if err != nil {
			t.Fatalf("attempt %d: %v", i+1, err)
		}
		for r, err := range e.Replay(ctx) { // the caller dies at the second record
			if err != nil || r.Start == 0 {
				t.Fatal(err)
			}
			break
		}
	}
	o.MaxRecoveries = 10
	e, err := reopen(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range e.Replay(ctx) {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, e)
}
