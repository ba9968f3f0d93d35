package bench

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// driveConfig says which writes the bounds are made of.
type driveConfig struct {
	page    int   // bytes of a random write
	batch   int   // pages a flush, and pages of a sequential write
	depth   int   // random writes in flight
	batches int   // batches in flight: written and not flushed, or on their way
	bytes   int64 // of the file random writes go to
	backend ring.Backend
	seed    uint64
	callers int    // that run through a range of pages each, calls of so many pages; 0 = random places
	call    int    // pages
	reads   int    // percent of pages that are read
	reading int    // reads in flight
	seqDir  string // of the file for sequential writes; "" = beside the other
}

// What the engine keeps in flight by default: the bounds are taken at its own cadence.
const (
	batchesInFlight  = 4
	batchesUnflushed = 2
	seqFileBytes     = 64 << 20
	maxRandomBytes   = 512 << 20
	maxReads         = 512 // in flight
)

// drive asks a directory what the device below can do: through the engine's ring, and nothing else
// of the engine.
type drive struct {
	c     driveConfig
	ring  ring.Ring
	rand  fsys.File
	seq   fsys.File
	pool  *aligned.Pool
	pages []buffer
	read  []byte   // for all reads: nobody looks at it
	runs  []buffer // sequential writes
	comps chan *ring.Op
	rng   *rand.Rand
	reg   error // why memory is not registered
}

// newDrive makes its two files in dir, every byte of them written, as the engine's are.
func newDrive(ctx context.Context, dir string, c driveConfig) (d *drive, err error) {
	c.bytes = min(c.bytes, maxRandomBytes) / int64(c.page) * int64(c.page)
	d = &drive{c: c, rng: rand.New(rand.NewPCG(c.seed, 77))}
	defer func() {
		if err != nil {
			_ = d.close()
		}
	}()
	if d.ring, err = ring.New(ring.Config{Backend: c.backend}); err != nil {
		return d, err
	}
	run := c.page * c.batch
	need := c.depth * c.page
	if d.pool, err = aligned.NewPool(aligned.Config{Bytes: int64(need)}); err != nil {
		return d, err
	}
	d.reg = d.pool.RegisterWith(d.ring)
	frames := make([]aligned.Frame, c.depth)
	if err := d.pool.Get(ctx, c.page, frames); err != nil {
		return d, err
	}
	fill := newContents(c.seed, 0)
	for i, f := range frames {
		fill.fill(f.Buf, 1, uint64(i+1))
		d.pages = append(d.pages, buffer{f.Buf, f.Fixed})
	}
	d.read = aligned.Alloc(c.page, max(4096, c.page))
	for i := range batchesInFlight {
		b := buffer{mem: aligned.Alloc(run, max(4096, c.page))}
		for at := 0; at < run; at += c.page {
			fill.fill(b.mem[at:at+c.page], 2, uint64(i+1))
		}
		d.runs = append(d.runs, b)
	}
	d.comps = make(chan *ring.Op, c.depth+maxReads+len(d.runs)+2)
	if d.rand, err = d.file(ctx, filepath.Join(dir, "random"), c.bytes); err != nil {
		return d, err
	}
	d.seq, err = d.file(ctx, filepath.Join(cmp.Or(c.seqDir, dir), "sequential"), d.seqBytes())
	return d, err
}

// file makes a file of random bytes.
func (d *drive) file(ctx context.Context, path string, bytes int64) (fsys.File, error) {
	f, err := fsys.OS().Open(path, fsys.OpenFlags{Create: true, Direct: d.c.backend != ring.Buffered})
	if err != nil {
		return nil, err
	}
	if err := fillFile(ctx, d.ring, f, bytes, d.c.seed); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// fillFile preallocates and writes all of a file once: a first write into unwritten space would drag
// metadata into every flush that is measured later.
func fillFile(ctx context.Context, r ring.Ring, f fsys.File, bytes int64, seed uint64) error {
	if a := f.Align(); bytes%int64(a.Off) != 0 {
		return fmt.Errorf("%s: direct I/O here is in units of %d bytes", f.Name(), a.Off)
	}
	if err := f.Preallocate(0, bytes); err != nil {
		return err
	}
	buf := aligned.Alloc(1<<20, 4096)
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = rng.Read(buf)
	for off := int64(0); off < bytes; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(int64(len(buf)), bytes-off)
		if err := r.Do(&ring.Op{Kind: ring.Write, File: f, Off: off, Buf: buf[:n]}); err != nil {
			return err
		}
		off += n
	}
	return r.Do(&ring.Op{Kind: ring.Sync, File: f})
}

func (d *drive) close() error {
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	if d.ring != nil {
		note(d.ring.Close())
	}
	for _, f := range []fsys.File{d.rand, d.seq} {
		if f != nil {
			note(f.Close())
		}
	}
	if d.pool != nil {
		frames := make([]aligned.Frame, 0, len(d.pages))
		for _, b := range d.pages {
			if f, ok := d.pool.Lookup(b.mem); ok {
				frames = append(frames, f)
			}
		}
		d.pool.Put(frames)
		note(d.pool.Close())
	}
	return first
}

