package untorn_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

func BenchmarkWritePages(b *testing.B) {
	for _, mode := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeDetect, untorn.ModeNone} {
		for _, clients := range []int{1, 16} {
			for _, batch := range []int{1, 64} {
				b.Run(fmt.Sprintf("mode=%s/clients=%d/batch=%d", mode, clients, batch), func(b *testing.B) {
					o := untorn.Options{Dir: b.TempDir() + "/db", SegmentBytes: 1 << 20, Unsafe: true}
					e := open(b, o)
					f := create(b, e, "t", untorn.FileOptions{Pages: 16384, Mode: mode})
					ctx := context.Background()
					var wg sync.WaitGroup
					per := (b.N + clients*batch - 1) / (clients * batch)
					b.ReportAllocs()
					b.ResetTimer()
					start := time.Now()
					for c := range clients {
						wg.Add(1)
						go func() {
							defer wg.Done()
							r := rand.New(rand.NewPCG(1, uint64(c)))
							bufs := make([][]byte, batch)
							ws := make([]untorn.PageWrite, batch)
							for range per {
								if err := f.Alloc(ctx, bufs); err != nil {
									b.Error(err)
									return
								}
								for i := range ws {
									ws[i] = untorn.PageWrite{No: untorn.PageNo(r.Uint64N(16384)), Data: bufs[i]}
								}
								if err := f.WritePages(ctx, ws, untorn.Durable); err != nil {
									b.Error(err)
									return
								}
							}
						}()
					}
					wg.Wait()
					b.ReportMetric(float64(per*clients*batch)/time.Since(start).Seconds(), "pages/s")
				})
			}
		}
	}
}

// BenchmarkProtectedPage is one page, one caller, Protected, beside bare DSYNC writes in turns: of the
// page's bytes, and of as many as its batch has (the page and two headers). The medians are what to
// compare: ns/op is of all three. The page is in place before the others begin.
func BenchmarkProtectedPage(b *testing.B) {
	const size = 16384
	dir := b.TempDir()
	e := open(b, untorn.Options{Dir: dir + "/db"})
	f := create(b, e, "t", untorn.FileOptions{Pages: 8192, PageSize: size})
	r, err := ring.New(ring.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	bare, err := fsys.OS().Open(dir+"/bare", fsys.OpenFlags{Create: true, Direct: true})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = bare.Close() }()
	align := bare.Align().Block
	buf := aligned.Alloc(size+2*align, align)
	for off := int64(0); off < 128<<20; off += int64(len(buf)) { // written once, as the engine's files are
		if err := r.Do(&ring.Op{Kind: ring.Write, File: bare, Off: off, Buf: buf}); err != nil {
			b.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	write := func(n int) func() error {
		return func() error {
			off := int64(rng.Uint64N(5000)) * int64(len(buf))
			return r.Do(&ring.Op{Kind: ring.Write, Flags: ring.DSync, File: bare, Off: off, Buf: buf[:n]})
		}
	}
	data := make([][]byte, 1)
	ways := []struct {
		name string
		do   func() error
		hist *hdrhistogram.Histogram
	}{
		{"page", func() error {
			if err := f.Alloc(ctx, data); err != nil {
				return err
			}
			return f.WritePages(ctx, []untorn.PageWrite{{No: untorn.PageNo(rng.Uint64N(8192)), Data: data[0]}}, untorn.Protected)
		}, stages.NewNanos()},
		{"bare-page", write(size), stages.NewNanos()},
		{"bare-batch", write(len(buf)), stages.NewNanos()},
	}
	for b.Loop() {
		for i := range ways {
			start := time.Now()
			if err := ways[i].do(); err != nil {
				b.Fatal(err)
			}
			_ = ways[i].hist.RecordValue(int64(time.Since(start)))
			if err := f.Sync(ctx); err != nil { // what the page has in flight slows nobody else down
				b.Fatal(err)
			}
		}
	}
	for i := range ways {
		b.ReportMetric(float64(ways[i].hist.ValueAtQuantile(50))/1000, ways[i].name+"-p50-us")
	}
}
