package archive

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Errors to test for with errors.Is.
var (
	// ErrTooEarly: the LSN asked for lies before the backup's end: its pages may be newer.
	ErrTooEarly = errors.New("LSN is before the end of the backup")
	// ErrTooFar: the archive and the backup do not reach the LSN asked for.
	ErrTooFar = errors.New("LSN cannot be reached")
	// ErrNoBackup: not a backup, or one that was not finished.
	ErrNoBackup = errors.New("not a finished backup")
)

// RestoreOptions of Restore.
type RestoreOptions struct {
	Backup  string // made by Engine.Backup or untornctl backup
	Archive string // of segments; "" = only what the backup has
	To      string // the new directory: must not be there, or be empty
	// LSN to restore to: the last group of records that ends at or before it is the last one there
	// will be. Records of one AppendBatch lie in one group. 0 = as far as it goes.
	LSN page.LSN
	// KeepID leaves the directory the id of the original. Otherwise it gets one of its own, and files
	// and segments of both can never be mixed.
	KeepID bool
	// Progress is told how many bytes of how many were copied. nil = nobody is.
	Progress func(done, total int64)
}

// Restored says what Restore made.
type Restored struct {
	Schema       int      `json:"schema"`
	Dir          string   `json:"dir"`
	EngineID     string   `json:"engine_id"`
	RedoLSN      uint64   `json:"redo_lsn"`       // replay begins here
	BackupEndLSN uint64   `json:"backup_end_lsn"` // the backup went to here
	EndLSN       uint64   `json:"end_lsn"`        // the directory goes to here
	AskedLSN     uint64   `json:"asked_lsn"`      // 0 = as far as it goes
	Segments     []string `json:"log_segments"`
	Archived     int      `json:"segments_from_archive"`
	Records      int64    `json:"records"` // in the log of the directory
	Bytes        int64    `json:"bytes"`
	// Stopped says why it goes no further, where that was not asked for.
	Stopped string `json:"stopped,omitempty"`
}

// Restore makes an engine's directory from a backup and archived segments. Every segment is checked,
// by itself and against the one before, before anything is made; so is that LSN can be reached. The
// directory has been opened once when Restore returns: recovery has run, and replay is the caller's,
// as after any open. One that was interrupted has no super, and Open refuses it.
func Restore(ctx context.Context, o RestoreOptions) (*Restored, error) {
	r := &restore{o: o, out: Restored{Schema: 1, Dir: o.To, AskedLSN: uint64(o.LSN)}}
	if err := r.run(ctx); err != nil {
		return nil, fmt.Errorf("restore %s: %w", o.To, err)
	}
	return &r.out, nil
}

const noFollow = syscall.O_NOFOLLOW

type restore struct {
	o     RestoreOptions
	about untorn.Backup
	st    *super.State
	segs  []Segment
	cut   int64    // bytes of the last segment
	last  page.LSN // the end of the last record there will be
	reach page.LSN // the end of the last record there is
	epoch uint64   // of the last group there will be
	done  int64
	total int64
	out   Restored
}

func (r *restore) run(ctx context.Context) error {
	if err := r.readBackup(); err != nil {
		return err
	}
	if err := r.plan(ctx); err != nil {
		return err
	}
	if err := r.place(); err != nil {
		return err
	}
	// The doublewrite file first: with it, and without super, nobody takes this for an engine.
	dwb := filepath.Join("dwb", "regions")
	if err := r.copy(ctx, filepath.Join(r.o.Backup, dwb), dwb, -1); err != nil {
		return err
	}
	for i := range r.st.Files {
		name := dataFile(&r.st.Files[i])
		if err := r.copy(ctx, filepath.Join(r.o.Backup, name), name, -1); err != nil {
			return err
		}
	}
	if err := r.catalogue(ctx); err != nil {
		return err
	}
	for i, s := range r.segs {
		n := min(s.Length, fileSize(s.Path))
		if i == len(r.segs)-1 {
			n = r.cut
		}
		if err := r.copy(ctx, s.Path, filepath.Join("wal", walstage.SegmentName(s.Seq)), n); err != nil {
			return err
		}
	}
	if err := r.seal(); err != nil {
		return err
	}
	return r.prove(ctx)
}

