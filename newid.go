package untorn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// newIDName is the file that stands in a directory while its id is being changed.
const newIDName = "new-id"

// ErrNewIDUnfinished is a directory whose id was being changed when something ended it.
var ErrNewIDUnfinished = errors.New("the directory's id is being changed, which has not finished; untornctl new-id goes on with it")

// NewIDOptions of NewID.
type NewIDOptions struct {
	// Outside allows data files that lie elsewhere than in the directory. They are changed too, and are
	// no longer the original's: a copy of a directory made with cp still names the original's files.
	Outside bool
}

// NewIDReport says what NewID did.
type NewIDReport struct {
	Schema   int    `json:"schema"`
	Dir      string `json:"dir"`
	OldID    string `json:"old_engine_id"`
	NewID    string `json:"new_engine_id"`
	Resumed  bool   `json:"resumed"` // an earlier call had not finished
	Files    int    `json:"data_files"`
	Segments int    `json:"log_segments"`
}

// idChange is what the marker file says.
type idChange struct {
	Old string `json:"old_engine_id"`
	New string `json:"new_engine_id"`
}

// NewID gives a directory, a clone as a rule, an identity of its own, so that files of it and of the
// original can never be taken for each other's. The directory has to be closed in order. Positions in
// the log, checkpoints, pages and names stay as they are.
//
// A marker file that names both ids comes first, and goes last; in between, Open refuses with
// ErrNewIDUnfinished and NewID goes on where it was: data file headers (one block, then the other),
// segments (each anew beside the old one, then renamed over it), the doublewrite file (empty: a clean
// directory needs none of it), super. Each step may be done again.
func NewID(ctx context.Context, o Options, no NewIDOptions) (*NewIDReport, error) {
	o.MustExist, o.ReadOnly = true, false
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &idChanger{e: newEngine(o.withDefaults()), o: no}
	err := c.run(ctx)
	for _, f := range c.held {
		err = errors.Join(err, f.Close())
	}
	err = errors.Join(err, c.e.release())
	if err != nil {
		return nil, &Error{Op: "new id", File: o.Dir, Err: err}
	}
	return &c.report, nil
}

type idChanger struct {
	e      *Engine
	o      NewIDOptions
	old    super.EngineID
	new    super.EngineID
	held   []fsys.File
	report NewIDReport
}

func (p *places) newIDPath() string { return filepath.Join(p.o.Dir, newIDName) }

// unfinishedID refuses a directory between two ids. st is its super, nil if that cannot be read.
//
// A marker may be back from the past: the flush of the directory that took it away failed, and so did
// that call, but an engine has been at work since, under the new id. While an id is changed super is
// clean. Such a marker is taken away again.
func (p *places) unfinishedID(st *super.State) error {
	_, err := p.o.FS.Stat(p.newIDPath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return &Error{Op: "open", File: p.newIDPath(), Err: err}
	case st == nil || st.Clean:
		return &Error{Op: "open", File: p.o.Dir, Err: ErrNewIDUnfinished}
	}
	_, to, err := p.readMarker()
	if err == nil && to != st.Engine {
		err = ErrNewIDUnfinished
	}
	if err == nil && !p.o.ReadOnly {
		if err = p.o.FS.Remove(p.newIDPath()); err == nil {
			err = p.o.FS.SyncDir(p.o.Dir)
		}
	}
	if err != nil {
		return &Error{Op: "open", File: p.newIDPath(), Err: err}
	}
	return nil
}

