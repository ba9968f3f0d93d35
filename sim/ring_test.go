package sim

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

func TestRingRefusesWhatAKernelRefuses(t *testing.T) {
	g := newRig(t, Config{Sector: 4096})
	ro := g.open("/f", fsys.OpenFlags{Direct: true, ReadOnly: true})
	closed := g.open("/f", fsys.OpenFlags{})
	check(t, closed.Close(), closed.Close())
	page := buf(4096, 1)
	region := buf(8192, 0)
	fixed, err := g.r.Register(region)
	check(t, err)
	for _, c := range []struct {
		name string
		op   ring.Op
		want error
	}{
		{"offset", ring.Op{Kind: ring.Write, File: g.f, Off: 512, Buf: page}, syscall.EINVAL},
		{"length", ring.Op{Kind: ring.Write, File: g.f, Buf: page[:512]}, syscall.EINVAL},
		{"address", ring.Op{Kind: ring.Read, File: g.f, Buf: buf(8192, 0)[512:4608]}, syscall.EINVAL},
		{"read only", ring.Op{Kind: ring.Write, File: ro, Buf: page}, syscall.EBADF},
		{"closed", ring.Op{Kind: ring.DataSync, File: closed}, syscall.EBADF},
		{"not registered", ring.Op{Kind: ring.Write, File: g.f, Buf: page, Fixed: fixed},
			syscall.EFAULT},
		{"registered", ring.Op{Kind: ring.Write, File: g.f, Buf: region[4096:], Fixed: fixed}, nil},
		{"past the end", ring.Op{Kind: ring.Read, File: g.f, Off: fileSize, Buf: page},
			io.ErrUnexpectedEOF},
		{"vector", ring.Op{Kind: ring.Read, File: g.f, Vec: [][]byte{page, region}}, nil},
	} {
		if err := g.r.Do(&c.op); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestBufferedFilesNeedNoAlignment(t *testing.T) {
	g := newRig(t, Config{NoDirect: true})
	f := g.open("/f", fsys.OpenFlags{Direct: true})
	if direct, why := f.Direct(); direct || why == nil || f.Align().Off != 1 {
		t.Fatal("direct:", direct, why)
	}
	check(t, g.r.Do(&ring.Op{Kind: ring.Write, File: f, Off: 3, Buf: []byte("abc")}))
	g.want("/f", 3, 0, 'a')
	g.want("/f", 2, 0)
	check(t, g.r.Do(&ring.Op{Kind: ring.Write, File: f, Off: 6, Buf: []byte("def")}))
	g.want("/f", 6, 0, 'd')
	g.want("/f", 5, 0, 'c') // also without the second write
	check(t, g.flush(f))
	g.want("/f", 7, 'e')
}

func TestSubmitFromManyGoroutines(t *testing.T) {
	g := newRig(t, Config{Depth: 4})
	const workers, each = 8, 100
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			done := make(chan *ring.Op, 1)
			op := &ring.Op{Kind: ring.Write, File: g.f, Off: int64(w) * 4096,
				Buf: buf(4096, byte(w+1)), Done: done}
			for range each {
				g.r.Submit(op)
				if err := (<-done).Err; err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	g.mustFlush()
	b, _ := g.d.ReadFile("/f")
	for w := range workers {
		if b[w*4096] != byte(w+1) {
			t.Error("lost the write of", w)
		}
	}
	if s := g.d.Stats(); s.Completed != workers*each+1 || len(g.d.Problems()) != 0 {
		t.Error(s, g.d.Problems())
	}
	check(t, g.r.Close(), g.r.Close())
	done := make(chan *ring.Op, 1)
	g.r.Submit(&ring.Op{Kind: ring.Write, File: g.f, Buf: buf(512, 0), Done: done})
	if err := (<-done).Err; err != ring.ErrClosed {
		t.Error(err)
	}
}

func TestCompletionsComeInAnyOrder(t *testing.T) {
	g := newRig(t, Config{})
	done := make(chan *ring.Op, 64)
	inOrder := true
	for range 20 {
		ops := make([]*ring.Op, 16)
		for i := range ops {
			ops[i] = &ring.Op{Kind: ring.Write, File: g.f, Off: int64(i) * 512, Buf: buf(512, 1),
				Done: done, Tag: uint64(i)}
		}
		g.r.Submit(ops...)
		for i := range ops {
			inOrder = (<-done).Tag == uint64(i) && inOrder
		}
	}
	if inOrder {
		t.Error("320 completions in order of submission")
	}
}

func TestLatencyIsVirtualInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Config{Latency: func(op *ring.Op) time.Duration {
			return time.Duration(op.Tag) * time.Second
		}})
		done := make(chan *ring.Op, 3)
		start := time.Now()
		for _, s := range []uint64{3, 1, 2} {
			g.r.Submit(&ring.Op{Kind: ring.Write, File: g.f, Off: int64(s) * 512,
				Buf: buf(512, 1), Done: done, Tag: s})
		}
		for want := uint64(1); want <= 3; want++ {
			if got := (<-done).Tag; got != want {
				t.Errorf("%d came in place of %d", got, want)
			}
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Error("took", took)
		}
		g.d.PowerOff()
		check(t, g.r.Close())
	})
}

