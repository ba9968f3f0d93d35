package untorn

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// BackupName is the file in a backup that says what it is. It is written last.
const BackupName = "backup.json"

// BackupOptions of Engine.Backup.
type BackupOptions struct {
	// Rate bounds how many bytes a second are copied. 0 = as fast as it goes.
	Rate int64
	// Progress is told how many bytes of about how many were copied. nil = nobody is.
	Progress func(done, total int64)
}

// Backup says what a backup holds.
type Backup struct {
	Schema      int    `json:"schema"`
	EngineID    string `json:"engine_id"`
	CreatedUnix int64  `json:"created_unix_seconds"`
	Epoch       uint64 `json:"epoch"`
	RedoLSN     uint64 `json:"redo_lsn"`  // replay begins here
	StartLSN    uint64 `json:"start_lsn"` // the log in it begins here
	// EndLSN is how far the log goes. No page is newer: from here on, and not before, the directory
	// is consistent, and a restore goes to this LSN or a later one.
	EndLSN    uint64       `json:"end_lsn"`
	Files     []BackupFile `json:"files"`
	Segments  []string     `json:"log_segments"`
	Bytes     int64        `json:"bytes"`
	LostPages uint64       `json:"lost_pages"` // given up before the backup, and still so in it
	Seconds   float64      `json:"seconds"`
}

// BackupFile is one data file of a backup.
type BackupFile struct {
	Name  string `json:"name"`
	Pages uint64 `json:"pages"`
	Bytes int64  `json:"bytes"`
}

// Backup copies the engine, while it runs, into a new directory: one that Open recovers as if the
// engine had been killed at EndLSN. The caller replays from the redo LSN, as after any open.
//
// What makes the copy whole, in this order:
//
//  1. The log is held from where recovery would begin now. Replay of the copy begins at today's redo,
//     whatever checkpoints come while it is made: a page copied early lacks later changes, and those
//     are in the log.
//  2. Pages are read through the engine, which waits for writes of them and returns the newest
//     accepted image: none is torn, and the copy needs no doublewrite batch. Its doublewrite file is
//     empty.
//  3. With the catalogue held still, pages that files have gained meanwhile are copied too, and the
//     log is made durable through its end. Every page copied before is at most as new (I3).
//  4. The log is copied through there, then super is made, which names no clean end and claims the
//     log durable through EndLSN, so that a copy that lacks some of it is refused (I10).
//
// Everything is flushed before super exists; a backup that was interrupted has none, and Open refuses
// it. Data files that lie elsewhere, and devices, become files in the copy. A damaged page fails the
// backup by name. Checkpoints and writers go on; files are not created, grown or removed during step 3.
func (e *Engine) Backup(ctx context.Context, to string, o BackupOptions) (*Backup, error) {
	if err := e.enter(false); err != nil {
		return nil, &Error{Op: "backup", File: to, Err: err}
	}
	defer e.gate.leave()
	b, err := e.newBackup(ctx, to, o)
	if err == nil {
		err = b.run(ctx)
		err = errors.Join(err, b.close())
	}
	if err != nil {
		return nil, &Error{Op: "backup", File: to, Err: err}
	}
	return &b.about, nil
}

// backup is one under way.
type backup struct {
	e     *Engine
	o     BackupOptions
	opts  Options // of the copy
	to    places
	ring  ring.Ring
	about Backup
	begun time.Time
	hold  *Hold // nil: of a read-only engine
	done  int64
	total int64

	copied map[page.FileID]uint64 // pages
	out    map[page.FileID]*sink
}

// ErrNotEmpty is a target that holds something already.
var ErrNotEmpty = errors.New("directory is not empty")