func (c *idChanger) run(ctx context.Context) (err error) {
	e, p := c.e, &c.e.places
	if e.page, err = e.newRing("pages"); err != nil {
		return err
	}
	p.ring = e.page
	if err := p.lockRoots(ctx); err != nil {
		return err
	}
	if _, err := e.o.FS.Stat(p.superPath()); errors.Is(err, fs.ErrNotExist) {
		return ErrNotEngine
	}
	if err := p.openOwn(ctx); err != nil {
		return err
	}
	store := super.NewStore(e.page, p.super, p.o.alloc, p.super.Align().Block, e.o.Mutants)
	if err := store.Flush(); err != nil {
		return err
	}
	st, _, err := store.Read(ctx)
	if err != nil {
		return err
	}
	if err := c.begin(ctx, st); err != nil {
		return err
	}
	c.report = NewIDReport{Schema: 1, Dir: e.o.Dir, OldID: hex.EncodeToString(c.old[:]), NewID: hex.EncodeToString(c.new[:]),
		Resumed: c.report.Resumed}
	// From here on only a failure ends it half way.
	for i := range st.Files {
		if err := c.file(ctx, st, &st.Files[i]); err != nil {
			return fmt.Errorf("%s: %w", st.Files[i].Name, err)
		}
	}
	if err := c.log(ctx, st); err != nil {
		return err
	}
	if err := c.dwb(ctx, st); err != nil {
		return err
	}
	next := st.Clone()
	next.Engine = c.new
	if err := store.Rewrite(); err != nil {
		return err
	}
	if err := store.Write(next); err != nil {
		return err
	}
	return c.end()
}