func TestReadFaults(t *testing.T) {
	g := newRig(t, Config{})
	read := func() (byte, error) {
		b := buf(1024, 9)
		err := g.r.Do(&ring.Op{Kind: ring.Read, File: g.f, Buf: b})
		return b[0], err
	}
	check(t, g.d.FailReads("/f", 600, 1))
	if _, err := read(); !errors.Is(err, syscall.EIO) {
		t.Error("an unreadable sector was read:", err)
	}
	g.mustWrite(512, 512, 0)
	if _, err := read(); err != nil {
		t.Error("a rewrite heals:", err)
	}
	check(t, g.d.Corrupt("/f", 0, 0x80))
	if b, _ := read(); b != 0x80 {
		t.Error("not rotten:", b)
	}
	g.want("/f", 0, 0x80)
	g.mustWrite(8192, 512, 5)
	g.d.Inject(func(op *ring.Op) Fault { return Fault{Misdirect: 8192} })
	if b, err := read(); b != 5 || err != nil {
		t.Error("not misdirected:", b, err)
	}
}

func TestWriteFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   Config
		fault Fault
		want  map[int64]byte // after a write of 1024 ones at 0, and a flush
	}{
		{"lost", Config{}, Fault{Lost: true}, map[int64]byte{0: 0}},
		{"misdirected", Config{}, Fault{Misdirect: 4096}, map[int64]byte{0: 0, 4096: 1}},
		{"short", Config{}, Fault{Short: 512}, map[int64]byte{0: 1, 512: 1}},
		{"linked short", Config{LinkedShortWrite: true}, Fault{Short: 512},
			map[int64]byte{0: 1, 512: 0}},
	} {
		g := newRig(t, c.cfg)
		g.d.Inject(func(op *ring.Op) Fault {
			if op.Kind == ring.Write {
				return c.fault
			}
			return Fault{}
		})
		g.mustWrite(0, 1024, 1)
		g.mustFlush()
		for off, want := range c.want {
			g.want("/f", off, int(want))
			if b, _ := g.d.ReadFile("/f"); b[off] != want {
				t.Errorf("%s: %d at %d", c.name, b[off], off)
			}
		}
	}
}

func TestChangingABufferInFlightIsNoticed(t *testing.T) {
	g := newRig(t, Config{})
	b := buf(512, 1)
	land := g.start(&ring.Op{Kind: ring.Write, File: g.f, Buf: b})
	b[7] = 2
	check(t, land())
	if p := g.d.Problems(); len(p) != 1 || p[0].What != "buffer changed in flight" {
		t.Error(p)
	}
}

func TestRatesAreDeterministic(t *testing.T) {
	run := func(seed uint64) (s string) {
		hook := Rates{WriteErr: 0.2, Stall: 0.1, StallFor: 1, LostWrite: 0.1}.Hook(seed)
		for range 200 {
			f := hook(&ring.Op{Kind: ring.Write, Buf: make([]byte, 4096)})
			switch {
			case f.Err != nil:
				s += "e"
			case f.Lost:
				s += "l"
			case f.Stall > 0:
				s += "s"
			default:
				s += "."
			}
		}
		return s
	}
	first, again, other := run(1), run(1), run(2)
	if first != again || first == other {
		t.Error(first, again, other)
	}
}

// TestNothingIsHeldAfterwards: an op whose hook said Hold before ClearFaults, and that is not held by the
// time of Release, never is: nobody would release it.
func TestNothingIsHeldAfterwards(t *testing.T) {
	g := newRig(t, Config{Seed: 1})
	asked, answer := make(chan struct{}), make(chan struct{})
	g.d.Inject(func(*ring.Op) Fault {
		close(asked)
		<-answer
		return Fault{Hold: true}
	})
	done := make(chan error)
	go func() { done <- g.flush(g.f) }()
	<-asked
	g.d.ClearFaults()
	if n := g.d.Release(nil); n != 0 {
		t.Errorf("%d ops were held", n)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRotOutlivesAFlush: what has rotted in the cache is rotten on the medium, too, when it was not yet
// flushed: else a page could be damaged, and whole again after a power cut.
func TestRotOutlivesAFlush(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(0, 1024, 1)
	check(t, g.d.Corrupt("/f", 600, 0x80))
	g.mustFlush()
	for name, d := range map[string]*Disk{"after a power cut": g.d.Crash(), "before": g.d} {
		b, err := d.ReadFile("/f")
		check(t, err)
		if b[600] != 0x81 || b[601] != 1 || b[599] != 1 {
			t.Errorf("%s: % x", name, b[598:602])
		}
	}
}