func (e *Engine) newBackup(ctx context.Context, to string, o BackupOptions) (*backup, error) {
	b := &backup{e: e, o: o, begun: time.Now(), copied: map[page.FileID]uint64{}, out: map[page.FileID]*sink{}}
	b.opts = Options{Dir: filepath.Clean(to), FS: e.o.FS, NewRing: e.o.NewRing, Backend: e.o.Backend,
		BatchBytes: e.o.BatchBytes, Batches: e.o.Batches, Unflushed: e.o.Unflushed, LockWait: -1}.withDefaults()
	b.to.o = &b.opts
	r, err := b.opts.NewRing("backup", ring.Config{Backend: e.o.Backend})
	if err != nil {
		return nil, err
	}
	b.ring, b.to.ring = r, r
	if err := b.claim(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// claim takes an empty directory.
func (b *backup) claim(ctx context.Context) error {
	if err := b.to.lockRoots(ctx); err != nil {
		if errors.Is(err, ErrNotEngine) {
			err = errors.Join(ErrNotEmpty, err)
		}
		return err
	}
	list, err := b.opts.FS.ReadDir(b.opts.Dir)
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.Name != lockName && x.Name != "lost+found" {
			return fmt.Errorf("%w: it holds %q", ErrNotEmpty, x.Name)
		}
	}
	for _, d := range b.to.folders() {
		if err := b.opts.FS.Mkdir(d); err != nil {
			return err
		}
	}
	return nil
}

func (b *backup) close() error {
	var errs []error
	for _, s := range b.out {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(append(errs, b.ring.Close(), b.to.close())...)
}

func (b *backup) run(ctx context.Context) error {
	e := b.e
	e.ddl.Lock()
	was := e.current()
	start := min(was.Redo.LSN, was.CatalogLSN)
	err := b.holdLog(start)
	e.ddl.Unlock()
	if err != nil {
		return err
	}
	if b.hold != nil {
		defer b.hold.Release()
	}
	// The doublewrite file first: with it, and without super, nobody takes the copy for an engine.
	if err := b.to.createDWB(ctx, was); err != nil {
		return err
	}
	b.estimate(was, start)
	if err := b.copyFiles(ctx, was); err != nil {
		return err
	}
	now, end, err := b.catchUp(ctx)
	if err != nil {
		return err
	}
	st := now.Clone()
	st.Clean, st.Recoveries, st.Recovering = false, 0, 0
	st.Redo, st.Payload = was.Redo, was.Payload
	if e.o.Mutants.Has(stages.BackupRedo) {
		st.Redo.LSN = end
	}
	st.Durable = super.EpochLSN{Epoch: st.Epoch, LSN: end}
	for i := range st.Files {
		st.Files[i].Path, st.Files[i].Device = "", false
	}
	if err := b.finishFiles(st); err != nil {
		return err
	}
	if err := b.copyLog(ctx, start, end); err != nil {
		return err
	}
	return b.seal(st, start, end)
}

// holdLog keeps the log from lsn on; of a read-only engine nothing is let go.
func (b *backup) holdLog(lsn page.LSN) (err error) {
	if b.e.log != nil {
		b.hold, err = b.e.Hold("backup", lsn)
	}
	return err
}

func (b *backup) estimate(st *super.State, start page.LSN) {
	for i := range st.Files {
		b.total += int64(st.Files[i].Pages) * int64(st.Files[i].PageSize)
	}
	b.total += int64(b.e.DurableLSN() - min(start, b.e.DurableLSN()))
}

// copyFiles copies of every file of st the pages that have not been copied yet.
func (b *backup) copyFiles(ctx context.Context, st *super.State) error {
	for i := range st.Files {
		info := &st.Files[i]
		f := b.e.fileByID(info.ID)
		if f == nil {
			continue // removed since: catchUp sees it
		}
		if err := b.copyPages(ctx, f, info); err != nil && !errors.Is(err, ErrUnknownFile) {
			return err
		}
	}
	return nil
}

// backupChunk is how many pages are read at once: few, because their memory is that of writers.
const backupChunk = 32

func (b *backup) copyPages(ctx context.Context, f *File, info *super.File) error {
	s := b.out[info.ID]
	if s == nil {
		inside := *info
		inside.Path = ""
		var err error
		if s, err = b.create(filepath.Join(b.to.dataDir(), dataFileName(inside.ID))); err != nil {
			return err
		}
		b.out[info.ID] = s
		if err := s.zeros(int64(super.DataStart(b.e.current().Block))); err != nil {
			return err
		}
	}
	var reads [backupChunk]PageRead
	buf := make([]byte, backupChunk*info.PageSize)
	for no := b.copied[info.ID]; no < info.Pages; {
		n := int(min(backupChunk, info.Pages-no))
		for i := range reads[:n] {
			reads[i] = PageRead{No: page.No(no) + page.No(i), Data: buf[i*info.PageSize:][:info.PageSize]}
		}
		if err := f.ReadPages(ctx, reads[:n]); err != nil {
			for i := range reads[:n] {
				switch {
				case errors.Is(reads[i].Err, ErrPageLost):
					b.about.LostPages++
				case reads[i].Err != nil:
					return reads[i].Err
				default:
					continue
				}
				err = nil
			}
			if err != nil {
				return err
			}
		}
		if _, err := s.Write(buf[:n*info.PageSize]); err != nil {
			return err
		}
		no += uint64(n)
		b.copied[info.ID] = no
		if err := b.pace(ctx, int64(n*info.PageSize)); err != nil {
			return err
		}
	}
	return nil
}

// pace reports progress and keeps to the rate.
func (b *backup) pace(ctx context.Context, n int64) error {
	b.done += n
	if b.o.Progress != nil {
		b.o.Progress(b.done, max(b.total, b.done))
	}
	if b.hold != nil {
		if err := b.hold.Err(); err != nil {
			return err
		}
	}
	if b.o.Rate <= 0 {
		return ctx.Err()
	}
	ahead := time.Duration(float64(b.done)/float64(b.o.Rate)*float64(time.Second)) - time.Since(b.begun)
	if ahead <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// catchUp holds the catalogue still, copies what files have gained, and returns the state and how far
// the log is durable: through every page that was copied.
func (b *backup) catchUp(ctx context.Context) (*super.State, page.LSN, error) {
	e := b.e
	e.ddl.Lock()
	defer e.ddl.Unlock()
	// A change of the catalogue that stopped the engine may be in the log, and is not in super: the copy
	// would lack the file that its log says was made (I5).
	if err := e.Err(); err != nil {
		return nil, 0, err
	}
	st := e.current()
	if err := b.copyFiles(ctx, st); err != nil {
		return nil, 0, err
	}
	for id := range b.out {
		if st.ByID(id) != nil {
			continue
		}
		s := b.out[id]
		delete(b.out, id)
		if err := errors.Join(s.file.Close(), b.opts.FS.Remove(s.file.Name())); err != nil {
			return nil, 0, err
		}
	}
	if e.log == nil {
		return st, page.LSN(e.report.Log.End), nil
	}
	if err := e.log.WaitDurable(ctx, e.log.End()); err != nil {
		return nil, 0, err
	}
	return st, e.log.Durable(), nil
}

// finishFiles gives the files their headers and flushes them.
func (b *backup) finishFiles(st *super.State) error {
	for i := range st.Files {
		info := &st.Files[i]
		s := b.out[info.ID]
		if s == nil {
			return fmt.Errorf("%w: %s", ErrMissingFile, info.Name)
		}
		for k := range 2 {
			head := make([]byte, st.Block)
			h := super.FileHeader{Engine: st.Engine, Seq: uint64(k) + 1, Stamp: st.Stamp, File: *info}
			if err := super.EncodeFileHeader(head, &h); err != nil {
				return err
			}
			if err := s.writeAt(head, int64(h.Seq%2)*int64(st.Block)); err != nil {
				return err
			}
		}
		b.about.Files = append(b.about.Files, BackupFile{info.Name, info.Pages, s.off})
		if err := s.finish(); err != nil {
			return err
		}
	}
	return b.opts.FS.SyncDir(b.to.dataDir())
}

// copyLog copies the log from start through end, in whole groups.
func (b *backup) copyLog(ctx context.Context, start, end page.LSN) error {
	segment := b.e.walDir.Segment
	if b.e.log != nil {
		segment = b.e.log.Segment
	}
	for at := start; ; {
		x, err := segment(at)
		if err != nil {
			if at > start && at >= end && errors.Is(err, walstage.ErrTruncated) {
				break // the segment ends with the log
			}
			return err
		}
		name, next := x.Name, x.End
		err = b.copySegment(ctx, x, end)
		x.Release()
		if err != nil {
			return err
		}
		b.about.Segments = append(b.about.Segments, name)
		if at = next; at >= end {
			break
		}
	}
	return b.opts.FS.SyncDir(b.to.walDir())
}

func (b *backup) copySegment(ctx context.Context, x *walstage.Finished, end page.LSN) error {
	s, err := b.create(filepath.Join(b.to.walDir(), x.Name))
	if err != nil {
		return err
	}
	err = x.Copy(ctx, end, paced{b, ctx, s})
	if err == nil {
		err = s.finish()
	}
	return errors.Join(err, s.file.Close())
}

// paced is a sink that keeps to the rate.
type paced struct {
	b   *backup
	ctx context.Context
	s   *sink
}

func (p paced) Write(x []byte) (int, error) {
	n, err := p.s.Write(x)
	return n, errors.Join(err, p.b.pace(p.ctx, int64(n)))
}

// seal makes the copy an engine's directory.
func (b *backup) seal(st *super.State, start, end page.LSN) error {
	a := &b.about
	a.Schema, a.EngineID, a.CreatedUnix, a.Epoch = 1, hex.EncodeToString(st.Engine[:]), time.Now().Unix(), st.Epoch
	a.RedoLSN, a.StartLSN, a.EndLSN = uint64(st.Redo.LSN), uint64(start), uint64(end)
	a.Bytes, a.Seconds = b.done, time.Since(b.begun).Seconds()
	slices.SortFunc(a.Files, func(x, y BackupFile) int { return cmp.Compare(x.Name, y.Name) })
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	s, err := b.create(filepath.Join(b.opts.Dir, BackupName))
	if err != nil {
		return err
	}
	_, err = s.Write(append(text, '\n'))
	if err == nil {
		err = s.finish()
	}
	if err = errors.Join(err, s.file.Close()); err != nil {
		return err
	}
	for _, d := range append(b.to.folders(), b.opts.Dir) {
		if err := b.opts.FS.SyncDir(d); err != nil {
			return err
		}
	}
	if err := b.to.createSuper(st); err != nil {
		return err
	}
	// The parent is outside of the place, and may be reached through a symlink: "/." follows it.
	return ignorePermission(b.opts.FS.SyncDir(filepath.Dir(b.opts.Dir) + "/."))
}

// create makes a file of the copy.
func (b *backup) create(path string) (*sink, error) {
	f, err := b.opts.FS.Open(path, fsys.OpenFlags{Create: true})
	if err != nil {
		return nil, err
	}
	return newSink(b.ring, f), nil
}