// readBackup reads what the backup says of itself, and its super.
func (r *restore) readBackup() error {
	text, err := os.ReadFile(filepath.Join(r.o.Backup, untorn.BackupName))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: it has no %s", r.o.Backup, ErrNoBackup, untorn.BackupName)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &r.about); err != nil {
		return fmt.Errorf("%s: %w: %w", r.o.Backup, ErrNoBackup, err)
	}
	raw, err := os.ReadFile(filepath.Join(r.o.Backup, "super"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	var seq uint64
	for _, c := range super.DecodeCopies(raw) {
		if c.State != nil && c.Seq > seq {
			r.st, seq = c.State, c.Seq
		}
	}
	switch {
	case r.st == nil:
		return fmt.Errorf("%s: %w: no copy of super is valid", r.o.Backup, ErrNoBackup)
	case hex.EncodeToString(r.st.Engine[:]) != r.about.EngineID:
		return fmt.Errorf("%s: %w: %s and super disagree about the engine", r.o.Backup, ErrNoBackup, untorn.BackupName)
	case r.st.Epoch != r.about.Epoch || uint64(r.st.Durable.LSN) != r.about.EndLSN:
		return fmt.Errorf("%s: %w: it has been opened since, and is an engine's directory now; backups are restored from, not used", r.o.Backup, ErrNoBackup)
	}
	r.out.BackupEndLSN, r.out.RedoLSN = r.about.EndLSN, r.about.RedoLSN
	return nil
}

// plan chooses the segments and finds where to cut.
func (r *restore) plan(ctx context.Context) error {
	end := page.LSN(r.about.EndLSN)
	if r.o.LSN != 0 && r.o.LSN < end {
		return fmt.Errorf("%w: %d, the backup ends at %d", ErrTooEarly, r.o.LSN, end)
	}
	found := map[uint64]Segment{}
	dirs := []string{filepath.Join(r.o.Backup, "wal")}
	if r.o.Archive != "" {
		dirs = append(dirs, r.o.Archive)
	}
	var first uint64
	for _, dir := range dirs {
		list, err := Scan(ctx, dir, nil)
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.Err != nil || s.Engine != r.st.Engine {
				continue // missing it is what shows, if it is needed
			}
			if have, ok := found[s.Seq]; !ok || s.Used > have.Used {
				found[s.Seq] = s // of two the longer one; the chain says if it does not belong
			}
			if dir == dirs[0] && (first == 0 || s.Seq < first) {
				first = s.Seq
			}
		}
	}
	var why error
	for seq := first; ; seq++ {
		s, ok := found[seq]
		if !ok {
			why = fmt.Errorf("segment %s is not in the archive", walstage.SegmentName(seq))
			break
		}
		if n := len(r.segs); n > 0 {
			if err := s.Follows(r.segs[n-1].Checked); err != nil {
				why = fmt.Errorf("segment %s: %w", walstage.SegmentName(seq), err)
				break
			}
		}
		r.segs = append(r.segs, s)
		if r.o.LSN != 0 && s.Last >= r.o.LSN {
			break
		}
	}
	if err := r.findCut(); err != nil {
		return err
	}
	switch {
	case r.last < end:
		return fmt.Errorf("%w: the backup's own log is whole through LSN %d, it has to go through %d: %w", ErrNoBackup, r.last, end, why)
	case r.o.LSN != 0 && r.reach < r.o.LSN:
		return fmt.Errorf("%w: %d; what there is goes to %d: %w", ErrTooFar, r.o.LSN, r.reach, why)
	case r.o.LSN == 0:
		r.out.Stopped = why.Error()
	case r.last < r.o.LSN:
		r.out.Stopped = "the next group of records ends after the LSN asked for"
	}
	return nil
}

