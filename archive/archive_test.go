package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/walstage"
)

var bg = context.Background()

const pageBytes = 4096

func options(dir string) untorn.Options {
	return untorn.Options{Dir: dir, SegmentBytes: 64 << 10, BatchBytes: 128 << 10, Memory: 4 << 20}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// change is a record: a page of a file has a version now.
type change struct {
	File uint64 // creation order; names change
	No   uint64
	Ver  uint64
}

type key struct{ file, no uint64 }

// world is an engine whose every change is written down.
type world struct {
	t     *testing.T
	e     *untorn.Engine
	files map[uint64]*untorn.File
	state map[key]uint64
	// after is the state after each record, by its end.
	after map[page.LSN]map[key]uint64
	ends  []page.LSN
}

func (w *world) write(file, no uint64) {
	w.t.Helper()
	k := key{file, no}
	w.state[k]++
	rec, err := json.Marshal(change{file, no, w.state[k]})
	must(w.t, err)
	_, end, err := w.e.Append(append(rec, strings.Repeat(" ", 700)...))
	must(w.t, err)
	b := make([]byte, pageBytes)
	copy(b[untorn.PageHeader:], fmt.Sprintf("%d %d %d", file, no, w.state[k]))
	must(w.t, w.files[file].WritePages(bg, []untorn.PageWrite{{No: page.No(no), LSN: end, Data: b}}, untorn.Accepted))
	must(w.t, w.e.WaitDurable(bg, end)) // so that every record is a group of its own
	w.after[end] = maps.Clone(w.state)
	w.ends = append(w.ends, end)
}

func (w *world) create(file, pages uint64) {
	w.t.Helper()
	f, err := w.e.OpenFile(bg, fmt.Sprintf("file%d", file), untorn.FileOptions{Create: true, PageSize: pageBytes, Pages: pages})
	must(w.t, err)
	w.files[file] = f
}

// replay opens a directory and replays it, and returns what its pages are then.
func replay(t *testing.T, dir string) map[key]uint64 {
	t.Helper()
	e, err := untorn.Open(bg, options(dir))
	must(t, err)
	state, lsns := map[key]uint64{}, map[key]page.LSN{}
	for _, name := range e.Files() {
		var file uint64
		_, err := fmt.Sscanf(strings.TrimPrefix(name, "renamed-"), "file%d", &file)
		must(t, err)
		f, err := e.OpenFile(bg, name, untorn.FileOptions{})
		must(t, err)
		for no := range f.Pages() {
			r := []untorn.PageRead{{No: page.No(no), Data: make([]byte, pageBytes)}}
			must(t, f.ReadPages(bg, r))
			k := key{file, no}
			if lsns[k] = r[0].LSN; r[0].LSN != 0 {
				var a, b, v uint64
				_, err := fmt.Sscanf(string(r[0].Data[untorn.PageHeader:]), "%d %d %d", &a, &b, &v)
				must(t, err)
				if a != file || b != no {
					t.Errorf("page %d of file %d holds page %d of %d", no, file, b, a)
				}
				state[k] = v
			}
		}
	}
	for r, err := range e.Replay(bg) {
		must(t, err)
		var c change
		must(t, json.Unmarshal(r.Data, &c))
		k := key{c.File, c.No}
		lsn, there := lsns[k]
		if !there || r.End <= lsn {
			continue
		}
		if c.Ver != state[k]+1 {
			t.Fatalf("page %d of file %d has version %d, the record makes %d", c.No, c.File, state[k], c.Ver)
		}
		state[k] = c.Ver
	}
	must(t, e.Close(bg))
	return state
}

// history makes an engine with an archive, and a backup of it from the middle of its life.
func history(t *testing.T) (w *world, db, backup, arch string) {
	t.Helper()
	dir := t.TempDir()
	db, backup, arch = filepath.Join(dir, "db"), filepath.Join(dir, "backup"), filepath.Join(dir, "archive")
	a, err := Open(arch)
	must(t, err)
	o := options(db)
	o.Archive = a
	e, err := untorn.Open(bg, o)
	must(t, err)
	w = &world{t: t, e: e, files: map[uint64]*untorn.File{}, state: map[key]uint64{}, after: map[page.LSN]map[key]uint64{}}
	w.create(1, 4)
	for i := range uint64(40) {
		w.write(1, i%4)
	}
	must(t, w.files[1].Sync(bg))
	must(t, e.Checkpoint(bg, e.DurableLSN(), nil))
	_, err = e.Backup(bg, backup, untorn.BackupOptions{})
	must(t, err)
	for i := range uint64(30) {
		w.write(1, i%4)
	}
	w.create(2, 3) // and what else can happen to files
	must(t, w.files[1].Grow(bg, 6))
	for i := range uint64(30) {
		w.write(1, i%6)
		w.write(2, i%3)
	}
	must(t, e.Rename(bg, "file2", "renamed-file2"))
	w.create(3, 2)
	w.write(3, 1)
	must(t, w.files[1].Sync(bg))
	must(t, e.Checkpoint(bg, e.DurableLSN(), nil))
	must(t, e.Remove(bg, "file3"))
	delete(w.state, key{3, 1})
	for i := range uint64(20) {
		w.write(2, i%3)
	}
	must(t, e.Close(bg))
	return w, db, backup, arch
}

// archiveRest archives what a closed directory has that is not in the archive.
func archiveRest(t *testing.T, db, arch string) *Archived {
	t.Helper()
	a, err := Open(arch)
	must(t, err)
	r, err := a.PutDir(bg, filepath.Join(db, "wal"), true, nil)
	must(t, err)
	return r
}

func TestRestore(t *testing.T) {
	w, db, backup, arch := history(t)
	if r := archiveRest(t, db, arch); r.Segments == 0 || r.Partial == "" {
		t.Errorf("%+v", r)
	}
	if r, err := Verify(bg, arch, nil); err != nil || !r.OK || r.LastLSN != uint64(w.ends[len(w.ends)-1]) {
		t.Errorf("%+v %v", r, err)
	}
	var about untorn.Backup
	text, err := os.ReadFile(filepath.Join(backup, untorn.BackupName))
	must(t, err)
	must(t, json.Unmarshal(text, &about))
	to := func(lsn page.LSN) (*Restored, string, error) {
		dir := filepath.Join(t.TempDir(), "restored")
		r, err := Restore(bg, RestoreOptions{Backup: backup, Archive: arch, To: dir, LSN: lsn})
		return r, dir, err
	}
	tried := 0
	for i, end := range w.ends {
		if end < page.LSN(about.EndLSN) || i%37 != 0 && i != len(w.ends)-1 {
			continue
		}
		for _, ask := range []page.LSN{end, end + 3600} { // and the middle of the record behind it
			if i == len(w.ends)-1 && ask != end {
				ask = 0 // all there is
			}
			tried++
			r, dir, err := to(ask)
			must(t, err)
			if r.EndLSN != uint64(end) || r.EngineID == about.EngineID {
				t.Errorf("to %d: %+v", ask, r)
			}
			got, want := replay(t, dir), w.after[end]
			for k := range want {
				if got[k] != want[k] && k.file != 3 {
					t.Errorf("to LSN %d: page %d of file %d has version %d, not %d", ask, k.no, k.file, got[k], want[k])
				}
			}
		}
	}
	if tried < 6 {
		t.Error("only", tried)
	}
	if _, _, err := to(page.LSN(about.EndLSN) - 1); !errors.Is(err, ErrTooEarly) {
		t.Error("before the backup's end:", err)
	}
	if _, dir, err := to(w.ends[len(w.ends)-1] + 1); !errors.Is(err, ErrTooFar) {
		t.Error("beyond the end:", err)
	} else if _, err := os.Stat(dir); err == nil {
		t.Error("something was made of a restore that was refused")
	}
}

// TestRestoreOfDamage: a segment that is gone, that rotted, or that lost its end is noticed, by name,
// and so is a backup that is none.
func TestRestoreOfDamage(t *testing.T) {
	w, db, backup, arch := history(t)
	archiveRest(t, db, arch)
	last := w.ends[len(w.ends)-1]
	list, err := Scan(bg, arch, nil)
	must(t, err)
	mid := list[len(list)-2]
	whole, err := os.ReadFile(mid.Path)
	must(t, err)
	for name, c := range map[string]struct {
		damage func() error
		want   string
	}{
		"gone":       {func() error { return os.Remove(mid.Path) }, "not in the archive"},
		"header":     {func() error { return flip(mid.Path, whole, 10) }, "not in the archive"},
		"group":      {func() error { return flip(mid.Path, whole, 5*4096+200) }, "chain"},
		"last group": {func() error { return flip(mid.Path, whole, mid.Used-4096+200) }, "chain"},
		"cut off":    {func() error { return os.WriteFile(mid.Path, whole[:mid.Used-4096], 0o600) }, "chain"},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, c.damage())
			defer func() { must(t, os.WriteFile(mid.Path, whole, 0o600)) }()
			_, err := Restore(bg, RestoreOptions{Backup: backup, Archive: arch, To: filepath.Join(t.TempDir(), "x"), LSN: last})
			if !errors.Is(err, ErrTooFar) || !strings.Contains(err.Error(), filepath.Base(mid.Path)) &&
				!strings.Contains(err.Error(), walstage.SegmentName(mid.Seq+1)) || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
			r, err := Verify(bg, arch, nil)
			if err != nil || r.OK {
				t.Errorf("verify: %+v %v", r, err)
			}
		})
	}
	must(t, os.Remove(filepath.Join(backup, untorn.BackupName)))
	if _, err := Restore(bg, RestoreOptions{Backup: backup, To: filepath.Join(t.TempDir(), "x")}); !errors.Is(err, ErrNoBackup) {
		t.Error(err)
	}
}

