package untorn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
)

// Names in an engine's directory.
const (
	lockName     = "lock"
	superName    = "super"
	creatingName = "creating" // marks a directory whose creation has not finished
	walName      = "wal"
	dwbName      = "dwb"
	dwbFileName  = "regions"
	dataName     = "data"
)

// places are the directories of an engine and the files in them that are its own.
type places struct {
	o     *Options
	ring  ring.Ring
	locks []fsys.File
	super fsys.File
	dwb   fsys.File
}

func (p *places) walDir() string    { return filepath.Join(p.o.WALDir, walName) }
func (p *places) dwbPath() string   { return filepath.Join(p.o.DWBDir, dwbName, dwbFileName) }
func (p *places) dataDir() string   { return filepath.Join(p.o.Dir, dataName) }
func (p *places) superPath() string { return filepath.Join(p.o.Dir, superName) }
func (p *places) direct() bool      { return p.o.Backend != ring.Buffered }
func (p *places) flags() fsys.OpenFlags {
	return fsys.OpenFlags{Direct: p.direct(), ReadOnly: p.o.ReadOnly}
}

// roots are the distinct directories, Dir first.
func (p *places) roots() []string {
	r := []string{p.o.Dir}
	for _, d := range []string{filepath.Clean(p.o.WALDir), filepath.Clean(p.o.DWBDir)} {
		seen := false
		for _, x := range r {
			seen = seen || x == d
		}
		if !seen {
			r = append(r, d)
		}
	}
	return r
}

// lockFile takes the lock of an open file, waiting a bounded time: the lock of a dead process lasts
// as long as its queued I/O (I11), and that ends.
func lockFile(ctx context.Context, o *Options, f fsys.File) error {
	return patiently(ctx, o, fsys.ErrLocked, func() error { return f.Lock(!o.ReadOnly) })
}

