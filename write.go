package untorn

import (
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// PageHeader is the number of bytes at the start of every native page that are the engine's:
// checksum, LSN, identity. The caller's bytes follow. Pages of other formats have none.
const PageHeader = page.NativeHeader

// PageWrite is one page to be written.
type PageWrite struct {
	No page.No
	// LSN is the end of the last record that changed the page, 0 if none did. It never goes back. In
	// files of another system's format it is the page's own LSN, or 0, which means the same.
	LSN page.LSN
	// Unrecorded says that a change of the page is in no record, so that a replay would not bring it
	// back, although the page keeps an LSN. Modes fullpage and shadow log an image of it. (Of a page
	// with LSN 0, and in a file with foreign LSNs, they do so anyway.) Other modes need not be told.
	Unrecorded bool
	// Data is exactly one page. The first PageHeader bytes are overwritten (in memory of Alloc) or
	// ignored (elsewhere); in files of another system's format every byte is written as it is, and a
	// page that fails that format's checks is refused (ErrPageDamaged). Memory of Alloc becomes the engine's with the call, for good and even if
	// the call fails later than its checks; other memory is copied before WritePages returns or
	// WritePagesAsync does, and is the caller's again.
	Data []byte
}

// chunkPages is how many pages travel in one message; larger calls are several.
const chunkPages = 64

// chunk is one message of a call, with all the memory it needs.
type chunk struct {
	w      stages.Write
	pages  [chunkPages]stages.PageWrite
	frames [chunkPages]aligned.Frame
	taken  chan struct{}
	step   *stages.Step
	next   *chunk
}

// callPool recycles calls and chunks, so that the hot path allocates nothing.
type callPool struct {
	calls  chan *stages.Call
	chunks chan *chunk
	reads  chan *readChunk
}

func (p *callPool) init() {
	p.calls = make(chan *stages.Call, 1024)
	p.chunks = make(chan *chunk, 256)
	p.reads = make(chan *readChunk, 256)
}

func (p *callPool) call() *stages.Call {
	select {
	case c := <-p.calls:
		return c
	default:
		return stages.NewCall()
	}
}

func (p *callPool) putCall(c *stages.Call) {
	select {
	case p.calls <- c:
	default:
	}
}

func (p *callPool) chunk() *chunk {
	select {
	case c := <-p.chunks:
		return c
	default:
		return &chunk{taken: make(chan struct{}, 1), step: stages.NewStep()}
	}
}

func (p *callPool) putChunk(c *chunk) {
	c.next = nil
	select {
	case p.chunks <- c:
	default:
	}
}

// WritePages writes pages and waits until level holds for every one of them. The same page may
// come twice: the later image counts. A cancelled ctx ends the wait, never the write: the error
// then says MayBecomeDurable.
func (f *File) WritePages(ctx context.Context, pages []PageWrite, level Level) error {
	p, err := f.write(ctx, pages, level, true)
	if err != nil {
		return err
	}
	return p.Wait(ctx)
}

// WritePagesAsync is WritePages without the wait: the pages have been accepted when it returns.
func (f *File) WritePagesAsync(ctx context.Context, pages []PageWrite, level Level) (*Pending, error) {
	p, err := f.write(ctx, pages, level, false)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// Pending is a write that was accepted.
type Pending struct {
	f      *File
	call   *stages.Call // nil: nothing to wait for
	chunks *chunk
	step   *stages.Step // nil: none, or it has been run
	level  Level
	lsn    page.LSN // for Logged
	err    error
	over   bool
}

// Wait waits until the level asked for holds for every page. It may be called again after ctx
// ended; it is for one goroutine at a time.
func (p *Pending) Wait(ctx context.Context) error {
	if p.over {
		return p.err
	}
	e := p.f.e
	var err error
	switch {
	case p.call != nil:
		err = e.awaitStep(ctx, p.call, p.step)
		p.step = nil
	case p.lsn != 0:
		err = e.log.WaitDurable(ctx, p.lsn)
	}
	if err != nil {
		may := ctx.Err() != nil && errors.Is(err, ctx.Err())
		err = &Error{Op: "write", File: p.f.desc.Called(), LSN: p.lsn, MayBecomeDurable: may, Err: err}
		if may {
			return err // not over: the write goes on, and so may the wait
		}
		p.over, p.err = true, err
		return err
	}
	p.over = true
	if p.call != nil {
		for c := p.chunks; c != nil; {
			next := c.next
			e.calls.putChunk(c)
			c = next
		}
		e.calls.putCall(p.call)
		p.call, p.chunks = nil, nil
	}
	return nil
}

// check refuses what cannot be written, before anything of the call is accepted.
func (f *File) checkWrites(pages []PageWrite) (page.LSN, error) {
	ps := f.desc.PageSize
	n := page.No(f.pages.Load())
	var top page.LSN
	for i := range pages {
		w := &pages[i]
		var err error
		switch {
		case len(w.Data) != ps:
			err = fmt.Errorf("%w: %d bytes, pages have %d", ErrBufferSize, len(w.Data), ps)
		case w.No >= n:
			err = fmt.Errorf("%w: it has %d pages", ErrPageRange, n)
		}
		if err != nil {
			return 0, f.pageError("write", w.No, w.LSN, err)
		}
		lsn := w.LSN
		if f.foreign {
			if lsn, err = f.desc.Format.Check(w.Data, f.desc.Seed(w.No)); err == nil && w.LSN != 0 && w.LSN != lsn {
				err = fmt.Errorf("%w: the page has LSN %d", ErrOptions, lsn)
			}
			if err != nil {
				return 0, f.pageError("write", w.No, w.LSN, err)
			}
		}
		top = max(top, lsn)
	}
	if f.desc.ForeignLSN {
		return 0, nil
	}
	if end := f.e.log.End(); top > end { // I3: refused at once, never waited for
		return 0, &Error{Op: "write", File: f.desc.Called(), LSN: top, Err: fmt.Errorf("%w, which ends at %d", ErrLSNBeyondLog, end)}
	}
	f.e.acceptLSN(top)
	cuts := f.e.cutList()
	for i := range pages {
		if len(cuts) == 0 {
			break
		}
		lsn := pages[i].LSN
		if f.foreign {
			lsn = f.desc.Format.LSN(pages[i].Data)
		}
		if cutOff(cuts, lsn) { // of any page: a newer one beside it does not make it right
			return 0, f.pageError("write", pages[i].No, lsn, ErrCut)
		}
	}
	return top, nil
}

func (f *File) pageError(op string, no page.No, lsn page.LSN, err error) error {
	return &Error{Op: op, File: f.desc.Called(), Page: no, HasPage: true, LSN: lsn, Err: err}
}

func (f *File) enter(op string, write bool) error {
	if err := f.e.enter(write); err != nil {
		return &Error{Op: op, File: f.desc.Called(), Err: err}
	}
	if !f.gate.enter() {
		f.e.gate.leave()
		return &Error{Op: op, File: f.desc.Called(), Err: ErrUnknownFile}
	}
	return nil
}

func (f *File) leave() {
	f.gate.leave()
	f.e.gate.leave()
}

// write accepts pages: it copies them into frames, seals them and hands them to dwbstage. Calls
// after the checks are all or nothing only chunk by chunk; pages are independent anyway. A caller
// that waits right after can run a step of the stage itself.
func (f *File) write(ctx context.Context, pages []PageWrite, level Level, waits bool) (p Pending, err error) {
	p = Pending{f: f, level: level}
	if err := f.enter("write", true); err != nil {
		return p, err
	}
	defer f.leave()
	top, err := f.checkWrites(pages)
	if err != nil || len(pages) == 0 {
		return p, err
	}
	e := f.e
	switch level {
	case Durable, Protected:
		p.call = e.calls.call()
		p.call.Reset(level, len(pages))
	case Logged:
		p.lsn = top
	case Accepted:
	default:
		return p, &Error{Op: "write", File: f.desc.Called(), Err: fmt.Errorf("%w: level %s", ErrOptions, level)}
	}
	// Memory of Alloc becomes the engine's here, all of it or, if any of it is not the caller's, none.
	chunks, err := f.claim(pages, p.call)
	if err != nil {
		return p, err
	}
	if waits && p.call != nil && chunks.next == nil {
		p.step = chunks.step
		p.step.Reset()
		chunks.w.Step = p.step
	}
	accepted := false
	for c := chunks; c != nil; {
		next := c.next
		c.next = nil
		err := f.prepare(ctx, c, pages)
		if err == nil {
			err = f.deliver(ctx, c, pages)
		} else {
			f.giveBack(c)
		}
		if err != nil {
			for c := next; c != nil; {
				n := c.next
				f.giveBack(c)
				c = n
			}
			return p, &Error{Op: "write", File: f.desc.Called(), LSN: top, MayBecomeDurable: accepted, Err: err}
		}
		accepted = true
		pages = pages[len(c.w.Pages):]
		if p.call != nil {
			c.next, p.chunks = p.chunks, c
		} else {
			e.calls.putChunk(c)
		}
		c = next
	}
	return p, nil
}

// maxChunk keeps one chunk from needing more frames than a fraction of the engine's memory.
func (f *File) maxChunk() int {
	return max(1, int(f.e.o.Memory/4)/f.desc.PageSize)
}

// claim makes the chunks of a call, in order, and takes over the frames among its buffers.
func (f *File) claim(pages []PageWrite, call *stages.Call) (*chunk, error) {
	var first *chunk
	last := &first
	fail := func(w *PageWrite) (*chunk, error) {
		for c := first; c != nil; {
			next := c.next
			f.lendBack(c)
			c = next
		}
		return nil, f.pageError("write", w.No, w.LSN, ErrNotYours)
	}
	for len(pages) > 0 {
		n := min(len(pages), chunkPages, f.maxChunk())
		c := f.e.calls.chunk()
		c.w = stages.Write{File: f.desc, Pages: c.pages[:n], Taken: c.taken}
		*last, last = c, &c.next
		for i := range c.w.Pages {
			c.pages[i] = stages.PageWrite{No: pages[i].No, LSN: pages[i].LSN, W: stages.Waiter{Call: call}}
			if f.foreign {
				c.pages[i].LSN = f.desc.Format.LSN(pages[i].Data) // checkWrites has checked the page
			}
		}
		for i := range c.w.Pages {
			fr, ours, ok := f.e.frames.Claim(pages[i].Data)
			if ours && !ok {
				return fail(&pages[i])
			}
			c.pages[i].Frame = fr
		}
		pages = pages[n:]
	}
	return first, nil
}

// lendBack undoes claim for one chunk of a call that is refused.
func (f *File) lendBack(c *chunk) {
	n := 0
	for i := range c.w.Pages {
		if fr := c.w.Pages[i].Frame; fr.Buf != nil {
			c.frames[n] = fr
			n++
		}
	}
	f.e.frames.Lend(c.frames[:n])
	f.e.calls.putChunk(c)
}

// prepare gives a chunk its images and checksums. It runs in the caller's goroutine, so that callers
// share the work. pages begins with the chunk's.
func (f *File) prepare(ctx context.Context, c *chunk, pages []PageWrite) error {
	need := 0
	for i := range c.w.Pages {
		if c.w.Pages[i].Frame.Buf == nil {
			need++
		}
	}
	if need > 0 {
		if err := f.e.frames.Get(ctx, f.desc.PageSize, c.frames[:need]); err != nil {
			return err
		}
	}
	used := 0
	for i := range c.w.Pages {
		d := &c.w.Pages[i]
		if d.Frame.Buf == nil {
			d.Frame = c.frames[used]
			used++
			head := f.desc.Format.Header()
			copy(d.Frame.Buf[head:], pages[i].Data[head:])
		}
		if f.foreign {
			d.CRC = page.ImageCRC(d.Frame.Buf)
		} else {
			d.CRC = f.desc.Format.Seal(d.Frame.Buf, f.desc.Seed(d.No), d.LSN)
		}
	}
	return nil
}

// send hands a chunk over and waits until it has been taken into batches: from then on its frames
// are the stages'. The wait is the backpressure.
func (f *File) send(ctx context.Context, c *chunk) error {
	e := f.e
	e.dwb.Stamp(&c.w)
	select {
	case e.dwb.Inbox() <- stages.Msg{Write: &c.w}:
	case <-ctx.Done():
		f.giveBack(c)
		return ctx.Err()
	case <-e.poison.C():
		return e.Err()
	}
	// No ctx here: what is in the inbox is accepted. It is taken as soon as there is room.
	select {
	case <-c.taken:
		return nil
	case <-e.poison.C():
		return e.Err()
	}
}

// giveBack releases the memory of a chunk that was not accepted.
func (f *File) giveBack(c *chunk) {
	n := 0
	for i := range c.w.Pages {
		if fr := c.w.Pages[i].Frame; fr.Buf != nil {
			c.frames[n] = fr
			n++
		}
	}
	f.e.frames.Put(c.frames[:n])
	f.e.calls.putChunk(c)
}

// Sync waits until every page of the file accepted so far is durable (S4).
func (f *File) Sync(ctx context.Context) error {
	if err := f.enter("sync", true); err != nil {
		return err
	}
	defer f.leave()
	if err := f.e.barrier(ctx, f.desc); err != nil {
		return &Error{Op: "sync", File: f.desc.Called(), MayBecomeDurable: ctx.Err() != nil, Err: err}
	}
	return nil
}

// Alloc fills dst with pages of this file's size in the engine's own memory, which WritePages takes
// over without a copy. It waits until all of them are there; more than the engine has is
// ErrTooLarge. What is not written goes back with Free.
func (f *File) Alloc(ctx context.Context, dst [][]byte) error {
	if err := f.enter("alloc", true); err != nil {
		return err
	}
	defer f.leave()
	c := f.e.calls.chunk()
	defer f.e.calls.putChunk(c)
	frames := c.frames[:]
	if len(dst) > len(frames) {
		frames = make([]aligned.Frame, len(dst))
	}
	frames = frames[:len(dst)]
	// All at once: two callers that each hold a part and wait for the rest would wait for ever.
	if err := f.e.frames.Get(ctx, f.desc.PageSize, frames); err != nil {
		if errors.Is(err, aligned.ErrTooLarge) {
			err = fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
		return &Error{Op: "alloc", File: f.desc.Called(), Err: err}
	}
	f.e.frames.Lend(frames)
	for i := range frames {
		dst[i] = frames[i].Buf
	}
	return nil
}

// Free gives back memory of Alloc that was not written, and forgets the rest.
func (f *File) Free(pages [][]byte) {
	c := f.e.calls.chunk()
	for i, b := range pages {
		if fr, _, ok := f.e.frames.Claim(b); ok {
			c.frames[0] = fr
			f.e.frames.Put(c.frames[:1])
		}
		pages[i] = nil
	}
	f.e.calls.putChunk(c)
}
