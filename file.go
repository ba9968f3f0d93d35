package untorn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
)

// File is an open data file. It stays open until the engine closes or the file is removed.
type File struct {
	e       *Engine
	info    super.File // guarded by e.ddl
	io      fsys.File  // nil: missing, until the log says that it was removed
	desc    *stages.File
	pages   atomic.Uint64
	check   bool                       // reads verify the page's checksum
	foreign bool                       // pages are the caller's byte for byte: Format.Header is 0
	images  atomic.Pointer[pageImages] // nil: its mode logs none
	headSeq uint64                     // of the newer header; guarded by e.ddl
	// verdict and override are why the mode in use is what it is; guarded by e.mu.
	verdict  *AtomicVerdict
	override string
	used     bool // OpenFile has handed it out; guarded by e.mu
	gate     gate // shut by Remove
}

// Name of the file; Rename changes it.
func (f *File) Name() string {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	return f.info.Name
}

// PageSize in bytes.
func (f *File) PageSize() int { return f.desc.PageSize }

// Format is the name of its page format.
func (f *File) Format() string { return f.desc.Format.Name() }

// Pages is how many there are.
func (f *File) Pages() uint64 { return f.pages.Load() }

// Mode is how pages are protected.
func (f *File) Mode() Mode {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	return Mode(f.info.Mode)
}

func (e *Engine) dataPath(i *super.File) string {
	if i.Path != "" {
		return i.Path
	}
	return filepath.Join(e.places.dataDir(), dataFileName(i.ID))
}

// dataFile finds a file by id for recovery; nil when it was removed.
func (e *Engine) dataFile(id page.FileID) *stages.File {
	for _, f := range e.files {
		if f.info.ID == id && f.io != nil {
			return f.desc
		}
	}
	return nil
}

// newFile makes the File of a catalogue entry, without opening it.
func (e *Engine) newFile(i *super.File) (*File, error) {
	f := &File{e: e, info: *i}
	f.gate.init()
	slot := -1
	for k := range e.slots {
		if e.slots[k] == nil {
			slot = k
			break
		}
	}
	if slot < 0 {
		return nil, &Error{Op: "open", File: i.Name, Err: fmt.Errorf("%w: more than %d files", ErrTooLarge, maxOpenFiles)}
	}
	f.pages.Store(i.Pages)
	f.check = Mode(i.Mode) != ModeNone
	// OpenFile decides how it is written, before anybody can.
	f.desc = &stages.File{
		ID: i.ID, Slot: slot, Name: i.Name, PageSize: i.PageSize, Start: i.Start, Incarnation: i.Incarnation,
		Format: page.FormatNamed(i.Format), Doublewrite: true, ForeignLSN: i.ForeignLSN,
	}
	f.foreign = f.desc.Format.Header() == 0
	e.slots[slot] = f
	return f, nil
}

// openData opens, locks and validates a data file of the catalogue, before its evidence is read. A
// file that is not there may have been removed: the log decides (applyCatalog).
func (e *Engine) openData(ctx context.Context, st *super.State, i *super.File, fromLog bool) error {
	if page.FormatNamed(i.Format) == nil {
		return &Error{Op: "open", File: i.Name, Err: fmt.Errorf("%w: page format %q", ErrVersion, i.Format)}
	}
	f, err := e.newFile(i)
	if err != nil {
		return err
	}
	e.files[i.Name] = f
	if i.Path != "" {
		if _, err := checkStack(&e.o, filepath.Dir(i.Path)); err != nil {
			return err
		}
	}
	flags := e.places.flags()
	flags.Device = i.Device
	io, err := openLocked(ctx, &e.o, e.dataPath(i), flags)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f.io, f.desc.IO = io, io
	if i.Path != "" {
		if _, err := e.checkPlace(ctx, i.Path); err != nil {
			return err
		}
	}
	if err := checkBlock(io, st.Block); err != nil {
		return err
	}
	size, err := io.Size()
	if err != nil {
		return &Error{Op: "open", File: i.Name, Err: err}
	}
	if want := i.Start + int64(i.Pages)*int64(i.PageSize); size < want {
		return &Error{Op: "open", File: i.Name, Err: fmt.Errorf("%w: it has %d bytes of %d", ErrBehind, size, want)}
	}
	return f.validate(st, fromLog)
}

