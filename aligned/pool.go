package aligned

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// Chunk is what the memory of a Pool is divided into, and the largest frame.
const Chunk = page.MaxSize

// Errors of a Pool.
var (
	ErrTooLarge = errors.New("more memory than there is in all")
	ErrClosed   = errors.New("pool is closed")
	ErrInUse    = errors.New("frames are still out")
)

// Config says how to make a Pool.
type Config struct {
	// Bytes is all the memory the pool will ever have, rounded up to whole chunks. At least one.
	Bytes int64
	// Alloc is where the memory comes from, at a multiple of Chunk. nil = a Slab of the pool's own.
	Alloc func(n, align int) []byte
	// Chunk is the unit in which frames of different sizes share it: 0 = 64 KiB, the only value.
	Chunk int
}

// Validate reports what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Bytes <= 0 || c.Bytes > int64(maxInt)-2*HugePage || c.Bytes/Chunk >= maxChunks {
		errs = append(errs, fmt.Errorf("aligned: a pool of %d bytes", c.Bytes))
	}
	if c.Chunk != 0 && c.Chunk != Chunk {
		errs = append(errs, fmt.Errorf("aligned: chunks of %d bytes, want %d", c.Chunk, Chunk))
	}
	return errors.Join(errs...)
}

// Frame is a piece of a Pool's memory. It belongs to whoever got it until Put.
type Frame struct {
	Buf   []byte // its memory; the contents are what the last owner left
	Fixed int    // what ring.Op.Fixed takes, 0 if the pool is not registered
	id    uint32 // 1 + its place; 0 is no frame
	use   uint32 // counts the uses of the place, so that a stale Frame is not put a second time
}

// Joins reports whether g's memory begins where f's ends, both being of a pool: the two can then be
// written as one piece.
func (f *Frame) Joins(g *Frame) bool {
	return f.id != 0 && g.id != 0 && addr(f.Buf)+uintptr(len(f.Buf)) == addr(g.Buf)
}

// Stats describes a Pool.
type Stats struct {
	Bytes     int64         // in all
	InUse     int64         // in frames that are out
	HighWater int64         // the most that was ever out
	Gets      uint64        // that got their frames
	Waits     uint64        // of those and of the cancelled, how many had to wait
	WaitTime  time.Duration // that they have waited, in all
	Waiting   int           // now
	Fixed     bool          // registered with a ring
}

// Pool is memory of fixed size in frames. All methods may be called from any goroutine.
type Pool struct {
	slab *Slab
	mem  []byte

	queued atomic.Int32  // how many wait
	wants  chan struct{} // holds a token when somebody has begun to

	mu       sync.Mutex
	chunks   []chunk
	whole    bitmap             // the chunks that belong to no class
	partial  [len(classes)]room // the chunks of each class that have a free frame
	first    *waiter            // the queue; empty exactly when nobody waits
	last     *waiter
	spare    *waiter // for reuse
	fixed    int
	closed   bool
	released bool
	failed   error // nobody waits any more (Fail)
	stats    Stats
}

// NewPool makes a pool. All of its memory is reserved here; it is touched when first used.
func NewPool(cfg Config) (p *Pool, err error) {
	if err = cfg.Validate(); err != nil {
		return nil, err
	}
	n := int((cfg.Bytes + Chunk - 1) / Chunk)
	slab := &Slab{}
	if cfg.Alloc != nil {
		slab.mem = cfg.Alloc(n*Chunk, Chunk)
	} else if slab, err = NewSlab(n*Chunk, Chunk); err != nil {
		return nil, err
	}
	p = &Pool{slab: slab, mem: slab.Bytes(), wants: make(chan struct{}, 1), chunks: make([]chunk, n), whole: newBitmap(n)}
	for i := range n {
		p.whole.set(i)
	}
	for c := range p.partial {
		p.partial[c].chunks = newBitmap(n)
	}
	p.stats.Bytes = int64(len(p.mem))
	return p, nil
}

// Get fills all of dst with frames of size bytes, a power of two from 4 to 64 KiB. It waits, first
// come, first served, until they are all there, or ctx is done: then it returns the cause of that
// and dst is as it was. ErrTooLarge means that waiting would be for nothing.
func (p *Pool) Get(ctx context.Context, size int, dst []Frame) error {
	c, err := p.check(size, len(dst))
	if err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if p.first == nil && p.fits(c, len(dst)) {
		p.take(c, dst)
		p.mu.Unlock()
		return nil
	}
	if p.failed != nil {
		p.mu.Unlock()
		return p.failed
	}
	w := p.enqueue(c, dst)
	p.mu.Unlock()
	begin := time.Now()
	select {
	case <-w.ready:
		p.mu.Lock()
	case <-ctx.Done():
		p.mu.Lock()
		select {
		case <-w.ready: // it was served meanwhile, and keeps what it got
		default:
			w.err = context.Cause(ctx)
			p.remove(w)
			p.serve() // those behind it may need less
		}
	}
	err = w.err
	p.stats.WaitTime += time.Since(begin)
	p.recycle(w)
	p.mu.Unlock()
	return err
}

