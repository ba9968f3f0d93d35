package bench

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// WALBound is what the drive could do at most for callers of the log, by bare writes through the
// engine's ring: all records that the callers can have under way at once, in one write or divided
// among a few, one behind the other in a file. The best of these counts.
type WALBound struct {
	Bound float64 `json:"bound_records_per_second"`
	// Kind says what was written; Write and Flight of how many bytes, and how many at a time, the best
	// was, Method how it was made durable.
	Kind   string `json:"bound_kind"`
	Write  int    `json:"bound_write_bytes"`
	Flight int    `json:"bound_writes_in_flight"`
	Method string `json:"bound_method"`

	tried []WALBound // all that were
}

// mean of two measurements of the same bound: the best by both, not the luckiest of each.
func (b WALBound) mean(o WALBound) WALBound {
	var tried []WALBound
	for i, x := range b.tried {
		if i < len(o.tried) {
			x.Bound = (x.Bound + o.tried[i].Bound) / 2
		}
		tried = append(tried, x)
	}
	return bestOf(tried)
}

func bestOf(tried []WALBound) WALBound {
	if len(tried) == 0 {
		return WALBound{}
	}
	best := slices.MaxFunc(tried, func(a, b WALBound) int { return cmp.Compare(a.Bound, b.Bound) })
	best.tried = tried
	return best
}

// What the bound of a log is of.
const (
	boundCallers = "the callers' records in 1 to 4 writes, each durable"
	boundStream  = "writes of 1 MiB, each durable"
	boundLazy    = "writes of 1 MiB, not flushed"
)

const (
	logDriveBytes = 32 << 20
	maxGroup      = 1 << 20 // the engine's bound of a group
	maxFlight     = 4       // groups in flight, as the engine's default
)

// logDrive asks the drive what it does with writes like the log's.
type logDrive struct {
	ring  ring.Ring
	file  fsys.File
	block int
	bufs  []buffer
	comps chan *ring.Op
	at    int64
}

// newLogDrive makes its file in dir, every byte of it written, as segments are.
func newLogDrive(ctx context.Context, dir string, b ring.Backend) (d *logDrive, err error) {
	d = &logDrive{comps: make(chan *ring.Op, maxFlight+1)}
	defer func() {
		if err != nil {
			_ = d.close()
		}
	}()
	if d.ring, err = ring.New(ring.Config{Backend: b}); err != nil {
		return d, err
	}
	if d.file, err = fsys.OS().Open(dir+"/bare", fsys.OpenFlags{Create: true, Direct: b != ring.Buffered}); err != nil {
		return d, err
	}
	d.block = d.file.Align().Block
	rng := rand.NewChaCha8([32]byte{9})
	for range maxFlight {
		mem := aligned.Alloc(maxGroup, max(d.block, 4096))
		_, _ = rng.Read(mem)
		d.bufs = append(d.bufs, buffer{mem: mem})
	}
	return d, fillFile(ctx, d.ring, d.file, logDriveBytes, 1)
}

func (d *logDrive) close() error {
	var first error
	if d.ring != nil {
		first = d.ring.Close()
	}
	if d.file != nil {
		if err := d.file.Close(); first == nil {
			first = err
		}
	}
	return first
}

// next is the offset for another write of so many bytes.
func (d *logDrive) next(bytes int64) int64 {
	if d.at+bytes > logDriveBytes {
		d.at = 0
	}
	off := d.at
	d.at += bytes
	return off
}

// bare times DSYNC writes of one block by a lone caller.
func (d *logDrive) bare(ctx context.Context, t time.Duration, h *hdrhistogram.Histogram) error {
	op := ring.Op{Kind: ring.Write, Flags: ring.DSync, File: d.file, Buf: d.bufs[0].mem[:d.block]}
	return timeOps(ctx, d.ring, &op, func() int64 { return d.next(int64(d.block)) }, t, h)
}

// walShape is one way to write what callers have under way.
type walShape struct {
	records, bytes, flight int
}

// walShapes are all that are tried. A caller that waits has one record under way; one that does not
// has as many as fit.
func walShapes(c *WALConfig, block int) (shapes []walShape, kind string) {
	fit := max(1, maxGroup/c.RecordBytes)
	one := func(records, flight int) walShape {
		records = min(records, fit)
		bytes := (records*c.RecordBytes + block - 1) / block * block
		return walShape{records, bytes, flight}
	}
	switch c.Commit {
	case "async":
		return []walShape{one(fit, 2), one(fit, maxFlight)}, boundStream
	case "never":
		return []walShape{one(fit, maxFlight)}, boundLazy
	}
	for n := 1; n <= min(maxFlight, c.Clients); n *= 2 {
		shapes = append(shapes, one((c.Clients+n-1)/n, n))
	}
	return shapes, boundCallers
}

// measure tries every shape and every way to make it durable, and keeps the best.
func (d *logDrive) measure(ctx context.Context, c *WALConfig) (WALBound, error) {
	shapes, kind := walShapes(c, d.block)
	ways := []string{"dsync", "flush"}
	if c.Commit == "never" {
		ways = []string{"not flushed"}
	}
	t := max(c.BoundTime/time.Duration(len(shapes)*len(ways)), 5*time.Millisecond)
	var tried []WALBound
	for _, w := range ways {
		for _, x := range shapes {
			rate, err := d.stream(ctx, t, x, w)
			if err != nil {
				return WALBound{}, fmt.Errorf("the bound of the log: %w", err)
			}
			tried = append(tried, WALBound{Bound: rate * float64(x.records), Kind: kind, Write: x.bytes, Flight: x.flight, Method: w})
		}
	}
	return bestOf(tried), nil
}

// stream is how many writes of a shape are done a second.
func (d *logDrive) stream(ctx context.Context, t time.Duration, x walShape, way string) (float64, error) {
	bufs := make([]buffer, x.flight)
	for i := range bufs {
		bufs[i] = buffer{mem: d.bufs[i].mem[:x.bytes]}
	}
	s := newStream(d.file, bufs, func() int64 { return d.next(int64(x.bytes)) }, d.comps)
	switch way {
	case "flush":
		s.every, s.ahead = 1, x.flight
	case "dsync":
		for _, op := range s.free {
			op.Flags = ring.DSync
		}
	}
	_, err := load(ctx, d.ring, d.comps, t, s)
	return s.perSecond(), err
}
