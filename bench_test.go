package untorn_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/untorn/untorn"
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
