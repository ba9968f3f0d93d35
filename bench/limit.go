package bench

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// LimitConfig asks what the drive can do. The zero value of a field means its default.
type LimitConfig struct {
	Dir       string `json:"dir"`
	PageBytes int    `json:"page_bytes"`  // 0 = 16 KiB
	Batch     int    `json:"batch_pages"` // pages a flush, and of a sequential write; 0 = 1 MiB of them
	// Depths are those of random and sequential writes side by side; none = 1, 8, 32 and 128.
	Depths    []int `json:"depths"`
	Depth     int   `json:"depth"`      // random writes in flight; 0 = 32
	SizeBytes int64 `json:"size_bytes"` // of the file random writes go to; 0 = 512 MiB, the most
	// Duration of each measurement in each round. 0 = 400 ms.
	Duration time.Duration `json:"duration_ns"`
	Repeat   int           `json:"repeat"` // rounds, every measurement once in each; 0 = 3
	Backend  ring.Backend  `json:"backend"`
	// Sync measures the ways to make bytes durable as well.
	Sync bool `json:"sync"`
	// NoFIO leaves fio out even if it is installed.
	NoFIO bool   `json:"no_fio"`
	Keep  bool   `json:"keep,omitempty"`
	Seed  uint64 `json:"seed"`
}

func (c LimitConfig) withDefaults() LimitConfig {
	c.PageBytes = cmp.Or(c.PageBytes, untorn.DefaultPageSize)
	if c.Batch == 0 && c.PageBytes > 0 {
		c.Batch = max(1, engineBatch/c.PageBytes)
	}
	c.Depth = cmp.Or(c.Depth, 32)
	if len(c.Depths) == 0 {
		c.Depths = []int{1, 8, 32, 128}
	}
	c.Depths = slices.Sorted(slices.Values(c.Depths))
	c.SizeBytes = cmp.Or(c.SizeBytes, maxRandomBytes)
	c.Duration = cmp.Or(c.Duration, 400*time.Millisecond)
	c.Repeat = cmp.Or(c.Repeat, 3)
	c.Backend = cmp.Or(c.Backend, ring.Auto)
	return c
}

// Validate returns every complaint, joined; each matches ErrUsage.
func (c LimitConfig) Validate() error {
	c = c.withDefaults()
	var bad complaints
	if !page.ValidSize(c.PageBytes) {
		bad.add("page size %d is not a power of two from 4 KiB to 64 KiB", c.PageBytes)
	}
	if c.Batch < 1 || c.Batch > 8<<20/max(c.PageBytes, 1) {
		bad.add("a batch of %d pages is not from 1 page to 8 MiB", c.Batch)
	}
	bad.within("depth", c.Depth, 1, 256)
	for i, n := range c.Depths {
		if n < 1 || n > 256 || i > 0 && n == c.Depths[i-1] {
			bad.add("depths are %v, want each once, from 1 to 256", c.Depths)
			break
		}
	}
	bad.within("repeat", c.Repeat, 1, 1000)
	if c.SizeBytes < 1<<20 {
		bad.add("a file of %s is too small", FormatBytes(c.SizeBytes))
	}
	if c.Duration < 0 {
		bad.add("duration %v is negative", c.Duration)
	}
	bad.backend(c.Backend)
	return bad.err()
}

// LimitResult is what the drive can do. Rates are medians over the rounds.
type LimitResult struct {
	Schema        string `json:"schema"`
	Backend       string `json:"backend"`
	BackendReason string `json:"backend_reason"`
	DirectIO      bool   `json:"direct_io"`
	DirectReason  string `json:"direct_reason,omitempty"`
	PageBytes     int    `json:"page_bytes"`
	BatchPages    int    `json:"batch_pages"`
	Depth         int    `json:"depth"`
	Rounds        int    `json:"rounds"` // that were whole, but for what is beside the bounds

	RandomPages     float64 `json:"random_pages_per_second"`
	RandomCPU       float64 `json:"random_cpu_us_per_page"`
	SequentialBytes float64 `json:"sequential_bytes_per_second"`
	// Flush is a flush after one page; FlushAfter the same after so many.
	Flush      Latency      `json:"flush_us"`
	FlushAfter []FlushAfter `json:"flush_after"`
	DSync      Latency      `json:"dsync_us"` // one page with RWF_DSYNC
	Bounds                  // in pages a second
	// ByDepth is what the drive does with so many writes in flight.
	ByDepth   []DepthRow           `json:"by_depth"`
	Spread    map[string]MinMedMax `json:"spread"`
	SyncTable []SyncRow            `json:"sync,omitempty"`
	FIO       *FIO                 `json:"fio,omitempty"`

	Interrupted bool        `json:"interrupted"`
	Host        Host        `json:"host"`
	Config      LimitConfig `json:"config"`
	Command     []string    `json:"command"`
	Meaning     string      `json:"meaning"`
	Started     string      `json:"started"`

	values map[string][]float64 // of each round
}

