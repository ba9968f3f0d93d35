//go:build unix

package ring_test

import (
	"io"
	"testing"

	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/ring/ringtest"
)

// TestConformance runs every backend on real files, direct and buffered.
func TestConformance(t *testing.T) {
	for name, cfg := range map[string]ring.Config{
		"uring":           {Backend: ring.Uring},
		"uring-ringflush": {Backend: ring.Uring, FlushBy: ring.FlushRing},
		"uring-group1":    {Backend: ring.Uring, Group: 1},
		"threads":         {Backend: ring.Threads},
		"threads-one":     {Backend: ring.Threads, Workers: 1},
		"buffered":        {Backend: ring.Buffered},
	} {
		t.Run(name, func(t *testing.T) { conform(t, cfg, nil) })
	}
	t.Run("faulty", func(t *testing.T) {
		conform(t, ring.Config{}, func(r ring.Ring) ring.Ring { return ring.NewFaulty(r, nil) })
	})
}

func conform(t *testing.T, cfg ring.Config, wrap func(ring.Ring) ring.Ring) {
	newRing := func(t testing.TB, entries int) ring.Ring {
		cfg := cfg
		cfg.Entries = entries
		r, err := ring.New(cfg)
		if err != nil {
			t.Skip(err)
		}
		if wrap != nil {
			r = wrap(r)
		}
		return r
	}
	t.Run("direct", func(t *testing.T) {
		ringtest.Run(t, newRing, func(t testing.TB, _ ring.Ring, size int64) ring.File {
			f := ringtest.Create(t, t.TempDir(), size)
			if !f.Direct {
				t.Skip("the file system of the temporary directory refuses O_DIRECT")
			}
			return f
		})
	})
	t.Run("buffered", func(t *testing.T) {
		ringtest.Run(t, newRing, func(t testing.TB, _ ring.Ring, size int64) ring.File {
			return ringtest.CreateBuffered(t, t.TempDir(), size)
		})
	})
}

// A file that ends inside a block: direct I/O cannot go on from there, and need not.
func TestOddEndOfFile(t *testing.T) {
	for _, b := range []ring.Backend{ring.Uring, ring.Threads} {
		r, err := ring.New(ring.Config{Backend: b})
		if err != nil {
			t.Skip(err)
		}
		defer r.Close()
		for _, size := range []int64{1000, 5000, 8192 + 4097} {
			f := ringtest.Create(t, t.TempDir(), size)
			buf := ringtest.Memory(32 << 10)
			done := make(chan *ring.Op, 1)
			r.Submit(&ring.Op{Kind: ring.Read, File: f, Buf: buf, Done: done})
			if op := <-done; op.Err != io.ErrUnexpectedEOF {
				t.Errorf("%s, %d bytes: %v", b, size, op.Err)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []ring.Config{
		{Backend: "none"}, {Entries: -1}, {Entries: 1 << 20}, {Workers: -1}, {Group: -1}, {FlushBy: 9},
	} {
		if _, err := ring.New(c); err == nil {
			t.Errorf("%+v is fine", c)
		}
	}
	r, err := ring.New(ring.Config{}) // auto never fails
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r.Info())
	r.Close()
}
