package untorn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// SalvageReport says what Salvage copied, and what it could not.
type SalvageReport struct {
	Schema int    `json:"schema"`
	From   string `json:"from"`
	To     string `json:"to"`
	// Verdict is what an open says of the source: which record is missing, and why it had been durable.
	Verdict string `json:"verdict"`
	// RecoverTo is the farthest point the log can be recovered to, if it is corrupt.
	RecoverTo LSN `json:"recover_to_lsn,omitempty"`

	Segments       int      `json:"log_segments"`
	Groups         int64    `json:"log_groups"`
	Records        int64    `json:"log_records"`
	LogBytes       int64    `json:"log_bytes"`
	Runs           []string `json:"log_runs"` // unbroken stretches of the log
	SegmentHeaders []string `json:"log_segment_headers_remade,omitempty"`

	Files     int      `json:"data_files"`
	FileBytes int64    `json:"data_bytes"`
	Elsewhere []string `json:"elsewhere,omitempty"`  // data files outside of the directory: not copied
	Unread    []string `json:"unreadable,omitempty"` // zeros in the copy
}

// Salvage copies what is intact of a directory that is not open to another one, to, which must be
// empty or not be there: super, every whole group of the log wherever damage lies between, the
// doublewrite file, and the data files in the directory, where blocks that cannot be read become
// zeros. Nothing in the source changes. Of the options the places, FS, NewRing, Backend and LockWait
// count.
//
// The copy is a directory of its own in one place, not recovered: what stops an open of the source
// stops one of the copy. It is for looking at (untornctl dump wal shows what lies behind the damage)
// and for Options.RecoverTo. An unfinished copy has no super and does not open.
func Salvage(ctx context.Context, o Options, to string) (*SalvageReport, error) {
	o.ReadOnly, o.MustExist, o.AcceptLoss, o.RecoverTo = true, true, false, 0
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := newEngine(o.withDefaults())
	r := &SalvageReport{Schema: 1, From: e.o.Dir, To: to}
	err := e.openPlaces(ctx)
	if err == nil {
		err = e.salvage(ctx, filepath.Clean(to), r)
	}
	return r, errors.Join(err, e.release())
}

func (e *Engine) salvage(ctx context.Context, to string, r *SalvageReport) (err error) {
	st := e.state.cur
	fail := func(op, path string, err error) error { return &Error{Op: "salvage: " + op, File: path, Err: err} }
	if slices.Contains(e.places.roots(), to) {
		return fail("copy to", to, fmt.Errorf("%w: it is the source", ErrOptions))
	}
	dst := places{o: &Options{Dir: to, WALDir: to, DWBDir: to, FS: e.o.FS, Backend: e.o.Backend, LockWait: e.o.LockWait}, ring: e.page}
	if err := e.o.FS.Mkdir(to); err != nil {
		return fail("make directory", to, err)
	}
	if list, err := e.o.FS.ReadDir(to); err != nil || len(list) > 0 {
		return fail("copy to", to, errors.Join(err, fmt.Errorf("%w: it is not empty", fs.ErrExist)))
	}
	lock, err := openLocked(ctx, dst.o, filepath.Join(to, lockName), fsys.OpenFlags{Create: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	for _, d := range dst.folders() {
		if err := e.o.FS.Mkdir(d); err != nil {
			return fail("make directory", d, err)
		}
	}
	if err := e.salvageLog(ctx, st, &dst, r); err != nil {
		return err
	}
	if err := e.copyFile(ctx, e.places.dwb, dst.dwbPath(), r); err != nil {
		return err
	}
	for i := range st.Files {
		f := &st.Files[i]
		open := e.fileByID(f.ID)
		switch {
		case f.Path != "":
			r.Elsewhere = append(r.Elsewhere, f.Path)
		case open != nil && open.io != nil:
			r.Files++
			if err := e.copyFile(ctx, open.io, filepath.Join(dst.dataDir(), dataFileName(f.ID)), r); err != nil {
				return err
			}
		}
	}
	for _, d := range append(dst.folders(), to) {
		if err := e.o.FS.SyncDir(d); err != nil {
			return fail("flush directory", d, err)
		}
	}
	// Last of all: without super it is no directory of an engine.
	if err := dst.createSuper(st); err != nil {
		return err
	}
	if err := e.o.FS.SyncDir(filepath.Dir(to) + "/."); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fail("flush directory", filepath.Dir(to), err)
	}
	return nil
}

func (e *Engine) salvageLog(ctx context.Context, st *super.State, dst *places, r *SalvageReport) error {
	err := e.recover(ctx, st.Clone(), true)
	var bad *walstage.CorruptError
	switch {
	case errors.As(err, &bad):
		r.Verdict, r.RecoverTo = err.Error(), bad.Good
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.Verdict = err.Error()
	default:
		r.Verdict = "an open finds nothing wrong"
	}
	wo := dst.walOptions(st)
	s, err := e.walDir.Salvage(ctx, wo)
	if s != nil {
		r.Segments, r.Groups, r.Records, r.LogBytes = s.Segments, s.Groups, s.Records, s.Bytes
		r.SegmentHeaders = s.Headers
		for _, run := range s.Runs {
			r.Runs = append(r.Runs, run.String())
		}
		for _, f := range s.Failed {
			r.Unread = append(r.Unread, f.Error())
		}
	}
	return err
}

const salvagePiece = 1 << 20

// copyFile copies a file and flushes it. What cannot be read stays zero, block by block, and is in the
// report.
func (e *Engine) copyFile(ctx context.Context, from fsys.File, path string, r *SalvageReport) error {
	fail := func(op string, err error) error { return &Error{Op: "salvage: " + op, File: path, Err: err} }
	size, err := from.Size()
	if err != nil {
		return fail("size of source", err)
	}
	out, err := e.o.FS.Open(path, fsys.OpenFlags{Create: true, Direct: e.places.direct()})
	if err != nil {
		return fail("create", err)
	}
	block := int64(e.state.cur.Block)
	buf := aligned.Alloc(salvagePiece, int(block))
	copyAll := func() error {
		if err := out.Preallocate(0, size); err != nil {
			return err
		}
		for off := int64(0); off < size; off += salvagePiece {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := buf[:min(salvagePiece, size-off)]
			e.readWhatCan(from, off, b, block, r)
			if err := e.page.Do(&ring.Op{Kind: ring.Write, File: out, Off: off, Buf: b}); err != nil {
				return err
			}
			r.FileBytes += int64(len(b))
		}
		return e.page.Do(&ring.Op{Kind: ring.Sync, File: out})
	}
	if err := errors.Join(copyAll(), out.Close()); err != nil {
		return fail("copy", err)
	}
	return nil
}

// readWhatCan fills b from off, with zeros where the medium cannot be read.
func (e *Engine) readWhatCan(from fsys.File, off int64, b []byte, block int64, r *SalvageReport) {
	if e.page.Do(&ring.Op{Kind: ring.Read, File: from, Off: off, Buf: b}) == nil {
		return
	}
	for at := int64(0); at < int64(len(b)); at += block {
		piece := b[at:min(at+block, int64(len(b)))]
		if err := e.page.Do(&ring.Op{Kind: ring.Read, File: from, Off: off + at, Buf: piece}); err != nil {
			clear(piece)
			r.Unread = append(r.Unread, fmt.Sprintf("%d bytes of %s at offset %d: %v", len(piece), from.Name(), off+at, err))
		}
	}
}
