package untorn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/super"
)

func sortStrings(n []string) { slices.Sort(n) }

// createFile makes a file: whole and flushed first, then a record of it in the log, then super. A
// crash leaves either a file that everything knows or an orphan that the next open removes.
func (e *Engine) createFile(ctx context.Context, name string, o FileOptions) (*File, error) {
	st := e.current()
	info, err := e.newInfo(st, name, o)
	if err != nil {
		return nil, &Error{Op: "create", File: name, Err: err}
	}
	e.mu.Lock()
	f, err := e.newFile(&info)
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	err = e.fillFile(ctx, st, f, &info, o)
	if err == nil {
		err = e.register(ctx, recordCreate, info, func(s *super.State) {
			s.Files = append(s.Files, info)
			s.NextFile = info.ID + 1
		})
	}
	if err != nil {
		e.mu.Lock()
		e.slots[f.desc.Slot] = nil
		e.mu.Unlock()
		if f.io != nil {
			err = errors.Join(err, f.io.Close())
		}
		if e.poison.Err() == nil && f.io != nil && !o.Device {
			// Refused (disk full, cancelled): leave nothing behind. After poison the next open does.
			if r := e.o.FS.Remove(e.dataPath(&info)); r != nil && !errors.Is(r, fs.ErrNotExist) {
				err = errors.Join(err, r)
			}
		}
		return nil, &Error{Op: "create", File: name, Err: err}
	}
	e.mu.Lock()
	f.used = true
	e.files[name] = f
	e.mu.Unlock()
	return f, nil
}

func (e *Engine) newInfo(st *super.State, name string, o FileOptions) (super.File, error) {
	inc, err := random64()
	if err != nil {
		return super.File{}, err
	}
	info := super.File{
		ID: st.NextFile, Name: name, Path: o.Path, PageSize: o.PageSize, Pages: o.Pages,
		Start: super.DataStart(st.Block), Incarnation: inc, Format: o.Format,
		Mode: string(o.Mode), ForeignLSN: o.ForeignLSN, SmallPages: o.SmallPages, Device: o.Device,
	}
	if info.Format == "" {
		info.Format = page.Native{}.Name()
	}
	if info.PageSize == 0 {
		info.PageSize = max(defaultPageSize(info.Format), st.Block)
	}
	if info.Mode == "" {
		info.Mode = string(ModeDoublewrite)
	}
	if info.PageSize < st.Block && !o.SmallPages {
		return info, fmt.Errorf("%w: pages of %d bytes are smaller than the protocol block of %d; FileOptions.SmallPages allows them, without protection of their neighbours", ErrOptions, info.PageSize, st.Block)
	}
	for _, d := range e.places.roots() {
		// What lies in a place of ours and is not ours by name is an orphan to the next open.
		if rel, err := filepath.Rel(d, info.Path); info.Path != "" && err == nil && filepath.IsLocal(rel) {
			return info, fmt.Errorf("%w: path %s lies in the engine's directory %s", ErrOptions, info.Path, d)
		}
	}
	if info.Pages > uint64(math.MaxInt64-info.Start)/uint64(info.PageSize) {
		return info, fmt.Errorf("%w: %d pages of %d bytes", ErrTooLarge, info.Pages, info.PageSize)
	}
	return info, nil
}