// FlushAfter is the latency of a flush with so many pages before it.
type FlushAfter struct {
	Pages int     `json:"pages"`
	Flush Latency `json:"flush_us"`
}

// limiter goes through the measurements.
type limiter struct {
	c      LimitConfig
	d      *drive
	dir    *scratch
	values map[string][]float64
	after  map[int]*hdrhistogram.Histogram
	dsync  *hdrhistogram.Histogram
	p      Progress
	done   float64
	steps  float64
}

// Limit measures what the drive can do in c.Dir.
func Limit(ctx context.Context, c LimitConfig, p Progress) (r *LimitResult, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := &limiter{c: c.withDefaults(), values: map[string][]float64{}, p: p}
	defer func() {
		if l.d != nil {
			err = errors.Join(err, l.d.close())
		}
		if l.dir != nil {
			err = errors.Join(err, l.dir.remove())
		}
	}()
	p.say("preparing", 0)
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	r = &LimitResult{
		Schema: SchemaLimit, PageBytes: l.c.PageBytes, BatchPages: l.c.Batch, Depth: l.c.Depth, Config: l.c,
		Host: lookAt(ctx, l.dir.Path, l.c.PageBytes), Started: stampNow(),
	}
	in := l.d.ring.Info()
	r.Backend, r.BackendReason = in.Backend, in.Reason
	direct, why := l.d.rand.Direct()
	if r.DirectIO = direct; why != nil {
		r.DirectReason = why.Error()
	}
	for range l.c.Repeat {
		if err = l.round(ctx, r); err != nil {
			break
		}
	}
	if len(l.values["both"]) == 0 { // not one whole round
		return nil, err
	}
	r.Rounds = len(l.values["both"])
	l.finish(r)
	r.Meaning = r.meaning()
	if err == nil && l.c.Sync {
		p.say("ways to make bytes durable", l.done/l.steps)
		r.SyncTable, err = syncTable(ctx, l.d.ring, l.dir.Path, l.c, r.Host.FlushesOff)
	}
	if r.Interrupted = ctx.Err() != nil; r.Interrupted && errors.Is(err, ctx.Err()) {
		err = nil
	}
	return r, err
}

func (l *limiter) open(ctx context.Context) error {
	var err error
	if l.dir, err = newScratch(l.c.Dir, l.c.Keep); err != nil {
		return err
	}
	if err := l.dir.room(min(l.c.SizeBytes, maxRandomBytes) + seqFileBytes + 64<<20); err != nil {
		return err
	}
	l.steps = float64(l.c.Repeat*(8+len(l.c.Depths)) + 2)
	l.after = map[int]*hdrhistogram.Histogram{}
	for _, n := range flushPages(l.c.Batch) {
		l.after[n] = newHistogram()
	}
	l.dsync = newHistogram()
	l.d, err = newDrive(ctx, l.dir.Path, driveConfig{
		page: l.c.PageBytes, batch: l.c.Batch, depth: max(l.c.Depth, slices.Max(l.c.Depths)), batches: batchesInFlight, bytes: l.c.SizeBytes, backend: l.c.Backend, seed: l.c.Seed,
	})
	l.d.c.depth = l.c.Depth // there is memory for the deepest
	return err
}

// flushPages are the numbers of pages whose flush is timed.
func flushPages(batch int) []int {
	out := []int{1}
	for _, n := range []int{8, batch} {
		if n > out[len(out)-1] {
			out = append(out, n)
		}
	}
	return out
}