// TryGet is Get without waiting: it reports false, and leaves dst as it was, if the frames are not
// there, somebody is waiting already, or the request can never be met.
func (p *Pool) TryGet(size int, dst []Frame) bool {
	c, err := p.check(size, len(dst))
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.first != nil || !p.fits(c, len(dst)) {
		return false
	}
	p.take(c, dst)
	return true
}

func (p *Pool) check(size, n int) (class, error) {
	if !page.ValidSize(size) {
		return 0, fmt.Errorf("aligned: frames of %d bytes: want a power of two from %d to %d",
			size, page.MinSize, Chunk)
	}
	c := classOf(size)
	if k := c.frames(); (n+k-1)/k > len(p.chunks) {
		return 0, fmt.Errorf("aligned: %d frames of %d bytes from a pool of %d: %w",
			n, size, p.stats.Bytes, ErrTooLarge)
	}
	return c, nil
}

// Put gives frames back. Giving back what is not out is a programmer's error, and panics.
func (p *Pool) Put(frames []Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range frames {
		p.give(&frames[i])
	}
	p.serve()
	if p.closed && p.stats.InUse == 0 {
		_ = p.release()
	}
}

// Wants holds a token when a Get has begun to wait: for whoever can have frames given back sooner. It is
// for one reader. Wanted is to be asked again each time some have come back.
func (p *Pool) Wants() <-chan struct{} { return p.wants }

// Wanted reports whether a Get waits.
func (p *Pool) Wanted() bool { return p.queued.Load() > 0 }

// Lookup finds the frame that buf lies in, wholly: for memory that was handed out and comes back as
// a plain slice. The Frame is the whole one, whatever part of it buf is.
func (p *Pool) Lookup(buf []byte) (Frame, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released || len(buf) == 0 {
		return Frame{}, false
	}
	return p.find(buf)
}

func (p *Pool) find(buf []byte) (Frame, bool) {
	at := addr(buf) - addr(p.mem)
	if at >= uintptr(len(p.mem)) {
		return Frame{}, false
	}
	i := int(at / Chunk)
	ch := &p.chunks[i]
	if p.whole.has(i) {
		return Frame{}, false
	}
	size := ch.class.size()
	k := int(at%Chunk) / size
	if ch.free>>k&1 != 0 || int(at)%size+len(buf) > size {
		return Frame{}, false
	}
	return p.frame(i, k), true
}

// Lend marks frames as given to somebody outside, from whom Claim takes them back.
func (p *Pool) Lend(frames []Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range frames {
		ch, k := p.place(&frames[i])
		ch.lent |= 1 << k
	}
}

// Claim takes back the lent frame that buf is, whole: ours says that buf is memory of this pool, ok
// that it was lent, which it is not any more. So memory that was claimed once, or never lent, is
// ours and not ok.
func (p *Pool) Claim(buf []byte) (f Frame, ours, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released || len(buf) == 0 || addr(buf)-addr(p.mem) >= uintptr(len(p.mem)) {
		return Frame{}, false, false
	}
	f, ok = p.find(buf)
	if !ok || len(f.Buf) != len(buf) {
		return Frame{}, true, false
	}
	ch, k := p.place(&f)
	if ch.lent>>k&1 == 0 {
		return Frame{}, true, false
	}
	ch.lent &^= 1 << k
	return f, true, true
}

// Fail makes everybody who waits, and whoever would have to, get err. What is there is still given.
func (p *Pool) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = err
	for p.first != nil {
		w := p.first
		w.err = err
		p.remove(w)
		w.ready <- struct{}{}
	}
}

// RegisterWith registers the pool's memory with r, for frames got from now on. When that cannot be
// it says why, and everything works as before without. Close r before the pool.
func (p *Pool) RegisterWith(r ring.Ring) (why error) {
	fixed, why := r.Register(p.mem)
	if fixed == 0 {
		return why
	}
	p.mu.Lock()
	p.fixed = fixed
	p.stats.Fixed = true
	p.mu.Unlock()
	return nil
}

// Stats describes the pool now.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Close ends the pool: whoever waits gets ErrClosed, and the memory goes back. With frames out it
// is ErrInUse, and the memory stays until the last of them is put.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for p.first != nil {
		w := p.first
		w.err = ErrClosed
		p.remove(w)
		w.ready <- struct{}{}
	}
	if p.stats.InUse > 0 {
		return fmt.Errorf("aligned: %d bytes: %w", p.stats.InUse, ErrInUse)
	}
	return p.release()
}

func (p *Pool) release() error {
	p.released = true
	return p.slab.Close()
}

// classes are the sizes of frames.
var classes = [...]int{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10}

type class uint8

func classOf(size int) class      { return class(bits.TrailingZeros(uint(size)) - 12) }
func (c class) size() int         { return page.MinSize << c }
func (c class) frames() int       { return 16 >> c }
func (c class) allFree() frameSet { return 1<<c.frames() - 1 }
