package bench

import (
	"math"
	"testing"
)

func TestSharedDevice(t *testing.T) {
	for _, c := range []struct{ a, b, want float64 }{
		{100, 100, 50}, {30_000, 60_000, 20_000}, {0, 5, 0}, {5, 0, 0}, {1e9, 10, 10},
	} {
		if got := shared(c.a, c.b); math.Abs(got-c.want) > c.want/1000 {
			t.Errorf("shared(%v, %v) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestBoundOfAMode(t *testing.T) {
	b := Bounds{RandomFree: 100, RandomFlushed: 60, SequentialFree: 300, SequentialFlushed: 120, Overlapped: 35}
	b.combine()
	if b.Free != 75 || b.Flushed != 40 {
		t.Fatalf("free %v, flushed %v, want 75 and 40", b.Free, b.Flushed)
	}
	for _, c := range []struct {
		mode Mode
		ack  string
		want float64
	}{
		{Doublewrite, "durable", 40}, {Doublewrite, "accepted", 40}, {Naive, "durable", 40}, {NaiveBatch, "durable", 40},
		{None, "durable", 60}, {Detect, "protected", 60}, {None, "accepted", 100}, {Atomic, "durable", 60}, {Auto, "durable", 40}, {Detect, "logged", 100},
	} {
		if got := b.of(boundKind(c.mode, c.ack)); got != c.want {
			t.Errorf("%s, %s: bound %v, want %v", c.mode, c.ack, got, c.want)
		}
	}
	// A bare pipeline that overlaps better than the arithmetic allows is the bound.
	b.Overlapped = 55
	if got := b.of(boundDoublewrite); got != 55 {
		t.Errorf("the bound is %v although 55 was measured", got)
	}
}

func TestCadenceIsWhatTheEngineCouldHaveTogether(t *testing.T) {
	for _, c := range []struct {
		cfg                   Config
		batch, depth, batches int
	}{
		{Config{}, 64, 128, 4},
		{Config{Clients: 1, Batch: 16}, 16, 16, 1},
		{Config{Clients: 2, Batch: 64}, 64, 128, 2},
		{Config{Clients: 1, Batch: 1}, 1, 1, 1},
		{Config{PageBytes: 4096}, 256, 128, 4},
		{Config{PageBytes: 65536, Depth: 8, Batches: 3}, 16, 8, 3},
	} {
		cfg := c.cfg.withDefaults()
		if b, d, n := cfg.cadence(); b != c.batch || d != c.depth || n != c.batches {
			t.Errorf("%+v: batch %d, depth %d, batches %d, want %d, %d and %d", c.cfg, b, d, n, c.batch, c.depth, c.batches)
		}
	}
}

func TestMeanOfBoundsIsCombinedAnew(t *testing.T) {
	a := Bounds{RandomFlushed: 10, SequentialFlushed: 10, Overlapped: 4}
	b := Bounds{RandomFlushed: 30, SequentialFlushed: 30, Overlapped: 6}
	m := a.mean(b)
	if m.RandomFlushed != 20 || m.Flushed != 10 || m.Overlapped != 5 {
		t.Fatalf("%+v", m)
	}
}
