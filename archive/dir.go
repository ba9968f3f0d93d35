package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/walstage"
)

// partSuffix follows the name of a segment that was not finished.
const partSuffix = ".part"

// Errors to test for with errors.Is.
var (
	// ErrConflict: the archive holds another segment of that name.
	ErrConflict = errors.New("the archive holds another segment of this name")
	// ErrChain: a segment does not follow the one before it in the archive.
	ErrChain = errors.New("the segment does not follow the one before it")
)

// Dir is an archive in a directory. It implements untorn.Archiver. Methods may be called from any
// goroutine.
type Dir struct {
	path string
	mu   sync.Mutex
	last *walstage.Checked // the segment archived last
}

// Open opens an archive, and makes the directory if it is not there.
func Open(path string) (*Dir, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, &fs.PathError{Op: "open archive", Path: path, Err: syscall.ENOTDIR}
	}
	return &Dir{path: path}, nil
}

// Path of the directory.
func (d *Dir) Path() string { return d.path }

// Archive implements untorn.Archiver: the segment is durable in the archive when it returns nil.
func (d *Dir) Archive(ctx context.Context, s *walstage.Finished) error {
	return d.put(ctx, s.Name, s.Bytes(), func(w io.Writer) error { return s.Copy(ctx, s.End, w) })
}

// PutFile archives a segment file of a directory that is not in use, or one that nothing is added to
// any more. finished says which: one that is not takes the place of what was known of it before.
func (d *Dir) PutFile(ctx context.Context, path string, c *walstage.Checked, finished bool) error {
	f, err := openFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	name, n := walstage.SegmentName(c.Seq), c.Length
	if !finished {
		name, n = name+partSuffix, c.Used
	}
	return d.put(ctx, name, n, func(w io.Writer) error {
		_, err := io.CopyN(w, ctxReader{ctx, f}, n)
		return err
	})
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p[:min(len(p), 1<<20)])
}

// openFile opens what must be a regular file.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: fsys.ErrNotFile}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// put stores n bytes that copy writes, under name, whole or not at all.
func (d *Dir) put(ctx context.Context, name string, n int64, copy func(io.Writer) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	fail := func(err error) error { return fmt.Errorf("archive %s: %s: %w", d.path, name, err) }
	path := filepath.Join(d.path, name)
	part := strings.HasSuffix(name, partSuffix)
	if _, err := os.Lstat(path); err == nil && !part {
		same, err := d.same(path, n, copy)
		if err == nil && !same {
			err = ErrConflict
		}
		if err != nil {
			return fail(err)
		}
		return nil
	}
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	if err != nil {
		return fail(noSpace(err))
	}
	c, err := d.fill(f, n, copy)
	if err = errors.Join(err, f.Close()); err != nil {
		return fail(errors.Join(noSpace(err), os.Remove(tmp)))
	}
	if err := d.follows(c); err != nil {
		return fail(errors.Join(err, os.Remove(tmp)))
	}
	if err := ctx.Err(); err != nil {
		return fail(errors.Join(err, os.Remove(tmp)))
	}
	if err := os.Rename(tmp, path); err != nil {
		return fail(err)
	}
	if err := fsys.OS().SyncDir(d.path + "/."); err != nil {
		return fail(err)
	}
	if part {
		return nil
	}
	d.last = c
	if err := os.Remove(path + partSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err) // it holds less than what has its name now
	}
	return nil
}

// fill writes, flushes, reads back and checks.
func (d *Dir) fill(f *os.File, n int64, copy func(io.Writer) error) (*walstage.Checked, error) {
	if err := copy(f); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() != n {
		return nil, fmt.Errorf("%d bytes were written of %d", st.Size(), n)
	}
	return walstage.CheckSegment(f, n, nil)
}

// same compares a segment with the one that is there already.
func (d *Dir) same(path string, n int64, copy func(io.Writer) error) (bool, error) {
	f, err := openFile(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() != n {
		return false, err
	}
	w := &comparer{r: f}
	if err := copy(w); err != nil && !errors.Is(err, errDiffers) {
		return false, err
	} else if err != nil {
		return false, nil
	}
	c, err := walstage.CheckSegment(f, n, nil)
	if err == nil {
		d.last = c
	}
	return err == nil, err
}

var errDiffers = errors.New("differs")

// comparer is a writer that compares.
type comparer struct {
	r   io.Reader
	buf []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	b := c.buf[:len(p)]
	if _, err := io.ReadFull(c.r, b); err != nil {
		return 0, err
	}
	if !slices.Equal(b, p) {
		return 0, errDiffers
	}
	return len(p), nil
}

// follows checks a segment against the one before it, if the archive has that.
func (d *Dir) follows(c *walstage.Checked) error {
	if c.Seq == 1 {
		return nil
	}
	p := d.last
	if p == nil || p.Seq != c.Seq-1 {
		path := filepath.Join(d.path, walstage.SegmentName(c.Seq-1))
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return nil // the archive begins here
		}
		var err error
		if p, err = check(path); err != nil {
			return fmt.Errorf("the segment before it: %w", err)
		}
	}
	if err := c.Follows(p); err != nil {
		return fmt.Errorf("%w: %w", ErrChain, err)
	}
	return nil
}

func check(path string) (*walstage.Checked, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	c, err := walstage.CheckSegment(f, st.Size(), nil)
	if err == nil && walstage.SegmentName(c.Seq) != strings.TrimSuffix(filepath.Base(path), partSuffix) {
		err = fmt.Errorf("its header says segment %d", c.Seq)
	}
	return c, err
}

// noSpace makes a full disk match fsys.ErrNoSpace.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errors.Join(fsys.ErrNoSpace, err)
	}
	return err
}