// findCut finds the last group that ends at or before the LSN, and leaves out what comes after.
func (r *restore) findCut() error {
	keep := -1
	for i, s := range r.segs {
		switch {
		case s.Groups == 0:
			continue
		case r.o.LSN == 0 || s.Last <= r.o.LSN:
			keep, r.cut, r.last, r.epoch = i, s.Used, s.Last, s.Highest
			r.out.Records += s.Records
		default:
			f, err := openFile(s.Path)
			if err != nil {
				return err
			}
			_, err = walstage.CheckSegment(f, s.Used, func(g walstage.GroupExtent) bool {
				if g.Last > r.o.LSN {
					return false
				}
				keep, r.cut, r.last, r.epoch = i, g.Off+g.Bytes, g.Last, g.Epoch
				r.out.Records += int64(g.Records)
				return true
			})
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
		}
		r.reach = s.Last
	}
	if keep < 0 && len(r.segs) > 0 { // a log without records
		keep, r.cut = 0, r.segs[0].Used
		r.last, r.epoch = r.segs[0].First+page.LSN(r.cut), r.segs[0].Highest
		r.reach = r.last
	}
	r.segs = r.segs[:keep+1]
	return nil
}

// place takes an empty directory, or makes one.
func (r *restore) place() error {
	if err := os.Mkdir(r.o.To, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	list, err := os.ReadDir(r.o.To)
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.Name() != "lost+found" {
			return fmt.Errorf("%w: %s holds %q", untorn.ErrNotEmpty, r.o.To, x.Name())
		}
	}
	for _, d := range []string{"wal", "dwb", "data"} {
		if err := os.Mkdir(filepath.Join(r.o.To, d), 0o700); err != nil {
			return err
		}
	}
	for _, s := range r.segs {
		r.total += s.Length
	}
	for _, f := range r.about.Files {
		r.total += f.Bytes
	}
	f, err := r.create("lock")
	if err != nil {
		return err
	}
	return f.Close()
}

func (r *restore) create(name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(r.o.To, name), os.O_RDWR|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
}

func dataFile(f *super.File) string { return filepath.Join("data", fmt.Sprintf("%08d.pages", f.ID)) }

func fileSize(path string) int64 {
	st, err := os.Lstat(path)
	if err != nil {
		return 0 // opening it says what is wrong
	}
	return st.Size()
}

// copy copies the first n bytes of a file, all of it if n is negative, and flushes the copy.
func (r *restore) copy(ctx context.Context, from, name string, n int64) error {
	in, err := openFile(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if n < 0 {
		n = fileSize(from)
	}
	out, err := r.create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, &counter{ctxReader{ctx, in}, r}, n)
	if err == nil {
		err = out.Sync()
	}
	return noSpace(errors.Join(err, out.Close()))
}

// counter reports progress.
type counter struct {
	ctxReader
	r *restore
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.ctxReader.Read(p)
	c.r.done += int64(n)
	if c.r.o.Progress != nil {
		c.r.o.Progress(c.r.done, max(c.r.total, c.r.done))
	}
	return n, err
}

// catalogue brings files and catalogue up to the end of the log, as the changes in it say: the files
// of the original that were made or grown since the backup are made of empty pages, as they were.
func (r *restore) catalogue(ctx context.Context) error {
	for i, s := range r.segs {
		n := s.Used
		if i == len(r.segs)-1 {
			n = r.cut
		}
		if s.First+page.LSN(n) <= r.st.CatalogLSN {
			continue
		}
		if err := r.changes(ctx, s, n); err != nil {
			return err
		}
	}
	r.st.CatalogLSN = max(r.st.CatalogLSN, r.last)
	return nil
}

