package aligned

import (
	"fmt"
	"math/bits"
)

const (
	slotsPerChunk = 16
	maxChunks     = 1 << 27 // frame places are numbered in 32 bits
)

// frameSet has a bit for each frame of a chunk.
type frameSet uint16

// chunk is 64 KiB of the pool. Its class says nothing while it belongs to none (Pool.whole).
type chunk struct {
	class class
	free  frameSet
	lent  frameSet // out with a caller that may write or free it (Lend)
	use   [slotsPerChunk]uint32
}

// room is what a class has left in the chunks it occupies: those with a free frame, and the number
// of such frames in all.
type room struct {
	chunks bitmap
	frames int
}

// fits reports whether n frames are to be had now. It counts exactly what take can use.
func (p *Pool) fits(c class, n int) bool {
	return n <= p.partial[c].frames+p.whole.n*c.frames()
}

// take fills dst, in ascending order of address as far as can be; fits was asked before. Whole
// chunks serve whole multiples, side by side if possible; what is left over goes into a chunk with
// room, so that small requests do not break up the common list.
func (p *Pool) take(c class, dst []Frame) {
	p.stats.Gets++
	p.stats.InUse += int64(len(dst) * c.size())
	p.stats.HighWater = max(p.stats.HighWater, p.stats.InUse)
	k := c.frames()
	if n := min(len(dst)/k, p.whole.n); n > 0 {
		at := p.whole.run(n)
		for range n {
			i := p.whole.next(max(at, 0))
			p.open(i, c)
			p.fill(i, &dst, k)
			at = i
		}
	}
	if n := len(dst); n > 0 && n < k {
		if i := p.adjacent(c, n); i >= 0 {
			p.fill(i, &dst, n)
		}
	}
	for len(dst) > 0 {
		r := &p.partial[c]
		i := -1
		if r.frames > 0 && (len(dst) < r.frames || p.whole.n == 0) {
			i = r.chunks.next(0)
		} else if p.whole.n > 0 {
			i = p.whole.next(0)
			p.open(i, c)
		} else {
			i = r.chunks.next(0)
		}
		p.fill(i, &dst, len(dst))
	}
}

// adjacent finds a chunk with n free frames side by side: among the first few with room, else a new
// one. -1 if there is neither.
func (p *Pool) adjacent(c class, n int) int {
	const look = 8
	r := &p.partial[c]
	for i, k := r.chunks.next(0), 0; i >= 0 && k < look; i, k = r.chunks.next(i+1), k+1 {
		if p.chunks[i].free.run(n) >= 0 {
			return i
		}
	}
	if p.whole.n == 0 {
		return -1
	}
	i := p.whole.next(0)
	p.open(i, c)
	return i
}

// open gives chunk i of the common list to class c.
func (p *Pool) open(i int, c class) {
	p.whole.clear(i)
	ch := &p.chunks[i]
	ch.class, ch.free = c, c.allFree()
	p.partial[c].chunks.set(i)
	p.partial[c].frames += c.frames()
}

// fill moves up to n free frames of chunk i to the front of *dst: a run of them if there is one.
func (p *Pool) fill(i int, dst *[]Frame, n int) {
	ch := &p.chunks[i]
	r := &p.partial[ch.class]
	k := max(ch.free.run(n), 0)
	for ; n > 0 && ch.free>>k != 0; n-- {
		k += bits.TrailingZeros16(uint16(ch.free >> k))
		ch.free &^= 1 << k
		ch.use[k]++
		(*dst)[0] = p.frame(i, k)
		*dst = (*dst)[1:]
		r.frames--
	}
	if ch.free == 0 {
		r.chunks.clear(i)
	}
}

// frame describes frame k of chunk i, which is out.
func (p *Pool) frame(i, k int) Frame {
	ch := &p.chunks[i]
	size := ch.class.size()
	from := i*Chunk + k*size
	return Frame{
		Buf:   p.mem[from : from+size : from+size],
		Fixed: p.fixed,
		id:    uint32(i*slotsPerChunk+k) + 1,
		use:   ch.use[k],
	}
}

// place finds a frame that is out.
func (p *Pool) place(f *Frame) (ch *chunk, k int) {
	return &p.chunks[int(f.id-1)/slotsPerChunk], int(f.id-1) % slotsPerChunk
}

// give takes a frame back; its chunk returns to the common list when all of it is free.
func (p *Pool) give(f *Frame) {
	i, k := int(f.id-1)/slotsPerChunk, int(f.id-1)%slotsPerChunk
	if f.id == 0 || i >= len(p.chunks) {
		panic("aligned: Put of a Frame that is not from this pool")
	}
	ch := &p.chunks[i]
	if p.whole.has(i) || ch.free>>k&1 != 0 || ch.use[k] != f.use {
		panic(fmt.Sprintf("aligned: Put of frame %d.%d, which is not out: put twice?", i, k))
	}
	r := &p.partial[ch.class]
	ch.free |= 1 << k
	ch.lent &^= 1 << k
	r.frames++
	p.stats.InUse -= int64(ch.class.size())
	if ch.free != ch.class.allFree() {
		r.chunks.set(i)
		return
	}
	r.chunks.clear(i)
	r.frames -= ch.class.frames()
	p.whole.set(i)
}

// run finds n neighbours in s, -1 if there are none.
func (s frameSet) run(n int) int {
	x := uint32(s)
	for i := 1; i < n; i++ {
		x &= x >> 1
	}
	if x == 0 {
		return -1
	}
	return bits.TrailingZeros32(x)
}

// bitmap is a set of chunks.
type bitmap struct {
	words []uint64
	n     int // how many are in it
}

func newBitmap(size int) bitmap { return bitmap{words: make([]uint64, (size+63)/64)} }

func (b *bitmap) has(i int) bool { return b.words[i/64]>>(i%64)&1 != 0 }

func (b *bitmap) set(i int) {
	if !b.has(i) {
		b.words[i/64] |= 1 << (i % 64)
		b.n++
	}
}

func (b *bitmap) clear(i int) {
	if b.has(i) {
		b.words[i/64] &^= 1 << (i % 64)
		b.n--
	}
}

// next is the first member from i on, -1 if there is none.
func (b *bitmap) next(i int) int {
	for w := i / 64; w < len(b.words); w++ {
		x := b.words[w]
		if w == i/64 {
			x &= ^uint64(0) << (i % 64)
		}
		if x != 0 {
			return w*64 + bits.TrailingZeros64(x)
		}
	}
	return -1
}

// gap is the first place from i on that is no member; the end of the words counts as one.
func (b *bitmap) gap(i int) int {
	for w := i / 64; w < len(b.words); w++ {
		x := ^b.words[w]
		if w == i/64 {
			x &= ^uint64(0) << (i % 64)
		}
		if x != 0 {
			return w*64 + bits.TrailingZeros64(x)
		}
	}
	return len(b.words) * 64
}

// run finds the start of n neighbours, -1 if there are none.
func (b *bitmap) run(n int) int {
	for i := b.next(0); i >= 0; {
		end := b.gap(i)
		if end-i >= n {
			return i
		}
		i = b.next(end)
	}
	return -1
}
