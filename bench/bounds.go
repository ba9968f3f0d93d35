package bench

import (
	"context"
	"time"
)

// Bounds are what the drive could do at most, in pages a second. See docs/benchmarks.md for why
// there are three for a doublewrite.
type Bounds struct {
	// RandomFree and RandomFlushed: pages in place, without and with a flush every batch.
	RandomFree    float64 `json:"random_free_pages_per_second"`
	RandomFlushed float64 `json:"random_flushed_pages_per_second"`
	// SequentialFree and SequentialFlushed: batches one behind the other, counted in pages.
	SequentialFree    float64 `json:"sequential_free_pages_per_second"`
	SequentialFlushed float64 `json:"sequential_flushed_pages_per_second"`
	// Free and Flushed: every page is written once in sequence and once in place, and the drive's
	// time is shared between the two.
	Free    float64 `json:"free_bound_pages_per_second"`
	Flushed float64 `json:"flushed_bound_pages_per_second"`
	// Overlapped is the bare pipeline, measured: what the two at the same time really come to.
	Overlapped float64 `json:"overlapped_bound_pages_per_second"`
}

// shared is the rate of a job that takes one unit of each of two kinds of work from one device.
func shared(a, b float64) float64 {
	if a <= 0 || b <= 0 {
		return 0
	}
	return 1 / (1/a + 1/b)
}

// combine works out the bounds that follow from the others.
func (b *Bounds) combine() {
	b.Free = shared(b.RandomFree, b.SequentialFree)
	b.Flushed = shared(b.RandomFlushed, b.SequentialFlushed)
}

// What a bound is of.
const (
	boundDoublewrite = "two writes, flushed"
	boundFlushed     = "one write, flushed"
	boundFree        = "one write, not flushed"
)

// boundKind is the work a mode cannot do without: the copies its protection needs, and the flushes
// its acknowledgement needs. What became of Auto is asked of the target.
func boundKind(m Mode, ack string) string {
	t, _ := m.trait()
	if t.bound == boundFlushed && ack != "durable" && ack != "protected" {
		return boundFree
	}
	return t.bound
}

// of picks a bound. For the doublewrite it is the better of the worked-out and the measured one: a
// bound that can be beaten is none.
func (b *Bounds) of(kind string) float64 {
	switch kind {
	case boundDoublewrite:
		return max(b.Flushed, b.Overlapped)
	case boundFlushed:
		return b.RandomFlushed
	}
	return b.RandomFree
}

// measure takes what kind needs, in slices of t each.
func (d *drive) measure(ctx context.Context, kind string, t time.Duration) (Bounds, error) {
	var b Bounds
	n := float64(d.c.batch)
	type one struct {
		f    func(context.Context, time.Duration) (rate, error)
		unit float64
		to   *float64
	}
	todo := []one{{d.randomFree, 1, &b.RandomFree}}
	switch kind {
	case boundDoublewrite:
		todo = []one{
			{d.randomFlushed, 1, &b.RandomFlushed}, {d.sequentialFlushed, n, &b.SequentialFlushed},
			{d.both, 1, &b.Overlapped},
		}
	case boundFlushed:
		todo = []one{{d.randomFlushed, 1, &b.RandomFlushed}}
	}
	for _, o := range todo {
		r, err := o.f(ctx, t)
		if err != nil {
			return b, err
		}
		*o.to = r.perSecond * o.unit
	}
	if d.c.reads > 0 {
		if err := d.besideReads(ctx, kind, t, &b); err != nil {
			return b, err
		}
	}
	b.combine()
	return b, nil
}

// besideReads raises bounds that were measured with reads among the writes to those of writes and reads
// measured one after the other, that share the drive's time: the better of the two, as in Bounds.of.
func (d *drive) besideReads(ctx context.Context, kind string, t time.Duration, b *Bounds) error {
	alone, err := d.readsFree(ctx, t)
	if err != nil {
		return err
	}
	c := d.c
	d.c.reads = 0
	writes, err := d.measure(ctx, kind, t)
	d.c = c
	if err != nil {
		return err
	}
	reads := alone.perSecond * float64(100-c.reads) / float64(c.reads) // of as many as belong to one write
	b.RandomFree = max(b.RandomFree, shared(writes.RandomFree, reads))
	b.RandomFlushed = max(b.RandomFlushed, shared(writes.RandomFlushed, reads))
	b.Overlapped = max(b.Overlapped, shared(writes.Overlapped, reads))
	return nil
}
