package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// naiveTarget is the baselines: a doublewrite without a pipeline. Every client has a place of its
// own in the copy file and does its own flushes; nothing is shared, and nothing recovers.
type naiveTarget struct {
	c    *Config
	dir  string
	dwb  string // of the copies
	ring ring.Ring
	copy fsys.File
	data fsys.File
}

const (
	naiveHeader = 4096 // in front of the copies of a batch: which pages they are, and checksums
	naiveSeed   = 0x756e746f726e
)

func newNaiveTarget(ctx context.Context, c *Config, dir, dwb string) (*naiveTarget, error) {
	t := &naiveTarget{c: c, dir: dir, dwb: dwb}
	if err := t.open(true); err != nil {
		return t, errors.Join(err, t.close(ctx))
	}
	if err := fillFile(ctx, t.ring, t.copy, int64(c.Clients)*t.slot(), c.Seed); err != nil {
		return t, errors.Join(err, t.close(ctx))
	}
	if err := t.format(ctx); err != nil {
		return t, errors.Join(err, t.close(ctx))
	}
	return t, nil
}

// batched is naive-batch: through the page cache, a batch at a time.
func (t *naiveTarget) batched() bool { return t.c.Mode == NaiveBatch }

// slot is the bytes of one client's place in the copy file.
func (t *naiveTarget) slot() int64 {
	head := int64(max(naiveHeader, t.c.PageBytes))
	if t.batched() {
		return head + int64(t.c.Batch*t.c.PageBytes)
	}
	return head + int64(t.c.PageBytes)
}

func (t *naiveTarget) open(create bool) error {
	backend := t.c.Backend
	if t.batched() {
		backend = ring.Buffered
	}
	var err error
	if t.ring, err = ring.New(ring.Config{Backend: backend}); err != nil {
		return err
	}
	flags := fsys.OpenFlags{Create: create, Direct: backend != ring.Buffered}
	if t.copy, err = fsys.OS().Open(filepath.Join(t.dwb, "copies"), flags); err != nil {
		return err
	}
	t.data, err = fsys.OS().Open(filepath.Join(t.dir, "data"), flags)
	return err
}

// format makes the data file of valid empty pages, as the engine does.
func (t *naiveTarget) format(ctx context.Context) error {
	ps := t.c.PageBytes
	if err := t.data.Preallocate(0, int64(t.c.pages())*int64(ps)); err != nil {
		return err
	}
	buf := aligned.Alloc(1<<20, max(4096, ps))
	for no := uint64(0); no < t.c.pages(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(uint64(len(buf)/ps), t.c.pages()-no)
		for i := range n {
			page.Native{}.Init(buf[int(i)*ps:int(i+1)*ps], naivePage(page.No(no+i)))
		}
		op := ring.Op{Kind: ring.Write, File: t.data, Off: int64(no) * int64(ps), Buf: buf[:int(n)*ps]}
		if err := t.ring.Do(&op); err != nil {
			return err
		}
		no += n
	}
	return t.ring.Do(&ring.Op{Kind: ring.Sync, File: t.data})
}

func naivePage(no page.No) page.Seed { return page.Seed{Incarnation: naiveSeed, No: no} }

func (t *naiveTarget) settle(context.Context) error {
	return t.ring.Do(&ring.Op{Kind: ring.DataSync, File: t.data})
}

func (t *naiveTarget) close(context.Context) error {
	var errs []error
	if t.ring != nil {
		errs = append(errs, t.ring.Close())
	}
	for _, f := range []fsys.File{t.copy, t.data} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	t.ring, t.copy, t.data = nil, nil, nil
	return errors.Join(errs...)
}

func (t *naiveTarget) reopen(ctx context.Context) error {
	if err := t.close(ctx); err != nil {
		return err
	}
	return t.open(false)
}

func (t *naiveTarget) counts() counts {
	var c counts
	if s, ok := t.ring.(ring.StatsRing); ok {
		c.ring = s.Stats()
	}
	return c
}

func (t *naiveTarget) fresh() {}

func (t *naiveTarget) describe(r *Result) {
	in := t.ring.Info()
	r.Backend, r.BackendReason = in.Backend, in.Reason
	if t.batched() {
		r.BackendReason = "this baseline goes through the page cache"
	}
	direct, why := t.data.Direct()
	if r.DirectIO = direct; why != nil {
		r.DirectReason = why.Error()
	}
}

// naiveWorker has one buffer: header, then the pages of a batch.
type naiveWorker struct {
	t     *naiveTarget
	at    int64 // its place in the copy file
	head  int
	mem   []byte
	bufs  [][]byte
	write ring.Op
	flush ring.Op
	read  []byte
}

func (t *naiveTarget) worker(i int) worker {
	ps := t.c.PageBytes
	head := max(naiveHeader, ps)
	w := &naiveWorker{t: t, at: int64(i) * t.slot(), head: head, mem: aligned.Alloc(head+t.c.Batch*ps, max(4096, ps))}
	for k := range t.c.Batch {
		w.bufs = append(w.bufs, w.page(k))
	}
	return w
}

func (w *naiveWorker) page(i int) []byte {
	ps := w.t.c.PageBytes
	at := w.head + i*ps
	return w.mem[at : at+ps : at+ps]
}

func (w *naiveWorker) take(_ context.Context, n int) ([][]byte, error) { return w.bufs[:n], nil }
func (w *naiveWorker) give()                                           {}

// step writes buf and flushes it.
func (w *naiveWorker) step(f fsys.File, off int64, buf []byte) error {
	if err := w.only(f, off, buf); err != nil {
		return err
	}
	w.flush = ring.Op{Kind: ring.DataSync, File: f}
	return w.t.ring.Do(&w.flush)
}

func (w *naiveWorker) only(f fsys.File, off int64, buf []byte) error {
	w.write = ring.Op{Kind: ring.Write, File: f, Off: off, Buf: buf}
	return w.t.ring.Do(&w.write)
}

func (w *naiveWorker) put(_ context.Context, nos []page.No) error {
	ps := int64(w.t.c.PageBytes)
	for i, no := range nos {
		crc := page.Native{}.Seal(w.bufs[i], naivePage(no), 0)
		if k := i * 12; k+12 <= w.head {
			binary.LittleEndian.PutUint64(w.mem[k:], uint64(no))
			binary.LittleEndian.PutUint32(w.mem[k+8:], crc)
		}
	}
	if w.t.batched() {
		if err := w.step(w.t.copy, w.at, w.mem[:w.head+len(nos)*int(ps)]); err != nil {
			return err
		}
		for i, no := range nos {
			if err := w.only(w.t.data, int64(no)*ps, w.bufs[i]); err != nil {
				return err
			}
		}
		w.flush = ring.Op{Kind: ring.DataSync, File: w.t.data}
		return w.t.ring.Do(&w.flush)
	}
	for i, no := range nos {
		if err := w.step(w.t.copy, w.at+int64(w.head), w.bufs[i]); err != nil {
			return err
		}
		if err := w.step(w.t.data, int64(no)*ps, w.bufs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *naiveWorker) get(_ context.Context, nos []page.No, see func(int, []byte)) error {
	ps := w.t.c.PageBytes
	if w.read == nil {
		w.read = aligned.Alloc(ps, max(4096, ps))
	}
	for i, no := range nos {
		op := ring.Op{Kind: ring.Read, File: w.t.data, Off: int64(no) * int64(ps), Buf: w.read}
		if err := w.t.ring.Do(&op); err != nil {
			return err
		}
		if _, err := (page.Native{}).Check(w.read, naivePage(no)); err != nil {
			return err
		}
		see(i, w.read)
	}
	return nil
}
