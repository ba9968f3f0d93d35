package untorn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// pageImages is what a file in mode fullpage or shadow knows of its images in the log.
//
// In mode fullpage the first write of a page after a Checkpoint call (and after an open) logs an
// image, and later ones rely on it until the next call. "First" is one bit a page, kept in the
// generation between two calls. A bit is set once its image has been appended, and in the generation
// the writer belongs to, never in a later one: whoever sees it finds the image behind the call.
type pageImages struct {
	every bool // an image of every write: mode shadow, and files with a foreign LSN space
	bits  [2]bitmap
	// last is the highest end of an image so far. A write that logs none waits for the log through
	// here before any copy of it is submitted (I3): its own image is no further.
	last atomic.Uint64
	// way is held for reading by writers that log images, and for writing by whoever sends the file
	// through the doublewrite buffer instead (leaveImages), once.
	way  sync.RWMutex
	left atomic.Pointer[error]

	logged, bytes atomic.Uint64 // images, and bytes of their records
}

// imageRing is the engine's part: which generation it is, and how images are encoded.
type imageRing struct {
	gens    generations
	codec   pageimage.Codec
	scratch chan *imageScratch
}

// imageScratch is memory for one image being encoded.
type imageScratch struct {
	head [pageimage.HeadBytes]byte
	img  pageimage.Image
	buf  []byte
}

func (r *imageRing) init(codec pageimage.Codec) {
	r.gens.init()
	r.codec = codec
	r.scratch = make(chan *imageScratch, 64)
}

func (r *imageRing) get() *imageScratch {
	select {
	case s := <-r.scratch:
		return s
	default:
		s := &imageScratch{}
		if r.codec != nil {
			s.buf = make([]byte, 2*page.MaxSize)
		}
		return s
	}
}

func (r *imageRing) put(s *imageScratch) {
	select {
	case r.scratch <- s:
	default:
	}
}

// deliver hands a chunk with its images and checksums to the stages, logging page images first where
// the file is protected by them.
func (f *File) deliver(ctx context.Context, c *chunk, pages []PageWrite) error {
	im := f.images.Load()
	if im == nil {
		return f.send(ctx, c)
	}
	sent, err := f.deliverImaged(im, c, pages)
	if sent {
		return err
	}
	if errors.Is(err, walstage.ErrLogFull) {
		if err = f.leaveImages(ctx, im, err); err == nil {
			return f.send(ctx, c)
		}
	}
	f.giveBack(c)
	return err
}

func (f *File) deliverImaged(im *pageImages, c *chunk, pages []PageWrite) (sent bool, err error) {
	e := f.e
	im.way.RLock()
	defer im.way.RUnlock()
	if im.left.Load() == nil {
		// A Checkpoint that is called from here on waits until this chunk is accepted.
		gen := e.images.gens.enter()
		defer e.images.gens.leave(gen)
		if err := f.logImages(im, gen, c, pages); err != nil {
			return false, err
		}
	}
	// No ctx: what the log has an image of is accepted.
	return true, f.send(context.Background(), c)
}

// logImages appends the images of a chunk's pages that need one. pages begins with the chunk's.
func (f *File) logImages(im *pageImages, gen uint32, c *chunk, pages []PageWrite) error {
	e := f.e
	s := e.images.get()
	defer e.images.put(s)
	bits := &im.bits[gen%2]
	for i := range c.w.Pages {
		d := &c.w.Pages[i]
		d.Through, d.Imaged = 0, false
		always := im.every || d.LSN == 0 || pages[i].Unrecorded
		if !always && bits.has(d.No) {
			d.Through = page.LSN(im.last.Load())
			continue
		}
		m := &s.img
		*m = pageimage.Image{Page: page.ID{File: f.desc.ID, No: d.No}, LSN: d.LSN, CRC: d.CRC}
		if always {
			m.Flags |= pageimage.Always
		}
		if f.desc.ForeignLSN {
			m.Flags |= pageimage.Foreign
		}
		a, b := m.Encode(&s.head, d.Frame.Buf, e.images.codec, s.buf)
		_, end, err := e.log.AppendParts(pageimage.Kind, s.head[:], a, b)
		if err != nil {
			return e.logError("log page image", d.LSN, err)
		}
		if e.o.Mutants.Has(stages.ImageRace) { // whatever happens meanwhile
			_ = e.log.WaitDurable(context.Background(), end)
			bits = &im.bits[e.images.gens.now()%2]
		}
		im.logged.Add(1)
		im.bytes.Add(uint64(pageimage.HeadBytes + len(a) + len(b)))
		e.ckpt.grown(end)
		raise(&im.last, uint64(end)) // before the bit: who sees the bit waits for the image
		bits.set(d.No)
		d.Through, d.Imaged = end, true
	}
	return nil
}