// fillFile creates the file with its lock held before its first write (I11), formats every page
// and flushes file and directory.
func (e *Engine) fillFile(ctx context.Context, st *super.State, f *File, info *super.File, o FileOptions) error {
	path := e.dataPath(info)
	flags := fsys.OpenFlags{Create: !o.Device, Direct: e.places.direct(), Device: o.Device}
	if info.Path == "" {
		// What an unfinished creation left under this id holds no page anybody was told of.
		if err := e.o.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else if _, err := checkStack(&e.o, filepath.Dir(path)); err != nil {
		return err
	}
	io, err := openLocked(ctx, &e.o, path, flags)
	if err != nil {
		return err
	}
	f.io, f.desc.IO = io, io
	if info.Path != "" {
		if _, err := e.checkPlace(ctx, path); err != nil {
			return err
		}
	}
	if err := checkBlock(io, st.Block); err != nil {
		return err
	}
	pr, err := e.protect(ctx, f, Mode(info.Mode), o.AtomicOverride)
	if err != nil {
		return err
	}
	f.set(pr)
	end := info.Start + int64(info.Pages)*int64(info.PageSize)
	if o.Device {
		if err := e.blankDevice(io, st.Block, end); err != nil {
			return err
		}
	} else if err := io.Preallocate(0, end); err != nil {
		return err
	}
	if err := zero(ctx, e.page, io, 0, info.Start, st.Block); err != nil {
		return err
	}
	if err := f.format(ctx, 0, info.Pages, st.Block); err != nil {
		return err
	}
	for range 2 { // both header blocks
		if err := f.stamp(st, info, st.Stamp); err != nil {
			return err
		}
	}
	if err := e.page.Do(&ring.Op{Kind: ring.Sync, File: io}); err != nil {
		return e.failed(err)
	}
	if o.Device {
		return nil
	}
	if err := e.o.FS.SyncDir(filepath.Dir(path)); err != nil {
		return e.failed(err)
	}
	return nil
}

// failed poisons with the error of a flush (I5).
func (e *Engine) failed(err error) error {
	e.poison.Set(err)
	return poisoned(err)
}

// blankDevice refuses a device that is too small or holds something.
func (e *Engine) blankDevice(f fsys.File, block int, need int64) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size < need {
		return fmt.Errorf("%w: the device has %d bytes, %d are needed", ErrNoSpace, size, need)
	}
	buf := aligned.Alloc(1<<20, block)
	buf = buf[:min(int64(len(buf)), size/int64(block)*int64(block))]
	if err := e.page.Do(&ring.Op{Kind: ring.Read, File: f, Buf: buf}); err != nil {
		return err
	}
	for i, b := range buf {
		if b != 0 {
			return fmt.Errorf("%w: the device is not blank, byte %d is %#x; wipe it first if it is yours", ErrForeign, i, b)
		}
	}
	return nil
}

