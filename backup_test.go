package untorn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// change is a record of the tests: page no of a file has a version now.
type change struct {
	File    string
	No, Ver uint64
}

// changer writes pages of one file, each change with a record of its own.
type changer struct {
	e   *untorn.Engine
	f   *untorn.File
	ver map[uint64]uint64
	// least is an LSN below which every record's page has been passed to WritePages.
	least atomic.Uint64
}

func newChanger(e *untorn.Engine, f *untorn.File) *changer {
	return &changer{e: e, f: f, ver: map[uint64]uint64{}}
}

// write makes the next version of page no: record, then page, in this order.
func (w *changer) write(no uint64, level untorn.Level) error {
	w.least.Store(uint64(w.e.EndLSN())) // its record comes behind; all before have been passed
	v := w.ver[no] + 1
	rec, err := json.Marshal(change{w.f.Name(), no, v})
	if err != nil {
		return err
	}
	_, end, err := w.e.Append(rec)
	if err != nil {
		return err
	}
	b := make([]byte, w.f.PageSize())
	fill(b, no, v)
	w.ver[no] = v
	return w.f.WritePages(ctx, []untorn.PageWrite{{No: untorn.PageNo(no), LSN: end, Data: b}}, level)
}

// replayCopy opens a copy and replays it: every page has to be whole, no newer than the log, and
// exactly as old as the first record that it lacks. It returns the version of every page.
func replayCopy(t *testing.T, o untorn.Options) map[change]uint64 {
	t.Helper()
	e := open(t, o)
	end := e.EndLSN()
	state, lsns := map[change]uint64{}, map[change]untorn.LSN{}
	for _, name := range e.Files() {
		f, err := e.OpenFile(ctx, name, untorn.FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for no := range f.Pages() {
			r := []untorn.PageRead{{No: untorn.PageNo(no), Data: make([]byte, f.PageSize())}}
			if err := f.ReadPages(ctx, r); err != nil {
				t.Fatal(err)
			}
			k := change{File: name, No: no}
			if r[0].LSN > end {
				t.Errorf("page %d of %s has LSN %d, the log of the copy ends at %d", no, name, r[0].LSN, end)
			}
			if lsns[k] = r[0].LSN; r[0].LSN == 0 {
				continue // never written
			}
			if state[k], err = version(r[0].Data, no); err != nil {
				t.Fatal(err)
			}
		}
	}
	for r, err := range e.Replay(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		var c change
		if json.Unmarshal(r.Data, &c) != nil {
			continue
		}
		k := change{File: c.File, No: c.No}
		if lsn, there := lsns[k]; !there || r.End <= lsn {
			continue
		}
		if c.Ver != state[k]+1 {
			t.Fatalf("page %d of %s has version %d, the first record it lacks makes version %d", c.No, c.File, state[k], c.Ver)
		}
		state[k] = c.Ver
	}
	mustClose(t, e)
	return state
}

// TestBackupOfARunningEngine: a backup taken while pages are written, checkpoints taken and files
// created, grown and removed opens, and is a state the engine had, no older than when it began.
func TestBackupOfARunningEngine(t *testing.T) {
	for _, mode := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeFullpage} {
		t.Run(string(mode), func(t *testing.T) { backupRunning(t, mode) })
	}
}