// begin checks the directory as an open does and sets the marker, or finds one.
func (c *idChanger) begin(ctx context.Context, st *super.State) error {
	from, to, err := c.e.places.readMarker()
	switch {
	case err == nil:
		c.old, c.new, c.report.Resumed = from, to, true
		if st.Engine != c.old && st.Engine != c.new {
			return ErrForeign
		}
		if !st.Clean { // the marker is one from the past: see unfinishedID
			return ErrNeedsRecovery
		}
		return c.mark() // its name may be known to the cache alone, after a flush that failed
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if !st.Clean {
		return ErrNeedsRecovery
	}
	c.old = st.Engine
	if _, err := rand.Read(c.new[:]); err != nil {
		return err
	}
	if err := c.check(ctx, st); err != nil {
		return err
	}
	return c.mark()
}

// mark sets the marker, durably.
func (c *idChanger) mark() error {
	e, p := c.e, &c.e.places
	text, err := json.Marshal(idChange{hex.EncodeToString(c.old[:]), hex.EncodeToString(c.new[:])})
	if err != nil {
		return err
	}
	tmp := p.newIDPath() + ".tmp"
	if err := e.o.FS.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := e.o.FS.Open(tmp, fsys.OpenFlags{Create: true})
	if err != nil {
		return err
	}
	s := newSink(e.page, f)
	if _, err = s.Write(append(text, '\n')); err == nil {
		err = s.finish()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := e.o.FS.Rename(tmp, p.newIDPath()); err != nil {
		return err
	}
	return e.o.FS.SyncDir(e.o.Dir)
}

// readMarker says from which id to which one a directory is being changed.
func (p *places) readMarker() (from, to super.EngineID, err error) {
	f, err := p.o.FS.Open(p.newIDPath(), fsys.OpenFlags{ReadOnly: true})
	if err != nil {
		return from, to, err
	}
	n, err := f.Size()
	if err == nil && (n <= 0 || n > 4096) {
		err = fmt.Errorf("%s has %d bytes", newIDName, n)
	}
	b := aligned.Alloc(4096, 4096)
	if err == nil {
		err = p.ring.Do(&ring.Op{Kind: ring.Read, File: f, Buf: b[:n]})
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return from, to, err
	}
	var x idChange
	if err := json.Unmarshal(b[:n], &x); err != nil {
		return from, to, fmt.Errorf("%s: %w", newIDName, err)
	}
	was, werr := hex.DecodeString(x.Old)
	will, err := hex.DecodeString(x.New)
	if werr != nil || err != nil || len(was) != len(from) || len(will) != len(to) {
		return from, to, fmt.Errorf("%s does not hold two ids", newIDName)
	}
	copy(from[:], was)
	copy(to[:], will)
	return from, to, nil
}

// check validates everything under the old id before anything is changed.
func (c *idChanger) check(ctx context.Context, st *super.State) error {
	for i := range st.Files {
		if f := &st.Files[i]; f.Path != "" && !c.o.Outside {
			return fmt.Errorf("%w: %s lies outside of the directory, at %s: if it is this directory's alone, allow it", ErrOptions, f.Name, f.Path)
		}
	}
	if err := c.e.checkDWB(st); err != nil {
		return err
	}
	for i := range st.Files {
		f, _, err := c.openFile(ctx, st, &st.Files[i])
		if err != nil {
			return fmt.Errorf("%s: %w", st.Files[i].Name, err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	segs, err := c.segments(ctx)
	if err != nil {
		return err
	}
	var last *segmentFile
	found := false
	for _, s := range segs {
		err := s.err
		if err == nil && last != nil {
			err = s.Follows(last.Checked)
		}
		if err == nil {
			last = s
			found = found || s.First+LSN(s.Used) >= st.Durable.LSN
		}
		if err != nil && s.err == nil {
			return errors.Join(fmt.Errorf("%s: %w", s.path, err), closeSegments(segs))
		}
	}
	if !found {
		return errors.Join(fmt.Errorf("%w: it does not reach LSN %d, where it was closed", ErrCorrupt, st.Durable.LSN), closeSegments(segs))
	}
	return closeSegments(segs)
}

// openFile opens and locks a data file, of the old id or the new, and returns the header that counts.
func (c *idChanger) openFile(ctx context.Context, st *super.State, info *super.File) (fsys.File, *super.FileHeader, error) {
	flags := c.e.places.flags()
	flags.Device = info.Device
	f, err := openLocked(ctx, &c.e.o, c.e.dataPath(info), flags)
	if err != nil {
		return nil, nil, err
	}
	h, err := c.e.fileHeader(f, st, info, false, c.old, c.new)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, h, nil
}

// file writes both headers of a data file: the older one first, so that one is always whole. Before, the
// newer one is written again as it is: after a call that failed the page cache alone may know it (I8).
func (c *idChanger) file(ctx context.Context, st *super.State, info *super.File) error {
	f, h, err := c.openFile(ctx, st, info)
	if err != nil {
		return err
	}
	c.held = append(c.held, f)
	block := aligned.Alloc(st.Block, st.Block)
	for n := range 3 {
		if n > 0 {
			h.Engine = c.new
			h.Seq++
		}
		if err := super.EncodeFileHeader(block, h); err != nil {
			return err
		}
		for _, op := range []ring.Op{
			{Kind: ring.Write, File: f, Off: int64(h.Seq%2) * int64(st.Block), Buf: block},
			{Kind: ring.DataSync, File: f},
		} {
			if err := c.e.page.Do(&op); err != nil {
				return err
			}
		}
	}
	c.report.Files++
	return ctx.Err()
}

// segmentFile is a segment opened and checked.
type segmentFile struct {
	*walstage.Checked
	path string
	size int64
	file fsys.File
	err  error // it holds no segment of ours
}

func closeSegments(list []*segmentFile) error {
	var errs []error
	for _, s := range list {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}

// segments opens, locks and reads every segment, of the old id or the new.
func (c *idChanger) segments(ctx context.Context) (list []*segmentFile, err error) {
	p := &c.e.places
	names, err := c.e.o.FS.ReadDir(p.walDir())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeSegments(list))
		}
	}()
	for _, x := range names {
		if !strings.HasSuffix(x.Name, walstage.Suffix) {
			continue
		}
		s := &segmentFile{path: filepath.Join(p.walDir(), x.Name)}
		flags := p.flags()
		flags.Direct = false // groups are read at any offset
		if s.file, err = openLocked(ctx, &c.e.o, s.path, flags); err != nil {
			return list, err
		}
		list = append(list, s)
		if s.size, err = s.file.Size(); err != nil {
			return list, err
		}
		s.Checked, err = walstage.CheckSegment(readerAt{c.e.page, s.file}, s.size, nil)
		var io *ring.Error
		if errors.As(err, &io) || ctx.Err() != nil {
			return list, errors.Join(err, ctx.Err())
		}
		if err == nil && s.Engine != c.old && s.Engine != c.new {
			err = ErrForeign
		}
		if err == nil && walstage.SegmentName(s.Seq) != x.Name {
			err = fmt.Errorf("its header says segment %d", s.Seq)
		}
		s.err, err = err, nil
	}
	return list, nil
}

// log converts the segments in their order: the chain of one is what the next begins with. What holds
// no segment, the remains of an older life, goes.
func (c *idChanger) log(ctx context.Context, st *super.State) error {
	p, ofs := &c.e.places, c.e.o.FS
	segs, err := c.segments(ctx)
	if err != nil {
		return err
	}
	for _, s := range segs {
		c.held = append(c.held, s.file)
	}
	var last *segmentFile
	var chain uint32
	for _, s := range segs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.err != nil {
			if err := ofs.Remove(s.path); err != nil {
				return err
			}
			continue
		}
		c.report.Segments++
		follows := last != nil && last.Seq+1 == s.Seq && last.End() == s.First
		var prev *uint32
		if follows && last.Groups > 0 {
			prev = &chain
		}
		// After a call that failed a segment may have its new id in the cache alone: a flush of the
		// directory that failed is not made good by another one (I8). So it is made anew.
		if s.Engine == c.new && !c.report.Resumed {
			if s.Groups > 0 {
				chain = s.Out
			}
			last = s
			continue
		}
		if chain, err = c.convert(s, prev); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		last = s
	}
	if err := c.headers(ctx, st); err != nil {
		return err
	}
	return ofs.SyncDir(p.walDir())
}

// headers empties the ring of group headers, if there is one: it is a second opinion about groups that
// had been durable, and super says that of the whole log.
func (c *idChanger) headers(ctx context.Context, st *super.State) error {
	p := &c.e.places
	f, err := openLocked(ctx, &c.e.o, filepath.Join(p.walDir(), walstage.HeadersName), p.flags())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c.held = append(c.held, f)
	n, err := f.Size()
	if err == nil {
		err = zero(ctx, c.e.page, f, 0, n/int64(st.Block)*int64(st.Block), st.Block)
	}
	if err != nil {
		return err
	}
	return c.e.page.Do(&ring.Op{Kind: ring.Sync, File: f})
}

// convert makes a segment anew beside the old one and puts it in its place.
func (c *idChanger) convert(s *segmentFile, prev *uint32) (chain uint32, err error) {
	ofs, tmp := c.e.o.FS, s.path+".tmp"
	if err := ofs.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	f, err := ofs.Open(tmp, fsys.OpenFlags{Create: true})
	if err != nil {
		return 0, err
	}
	c.held = append(c.held, f)
	if err := f.Lock(true); err != nil {
		return 0, err
	}
	out := newSink(c.e.page, f)
	if chain, err = walstage.Convert(readerAt{c.e.page, s.file}, s.Checked, c.new, prev, out); err != nil {
		return 0, err
	}
	if err := out.finish(); err != nil {
		return 0, err
	}
	if err := ofs.Rename(tmp, s.path); err != nil {
		return 0, err
	}
	return chain, ofs.SyncDir(filepath.Dir(s.path))
}

// dwb empties the doublewrite file: every batch of a directory that was closed in order is retired.
func (c *idChanger) dwb(ctx context.Context, st *super.State) error {
	f, g := c.e.places.dwb, geometry(st)
	if err := zero(ctx, c.e.page, f, 0, g.FileBytes(), g.Block); err != nil {
		return err
	}
	head := aligned.Alloc(g.Block, g.Block)
	dwbstage.EncodeFileHeader(head, g, c.new)
	if err := c.e.page.Do(&ring.Op{Kind: ring.Write, File: f, Buf: head}); err != nil {
		return err
	}
	return c.e.page.Do(&ring.Op{Kind: ring.Sync, File: f})
}

// end takes the marker away. A backup's description is the original's: it goes too.
func (c *idChanger) end() error {
	p, ofs := &c.e.places, c.e.o.FS
	for _, path := range []string{filepath.Join(p.o.Dir, BackupName), p.newIDPath()} {
		if err := ofs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return ofs.SyncDir(p.o.Dir)
}

// readerAt reads a file through a ring.
type readerAt struct {
	ring ring.Ring
	file fsys.File
}

// ReadAt implements io.ReaderAt.
func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	// Memory of the Go heap: the file is not opened for direct I/O.
	if err := r.ring.Do(&ring.Op{Kind: ring.Read, File: r.file, Off: off, Buf: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}