// patiently tries again for at most LockWait while try fails with busy.
func patiently(ctx context.Context, o *Options, busy error, try func() error) error {
	deadline := time.Now().Add(o.LockWait)
	for {
		err := try()
		if err == nil || !errors.Is(err, busy) || time.Now().After(deadline) {
			return err
		}
		t := time.NewTimer(5 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// openLocked opens a file and locks the description all its I/O will go through. A block device
// that a dead process still has open, for its queued I/O, is busy a moment longer.
func openLocked(ctx context.Context, o *Options, path string, flags fsys.OpenFlags) (fsys.File, error) {
	var f fsys.File
	err := patiently(ctx, o, syscall.EBUSY, func() (err error) {
		f, err = o.FS.Open(path, flags)
		return err
	})
	if err != nil {
		return nil, &Error{Op: "open", File: path, Err: err}
	}
	if o.Mutants.Has(stages.ZombieWrites) && filepath.Base(path) != lockName {
		return f, nil
	}
	if err := lockFile(ctx, o, f); err != nil {
		return nil, errors.Join(&Error{Op: "lock", File: path, Err: err}, f.Close())
	}
	return f, nil
}

// lockRoots makes the directories if they may be made, and takes the lock file in each.
func (p *places) lockRoots(ctx context.Context) error {
	for _, d := range p.roots() {
		if !p.o.MustExist && !p.o.ReadOnly {
			if err := p.o.FS.Mkdir(d); err != nil {
				return &Error{Op: "make directory", File: d, Err: err}
			}
		}
		path := filepath.Join(d, lockName)
		_, err := p.o.FS.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			if err := p.mayCreateIn(d); err != nil {
				return err
			}
			f, err := p.o.FS.Open(path, fsys.OpenFlags{Create: true})
			switch {
			case err == nil:
				if err := f.Close(); err != nil {
					return &Error{Op: "create", File: path, Err: err}
				}
				// Durable before anything else in the directory: without it what a crash leaves of a
				// creation would look like somebody else's directory.
				if err := p.o.FS.SyncDir(d); err != nil {
					return &Error{Op: "flush directory", File: d, Err: err}
				}
			case !errors.Is(err, fs.ErrExist): // somebody else was faster: their lock decides
				return &Error{Op: "create", File: path, Err: err}
			}
		}
		f, err := openLocked(ctx, p.o, path, fsys.OpenFlags{ReadOnly: p.o.ReadOnly})
		if err != nil {
			return err
		}
		p.locks = append(p.locks, f)
	}
	return nil
}

// mayCreateIn refuses to make a directory that holds something else into an engine's.
func (p *places) mayCreateIn(dir string) error {
	if p.o.MustExist || p.o.ReadOnly {
		return &Error{Op: "open", File: dir, Err: ErrNotEngine}
	}
	list, err := p.o.FS.ReadDir(dir)
	if err != nil {
		return &Error{Op: "open", File: dir, Err: err}
	}
	for _, x := range list {
		if x.Name == "lost+found" { // of a file system made for us alone
			continue
		}
		return &Error{Op: "open", File: dir, Err: fmt.Errorf("%w: it holds %q", ErrNotEngine, x.Name)}
	}
	return nil
}

// state of a directory before it is opened.
type presence uint8

const (
	absent presence = iota // nothing, or a creation that never finished: create
	present
)

// look decides whether to create. A directory that has files but no super is never created anew
// unless its creation is known not to have finished.
func (p *places) look() (presence, error) {
	if _, err := p.o.FS.Stat(p.superPath()); err == nil {
		return present, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, &Error{Op: "open", File: p.superPath(), Err: err}
	}
	if err := p.unfinishedID(nil); err != nil {
		return 0, err
	}
	for _, d := range p.folders() {
		if _, err := p.o.FS.Stat(marker(filepath.Dir(d))); err == nil {
			continue // of a creation in this very place that never finished
		}
		list, err := p.o.FS.ReadDir(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, &Error{Op: "open", File: d, Err: err}
		}
		if len(list) > 0 {
			return 0, &Error{Op: "open", File: p.o.Dir, Err: fmt.Errorf("%w: %s is not empty", ErrNoSuper, d)}
		}
	}
	if p.o.MustExist || p.o.ReadOnly {
		return 0, &Error{Op: "open", File: p.o.Dir, Err: ErrNotEngine}
	}
	return absent, nil
}

// folders are what the places hold beside lock and super.
func (p *places) folders() []string {
	return []string{p.walDir(), filepath.Dir(p.dwbPath()), p.dataDir()}
}

// marker stands in a place while it is being made: what is there may be thrown away.
func marker(root string) string { return filepath.Join(root, creatingName) }

// unmark removes the markers, durably: one that came back after super was lost would let the next
// open throw away what super named.
func (p *places) unmark() error {
	for _, d := range p.roots() {
		err := p.o.FS.Remove(marker(d))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = p.o.FS.SyncDir(d)
		}
		if err != nil {
			return &Error{Op: "remove", File: marker(d), Err: err}
		}
	}
	return nil
}

// checkStack refuses a stack whose flushes are known to be off, in every mode.
func checkStack(o *Options, path string) (fsys.Mount, error) {
	m, err := o.FS.Mount(path)
	if err != nil {
		o.Logger.Warn("mount of the directory cannot be seen", "path", path, "err", err)
		return m, nil
	}
	if m.FlushesOff != "" && !o.AllowFlushesOff {
		return m, &Error{Op: "open", File: path, Err: fmt.Errorf("%w: %s on %s (%s); Options.AllowFlushesOff opens it all the same", ErrFlushesOff, m.FlushesOff, m.Point, m.Type)}
	}
	return m, nil
}

// openOwn opens and locks super and the doublewrite file.
func (p *places) openOwn(ctx context.Context) (err error) {
	if p.super, err = openLocked(ctx, p.o, p.superPath(), p.flags()); err != nil {
		return err
	}
	size, err := p.super.Size()
	if err == nil && size < super.FileBytes {
		// Short: what is missing counts as invalid copies, and reads there fail.
		p.o.Logger.Warn("super is short", "bytes", size, "want", super.FileBytes)
	}
	if err != nil {
		return &Error{Op: "open", File: p.superPath(), Err: err}
	}
	p.dwb, err = openLocked(ctx, p.o, p.dwbPath(), p.flags())
	return err
}

func (p *places) close() error {
	var errs []error
	shut := func(f fsys.File) {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	shut(p.dwb)
	shut(p.super)
	for _, l := range p.locks { // last: nobody gets in before everything is closed
		shut(l)
	}
	return errors.Join(errs...)
}
