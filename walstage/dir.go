package walstage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// Create makes the log directory and its first segment, durable when it returns. A directory that
// holds a segment already is refused with fs.ErrExist.
func Create(ctx context.Context, o Options, epoch uint64) error {
	if err := o.Validate(); err != nil {
		return err
	}
	o = o.withDefaults()
	if err := o.FS.Mkdir(o.Dir); err != nil {
		return &Error{Op: "make directory", File: o.Dir, Err: err}
	}
	names, err := listSegments(&o)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return &Error{Op: "create log", File: filepath.Join(o.Dir, names[0]), Err: fs.ErrExist}
	}
	s, err := createSegment(ctx, &o, 1, 0, epoch, nil)
	if err != nil {
		return err
	}
	if err := s.file.Close(); err != nil {
		return &Error{Op: "close", File: s.name, Err: err}
	}
	if err := o.FS.SyncDir(filepath.Dir(o.Dir)); err != nil {
		return &Error{Op: "flush directory of", File: o.Dir, Err: err}
	}
	return nil
}

// listSegments returns the names of all segment files in order of their sequence.
func listSegments(o *Options) ([]string, error) {
	entries, err := o.FS.ReadDir(o.Dir)
	if err != nil {
		return nil, &Error{Op: "list", File: o.Dir, Err: err}
	}
	var names []string
	for _, e := range entries {
		if _, ok := segmentSeq(e.Name); ok {
			names = append(names, e.Name) // fixed-width hex sorts as numbers
		}
	}
	slices.Sort(names)
	return names, nil
}

// Dir is a log directory between OpenDir and Start. Its methods are for one goroutine.
type Dir struct {
	o        Options
	readOnly bool
	segs     *segments
	scanned  bool
	tail     *Tail
	repaired bool
	started  bool
	headers  *headerRing // nil: there is none
}

// OpenDir opens and locks every segment file, exclusively unless readOnly, retrying while a dead
// process's I/O may still hold one (I11). It reads nothing.
func OpenDir(ctx context.Context, o Options, readOnly bool) (*Dir, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	names, err := listSegments(&o)
	if err != nil {
		return nil, err
	}
	d := &Dir{o: o, readOnly: readOnly}
	var list []*segment
	for _, name := range names {
		s, err := openSegment(ctx, &o, name, readOnly)
		if err != nil {
			return nil, errors.Join(err, closeAll(list))
		}
		list = append(list, s)
	}
	d.segs = newSegments(list)
	if d.headers, err = openHeaders(ctx, &o, readOnly); err != nil {
		return nil, errors.Join(err, closeAll(list))
	}
	return d, nil
}

func closeAll(list []*segment) error {
	var errs []error
	for _, s := range list {
		if err := s.file.Close(); err != nil {
			errs = append(errs, &Error{Op: "close", File: s.name, Err: err})
		}
	}
	return errors.Join(errs...)
}

// Flush flushes every segment file and the directory. The engine calls it before it reads evidence,
// so that what it reads cannot be lost by a power cut while it decides. A failure fails the open
// (I5).
func (d *Dir) Flush(ctx context.Context) error {
	if d.readOnly {
		return &Error{Op: "flush", File: d.o.Dir, Err: ErrReadOnly}
	}
	files := d.segs.list
	if d.headers != nil {
		files = append(files[:len(files):len(files)], &segment{file: d.headers.file, name: headersName})
	}
	for _, s := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.flush(&d.o, ring.Sync); err != nil {
			return err
		}
	}
	if err := d.o.FS.SyncDir(d.o.Dir); err != nil {
		return &Error{Op: "flush directory", File: d.o.Dir, Err: err}
	}
	return nil
}

// Close closes the files of a directory that was not started, and is harmless after Start.
func (d *Dir) Close() error {
	if d.started {
		return nil
	}
	d.started = true
	d.segs.mu.Lock()
	d.segs.closed = true
	d.segs.mu.Unlock()
	return errors.Join(closeAll(d.segs.list), d.headers.close())
}

// readHeaders reads every segment's header, once, and checks that the segments that have one form
// a single stream from start on: before it a cut that is forgotten by now may have left a gap.
func (d *Dir) readHeaders(start page.LSN) error {
	buf := d.o.Alloc(d.o.Block, d.o.Block)
	var last *segment
	for _, s := range d.segs.list {
		if s.formatted {
			continue
		}
		if err := s.readHeader(&d.o, buf); err != nil {
			return err
		}
		if !s.formatted {
			continue
		}
		if last != nil && (s.first < last.end() ||
			s.seq == last.seq+1 && s.first != last.end() && s.first > start && !d.segs.resumes(s.first)) {
			return d.corrupt(s, 0, finding{end: s.first},
				fmt.Errorf("it begins at LSN %d, the one before ends at %d", s.first, last.end()))
		}
		last = s
	}
	return nil
}

func (d *Dir) corrupt(s *segment, off int64, f finding, cause error) *CorruptError {
	e := &CorruptError{Dir: d.o.Dir, Offset: off, LSN: f.end, Epoch: f.epoch, Cause: cause}
	if s != nil {
		e.Segment = s.name
	}
	return e
}

// Segment describes one segment file, for inspection.
type Segment struct {
	Name   string
	Seq    uint64
	Bytes  int64
	First  page.LSN // of a formatted segment
	Epoch  uint64
	Intact bool  // name and header agree
	Why    error // why it is not intact
}

// Segments lists the segment files. Headers are known after Scan.
func (d *Dir) Segments() []Segment {
	var list []Segment
	for _, s := range d.segs.list {
		list = append(list, Segment{Name: s.name, Seq: s.seq, Bytes: s.size, First: s.first,
			Epoch: s.epoch, Intact: s.formatted, Why: s.why})
	}
	return list
}
