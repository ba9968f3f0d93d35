package aligned

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/untorn/untorn/ring"
)

func newPool(t testing.TB, chunks int) *Pool {
	t.Helper()
	p, err := NewPool(Config{Bytes: int64(chunks) * Chunk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func get(t testing.TB, p *Pool, size, n int) []Frame {
	t.Helper()
	dst := make([]Frame, n)
	if err := p.Get(context.Background(), size, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

func TestNeighbours(t *testing.T) {
	p := newPool(t, 16)
	hole := get(t, p, 16<<10, 1) // so that the first chunk is not whole
	for _, c := range []struct{ size, n int }{
		{4 << 10, 16}, {16 << 10, 8}, {16 << 10, 3}, {64 << 10, 4}, {32 << 10, 2},
	} {
		f := get(t, p, c.size, c.n)
		for i, g := range f {
			if len(g.Buf) != c.size || cap(g.Buf) != c.size || !IsAligned(g.Buf, c.size) {
				t.Fatalf("%d x %d: frame %d: %d bytes, cap %d", c.n, c.size, i, len(g.Buf), cap(g.Buf))
			}
			if i > 0 && addr(g.Buf) != addr(f[i-1].Buf)+uintptr(c.size) {
				t.Errorf("%d x %d: frame %d does not follow its neighbour", c.n, c.size, i)
			}
		}
		p.Put(f)
	}
	p.Put(hole)
}

func TestChunksReturnToAllSizes(t *testing.T) {
	p := newPool(t, 4)
	for size := 4 << 10; size <= Chunk; size *= 2 {
		f := get(t, p, size, 4*Chunk/size)
		if p.TryGet(4<<10, make([]Frame, 1)) {
			t.Fatal("the pool is full")
		}
		p.Put(f)
	}
	if s := p.Stats(); s.InUse != 0 || s.HighWater != 4*Chunk {
		t.Fatalf("%+v", s)
	}
}

func TestTooLarge(t *testing.T) {
	p := newPool(t, 2)
	if err := p.Get(context.Background(), 32<<10, make([]Frame, 5)); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	for _, size := range []int{0, 2048, 12288, 128 << 10} {
		if err := p.Get(context.Background(), size, make([]Frame, 1)); err == nil {
			t.Fatalf("frames of %d bytes", size)
		}
	}
}

// A large request that waits is not overtaken by small ones that would fit.
func TestFirstComeFirstServed(t *testing.T) {
	p := newPool(t, 4)
	a, b := get(t, p, Chunk, 2), get(t, p, Chunk, 1)
	order := make(chan string, 2)
	ask := func(name string, n int) {
		f := make([]Frame, n)
		if err := p.Get(context.Background(), Chunk, f); err != nil {
			t.Error(err)
		}
		order <- name
		p.Put(f)
	}
	go ask("large", 4)
	waitFor(p, 1)
	go ask("small", 1)
	waitFor(p, 2)
	if p.TryGet(Chunk, make([]Frame, 1)) {
		t.Fatal("TryGet overtook the queue")
	}
	p.Put(b)
	if n := p.Stats().Waiting; n != 2 {
		t.Fatalf("%d wait: the small request overtook the large one", n)
	}
	p.Put(a)
	if first, second := <-order, <-order; first != "large" || second != "small" {
		t.Fatal(first, second)
	}
}

func waitFor(p *Pool, waiting int) {
	for p.Stats().Waiting != waiting {
		yield()
	}
}

// Cancelling the large request at the head lets through the small one behind it.
func TestCancelledWaiterUnblocksQueue(t *testing.T) {
	p := newPool(t, 2)
	held := get(t, p, Chunk, 1)
	ctx, cancel := context.WithCancelCause(context.Background())
	large, small := make(chan error), make(chan error)
	go func() { large <- p.Get(ctx, Chunk, make([]Frame, 2)) }()
	waitFor(p, 1)
	f := make([]Frame, 1)
	go func() { small <- p.Get(context.Background(), Chunk, f) }()
	waitFor(p, 2)
	why := errors.New("enough")
	cancel(why)
	if err := <-large; !errors.Is(err, why) {
		t.Fatal(err)
	}
	if err := <-small; err != nil {
		t.Fatal(err)
	}
	p.Put(f)
	p.Put(held)
}

func TestPutMisuse(t *testing.T) {
	p := newPool(t, 2)
	panics := func(name string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", name)
			}
		}()
		f()
	}
	f := get(t, p, 16<<10, 2)
	p.Put(f[:1])
	panics("twice", func() { p.Put(f[:1]) })
	again := get(t, p, 16<<10, 1)
	panics("stale", func() { p.Put(f[:1]) }) // the place is somebody else's by now
	panics("no frame", func() { p.Put(make([]Frame, 1)) })
	p.Put(again)
	p.Put(f[1:])
	panics("of a free chunk", func() { p.Put(f[1:]) })
}

func TestLookup(t *testing.T) {
	p := newPool(t, 2)
	f := get(t, p, 16<<10, 3)
	g, ok := p.Lookup(f[1].Buf[100:200])
	if !ok || g.id != f[1].id || len(g.Buf) != 16<<10 {
		t.Fatal(g.id, ok)
	}
	whole := p.mem[:Chunk]
	for name, b := range map[string][]byte{
		"free": whole[48<<10:][:10], "two frames": whole[:20<<10], "empty": nil,
		"elsewhere": make([]byte, 10), "free chunk": p.mem[Chunk:][:10],
	} {
		if _, ok := p.Lookup(b); ok {
			t.Errorf("found %s", name)
		}
	}
	p.Put([]Frame{g, f[0], f[2]})
}

func TestClose(t *testing.T) {
	p, err := NewPool(Config{Bytes: Chunk})
	if err != nil {
		t.Fatal(err)
	}
	f := get(t, p, Chunk, 1)
	waiting := make(chan error)
	go func() { waiting <- p.Get(context.Background(), Chunk, make([]Frame, 1)) }()
	waitFor(p, 1)
	if err := p.Close(); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	f[0].Buf[0] = 1 // still mapped
	p.Put(f)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Get(context.Background(), Chunk, f); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// Many goroutines, mixed sizes: nobody ever shares a byte, everybody is served, all comes back.
func TestExclusive(t *testing.T) {
	p := newPool(t, 8)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 500 {
				size := classes[rnd.IntN(len(classes))]
				dst := make([]Frame, 1+rnd.IntN(4*Chunk/size))
				ctx, cancel := context.WithCancel(context.Background())
				if rnd.IntN(4) == 0 {
					go cancel()
				}
				err := p.Get(ctx, size, dst)
				cancel()
				if errors.Is(err, context.Canceled) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				for i := range dst { // the race detector sees who else does
					dst[i].Buf[0], dst[i].Buf[size-1] = byte(g), byte(g)
				}
				yield()
				for i := range dst {
					if dst[i].Buf[0] != byte(g) || dst[i].Buf[size-1] != byte(g) {
						t.Error("somebody wrote into a frame that is not his")
					}
				}
				at := rnd.IntN(len(dst) + 1) // in two parts, in another order
				p.Put(dst[at:])
				p.Put(dst[:at])
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.InUse != 0 || s.Waiting != 0 || s.HighWater > s.Bytes {
		t.Fatalf("%+v", s)
	}
	p.Put(get(t, p, 4<<10, 8*slotsPerChunk)) // all of it is there again
}

// TestModel compares the pool with the plainest bookkeeping there is, over random histories.
func TestModel(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		p := newPool(t, 6)
		owner := map[uintptr]int{} // of each 4 KiB block: the number of its Get
		var held [][]Frame
		for step := range 400 {
			if rnd.IntN(2) == 0 && len(held) > 0 {
				i := rnd.IntN(len(held))
				for _, f := range held[i] {
					for at := 0; at < len(f.Buf); at += 4096 {
						delete(owner, addr(f.Buf[at:]))
					}
				}
				p.Put(held[i])
				held = append(held[:i], held[i+1:]...)
				continue
			}
			size := classes[rnd.IntN(len(classes))]
			dst := make([]Frame, 1+rnd.IntN(20))
			if !p.TryGet(size, dst) {
				if dst[0].id != 0 {
					t.Fatal("a failed TryGet left frames behind")
				}
				continue
			}
			for _, f := range dst {
				for at := 0; at < size; at += 4096 {
					a := addr(f.Buf[at:])
					if other, taken := owner[a]; taken {
						t.Fatalf("seed %d: block given to %d and %d", seed, other, step)
					}
					owner[a] = step
				}
			}
			held = append(held, dst)
			if s := p.Stats(); s.InUse != int64(len(owner))*4096 {
				t.Fatalf("seed %d: %d in use, want %d", seed, s.InUse, len(owner)*4096)
			}
		}
		for _, f := range held {
			p.Put(f)
		}
		if p.whole.n != 6 {
			t.Fatalf("seed %d: %d chunks came back", seed, p.whole.n)
		}
		for c, r := range p.partial {
			if r.frames != 0 || r.chunks.n != 0 {
				t.Fatalf("seed %d: class %d keeps %+v", seed, c, r)
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	p := newPool(t, 64)
	ctx := context.Background()
	dst := make([]Frame, 20)
	n := testing.AllocsPerRun(1000, func() {
		if err := p.Get(ctx, 16<<10, dst); err != nil {
			t.Fatal(err)
		}
		p.Put(dst)
	})
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestRegisterWith(t *testing.T) {
	r, err := ring.New(ring.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(t, 4)
	defer r.Close()
	why := p.RegisterWith(r)
	f := get(t, p, 4096, 1)
	if fixed := f[0].Fixed != 0; fixed != (why == nil) || fixed != p.Stats().Fixed {
		t.Fatal(f[0].Fixed, why)
	}
	p.Put(f)
}

func BenchmarkGetPut(b *testing.B) {
	for _, frames := range []int{1, 8} {
		b.Run(fmt.Sprintf("frames=%d/bytes=16384", frames), func(b *testing.B) {
			p := newPool(b, 64)
			ctx := context.Background()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				dst := make([]Frame, frames)
				for pb.Next() {
					if err := p.Get(ctx, 16<<10, dst); err != nil {
						b.Error(err)
						return
					}
					p.Put(dst)
				}
			})
		})
	}
}
