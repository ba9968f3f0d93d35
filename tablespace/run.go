package tablespace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/untorn/untorn/page"
)

// Options of a check.
type Options struct {
	// Path is a data directory or one data file.
	Path string
	// PageBytes is the page size where the files do not tell. 0 = found out: from pg_control and from
	// the header page of an InnoDB file; a lone file of PostgreSQL's has 8 KiB.
	PageBytes int
	// Progress is told how many bytes of how many have been read; nil = nobody is. It is called from
	// one goroutine at a time.
	Progress func(done, total int64)
}

// errUnchecked with a reason: no checksum covers the page.
type errUnchecked struct{ why string }

func (e *errUnchecked) Error() string { return e.why }

// file is one data file to be checked, and how.
type file struct {
	path      string
	name      string // below the path that was asked for
	kind      string
	size      int64
	pageBytes int
	first     page.No // number of its first page
	innodb    *kind   // nil for PostgreSQL
	// check judges one page; *errUnchecked: it cannot be told.
	check func(img []byte, no page.No) error
}

// survey is what there is to be checked.
type survey struct {
	v     *Verdict
	live  bool // the server may be running: what looks wrong may be a write under way
	files []*file
}

// piece is how much a worker reads at once: a multiple of every page size.
const piece = 1 << 20

type job struct {
	file     int
	from, to int64
}

// runner reads and judges. Workers share the pieces of all files.
type runner struct {
	s      *survey
	report func(done, total int64)
	done   atomic.Int64

	mu  sync.Mutex
	out []File
}

// run checks every page of every file.
func (s *survey) run(ctx context.Context, o Options, begun time.Time) (*Verdict, error) {
	r := &runner{s: s, report: o.Progress, out: make([]File, len(s.files))}
	var total int64
	for i, f := range s.files {
		total += f.size
		r.out[i] = File{Name: f.name, Kind: f.kind, PageBytes: f.pageBytes, Pages: uint64(f.size / int64(f.pageBytes))}
		if rest := f.size % int64(f.pageBytes); rest != 0 {
			r.rest(f, rest)
		}
	}
	jobs := make(chan job)
	var wg sync.WaitGroup
	for range min(8, 2*runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			buf := make([]byte, piece)
			for j := range jobs {
				r.piece(ctx, j, buf)
			}
		})
	}
	for i, f := range s.files {
		end := f.size / int64(f.pageBytes) * int64(f.pageBytes)
		for at := int64(0); at < end && ctx.Err() == nil; at += piece {
			jobs <- job{i, at, min(at+piece, end)}
			if r.report != nil {
				r.report(r.done.Load(), total)
			}
		}
	}
	close(jobs)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.v.Files = r.out
	s.v.InUse = s.live
	s.v.finish()
	s.v.Seconds = time.Since(begun).Seconds()
	return s.v, nil
}

// rest is a part of a page at the end of a file.
func (r *runner) rest(f *file, n int64) {
	if r.s.live {
		r.s.v.note("%s ends %d bytes into a page: it may be growing", f.name, n)
		return
	}
	r.find(Finding{File: f.name, Page: uint64(f.size / int64(f.pageBytes)), Offset: f.size - n,
		What: fmt.Sprintf("the file ends %d bytes into a page of %d", n, f.pageBytes), Whole: true})
}

func (r *runner) find(x Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.s.v.Findings) < maxFindings {
		r.s.v.Findings = append(r.s.v.Findings, x)
	}
}

// openFile opens for reading; the last part of the path is no symlink, and nothing to wait for.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// piece checks one piece of a file.
func (r *runner) piece(ctx context.Context, j job, buf []byte) {
	f := r.s.files[j.file]
	defer r.done.Add(j.to - j.from)
	in, err := openFile(f.path)
	if err != nil {
		if r.s.live && errors.Is(err, fs.ErrNotExist) {
			return // dropped meanwhile
		}
		r.find(Finding{File: f.name, Offset: j.from, What: err.Error(), Whole: true})
		return
	}
	defer in.Close()
	b := buf[:j.to-j.from]
	n, err := in.ReadAt(b, j.from)
	if err != nil {
		n = n / f.pageBytes * f.pageBytes // the rest page by page
	}
	sum := File{}
	for at := 0; at < len(b); at += f.pageBytes {
		if ctx.Err() != nil {
			return
		}
		img := b[at : at+f.pageBytes]
		no := uint64((j.from + int64(at)) / int64(f.pageBytes))
		var bad error
		if at < n {
			bad = f.check(img, f.first+page.No(no))
		} else {
			bad = errUnread
		}
		if first := bad; bad != nil && !isUnchecked(bad) {
			if bad = r.again(ctx, in, f, img, no); bad == nil && first != errUnread {
				r.reread()
			}
		}
		if bad != nil && !isUnchecked(bad) && f.innodb != nil && f.innodb.free(in, f, f.first+page.No(no)) {
			sum.Free++
			continue
		}
		r.count(&sum, f, img, no, bad)
	}
	r.mu.Lock()
	x := &r.out[j.file]
	x.Empty += sum.Empty
	x.Damaged += sum.Damaged
	x.Unchecked += sum.Unchecked
	x.Free += sum.Free
	if x.Why == "" {
		x.Why = sum.Why
	}
	r.mu.Unlock()
}

// errUnread is a page that the read of a whole piece did not get to.
var errUnread = errors.New("not read")

func (r *runner) reread() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.v.Reread++
}

func isUnchecked(err error) bool {
	var u *errUnchecked
	return errors.As(err, &u)
}

// again reads a page alone: the server may have been writing it, and one bad sector must not condemn
// its neighbours. A page that is whole once is whole; one that is no longer there is no page.
func (r *runner) again(ctx context.Context, in *os.File, f *file, img []byte, no uint64) (err error) {
	waits := []time.Duration{0}
	if r.s.live {
		waits = []time.Duration{0, 5, 50, 200}
	}
	for _, wait := range waits {
		select {
		case <-time.After(wait * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err = in.ReadAt(img, int64(no)*int64(f.pageBytes)); err != nil {
			if errors.Is(err, io.EOF) && r.s.live {
				return nil
			}
			clear(img)
			continue
		}
		if err = f.check(img, f.first+page.No(no)); err == nil || isUnchecked(err) {
			return err
		}
	}
	return err
}

// count adds a page to the sums.
func (r *runner) count(sum *File, f *file, img []byte, no uint64, bad error) {
	var u *errUnchecked
	switch {
	case errors.As(bad, &u):
		sum.Unchecked++
		sum.Why = u.why
	case bad != nil:
		sum.Damaged++
		r.find(Finding{File: f.name, Page: no, Offset: int64(no) * int64(f.pageBytes), What: bad.Error()})
	case page.Zeros(img):
		sum.Empty++
	}
}

// below names a path as seen from root.
func below(root, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil && rel != "." {
		return rel
	}
	return filepath.Base(path)
}