func backupRunning(t *testing.T, mode untorn.Mode) {
	o := smallLog(t)
	o.SegmentBytes = 256 << 10
	e := open(t, o)
	const pages = 300
	var ws []*changer
	outside := filepath.Join(t.TempDir(), "outside")
	for i := range 3 {
		fo := untorn.FileOptions{Pages: pages, PageSize: 4096, Mode: mode}
		if i == 2 {
			fo.Path = outside
		}
		ws = append(ws, newChanger(e, create(t, e, fmt.Sprintf("f%d", i), fo)))
	}
	for _, w := range ws {
		for no := range uint64(pages) {
			if err := w.write(no, untorn.Accepted); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.f.Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	checkpoint(t, e)
	before := map[change]uint64{}
	for _, w := range ws {
		for no, v := range w.ver {
			before[change{File: w.f.Name(), No: no}] = v
		}
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i, w := range ws {
		wg.Go(func() {
			x := uint64(i)
			for !stop.Load() {
				x = x*6364136223846793005 + 1442695040888963407
				if err := w.write(x>>33%pages, untorn.Level(x>>20%4)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	gate := make(chan struct{}, 1)
	wg.Go(func() { // checkpoints and changes of the catalogue, one after each step of the backup
		for i := 0; !stop.Load(); i++ {
			<-gate
			redo, _ := e.LastCheckpoint()
			redo = passed(ws, redo)
			err := e.Checkpoint(ctx, redo, []byte(fmt.Sprint("checkpoint ", i)))
			name := fmt.Sprintf("new%d", i)
			f, cerr := e.OpenFile(ctx, name, untorn.FileOptions{Create: true, Pages: 3, PageSize: 4096, Mode: mode})
			err = errors.Join(err, cerr)
			if cerr == nil && i%2 == 0 {
				err = errors.Join(err, f.Grow(ctx, 7))
			}
			if i > 1 {
				err = errors.Join(err, e.Remove(ctx, fmt.Sprintf("new%d", i-2)))
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	to := filepath.Join(t.TempDir(), "copy")
	// Slow enough for pages that were copied early to be changed, and for checkpoints behind that.
	about, err := e.Backup(ctx, to, untorn.BackupOptions{Rate: 16 << 20, Progress: func(int64, int64) {
		select {
		case gate <- struct{}{}:
		default:
		}
	}})
	stop.Store(true)
	select {
	case gate <- struct{}{}:
	default:
	}
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Retention().Holders) != 0 {
		t.Error("the backup still holds the log")
	}
	c := o
	c.Dir, c.MustExist = to, true
	got := replayCopy(t, c)
	for k, v := range before {
		if got[k] < v {
			t.Errorf("page %d of %s has version %d, %d was durable before the backup", k.No, k.File, got[k], v)
		}
	}
	if about.EngineID != e.Info().EngineID || about.EndLSN == 0 || len(about.Files) < 3 || len(about.Segments) == 0 {
		t.Errorf("%+v", about)
	}
	// The original is none the worse, and the copy is on its own: also the file that lies elsewhere.
	for _, w := range ws {
		if err := w.write(0, untorn.Durable); err != nil {
			t.Error(err)
		}
	}
	mustClose(t, e)
	mustClose(t, open(t, o))
}

// passed returns an LSN below which every change has been passed to WritePages.
func passed(ws []*changer, redo untorn.LSN) untorn.LSN {
	least := untorn.LSN(ws[0].least.Load())
	for _, w := range ws {
		least = min(least, untorn.LSN(w.least.Load()))
	}
	return max(redo, least)
}

// TestBackupOfAClosedDirectory: through a read-only engine.
func TestBackupOfAClosedDirectory(t *testing.T) {
	o := smallLog(t)
	e := open(t, o)
	w := newChanger(e, create(t, e, "table", untorn.FileOptions{Pages: 50, PageSize: 4096}))
	for i := range uint64(200) {
		if err := w.write(i%50, untorn.Accepted); err != nil {
			t.Fatal(err)
		}
		if i == 100 {
			if err := w.f.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			checkpoint(t, e)
		}
	}
	mustClose(t, e)
	ro := o
	ro.ReadOnly = true
	e = open(t, ro)
	to := filepath.Join(t.TempDir(), "copy")
	if _, err := e.Backup(ctx, to, untorn.BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Backup(ctx, to, untorn.BackupOptions{}); !errors.Is(err, untorn.ErrNotEmpty) && !errors.Is(err, untorn.ErrLocked) {
		t.Errorf("onto a backup: %v", err)
	}
	mustClose(t, e)
	c := o
	c.Dir, c.MustExist = to, true
	for k, v := range replayCopy(t, c) {
		if v != w.ver[k.No] {
			t.Errorf("page %d has version %d of %d", k.No, v, w.ver[k.No])
		}
	}
}

// TestBackupThatFails: cancelled, onto a full disk, or of a damaged page, a backup is an error, and
// what it leaves is not taken for an engine.
func TestBackupThatFails(t *testing.T) {
	d := sim.New(sim.Config{Capacity: 6 << 20})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 600, PageSize: 4096})
	appendSome(t, e, 3)
	stopped, stop := context.WithCancel(ctx)
	n := 0
	_, err := e.Backup(stopped, "/cancelled", untorn.BackupOptions{Progress: func(int64, int64) {
		if n++; n == 3 {
			stop()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error("cancelled:", err)
	}
	refused := func(dir string) {
		t.Helper()
		x := o
		x.Dir = dir
		if _, err := untorn.Open(ctx, x); !errors.Is(err, untorn.ErrNoSuper) {
			t.Errorf("%s opens: %v", dir, err)
		}
	}
	refused("/cancelled")
	if _, err = e.Backup(ctx, "/full", untorn.BackupOptions{}); !errors.Is(err, untorn.ErrNoSpace) {
		t.Error("onto a full disk:", err)
	}
	refused("/full")
	if err := e.Err(); err != nil {
		t.Fatal(err)
	}
	writeVersion(t, e, f, upTo(600), 1, untorn.Durable)
	mustClose(t, e)

	big := sim.New(sim.Config{})
	o = onSim(big)
	e = open(t, o)
	f = create(t, e, "table", untorn.FileOptions{Pages: 10, PageSize: 4096})
	writeVersion(t, e, f, upTo(10), 1, untorn.Durable)
	if err := big.Corrupt("/db/data/00000001.pages", 64<<10+5*4096+100, 1); err != nil {
		t.Fatal(err)
	}
	if _, err = e.Backup(ctx, "/damaged", untorn.BackupOptions{}); !errors.Is(err, untorn.ErrPageDamaged) || !strings.Contains(err.Error(), "page 5") {
		t.Error("of a damaged page:", err)
	}
	refused("/damaged")
	mustClose(t, e)
}

// TestBackupOfAPoisonedEngine: a file whose creation stops the engine is in the log and not in super. A
// backup that is under way then fails: its log would name a file that it does not have (I5).
func TestBackupOfAPoisonedEngine(t *testing.T) {
	d := sim.New(sim.Config{})
	o := onSim(d)
	e := open(t, o)
	create(t, e, "table", untorn.FileOptions{Pages: 4, PageSize: 4096})
	d.Inject(func(op *ring.Op) (f sim.Fault) {
		if op.Kind == ring.Write && op.File.Name() == "/db/super" {
			f.Err = syscall.EIO
		}
		return f
	})
	_, err := e.Backup(ctx, "/copy", untorn.BackupOptions{Progress: func(int64, int64) {
		_, err := e.OpenFile(ctx, "other", untorn.FileOptions{Create: true, Pages: 4, PageSize: 4096})
		if !errors.Is(err, untorn.ErrPoisoned) {
			t.Errorf("create: %v", err)
		}
		d.ClearFaults()
	}})
	if !errors.Is(err, untorn.ErrPoisoned) {
		t.Errorf("backup: %v", err)
	}
	c := o
	c.Dir, c.MustExist = "/copy", true
	if err := opened(reopen(c)); !errors.Is(err, untorn.ErrNoSuper) {
		t.Errorf("what it left opens: %v", err)
	}
	if err := e.Close(ctx); !errors.Is(err, untorn.ErrPoisoned) {
		t.Errorf("close: %v", err)
	}
}

// TestBackupWithoutItsLog: a copy that lost the end of its log is refused (I10).
func TestBackupWithoutItsLog(t *testing.T) {
	o := smallLog(t)
	e := open(t, o)
	appendSome(t, e, 5)
	to := filepath.Join(t.TempDir(), "copy")
	about, err := e.Backup(ctx, to, untorn.BackupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, e)
	log := filepath.Join(to, "wal", about.Segments[len(about.Segments)-1])
	if err := os.Truncate(log, int64(about.EndLSN)-4096&^4095); err != nil {
		t.Fatal(err)
	}
	c := o
	c.Dir = to
	if _, err := untorn.Open(ctx, c); !errors.Is(err, untorn.ErrCorrupt) {
		t.Errorf("a copy that lacks the end of its log opens: %v", err)
	}
}

// TestBackupWaitsForTheLog: a page that was accepted and whose record is not durable yet is copied, and
// so is its record (I3).
func TestBackupWaitsForTheLog(t *testing.T) { synctest.Test(t, backupWaits) }

func backupWaits(t *testing.T) {
	d := sim.New(sim.Config{})
	o := onSim(d)
	e := open(t, o)
	w := newChanger(e, create(t, e, "table", untorn.FileOptions{Pages: 4, PageSize: 4096}))
	if err := w.write(0, untorn.Durable); err != nil {
		t.Fatal(err)
	}
	d.Inject(func(op *ring.Op) sim.Fault {
		return sim.Fault{Hold: op.Kind == ring.DataSync && strings.HasSuffix(op.File.Name(), ".wal")}
	})
	if err := w.write(0, untorn.Accepted); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := e.Backup(ctx, "/copy", untorn.BackupOptions{})
		done <- err
	}()
	synctest.Wait()
	if len(done) != 0 {
		t.Fatalf("it did not wait: %v", <-done)
	}
	d.ClearFaults()
	d.Release(nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c := o
	c.Dir = "/copy"
	if got := replayCopy(t, c)[change{File: "table"}]; got != 2 {
		t.Errorf("version %d, the newest when the backup was taken is 2", got)
	}
	mustClose(t, e)
}