// format writes valid empty pages [from, to). They lie behind the end of the file as everybody
// knows it, so a tear costs nothing.
func (f *File) format(ctx context.Context, from, to uint64, block int) error {
	ps := f.desc.PageSize
	buf := aligned.Alloc(int(min(1<<20, (to-from)*uint64(ps))), max(block, ps))
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(uint64(len(buf)/ps), to-from)
		for i := range n {
			f.desc.Format.Init(buf[int(i)*ps:int(i+1)*ps], f.desc.Seed(page.No(from+i)))
		}
		op := ring.Op{Kind: ring.Write, File: f.io, Off: f.desc.Offset(page.No(from)), Buf: buf[:int(n)*ps]}
		if err := f.e.page.Do(&op); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// register makes a catalogue change durable: the engine record first, then the snapshot.
func (e *Engine) register(ctx context.Context, kind uint8, info super.File, change func(*super.State)) error {
	// What does not fit into super must be refused before the log says that it happened.
	next := e.current().Clone()
	change(next)
	if err := super.Fits(next); err != nil {
		return err
	}
	// Once the record may be durable the change is no longer cancelled half way.
	ctx = context.WithoutCancel(ctx)
	end, err := e.logChange(ctx, kind, info)
	if err != nil {
		return err
	}
	return e.update(func(s *super.State) {
		change(s)
		s.CatalogLSN = max(s.CatalogLSN, end)
	})
}

// Grow makes the file have pages pages, the new ones valid and empty. It is durable at return.
func (f *File) Grow(ctx context.Context, pages uint64) error {
	e := f.e
	if err := e.enter(true); err != nil {
		return &Error{Op: "grow", File: f.desc.Called(), Err: err}
	}
	defer e.gate.leave()
	e.ddl.Lock()
	defer e.ddl.Unlock()
	err := f.grow(ctx, pages)
	if err != nil {
		return &Error{Op: "grow", File: f.info.Name, Err: err}
	}
	return nil
}

func (f *File) grow(ctx context.Context, pages uint64) error {
	e, st := f.e, f.e.current()
	info := f.info
	switch {
	case f.gate.shut.Load():
		return ErrUnknownFile
	case pages < info.Pages:
		return fmt.Errorf("%w: it has %d pages, files do not shrink", ErrOptions, info.Pages)
	case pages == info.Pages:
		return nil
	case pages > uint64(math.MaxInt64-info.Start)/uint64(info.PageSize):
		return fmt.Errorf("%w: %d pages", ErrTooLarge, pages)
	}
	end := info.Start + int64(pages)*int64(info.PageSize)
	if info.Device {
		size, err := f.io.Size()
		if err != nil {
			return err
		}
		if size < end {
			return fmt.Errorf("%w: the device has %d bytes, %d are needed", ErrNoSpace, size, end)
		}
	} else {
		old := info.Start + int64(info.Pages)*int64(info.PageSize)
		// A growth that failed may have left the file longer in the cache and not on the medium. Growing
		// it again changes nothing then, and no flush would make the size durable (I8): cut it first.
		if size, err := f.io.Size(); err != nil {
			return err
		} else if size > old {
			if err := f.io.Truncate(old); err != nil {
				return err
			}
		}
		if err := f.io.Preallocate(old, end-old); err != nil {
			return err
		}
	}
	if err := f.format(ctx, info.Pages, pages, st.Block); err != nil {
		return err
	}
	if err := e.syncData(f); err != nil {
		return e.failed(err)
	}
	info.Pages = pages
	err := e.register(ctx, recordGrow, info, func(s *super.State) { s.ByID(info.ID).Pages = pages })
	if err != nil {
		return err
	}
	e.mu.Lock()
	f.info.Pages = pages
	e.mu.Unlock()
	if im := f.images.Load(); im != nil {
		im.grow(pages)
	}
	f.pages.Store(pages)
	return nil
}

// Rename gives a data file another name, durably. Files on disk are named by id: nothing moves.
func (e *Engine) Rename(ctx context.Context, from, to string) error {
	if err := checkName(to); err != nil {
		return err
	}
	return e.alter(ctx, "rename", from, func(f *File) error {
		e.mu.Lock()
		_, taken := e.files[to]
		e.mu.Unlock()
		if taken {
			return fmt.Errorf("%w: %s", ErrExists, to)
		}
		info := f.info
		info.Name = to
		err := e.register(ctx, recordRename, info, func(s *super.State) { s.ByID(info.ID).Name = to })
		if err != nil {
			return err
		}
		e.mu.Lock()
		delete(e.files, from)
		f.info.Name = to
		f.desc.Renamed.Store(&to)
		e.files[to] = f
		e.mu.Unlock()
		return nil
	})
}

// Remove deletes a data file, durably. Writes under way are finished first; later calls on the File
// get ErrUnknownFile. Its id is never used again.
func (e *Engine) Remove(ctx context.Context, name string) error {
	return e.alter(ctx, "remove", name, func(f *File) error {
		if f.info.Device {
			return fmt.Errorf("%w: a device is not removed", ErrOptions)
		}
		err := f.gate.close(ctx)
		if err == nil {
			err = e.barrier(ctx, f.desc)
		}
		if err != nil {
			f.gate.shut.Store(false)
			return err
		}
		ctx := context.WithoutCancel(ctx)
		end, err := e.logChange(ctx, recordRemove, f.info)
		if err != nil {
			f.gate.shut.Store(false) // nothing has happened (the log is full), or poison says no
			return err
		}
		path := e.dataPath(&f.info)
		if err := e.o.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return e.failed(err)
		}
		if err := e.o.FS.SyncDir(filepath.Dir(path)); err != nil {
			return e.failed(err)
		}
		err = e.update(func(s *super.State) {
			dropFile(s, f.info.ID)
			s.CatalogLSN = max(s.CatalogLSN, end)
		})
		if err != nil {
			return err
		}
		e.mu.Lock()
		delete(e.files, name)
		e.slots[f.desc.Slot] = nil
		e.mu.Unlock()
		return f.io.Close()
	})
}

func (e *Engine) alter(ctx context.Context, op, name string, do func(*File) error) error {
	if err := e.enter(true); err != nil {
		return &Error{Op: op, File: name, Err: err}
	}
	defer e.gate.leave()
	e.ddl.Lock()
	defer e.ddl.Unlock()
	e.mu.Lock()
	f := e.files[name]
	e.mu.Unlock()
	err := ErrUnknownFile
	if f != nil {
		err = do(f)
	}
	if err != nil {
		return &Error{Op: op, File: name, Err: err}
	}
	return nil
}