// validate compares the file's header with what super says of it.
func (f *File) validate(st *super.State, fromLog bool) error {
	h, err := f.e.fileHeader(f.io, st, &f.info, fromLog, st.Engine, st.Engine)
	if err != nil {
		return &Error{Op: "open", File: f.info.Name, Err: err}
	}
	f.headSeq = h.Seq
	return nil
}

// fileHeader reads both headers of a data file and returns the one that counts: the newer of those that
// are this file's, of engine a or b. It must not be behind super, but where the log alone names the
// file: a header that could not be read may have been the newer one, and nothing is built on the other.
func (e *Engine) fileHeader(io fsys.File, st *super.State, info *super.File, fromLog bool, a, b super.EngineID) (*super.FileHeader, error) {
	block := aligned.Alloc(st.Block, st.Block)
	var heads [2]*super.FileHeader
	var errs []error
	// A header that belongs to another file may have come astray, and must not hide the one that does not.
	own := func(h *super.FileHeader) error {
		switch {
		case h.Engine != a && h.Engine != b:
			return ErrForeign
		case h.File.ID != info.ID || h.File.Incarnation != info.Incarnation || h.File.PageSize != info.PageSize || h.File.Start != info.Start:
			return fmt.Errorf("%w: it is file %d (%s)", ErrForeign, h.File.ID, h.File.Name)
		}
		return nil
	}
	for k := range heads {
		var h *super.FileHeader
		err := e.page.Do(&ring.Op{Kind: ring.Read, File: io, Off: int64(k * st.Block), Buf: block})
		if err == nil {
			h, err = super.DecodeFileHeader(block)
		}
		if err == nil {
			err = own(h)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("header %d: %w", k, err))
			continue
		}
		heads[k] = h
	}
	h := super.Newer(heads[0], heads[1])
	switch {
	case h == nil:
		return nil, errors.Join(errs...)
	case !fromLog && h.Stamp.Before(st.Stamp):
		err := fmt.Errorf("%w: it was stamped at checkpoint %d of epoch %d, super is at %d of %d; restore the whole directory from one copy",
			ErrBehind, h.Stamp.Checkpoint, h.Stamp.Epoch, st.Stamp.Checkpoint, st.Stamp.Epoch)
		if len(errs) > 0 {
			err = fmt.Errorf("%w; or its newer header is the one that is damaged: %w", err, errors.Join(errs...))
		}
		return nil, err
	}
	return h, nil
}

// stampFiles writes stamp into the header of every file and flushes it: before super's, so that a
// file behind super can only be an old copy.
func (e *Engine) stampFiles(ctx context.Context, st *super.State, stamp super.Stamp) error {
	for i := range st.Files {
		f := e.fileByID(st.Files[i].ID)
		if f == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.stamp(st, &st.Files[i], stamp); err != nil {
			return err
		}
	}
	return nil
}

// restamp writes the header that counts of every file again, in place and as it is, and flushes it:
// what was read may be known to the page cache alone, and the next stamp overwrites the other
// header, which may be the only one on the medium (I8).
func (e *Engine) restamp(ctx context.Context, st *super.State) error {
	block := e.o.alloc(st.Block, st.Block)
	for i := range st.Files {
		f := e.fileByID(st.Files[i].ID)
		if f == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		off := int64(f.headSeq%2) * int64(st.Block)
		for _, op := range []ring.Op{
			{Kind: ring.Read, File: f.io, Off: off, Buf: block},
			{Kind: ring.Write, File: f.io, Off: off, Buf: block},
			{Kind: ring.DataSync, File: f.io},
		} {
			if err := e.page.Do(&op); err != nil {
				return &Error{Op: "stamp", File: f.info.Name, Err: err}
			}
		}
	}
	return nil
}