// raise makes x at least v.
func raise(x *atomic.Uint64, v uint64) {
	for {
		have := x.Load()
		if have >= v || x.CompareAndSwap(have, v) {
			return
		}
	}
}

// leaveImages sends a file through the doublewrite buffer, until it is opened again: the log has no
// room for its images. So a full log never keeps pages from being written, and a Checkpoint can
// empty it. Images logged before count no more once everything that relies on them is flushed.
func (f *File) leaveImages(ctx context.Context, im *pageImages, why error) error {
	e := f.e
	im.way.Lock()
	defer im.way.Unlock()
	if im.left.Load() != nil {
		return nil
	}
	if err := e.barrier(ctx, f.desc); err != nil {
		return err
	}
	err := e.update(func(s *super.State) {
		if i := s.ByID(f.info.ID); i != nil {
			i.Images = super.NoImages
		}
	})
	if err != nil {
		return err
	}
	f.desc.Doublewrite = true // nothing of the file is on its way: no stage looks at it now
	im.left.Store(&why)
	e.o.Logger.Warn("a file leaves page images for the doublewrite buffer, until it is opened again", "file", f.desc.Called(), "why", why)
	return nil
}

// checkImages refuses a mode that logs images where the log cannot hold one.
func (e *Engine) checkImages(f *File) error {
	if need, most := f.desc.PageSize+pageimage.HeadBytes, e.log.MaxRecord(); need > most {
		return fmt.Errorf("%w: an image of a page takes %d bytes of the log, its records have at most %d; larger segments (Options.SegmentBytes, at creation) allow more",
			ErrTooLarge, need, most)
	}
	return nil
}

// logsImages reports whether a mode logs page images.
func (m Mode) logsImages() bool { return m == ModeFullpage || m == ModeShadow }

// newImages makes the images of a file in such a mode.
func (f *File) newImages(m Mode) *pageImages {
	if !m.logsImages() {
		return nil
	}
	im := &pageImages{every: m == ModeShadow || f.desc.ForeignLSN}
	im.grow(f.pages.Load())
	return im
}

func (im *pageImages) grow(pages uint64) {
	for i := range im.bits {
		im.bits[i].grow(pages)
	}
}

// turn is the moment of a Checkpoint call: from here on writes log images anew. It returns the LSN
// that no such image starts before, once every write that relies on an older image has been
// accepted. The caller holds e.ddl.
func (e *Engine) turn(ctx context.Context) (page.LSN, error) {
	// Two generations ago: a Checkpoint that was cancelled may not have waited for it.
	if err := e.images.gens.gone(ctx, e.poison, 1); err != nil {
		return 0, err
	}
	now := e.images.gens.now() % 2
	for _, f := range e.fileList() {
		if im := f.images.Load(); im != nil {
			im.bits[1-now].clear()
			if no, ok := im.bits[now].first(); ok && e.o.Mutants.Has(stages.ImageSkipped) {
				im.bits[1-now].set(no)
			}
		}
	}
	from := e.log.End()
	e.images.gens.turn()
	if e.o.Mutants.Has(stages.ImageRace) {
		return from, nil
	}
	return from, e.images.gens.gone(ctx, e.poison, 1)
}