func flip(path string, whole []byte, at int64) error {
	b := append([]byte(nil), whole...)
	b[at] ^= 1
	return os.WriteFile(path, b, 0o600)
}

// TestConflict: another engine, or a restored one that kept its id, cannot write over what an archive
// has; the engine keeps its log and says why.
func TestConflict(t *testing.T) {
	w, db, backup, arch := history(t)
	archiveRest(t, db, arch)
	a, err := Open(arch)
	must(t, err)
	if _, err := a.PutDir(bg, filepath.Join(db, "wal"), true, nil); err != nil {
		t.Error("the same once more:", err)
	}
	to := filepath.Join(t.TempDir(), "restored")
	_, err = Restore(bg, RestoreOptions{Backup: backup, Archive: arch, To: to, LSN: w.ends[60], KeepID: true})
	must(t, err)
	o := options(to)
	o.Archive = a
	failed := make(chan struct{}, 1)
	o.Archive = told{a, failed}
	e, err := untorn.Open(bg, o)
	must(t, err)
	for range 60 {
		_, end, err := e.Append([]byte(strings.Repeat("other history ", 100)))
		must(t, err)
		must(t, e.WaitDurable(bg, end))
	}
	<-failed
	must(t, e.Checkpoint(bg, e.DurableLSN(), nil))
	if r := e.Retention(); r.KeptBy != "archive" {
		t.Errorf("%+v", r)
	}
	must(t, e.Close(bg))
	if r, err := Verify(bg, arch, nil); err != nil || !r.OK {
		t.Errorf("%+v %v", r, err)
	}
}

