package untorn

import (
	"context"
	"fmt"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// PageRead is one page to be read.
type PageRead struct {
	No page.No
	// Data gets the page, header included; exactly one page long.
	Data []byte
	// LSN is the page's, set by the call.
	LSN page.LSN
	// Err is this page's outcome: nil, ErrPageDamaged, ErrPageLost, a read error, or ErrPoisoned for a page
	// that was being written when the engine stopped.
	Err error
}

// readChunk is one message of a read.
type readChunk struct {
	r      stages.Read
	pages  [chunkPages]stages.ReadPage
	frames [chunkPages]aligned.Frame
}

func (p *callPool) readChunk() *readChunk {
	select {
	case c := <-p.reads:
		return c
	default:
		return &readChunk{}
	}
}

func (p *callPool) putReadChunk(c *readChunk) {
	select {
	case p.reads <- c:
	default:
	}
}

// ReadPages reads the newest accepted image of each page and verifies it. Every page has its own
// Err; the call returns the first of them. After poison pages that were not being written may still
// be read; of the others nobody knows what became, and they are ErrPoisoned.
func (f *File) ReadPages(ctx context.Context, pages []PageRead) error {
	if err := f.enter("read", false); err != nil {
		return err
	}
	defer f.leave()
	n := page.No(f.pages.Load())
	for i := range pages {
		p := &pages[i]
		p.LSN, p.Err = 0, nil
		switch {
		case len(p.Data) != f.desc.PageSize:
			return f.pageError("read", p.No, 0, fmt.Errorf("%w: %d bytes, pages have %d", ErrBufferSize, len(p.Data), f.desc.PageSize))
		case p.No >= n:
			return f.pageError("read", p.No, 0, fmt.Errorf("%w: it has %d pages", ErrPageRange, n))
		}
	}
	if f.e.o.ReadOnly {
		return f.readDirect(ctx, pages)
	}
	var first error
	for len(pages) > 0 {
		k := min(len(pages), chunkPages, f.maxChunk())
		if err := f.readChunk(ctx, pages[:k]); err != nil && first == nil {
			first = err
		}
		if err := ctx.Err(); err != nil {
			return &Error{Op: "read", File: f.desc.Called(), Err: err}
		}
		pages = pages[k:]
	}
	return first
}

func (f *File) readChunk(ctx context.Context, pages []PageRead) error {
	e := f.e
	c := e.calls.readChunk()
	if err := e.frames.Get(ctx, f.desc.PageSize, c.frames[:len(pages)]); err != nil {
		e.calls.putReadChunk(c)
		return &Error{Op: "read", File: f.desc.Called(), Err: err}
	}
	call := e.calls.call()
	call.Reset(stages.Durable, len(pages))
	for i := range pages {
		c.pages[i] = stages.ReadPage{No: pages[i].No, Buf: c.frames[i].Buf, Fixed: c.frames[i].Fixed}
	}
	c.r = stages.Read{File: f.desc, Pages: c.pages[:len(pages)], Call: call}
	select {
	case e.dwb.Inbox() <- stages.Msg{Read: &c.r}:
	case <-ctx.Done():
		e.frames.Put(c.frames[:len(pages)])
		return &Error{Op: "read", File: f.desc.Called(), Err: ctx.Err()}
	}
	select {
	case <-call.Done():
	case <-e.ended: // Close gave up waiting for this call; rings and stages are gone
		e.frames.Put(c.frames[:len(pages)])
		return &Error{Op: "read", File: f.desc.Called(), Err: ErrClosed}
	case <-ctx.Done():
		go func() { // the frames are the kernel's until the read is over
			select {
			case <-call.Done():
			case <-e.ended:
			}
			e.frames.Put(c.frames[:len(pages)])
		}()
		return &Error{Op: "read", File: f.desc.Called(), Err: ctx.Err()}
	}
	var first error
	failed := call.Err()
	for i := range pages {
		p := &pages[i]
		copy(p.Data, c.pages[i].Buf)
		switch p.Err = c.pages[i].Err; {
		case p.Err == nil:
			p.LSN, p.Err = f.verify(p.Data, p.No)
		case c.pages[i].Fresh: // an image in memory can be had unless its write will never end
			p.Err = poisoned(p.Err)
		}
		if p.Err != nil {
			p.Err = f.pageError("read", p.No, p.LSN, p.Err)
			if first == nil {
				first = p.Err
			}
		}
	}
	if first == nil && failed != nil {
		first = &Error{Op: "read", File: f.desc.Called(), Err: failed}
	}
	e.frames.Put(c.frames[:len(pages)])
	e.calls.putCall(call)
	e.calls.putReadChunk(c)
	return first
}

// verify checks an image; in mode none it only looks for the LSN.
func (f *File) verify(b []byte, no page.No) (page.LSN, error) {
	lsn, err := f.desc.Format.Check(b, f.desc.Seed(no))
	if err == nil {
		return lsn, nil
	}
	if recovery.IsLost(b) {
		return 0, ErrPageLost
	}
	if !f.check {
		return 0, nil
	}
	return 0, err
}

// readDirect serves a read-only engine, which has no stages: nothing is in flight.
func (f *File) readDirect(ctx context.Context, pages []PageRead) error {
	buf := aligned.Alloc(f.desc.PageSize, max(f.desc.PageSize, f.e.current().Block))
	var first error
	for i := range pages {
		if err := ctx.Err(); err != nil {
			return &Error{Op: "read", File: f.desc.Called(), Err: err}
		}
		p := &pages[i]
		p.Err = f.e.page.Do(&ring.Op{Kind: ring.Read, File: f.io, Off: f.desc.Offset(p.No), Buf: buf})
		if p.Err == nil {
			copy(p.Data, buf)
			p.LSN, p.Err = f.verify(p.Data, p.No)
		}
		if p.Err != nil {
			p.Err = f.pageError("read", p.No, 0, p.Err)
			if first == nil {
				first = p.Err
			}
		}
	}
	return first
}