// round takes every measurement once: a disk that changes meanwhile changes all of them.
func (l *limiter) round(ctx context.Context, r *LimitResult) error {
	for _, m := range []struct {
		key  string
		what string
		f    func(context.Context, time.Duration) (rate, error)
	}{
		{"random", "random writes", l.d.randomFree},
		{"sequential", "sequential writes", l.d.sequentialFree},
		{"random_flushed", "random writes, flushed", l.d.randomFlushed},
		{"sequential_flushed", "sequential writes, flushed", l.d.sequentialFlushed},
		{"both", "both at the same time", l.d.both},
	} {
		l.step(m.what)
		got, err := m.f(ctx, l.c.Duration)
		if err != nil {
			return err
		}
		l.values[m.key] = append(l.values[m.key], got.perSecond)
		l.values[m.key+"_cpu"] = append(l.values[m.key+"_cpu"], got.cpu)
	}
	l.step("flushes")
	for n, h := range l.after {
		if err := l.d.flushes(ctx, l.c.Duration/2, n, h); err != nil {
			return err
		}
	}
	l.step("durable writes")
	if err := l.d.durable(ctx, l.c.Duration/2, l.dsync); err != nil {
		return err
	}
	if err := l.depths(ctx); err != nil {
		return err
	}
	if l.c.NoFIO {
		return nil
	}
	l.step("fio")
	return l.fio(ctx, r)
}

func (l *limiter) step(what string) {
	l.p.say(what, l.done/l.steps)
	l.done++
}

func (l *limiter) finish(r *LimitResult) {
	r.Spread, r.values = map[string]MinMedMax{}, l.values
	for k, v := range l.values {
		r.Spread[k] = minMedMax(v)
	}
	n := float64(l.c.Batch)
	of := func(k string) float64 { return r.Spread[k].Median }
	r.RandomPages, r.RandomCPU = of("random"), of("random_cpu")
	r.SequentialBytes = of("sequential") * n * float64(l.c.PageBytes)
	r.Bounds = Bounds{
		RandomFree: of("random"), RandomFlushed: of("random_flushed"), SequentialFree: of("sequential") * n,
		SequentialFlushed: of("sequential_flushed") * n, Overlapped: of("both"),
	}
	r.Bounds.combine()
	for _, k := range flushPages(l.c.Batch) {
		if l.after[k].TotalCount() > 0 {
			r.FlushAfter = append(r.FlushAfter, FlushAfter{k, latency(l.after[k], false)})
		}
	}
	r.Flush, r.DSync = latency(l.after[1], false), latency(l.dsync, false)
	l.byDepth(r)
	if r.FIO != nil {
		r.FIO.finish(l.values)
	}
}

// flushes times flushes, each after n pages at random places.
func (d *drive) flushes(ctx context.Context, t time.Duration, n int, h *hdrhistogram.Histogram) error {
	flush := ring.Op{Kind: ring.DataSync, File: d.rand}
	pages := d.c.bytes / int64(d.c.page)
	bufs := d.pages[:d.c.depth]
	ops := make([]*ring.Op, n)
	for i := range ops {
		b := bufs[i%len(bufs)]
		ops[i] = &ring.Op{Kind: ring.Write, File: d.rand, Buf: b.mem, Fixed: b.fixed, Done: d.comps}
	}
	for end := time.Now().Add(t); time.Now().Before(end); {
		if err := ctx.Err(); err != nil {
			return err
		}
		var failed error
		for at := 0; at < n; {
			k := min(n-at, len(bufs))
			for _, op := range ops[at : at+k] {
				op.Off = d.rng.Int64N(pages) * int64(d.c.page)
			}
			d.ring.Submit(ops[at : at+k]...)
			for range k {
				if op := <-d.comps; op.Err != nil {
					failed = op.Err
				}
			}
			at += k
		}
		if failed != nil {
			return failed
		}
		start := time.Now()
		if err := d.ring.Do(&flush); err != nil {
			return err
		}
		record(h, time.Since(start))
	}
	return nil
}

// durable times single pages written with RWF_DSYNC.
func (d *drive) durable(ctx context.Context, t time.Duration, h *hdrhistogram.Histogram) error {
	b := d.pages[0]
	op := ring.Op{Kind: ring.Write, Flags: ring.DSync, File: d.rand, Buf: b.mem, Fixed: b.fixed}
	pages := d.c.bytes / int64(d.c.page)
	return timeOps(ctx, d.ring, &op, func() int64 { return d.rng.Int64N(pages) * int64(d.c.page) }, t, h)
}

// timeOps does an op again and again for t, each when the last is done.
func timeOps(ctx context.Context, r ring.Ring, op *ring.Op, next func() int64, t time.Duration, h *hdrhistogram.Histogram) error {
	for end := time.Now().Add(t); time.Now().Before(end) && ctx.Err() == nil; {
		op.Off = next()
		start := time.Now()
		if err := r.Do(op); err != nil {
			return err
		}
		record(h, time.Since(start))
	}
	return ctx.Err()
}
