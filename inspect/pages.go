package inspect

import (
	"context"
	"fmt"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/ring"
)

// pages reads and checks every page of the data files.
type pages struct {
	d      *Dir
	v      *Verdict
	clean  bool
	plan   func() (*recovery.Plan, error) // nil: recovery has nothing to repair from
	report func(done, total int64)

	done  atomic.Int64
	total int64

	mu  sync.Mutex
	bad []badPage
}

type badPage struct {
	f    *dataFile
	no   page.No
	lost bool // given up by an earlier recovery
	err  error
}

// piece is how much a worker reads at once.
const piece = 1 << 20

// maxFindings bounds the list; the counts go on.
const maxFindings = 200

type job struct {
	f        *dataFile
	from, to page.No
}

// verify fills in the verdict. Workers share the pieces of all files.
func (p *pages) verify(ctx context.Context, files []*dataFile) error {
	for _, f := range files {
		p.v.Files++
		p.v.Pages += f.info.Pages
		p.total += int64(f.info.Pages) * int64(f.info.PageSize)
	}
	p.v.Bytes = p.total
	jobs := make(chan job)
	var wg sync.WaitGroup
	for range min(8, 2*runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			buf := aligned.Alloc(piece, page.MaxSize)
			for j := range jobs {
				p.check(ctx, j, buf)
			}
		})
	}
	for _, f := range files {
		step := page.No(max(1, piece/f.info.PageSize))
		for no := page.No(0); no < page.No(f.info.Pages) && ctx.Err() == nil; no += step {
			jobs <- job{f, no, min(no+step, page.No(f.info.Pages))}
			if p.report != nil {
				p.report(p.done.Load(), p.total)
			}
		}
	}
	close(jobs)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.settle()
}

func (p *pages) check(ctx context.Context, j job, buf []byte) {
	ps := j.f.info.PageSize
	b := buf[:int(j.to-j.from)*ps]
	err := p.d.ring.Do(&ring.Op{Kind: ring.Read, File: j.f.io, Off: j.f.desc.Offset(j.from),
		Buf: b})
	for no := j.from; no < j.to; no++ {
		img := b[int(no-j.from)*ps:][:ps]
		if err == nil && p.sound(j.f, no, img) == nil {
			continue
		}
		p.again(ctx, j.f, no, img)
	}
	p.done.Add(int64(len(b)))
}

func (p *pages) sound(f *dataFile, no page.No, img []byte) error {
	_, err := f.desc.Format.Check(img, f.desc.Seed(no))
	return err
}

// again reads a page alone: a running engine may have been writing it, and one bad sector must not
// condemn its neighbours. A page that is whole once is whole.
func (p *pages) again(ctx context.Context, f *dataFile, no page.No, img []byte) {
	var err error
	for _, wait := range []time.Duration{0, 5, 50} {
		select {
		case <-time.After(wait * time.Millisecond):
		case <-ctx.Done():
			return
		}
		err = p.d.ring.Do(&ring.Op{Kind: ring.Read, File: f.io, Off: f.desc.Offset(no), Buf: img})
		if err == nil {
			if err = p.sound(f, no, img); err == nil {
				return
			}
		}
	}
	lost := recovery.IsLost(img)
	p.mu.Lock()
	p.bad = append(p.bad, badPage{f, no, lost, err})
	p.mu.Unlock()
}

// settle says of every damaged page whether recovery repairs it.
func (p *pages) settle() error {
	if len(p.bad) == 0 {
		return nil
	}
	sort.Slice(p.bad, func(i, j int) bool {
		a, b := &p.bad[i], &p.bad[j]
		return a.f.info.ID < b.f.info.ID || a.f.info.ID == b.f.info.ID && a.no < b.no
	})
	type key struct {
		file uint32
		page uint64
	}
	outcomes := map[key]recovery.Outcome{}
	if p.plan != nil {
		plan, err := p.plan()
		if err != nil {
			return err
		}
		for _, o := range plan.Report.Pages {
			outcomes[key{o.FileID, o.Page}] = o
		}
	}
	for _, b := range p.bad {
		o, named := outcomes[key{uint32(b.f.info.ID), uint64(b.no)}]
		s, what := Damaged, b.err.Error()
		switch {
		case b.lost:
			what = "given up by an earlier recovery; readable again once it is written"
		case named && o.Source != recovery.Lost.String() && o.Source != recovery.FromDestination.String():
			s = Repairable
			what += fmt.Sprintf("; recovery repairs it from doublewrite batch %s, LSN %d", o.Seq,
				o.LSN)
		case named:
			what += "; " + o.Reason
		case p.clean:
			what += "; the directory was closed in order: no copy may be used"
		default:
			what += "; no doublewrite copy above the watermark names it"
		}
		if s == Repairable {
			p.v.PagesRepairable++
		} else {
			p.v.PagesDamaged++
		}
		if len(p.v.Findings) < maxFindings {
			p.v.find(s, fmt.Sprintf("page %d of %s", b.no, b.f.info.Name), "%s", what)
		}
	}
	if n := p.v.PagesDamaged + p.v.PagesRepairable; n > uint64(len(p.v.Findings)) {
		p.v.Notes = append(p.v.Notes, fmt.Sprintf("%d damaged pages in all; not all are listed", n))
	}
	return nil
}
