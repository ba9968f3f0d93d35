package inspect

import (
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// File is a data file: what the catalogue and its own header say.
type File struct {
	ID         uint32 `json:"id"`
	Name       string `json:"name"`
	Path       string `json:"path"`
	Mode       string `json:"mode"`
	Format     string `json:"format"`
	PageBytes  int    `json:"page_bytes"`
	Pages      uint64 `json:"pages"`
	Bytes      int64  `json:"bytes"`
	Stamp      string `json:"stamp"` // epoch/checkpoint
	Device     bool   `json:"device,omitempty"`
	ForeignLSN bool   `json:"foreign_lsn,omitempty"`
	SmallPages bool   `json:"small_pages,omitempty"`
	Why        string `json:"why,omitempty"` // it would keep the directory from opening
}

// dataFile is a data file opened for reading.
type dataFile struct {
	info super.File
	path string
	io   fsys.File
	desc *stages.File
	head *super.FileHeader
	// faults are those of one of the two header blocks: no harm while the other is whole.
	faults []string
}

func (d *Dir) lookFiles(ctx context.Context, s *Summary, st *super.State, log *walstage.Peek) {
	if log != nil {
		full, err := catalog(ctx, st, log)
		if err != nil {
			s.note("engine records of the log: %v", err)
		}
		st = full
	}
	for i := range st.Files {
		info := &st.Files[i]
		x := File{
			ID: uint32(info.ID), Name: info.Name, Path: d.layout.DataFile(info), Mode: info.Mode,
			Format:    info.Format,
			PageBytes: info.PageSize, Pages: info.Pages, Device: info.Device,
			ForeignLSN: info.ForeignLSN, SmallPages: info.SmallPages,
		}
		f, err := d.openData(st, info)
		if err == nil {
			x.Stamp = fmt.Sprintf("%d/%d", f.head.Stamp.Epoch, f.head.Stamp.Checkpoint)
			x.Bytes, err = f.io.Size()
			for _, w := range f.faults {
				s.note("data file %s: %s", info.Name, w)
			}
			err = errors.Join(err, f.io.Close())
		}
		if err != nil {
			x.Why = err.Error()
			s.problem("data file %s: %v", info.Name, err)
		}
		s.Files = append(s.Files, x)
	}
}

var (
	errForeign = errors.New("it belongs to another engine, or is another file")
	errBehind  = errors.New("it is older than super: restored from a copy, or copied while the engine ran")
	errShort   = errors.New("it is too short")
)

// openData opens a data file and checks it against the catalogue as an open does.
func (d *Dir) openData(st *super.State, info *super.File) (_ *dataFile, err error) {
	f := &dataFile{info: *info, path: d.layout.DataFile(info)}
	if f.io, err = d.open(f.path, info.Device); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.io.Close())
		}
	}()
	if f.head, f.faults, err = d.fileHeader(f.io, st.Block); err != nil {
		return nil, err
	}
	h := f.head
	size, err := f.io.Size()
	switch want := info.Start + int64(info.Pages)*int64(info.PageSize); {
	case err != nil:
		return nil, err
	case h.Engine != st.Engine || h.File.ID != info.ID || h.File.Incarnation != info.Incarnation ||
		h.File.PageSize != info.PageSize || h.File.Start != info.Start:
		return nil, fmt.Errorf("%w (%d, %s)", errForeign, h.File.ID, h.File.Name)
	case size < want:
		return nil, fmt.Errorf("%w: %d bytes of %d", errShort, size, want)
	case h.Stamp.Before(st.Stamp):
		return nil, fmt.Errorf("%w: stamped at checkpoint %d of epoch %d, super is at %d of %d",
			errBehind, h.Stamp.Checkpoint, h.Stamp.Epoch, st.Stamp.Checkpoint, st.Stamp.Epoch)
	}
	f.desc = &stages.File{
		ID: info.ID, Name: info.Name, IO: f.io, PageSize: info.PageSize, Start: info.Start,
		Incarnation: info.Incarnation, Format: page.FormatNamed(info.Format), ForeignLSN: info.ForeignLSN,
	}
	if f.desc.Format == nil {
		return nil, fmt.Errorf("page format %q is not known to this program", info.Format)
	}
	return f, nil
}

// fileHeader reads the two header blocks of a data file and returns the newer one.
func (d *Dir) fileHeader(f fsys.File, block int) (*super.FileHeader, []string, error) {
	var heads [2]*super.FileHeader
	var faults []string
	var errs []error
	for i := range heads {
		b, err := d.read(f, int64(i*block), int64(block))
		if err == nil {
			heads[i], err = super.DecodeFileHeader(b)
		}
		if err != nil {
			faults = append(faults, fmt.Sprintf("header %d: %v", i, err))
			errs = append(errs, err)
		}
	}
	h := super.Newer(heads[0], heads[1])
	if h == nil {
		return nil, nil, errors.Join(errs...)
	}
	return h, faults, nil
}