func (r *restore) changes(ctx context.Context, s Segment, n int64) error {
	f, err := openFile(s.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	var failed error
	_, err = walstage.CheckSegment(f, n, func(g walstage.GroupExtent) bool {
		if failed = ctx.Err(); failed == nil {
			failed = walstage.ReadGroup(f, g, func(x walstage.Record) error {
				if x.Kind == 0 || x.Kind == pageimage.Kind || x.Start < r.st.CatalogLSN {
					return nil
				}
				return r.apply(x)
			})
		}
		return failed == nil
	})
	return errors.Join(failed, err)
}

func (r *restore) apply(x walstage.Record) error {
	c, err := untorn.ParseCatalogChange(x.Kind, x.Data)
	if err != nil {
		return fmt.Errorf("record at LSN %d: %w", x.Start, err)
	}
	c.File.Path, c.File.Device = "", false
	have := uint64(0)
	old := r.st.ByID(c.File.ID)
	if old != nil {
		have = old.Pages
	}
	c.Apply(r.st)
	now := r.st.ByID(c.File.ID)
	switch {
	case now == nil && old != nil:
		err = os.Remove(filepath.Join(r.o.To, dataFile(&c.File)))
	case now != nil && old == nil:
		err = r.make(now)
	case now != nil && now.Pages > have:
		err = r.grow(now, have)
	}
	if err != nil {
		return fmt.Errorf("%s of %s at LSN %d: %w", c.Op, c.File.Name, x.Start, noSpace(err))
	}
	return nil
}

// make makes a data file with its headers and empty pages.
func (r *restore) make(info *super.File) error {
	f, err := r.create(dataFile(info))
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return r.grow(info, 0)
}

// grow adds empty pages [from, info.Pages), and headers to a new file.
func (r *restore) grow(info *super.File, from uint64) error {
	f, err := os.OpenFile(filepath.Join(r.o.To, dataFile(info)), os.O_RDWR|noFollow, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	format := page.FormatNamed(info.Format)
	if format == nil {
		return fmt.Errorf("%w: page format %q", untorn.ErrVersion, info.Format)
	}
	if from == 0 {
		if err := f.Truncate(info.Start); err != nil {
			return err
		}
		head := make([]byte, r.st.Block)
		for k := range 2 {
			h := super.FileHeader{Engine: r.st.Engine, Seq: uint64(k) + 1, Stamp: r.st.Stamp, File: *info}
			if err := super.EncodeFileHeader(head, &h); err != nil {
				return err
			}
			if _, err := f.WriteAt(head, int64(h.Seq%2)*int64(r.st.Block)); err != nil {
				return err
			}
		}
	}
	buf := make([]byte, info.PageSize)
	for no := from; no < info.Pages; no++ {
		clear(buf)
		format.Init(buf, page.Seed{Incarnation: info.Incarnation, No: page.No(no)})
		if _, err := f.WriteAt(buf, info.Start+int64(no)*int64(info.PageSize)); err != nil {
			return err
		}
	}
	return f.Sync()
}

// seal makes the directory an engine's: super comes last.
func (r *restore) seal() error {
	st := r.st
	st.Clean, st.Recoveries, st.Recovering = false, 0, 0
	st.Epoch = max(st.Epoch, r.epoch)
	st.Durable = super.EpochLSN{Epoch: st.Epoch, LSN: r.last}
	for _, d := range []string{"wal", "dwb", "data", "."} {
		if err := fsys.OS().SyncDir(filepath.Join(r.o.To, d) + "/."); err != nil {
			return err
		}
	}
	tmp, path := filepath.Join(r.o.To, "super.new"), filepath.Join(r.o.To, "super")
	if err := os.WriteFile(tmp, make([]byte, super.FileBytes), 0o600); err != nil {
		return noSpace(err)
	}
	rg, err := ring.New(ring.Config{Backend: ring.Threads, Workers: 1})
	if err != nil {
		return err
	}
	f, err := fsys.OS().Open(tmp, fsys.OpenFlags{})
	if err == nil {
		err = super.NewStore(rg, f, aligned.Alloc, st.Block, 0).Write(st)
		if err == nil {
			err = rg.Do(&ring.Op{Kind: ring.Sync, File: f})
		}
		err = errors.Join(err, f.Close())
	}
	if err = errors.Join(err, rg.Close()); err != nil {
		return noSpace(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return fsys.OS().SyncDir(r.o.To + "/.")
}

// prove opens the directory once, which recovers it, and gives it its id.
func (r *restore) prove(ctx context.Context) error {
	o := untorn.Options{Dir: r.o.To, MustExist: true, Unsafe: true}
	e, err := untorn.Open(ctx, o)
	if err != nil {
		return fmt.Errorf("opening it: %w", err)
	}
	r.out.EngineID, r.out.EndLSN = e.Info().EngineID, uint64(r.last)
	if err := e.Close(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if !r.o.KeepID {
		n, err := untorn.NewID(ctx, o, untorn.NewIDOptions{})
		if err != nil {
			return err
		}
		r.out.EngineID = n.NewID
	}
	r.out.Bytes = r.done
	for _, s := range r.segs {
		r.out.Segments = append(r.out.Segments, walstage.SegmentName(s.Seq))
		if filepath.Dir(s.Path) != filepath.Join(r.o.Backup, "wal") {
			r.out.Archived++
		}
	}
	return nil
}
