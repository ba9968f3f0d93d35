//go:build unix

// Package ringtest is the conformance test of ring.Ring. Every backend passes it, the simulated
// disk's too; the engine relies on nothing that is not in here.
package ringtest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/untorn/untorn/ring"
)

// Page is the size of the writes; the file of a test has Pages of them.
const (
	Page  = 4096
	Pages = 64
)

// Run runs the conformance test. newRing makes a ring of about entries entries, which Run closes;
// open makes a file of size zeroed bytes for it, of its own for each test. A file that is also an
// io.Closer is closed by one of the tests, to see what becomes of its ops.
func Run(t *testing.T, newRing func(t testing.TB, entries int) ring.Ring,
	open func(t testing.TB, r ring.Ring, size int64) ring.File) {
	s := suite{newRing, open}
	for _, c := range []struct {
		name string
		f    func(*testing.T, suite)
	}{
		{"WriteRead", testWriteRead}, {"Vectored", testVectored}, {"Flags", testFlags},
		{"EndOfFile", testEndOfFile}, {"Empty", testEmpty}, {"ClosedFile", testClosedFile},
		{"MoreThanEntries", testMoreThanEntries}, {"ManyGoroutines", testManyGoroutines},
		{"DoBesideSubmit", testDoBesideSubmit}, {"CloseInFlight", testCloseInFlight},
		{"AfterClose", testAfterClose}, {"Registered", testRegistered}, {"Info", testInfo},
		{"Reuse", testReuse}, {"NoAllocation", testNoAllocation},
	} {
		t.Run(c.name, func(t *testing.T) { c.f(t, s) })
	}
}

type suite struct {
	newRing func(testing.TB, int) ring.Ring
	open    func(testing.TB, ring.Ring, int64) ring.File
}

func (s suite) start(t *testing.T, entries int) (ring.Ring, ring.File) {
	t.Helper()
	r := s.newRing(t, entries)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, s.open(t, r, Page*Pages)
}

// run submits op and waits for it.
func run(t *testing.T, r ring.Ring, op *ring.Op) error {
	t.Helper()
	done := make(chan *ring.Op, 1)
	op.Done = done
	op.Err = errors.New("left over from before")
	r.Submit(op)
	if back := <-done; back != op {
		t.Fatal("another op came back")
	}
	return op.Err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pattern(b []byte, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 7))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// both runs f with Submit and with Do.
func both(t *testing.T, r ring.Ring, f func(t *testing.T, run func(*ring.Op) error)) {
	t.Run("Submit", func(t *testing.T) {
		f(t, func(op *ring.Op) error { return run(t, r, op) })
	})
	t.Run("Do", func(t *testing.T) {
		f(t, func(op *ring.Op) error {
			err := r.Do(op)
			if !errors.Is(op.Err, err) {
				t.Errorf("Do returned %v and left %v", err, op.Err)
			}
			return err
		})
	})
}

func testWriteRead(t *testing.T, s suite) {
	r, f := s.start(t, 8)
	both(t, r, func(t *testing.T, run func(*ring.Op) error) {
		w, b := pattern(Memory(4*Page), rand.Uint64()), Memory(4*Page)
		must(t, run(&ring.Op{Kind: ring.Write, File: f, Off: 3 * Page, Buf: w}))
		must(t, run(&ring.Op{Kind: ring.Read, File: f, Off: 3 * Page, Buf: b}))
		if !bytes.Equal(w, b) {
			t.Fatal("read something else than was written")
		}
		must(t, run(&ring.Op{Kind: ring.Read, File: f, Off: 2 * Page, Buf: b[:Page]}))
		if !bytes.Equal(b[:Page], make([]byte, Page)) {
			t.Fatal("the write spilled over")
		}
	})
}

func testVectored(t *testing.T, s suite) {
	r, f := s.start(t, 8)
	both(t, r, func(t *testing.T, run func(*ring.Op) error) {
		for _, n := range []int{1, 2, 16, 17, Pages} {
			w, b := pattern(Memory(2*n*Page), rand.Uint64()), Memory(n*Page)
			var out, in [][]byte
			for i := range n { // scattered, backwards
				at := 2 * (n - 1 - i) * Page
				out = append(out, w[at:at+Page])
				in = append(in, b[(n-1-i)*Page:(n-i)*Page])
			}
			op := &ring.Op{Kind: ring.Write, File: f, Vec: out}
			if op.Len() != n*Page {
				t.Fatal(op.Len())
			}
			must(t, run(op))
			must(t, run(&ring.Op{Kind: ring.Read, File: f, Vec: in}))
			for i := range n {
				if !bytes.Equal(out[i], in[i]) {
					t.Fatalf("%d pieces: piece %d differs", n, i)
				}
			}
		}
	})
}