// told says when archiving met a conflict.
type told struct {
	*Dir
	failed chan struct{}
}

func (d told) Archive(ctx context.Context, s *walstage.Finished) error {
	err := d.Dir.Archive(ctx, s)
	if errors.Is(err, ErrConflict) {
		select {
		case d.failed <- struct{}{}:
		default:
		}
	}
	return err
}

// TestRestoreOverACut: records that TruncateAfter cut off after the backup stay cut off.
func TestRestoreOverACut(t *testing.T) {
	dir := t.TempDir()
	db, backup, arch := filepath.Join(dir, "db"), filepath.Join(dir, "backup"), filepath.Join(dir, "archive")
	e, err := untorn.Open(bg, options(db))
	must(t, err)
	var ends []page.LSN
	write := func(rec string) {
		_, end, err := e.Append([]byte(rec))
		must(t, err)
		must(t, e.WaitDurable(bg, end))
		ends = append(ends, end)
	}
	write("a")
	_, err = e.Backup(bg, backup, untorn.BackupOptions{})
	must(t, err)
	write("b")
	write("c")
	must(t, e.TruncateAfter(bg, ends[0]))
	write("d")
	must(t, e.Close(bg))
	archiveRest(t, db, arch)
	for lsn, want := range map[page.LSN]string{0: "ad", ends[2]: "abc"} {
		to := filepath.Join(t.TempDir(), "restored")
		_, err := Restore(bg, RestoreOptions{Backup: backup, Archive: arch, To: to, LSN: lsn})
		must(t, err)
		e, err := untorn.Open(bg, options(to))
		must(t, err)
		got := ""
		for r, err := range e.Replay(bg) {
			must(t, err)
			got += string(r.Data)
		}
		must(t, e.Close(bg))
		if got != want {
			t.Errorf("to LSN %d it replays %q, want %q", lsn, got, want)
		}
	}
}