// seqBytes is the size of the file for sequential writes: a few batches at least.
func (d *drive) seqBytes() int64 {
	return max(min(seqFileBytes, d.c.bytes), int64(4*d.c.page*d.c.batch))
}

// places are where pages are written: at random, or where callers that run through their ranges write.
func (d *drive) places() func() int64 {
	n := d.c.bytes / int64(d.c.page)
	if d.c.callers == 0 {
		return func() int64 { return d.rng.Int64N(n) * int64(d.c.page) }
	}
	at, k := make([]uint64, d.c.callers), 0
	return func() int64 {
		i := k / d.c.call % d.c.callers
		k++
		lo, count := share(uint64(n), i, d.c.callers)
		no := lo + at[i]%max(count, 1)
		at[i]++
		return int64(no) * int64(d.c.page)
	}
}

// readStream is reads at random places.
func (d *drive) readStream() *stream {
	n := d.c.bytes / int64(d.c.page)
	s := newStream(d.rand, slices.Repeat([]buffer{{mem: d.read}}, d.c.reading), func() int64 { return d.rng.Int64N(n) * int64(d.c.page) }, d.comps)
	for _, op := range s.free {
		op.Kind = ring.Read
	}
	return s
}

// readsFree: pages at random places, read.
func (d *drive) readsFree(ctx context.Context, t time.Duration) (rate, error) {
	s := d.readStream()
	return d.run(ctx, t, s)
}

// withReads adds reads at random places to writes of pages: as many for each as the callers do. Neither
// gets far ahead of the other.
func (d *drive) withReads(w *stream) []*stream {
	if d.c.reads == 0 {
		return []*stream{w}
	}
	r := d.readStream()
	// Writes begin in batches: reads go on meanwhile, as those of other callers do.
	each, ahead := float64(d.c.reads)/float64(100-d.c.reads), float64(d.c.batches*d.c.batch)
	r.may = func() bool { return float64(r.begun) < each*(float64(w.begun)+ahead) }
	may := w.may
	w.may = func() bool { return each*float64(w.begun) <= float64(r.begun)+ahead && (may == nil || may()) }
	return []*stream{w, r}
}

func (d *drive) random(every int) *stream {
	s := newStream(d.rand, d.pages[:d.c.depth], d.places(), d.comps)
	if s.every = every; every > 0 {
		s.ahead = max(d.c.batches*every, d.c.depth)
	}
	return s
}

func (d *drive) sequential(every int) *stream {
	run := int64(d.c.page * d.c.batch)
	n, k := d.seqBytes()/run, int64(-1)
	runs := make([]buffer, len(d.runs))
	for i, b := range d.runs {
		runs[i] = buffer{mem: b.mem[:run]} // room for the largest cadence was made
	}
	s := newStream(d.seq, runs, func() int64 { k = (k + 1) % n; return k * run }, d.comps)
	if s.every = every; every > 0 {
		s.ahead = min(batchesUnflushed, d.c.batches)
	}
	return s
}

// rate is what one measurement of a stream found.
type rate struct {
	perSecond float64 // writes
	cpu       float64 // microseconds of CPU a write
}

// run counts the first of the streams. What was begun has been done when it returns, and took CPU time.
func (d *drive) run(ctx context.Context, t time.Duration, all ...*stream) (rate, error) {
	cpu := cpuTime()
	if _, err := load(ctx, d.ring, d.comps, t, all...); err != nil {
		return rate{}, err
	}
	return rate{all[0].perSecond(), ratio(micros(cpuTime()-cpu), float64(all[0].begun))}, nil
}

// randomFree: pages at random places, nothing flushed.
func (d *drive) randomFree(ctx context.Context, t time.Duration) (rate, error) {
	s := d.random(0)
	return d.run(ctx, t, d.withReads(s)...)
}

// randomFlushed: the same, flushed every batch, while the next ones go on.
func (d *drive) randomFlushed(ctx context.Context, t time.Duration) (rate, error) {
	s := d.random(d.c.batch)
	return d.run(ctx, t, d.withReads(s)...)
}

// sequentialFree: writes of a whole batch one behind the other.
func (d *drive) sequentialFree(ctx context.Context, t time.Duration) (rate, error) {
	s := d.sequential(0)
	return d.run(ctx, t, s)
}

// sequentialFlushed: the same, each flushed.
func (d *drive) sequentialFlushed(ctx context.Context, t time.Duration) (rate, error) {
	s := d.sequential(1)
	return d.run(ctx, t, s)
}

// both is the bare pipeline: batches are written in sequence and flushed, then their pages written
// at random places and flushed, with as many batches in flight as the engine has. Only the order
// that protection itself demands is kept; there is no checksum, no index, no client.
func (d *drive) both(ctx context.Context, t time.Duration) (rate, error) {
	seq, rnd := d.sequential(1), d.random(d.c.batch)
	rnd.ahead = 0
	rnd.may = func() bool { return rnd.begun < seq.done*d.c.batch }
	seq.may = func() bool { return seq.begun*d.c.batch-rnd.done < d.c.batches*d.c.batch }
	return d.run(ctx, t, append(d.withReads(rnd), seq)...)
}