func testFlags(t *testing.T, s suite) {
	r, f := s.start(t, 8)
	both(t, r, func(t *testing.T, run func(*ring.Op) error) {
		w, b := pattern(Memory(2*Page), rand.Uint64()), Memory(2*Page)
		must(t, run(&ring.Op{Kind: ring.Write, Flags: ring.DSync, File: f, Buf: w[:Page]}))
		must(t, run(&ring.Op{Kind: ring.Write, Flags: ring.DSync, File: f, Off: Page,
			Vec: [][]byte{w[Page:][:Page]}}))
		must(t, run(&ring.Op{Kind: ring.DataSync, File: f}))
		must(t, run(&ring.Op{Kind: ring.Sync, File: f}))
		must(t, run(&ring.Op{Kind: ring.Read, File: f, Buf: b}))
		if !bytes.Equal(w, b) {
			t.Fatal("read something else than was written")
		}
		// Whether the file can do this is not the ring's to decide; what was refused is as before.
		err := run(&ring.Op{Kind: ring.Write, Flags: ring.Atomic, File: f, Off: Page, Buf: w[:Page]})
		var e *ring.Error
		if err != nil && (!errors.As(err, &e) || e.Off != Page || e.Len != Page) {
			t.Fatalf("%v is no *ring.Error that says what was refused", err)
		}
		must(t, run(&ring.Op{Kind: ring.Read, File: f, Buf: b}))
		want := w[Page:]
		if err == nil {
			want = w[:Page]
		}
		if !bytes.Equal(b[Page:], want) {
			t.Fatalf("after an atomic write that ended in %v the page is something else", err)
		}
	})
}

func testEndOfFile(t *testing.T, s suite) {
	r, f := s.start(t, 8)
	both(t, r, func(t *testing.T, run func(*ring.Op) error) {
		b := Memory(2 * Page)
		for _, off := range []int64{(Pages - 1) * Page, Pages * Page, (Pages + 5) * Page} {
			err := run(&ring.Op{Kind: ring.Read, File: f, Off: off, Buf: b})
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("at page %d of %d: %v", off/Page, Pages, err)
			}
			err = run(&ring.Op{Kind: ring.Read, File: f, Off: off, Vec: [][]byte{b[:Page], b[Page:]}})
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("vectored, at page %d of %d: %v", off/Page, Pages, err)
			}
		}
	})
}

func testEmpty(t *testing.T, s suite) {
	r, f := s.start(t, 8)
	both(t, r, func(t *testing.T, run func(*ring.Op) error) {
		must(t, run(&ring.Op{Kind: ring.Write, File: f}))
		must(t, run(&ring.Op{Kind: ring.Read, File: f}))
	})
	r.Submit()
}

func testClosedFile(t *testing.T, s suite) {
	r, f := s.start(t, 8)
	c, ok := f.(io.Closer)
	if !ok {
		t.Skip("this file cannot be closed")
	}
	must(t, c.Close())
	both(t, r, func(t *testing.T, run func(*ring.Op) error) {
		for k := ring.Read; k <= ring.Sync; k++ {
			op := &ring.Op{Kind: k, File: f}
			if k <= ring.Write {
				op.Buf, op.Off = Memory(Page), Page
			}
			err := run(op)
			var e *ring.Error
			if !errors.As(err, &e) || e.Kind != k || e.Off != op.Off || e.Len != len(op.Buf) {
				t.Errorf("%s of a closed file: %v", k, err)
			}
		}
	})
}