func (f *File) stamp(st *super.State, info *super.File, stamp super.Stamp) error {
	block := aligned.Alloc(st.Block, st.Block)
	h := super.FileHeader{Engine: st.Engine, Seq: f.headSeq + 1, Stamp: stamp, File: *info}
	if err := super.EncodeFileHeader(block, &h); err != nil {
		return &Error{Op: "stamp", File: info.Name, Err: err}
	}
	off := int64(h.Seq%2) * int64(st.Block) // the other one than the newer
	err := f.e.page.Do(&ring.Op{Kind: ring.Write, File: f.io, Off: off, Buf: block})
	if err == nil {
		err = f.e.syncData(f)
	}
	if err != nil {
		return &Error{Op: "stamp", File: info.Name, Err: f.e.failed(err)}
	}
	f.headSeq = h.Seq
	return nil
}

func (e *Engine) fileByID(id page.FileID) *File {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.files {
		if f.info.ID == id {
			return f
		}
	}
	return nil
}

// OpenFile opens a data file, or creates one. Opening the same file again returns the same *File.
func (e *Engine) OpenFile(ctx context.Context, name string, o FileOptions) (*File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := o.validate(&e.o); err != nil {
		return nil, &Error{Op: "open", File: name, Err: err}
	}
	if err := e.enter(o.Create); err != nil {
		return nil, &Error{Op: "open", File: name, Err: err}
	}
	defer e.gate.leave()
	e.ddl.Lock()
	defer e.ddl.Unlock()
	e.mu.Lock()
	f := e.files[name]
	e.mu.Unlock()
	switch {
	case f == nil && !o.Create:
		return nil, &Error{Op: "open", File: name, Err: ErrUnknownFile}
	case f != nil && o.Create:
		return nil, &Error{Op: "create", File: name, Err: ErrExists}
	case f == nil:
		return e.createFile(ctx, name, o)
	}
	if err := e.reopen(ctx, f, o); err != nil {
		return nil, err
	}
	return f, nil
}

// reopen hands out a file that is open inside already, in the mode asked for.
func (e *Engine) reopen(ctx context.Context, f *File, o FileOptions) error {
	if o.PageSize != 0 && o.PageSize != f.desc.PageSize {
		return &Error{Op: "open", File: f.info.Name, Err: fmt.Errorf("%w: its pages have %d bytes, not %d", ErrOptions, f.desc.PageSize, o.PageSize)}
	}
	if o.Format != "" && o.Format != f.desc.Format.Name() {
		return &Error{Op: "open", File: f.info.Name, Err: fmt.Errorf("%w: its pages have the format %s, not %s", ErrOptions, f.desc.Format.Name(), o.Format)}
	}
	mode := Mode(f.info.Mode)
	if mode == ModeNone && o.Mode == "" && !e.o.Unsafe && !e.o.ReadOnly {
		return &Error{Op: "open", File: f.info.Name, Err: fmt.Errorf("%w: the file is in mode none; Options.Unsafe allows it, or give another mode", ErrOptions)}
	}
	e.mu.Lock()
	used := f.used
	e.mu.Unlock()
	change := o.Mode != "" && o.Mode != mode
	switch {
	case change && e.o.ReadOnly:
		return &Error{Op: "open", File: f.info.Name, Err: ErrReadOnly}
	case change && used:
		return &Error{Op: "open", File: f.info.Name, Err: fmt.Errorf("%w in mode %s", ErrInUse, mode)}
	case change:
		mode = o.Mode
	}
	if used || e.o.ReadOnly {
		return nil
	}
	// No batch of this epoch names the file yet, the watermark is durable past all older ones, and
	// images in the log count only from this open on: its first write may take any path (I7).
	pr, err := e.protect(ctx, f, mode, o.AtomicOverride)
	if err != nil {
		return &Error{Op: "open", File: f.info.Name, Err: err}
	}
	if change {
		err := e.update(func(s *super.State) { s.ByID(f.info.ID).Mode = string(mode) })
		if err != nil {
			return err
		}
	}
	e.mu.Lock()
	f.info.Mode = string(mode)
	f.check = mode != ModeNone
	f.set(pr)
	f.used = true
	e.mu.Unlock()
	return nil
}

// Files lists the names of all data files, sorted.
func (e *Engine) Files() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var n []string
	for name := range e.files {
		n = append(n, name)
	}
	sortStrings(n)
	return n
}
