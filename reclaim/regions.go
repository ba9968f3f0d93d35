package reclaim

import "fmt"

// MaxRegions bounds the ring of regions.
const MaxRegions = 64

type regionState uint8

const (
	free regionState = iota
	writing
	reaped
	covered
	flushed
)

type region struct {
	num      uint64
	header   uint64 // watermark the batch's header carries
	state    regionState
	complete bool // every page at S4
}

// Regions is the state machine of a ring of doublewrite regions within one epoch. It does no I/O
// and has no pointers: copy it freely.
type Regions struct {
	n, p, d   int
	last      uint64 // newest sequence assigned
	f, w      uint64
	durable   uint64
	inFlight  int // assigned and not retired
	unflushed int // assigned and not flushed
	ring      [MaxRegions]region
}

// NewRegions returns a ring of n regions that allows p batches in flight, d of them not flushed.
// The durable watermark of the directory must be (epoch, 0) or later: whatever the regions hold
// belongs to older epochs.
func NewRegions(n, p, d int) (Regions, error) {
	if n < 1 || n > MaxRegions || p < 1 || d < 1 || d > p {
		return Regions{}, fmt.Errorf("doublewrite ring of %d regions with %d batches in flight, %d of them not flushed: need 1 <= regions <= %d and 1 <= unflushed <= in flight", n, p, d, MaxRegions)
	}
	return Regions{n: n, p: p, d: d}, nil
}

// Wait says what Assign would have to wait for.
type Wait uint8

// The reasons to wait.
const (
	Ready         Wait = iota
	WaitRetire         // P batches in flight
	WaitFlush          // D batches not flushed
	WaitWatermark      // the next region's last batch is not below the durable watermark
)

// Next reports whether a batch may be assigned now.
func (r *Regions) Next() Wait {
	switch {
	case r.inFlight >= r.p:
		return WaitRetire
	case r.unflushed >= r.d:
		return WaitFlush
	}
	// I2: the region's last holder must be at or below a watermark that is on the medium.
	if k := r.last + 1; k > uint64(r.n) && k-uint64(r.n) > r.durable {
		return WaitWatermark
	}
	return Ready
}

// NeedSuper reports whether only super can free a region: none is usable, nothing in flight could
// carry the watermark, and there is one to carry.
func (r *Regions) NeedSuper() bool {
	return r.Next() == WaitWatermark && r.inFlight == 0 && r.w > r.durable
}

// Assignment is what a batch's header must say.
type Assignment struct {
	Num    uint64
	Region int
	F, W   uint64 // of the same epoch
}

// Assign gives the next region to a batch that is submitted right after.
func (r *Regions) Assign() Assignment {
	if w := r.Next(); w != Ready {
		panic(fmt.Sprintf("reclaim: assign while waiting (%d)", w))
	}
	r.last++
	i := int((r.last - 1) % uint64(r.n))
	r.ring[i] = region{num: r.last, header: r.w, state: writing}
	r.inFlight++
	r.unflushed++
	return Assignment{Num: r.last, Region: i, F: r.f, W: r.w}
}

func (r *Regions) at(num uint64, want regionState) *region {
	g := &r.ring[int((num-1)%uint64(r.n))]
	if g.num != num || g.state != want {
		panic(fmt.Sprintf("reclaim: batch %d is in state %d of region holding %d, want %d", num, g.state, g.num, want))
	}
	return g
}

// Reaped: the batch's doublewrite has completed. It is not flushed yet.
func (r *Regions) Reaped(num uint64) { r.at(num, writing).state = reaped }

// FlushStart marks what a flush submitted now will cover: the batches reaped before it (I1). It
// returns how many there are.
func (r *Regions) FlushStart() int {
	n := 0
	for i := range r.ring[:r.n] {
		if r.ring[i].state == reaped {
			r.ring[i].state = covered
			n++
		}
	}
	return n
}

// Covered reports whether the flush started last covers the batch.
func (r *Regions) Covered(num uint64) bool {
	g := &r.ring[int((num-1)%uint64(r.n))]
	return g.num == num && g.state == covered
}

// FlushDone: the flush started last has completed; what it covered is at S2.
func (r *Regions) FlushDone() {
	for i := range r.ring[:r.n] {
		if g := &r.ring[i]; g.state == covered {
			r.flushedNow(g)
		}
	}
	r.settle()
}

// Synced: the batch was written with DSYNC in all its parts, which covers exactly its own bytes.
func (r *Regions) Synced(num uint64) {
	r.flushedNow(r.at(num, writing))
	r.settle()
}

func (r *Regions) flushedNow(g *region) {
	g.state = flushed
	r.unflushed--
	r.durable = max(r.durable, g.header)
}

// Flushed reports whether the batch has reached S2.
func (r *Regions) Flushed(num uint64) bool {
	g := &r.ring[int((num-1)%uint64(r.n))]
	return num <= r.f || g.num == num && g.state == flushed
}

// Retire: every page of the batch is at S4, or superseded by one that is. The region itself
// retires in sequence order, and only when its own flush has completed.
func (r *Regions) Retire(num uint64) {
	g := &r.ring[int((num-1)%uint64(r.n))]
	if g.num != num || g.state == free || g.complete {
		panic(fmt.Sprintf("reclaim: retire of batch %d, region holds %d in state %d", num, g.num, g.state))
	}
	g.complete = true
	r.settle()
}

// SuperDurable: super carries w on the medium.
func (r *Regions) SuperDurable(w uint64) { r.durable = max(r.durable, min(w, r.w)) }

// settle advances F over the contiguous flushed prefix and W over the contiguous retired one.
func (r *Regions) settle() {
	for r.f < r.last {
		g := &r.ring[int(r.f%uint64(r.n))]
		if g.num != r.f+1 || g.state != flushed {
			break
		}
		r.f++
	}
	for r.w < r.f {
		g := &r.ring[int(r.w%uint64(r.n))]
		if g.num != r.w+1 || !g.complete {
			break
		}
		g.state = free
		r.w++
		r.inFlight--
	}
}

// F is the flushed-through number, W the retired-through one, Durable the W known to be on the
// medium, Last the newest number assigned.
func (r *Regions) F() uint64       { return r.f }
func (r *Regions) W() uint64       { return r.w }
func (r *Regions) Durable() uint64 { return r.durable }
func (r *Regions) Last() uint64    { return r.last }

// Unflushed is the number of batches assigned and not flushed.
func (r *Regions) Unflushed() int { return r.unflushed }

// InFlight is the number of batches assigned and not retired.
func (r *Regions) InFlight() int { return r.inFlight }