func testMoreThanEntries(t *testing.T, s suite) {
	r, f := s.start(t, 4)
	const n = 200
	done := make(chan *ring.Op, n)
	ops := make([]*ring.Op, n)
	for i := range ops {
		ops[i] = &ring.Op{Kind: ring.Write, File: f, Off: int64(i%Pages) * Page, Tag: uint64(i),
			Buf: pattern(Memory(Page), uint64(i%Pages)), Done: done}
		if i%10 == 9 {
			ops[i] = &ring.Op{Kind: ring.DataSync, File: f, Tag: uint64(i), Done: done}
		}
	}
	r.Submit(ops...)
	seen := map[uint64]bool{}
	for range n {
		op := <-done
		must(t, op.Err)
		if seen[op.Tag] {
			t.Fatalf("op %d came back twice", op.Tag)
		}
		seen[op.Tag] = true
	}
	if len(done) > 0 {
		t.Fatal("more came back than was submitted")
	}
}

func testManyGoroutines(t *testing.T, s suite) {
	r, f := s.start(t, 16)
	var wg sync.WaitGroup
	for g := range Pages {
		wg.Go(func() {
			done := make(chan *ring.Op, 1)
			buf, back := Memory(Page), Memory(Page)
			ops := []*ring.Op{{File: f, Off: int64(g) * Page, Done: done}}
			op := ops[0]
			for i := range 20 {
				op.Kind, op.Buf = ring.Write, pattern(buf, uint64(g*1000+i))
				r.Submit(ops...)
				if <-done; op.Err != nil {
					t.Error(op.Err)
				}
				op.Kind, op.Buf = ring.Read, back
				r.Submit(ops...)
				if <-done; op.Err != nil || !bytes.Equal(buf, back) {
					t.Errorf("page %d, round %d: read something else than was written: %v", g, i, op.Err)
				}
			}
		})
	}
	wg.Wait()
}

func testDoBesideSubmit(t *testing.T, s suite) {
	r, f := s.start(t, 8)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			op := &ring.Op{Kind: ring.Write, File: f, Off: int64(g) * Page, Buf: Memory(Page)}
			for range 50 {
				if err := r.Do(op); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			done := make(chan *ring.Op, 1)
			ops := []*ring.Op{{Kind: ring.Write, File: f, Off: int64(8+g) * Page, Buf: Memory(Page),
				Done: done}}
			for range 50 {
				r.Submit(ops...)
				if op := <-done; op.Err != nil {
					t.Error(op.Err)
				}
			}
		})
	}
	wg.Wait()
}

// Close waits for what is in flight, and of what is submitted meanwhile nothing is lost: it is done
// or comes back with ErrClosed.
func testCloseInFlight(t *testing.T, s suite) {
	const rounds, goroutines, each = 10, 4, 50
	for range rounds {
		r, f := s.start(t, 4)
		var wg sync.WaitGroup
		begun := make(chan struct{}, goroutines)
		for g := range goroutines {
			wg.Go(func() {
				done := make(chan *ring.Op, each)
				ops := make([]*ring.Op, each)
				for i := range ops {
					ops[i] = &ring.Op{Kind: ring.Write, File: f, Off: int64(g) * Page,
						Buf: Memory(Page), Done: done}
				}
				r.Submit(ops[:2]...)
				begun <- struct{}{}
				r.Submit(ops[2:]...)
				for range each {
					if op := <-done; op.Err != nil && !errors.Is(op.Err, ring.ErrClosed) {
						t.Error(op.Err)
					}
				}
			})
		}
		<-begun
		must(t, r.Close())
		wg.Wait()
	}
}

func testAfterClose(t *testing.T, s suite) {
	r, f := s.start(t, 4)
	must(t, r.Close())
	must(t, r.Close()) // idempotent
	both(t, r, func(t *testing.T, run func(*ring.Op) error) {
		for _, k := range []ring.Kind{ring.Write, ring.DataSync} {
			op := &ring.Op{Kind: k, File: f}
			if k == ring.Write {
				op.Buf = Memory(Page)
			}
			if err := run(op); !errors.Is(err, ring.ErrClosed) {
				t.Errorf("%s after Close: %v", k, err)
			}
		}
	})
	if fixed, why := r.Register(Memory(Page)); fixed != 0 || why == nil {
		t.Error("Register after Close:", fixed, why)
	}
}

func testRegistered(t *testing.T, s suite) {
	r, f := s.start(t, 8)
	for round := range 2 {
		mem := Memory(16 * Page)
		fixed, why := r.Register(mem)
		if fixed == 0 {
			if why == nil {
				t.Fatal("refused without a reason")
			}
			t.Log("not registered: ", why)
		} else if in := r.Info(); in.Registered < int64((round+1)*len(mem)) {
			t.Errorf("%+v", in)
		}
		both(t, r, func(t *testing.T, run func(*ring.Op) error) {
			w := pattern(mem[5*Page:7*Page], rand.Uint64())
			b := mem[9*Page : 11*Page]
			must(t, run(&ring.Op{Kind: ring.Write, File: f, Buf: w, Fixed: fixed, Flags: ring.DSync}))
			must(t, run(&ring.Op{Kind: ring.Read, File: f, Buf: b, Fixed: fixed}))
			if !bytes.Equal(w, b) {
				t.Fatal("read something else than was written")
			}
			// Memory that is not where Fixed says is no reason to fail.
			must(t, run(&ring.Op{Kind: ring.Write, File: f, Buf: Memory(Page), Fixed: fixed}))
		})
	}
}

func testInfo(t *testing.T, s suite) {
	r, f := s.start(t, 8)
	if in := r.Info(); in.Backend == "" || in.Reason == "" {
		t.Errorf("%+v says too little", in)
	}
	sr, ok := r.(ring.StatsRing)
	if !ok {
		t.Skip("it does not count")
	}
	before := sr.Stats()
	must(t, run(t, r, &ring.Op{Kind: ring.Write, File: f, Buf: Memory(2 * Page)}))
	must(t, run(t, r, &ring.Op{Kind: ring.Read, File: f, Buf: Memory(Page)}))
	must(t, run(t, r, &ring.Op{Kind: ring.DataSync, File: f}))
	must(t, r.Do(&ring.Op{Kind: ring.Sync, File: f}))
	a := sr.Stats()
	if a.Submitted-before.Submitted != 4 || a.Completed-before.Completed != 4 ||
		a.BytesWritten-before.BytesWritten != 2*Page || a.BytesRead-before.BytesRead != Page ||
		a.Flushes-before.Flushes != 2 {
		t.Errorf("before %+v, after %+v", before, a)
	}
}

// An op may be used again as soon as it came back, by whoever received it.
func testReuse(t *testing.T, s suite) {
	r, f := s.start(t, 4)
	const n = 8
	done := make(chan *ring.Op, n)
	for i := range n {
		r.Submit(&ring.Op{Kind: ring.Write, File: f, Off: int64(i) * Page, Buf: Memory(Page), Done: done})
	}
	batch := make([]*ring.Op, 1)
	for i := range 500 {
		op := <-done
		must(t, op.Err)
		if i >= 500-n {
			continue
		}
		op.Tag++
		batch[0] = op
		r.Submit(batch...)
	}
}

func testNoAllocation(t *testing.T, s suite) {
	r, f := s.start(t, 32)
	const n = 8
	done := make(chan *ring.Op, n)
	for _, c := range []struct {
		name string
		op   func(i int) ring.Op
	}{
		{"write", func(int) ring.Op { return ring.Op{Kind: ring.Write, Buf: Memory(Page)} }},
		{"read", func(int) ring.Op { return ring.Op{Kind: ring.Read, Buf: Memory(Page)} }},
		{"vectored", func(int) ring.Op {
			v := make([][]byte, 40)
			for i := range v {
				v[i] = Memory(Page)
			}
			return ring.Op{Kind: ring.Write, Vec: v}
		}},
		{"dsync", func(int) ring.Op {
			return ring.Op{Kind: ring.Write, Flags: ring.DSync, Buf: Memory(Page)}
		}},
		{"flush", func(int) ring.Op { return ring.Op{Kind: ring.DataSync} }},
	} {
		ops := make([]*ring.Op, n)
		for i := range ops {
			op := c.op(i)
			op.File, op.Done = f, done
			ops[i] = &op
		}
		submit := func() {
			r.Submit(ops...)
			for range ops {
				if op := <-done; op.Err != nil {
					t.Fatal(op.Err)
				}
			}
		}
		do := func() {
			if err := r.Do(ops[0]); err != nil {
				t.Fatal(err)
			}
		}
		for name, once := range map[string]func(){"Submit": submit, "Do": do} {
			for range 20 { // workers and tables come into being as they are needed
				once()
			}
			if a := testing.AllocsPerRun(100, once); a != 0 {
				t.Errorf("%s, %s: %v allocations", c.name, name, a)
			}
		}
	}
}
