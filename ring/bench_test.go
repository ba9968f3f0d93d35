//go:build unix

package ring_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/ring/ringtest"
)

// benchBytes is the size of the file the benchmarks write, all of it written once beforehand.
const benchBytes = 256 << 20

// BenchmarkRandomWrite keeps depth writes in flight. Beside time it reports the CPU time of the
// process, user and system, for each write. See the package comment for the fio job to set against
// it.
func BenchmarkRandomWrite(b *testing.B) {
	f := benchFile(b)
	for _, backend := range []ring.Backend{ring.Uring, ring.Threads} {
		for _, depth := range []int{1, 8, 32} {
			for _, bytes := range []int{4096, 16384} {
				name := fmt.Sprintf("backend=%s/depth=%d/bytes=%d", backend, depth, bytes)
				b.Run(name, func(b *testing.B) {
					r := benchRing(b, ring.Config{Backend: backend})
					randomWrites(b, r, f, depth, bytes, 0)
				})
			}
		}
	}
}

// BenchmarkDo is one write at a time in the calling goroutine, plain and durable.
func BenchmarkDo(b *testing.B) {
	f := benchFile(b)
	for _, flags := range []ring.Flags{0, ring.DSync} {
		b.Run(fmt.Sprintf("bytes=16384/dsync=%t", flags != 0), func(b *testing.B) {
			r := benchRing(b, ring.Config{})
			op := ring.Op{Kind: ring.Write, Flags: flags, File: f, Buf: ringtest.Memory(16384)}
			cpu := cpuTime()
			for i := 0; b.Loop(); i++ {
				op.Off = rand.Int64N(benchBytes/16384) * 16384
				if err := r.Do(&op); err != nil {
					b.Fatal(err)
				}
			}
			reportCPU(b, cpu)
		})
	}
}

// BenchmarkFlush writes eight pages and flushes them, again and again: by an entry of the ring, by
// a goroutine in fdatasync(2), and with every write durable by itself.
func BenchmarkFlush(b *testing.B) {
	f := benchFile(b)
	for _, c := range []struct {
		name  string
		by    ring.FlushBy
		flags ring.Flags
	}{
		{"ring", ring.FlushRing, 0}, {"worker", ring.FlushWorker, 0}, {"dsync", 0, ring.DSync},
	} {
		b.Run("by="+c.name, func(b *testing.B) {
			r := benchRing(b, ring.Config{Backend: ring.Uring, FlushBy: c.by})
			const n = 8
			done := make(chan *ring.Op, n)
			ops := make([]*ring.Op, n)
			for i := range ops {
				ops[i] = &ring.Op{Kind: ring.Write, Flags: c.flags, File: f, Done: done,
					Buf: ringtest.Memory(16384)}
			}
			flush := []*ring.Op{{Kind: ring.DataSync, File: f, Done: done}}
			var inFlush time.Duration
			cpu := cpuTime()
			for b.Loop() {
				for _, op := range ops {
					op.Off = rand.Int64N(benchBytes/16384) * 16384
				}
				r.Submit(ops...)
				for range ops {
					if op := <-done; op.Err != nil {
						b.Fatal(op.Err)
					}
				}
				if c.flags == 0 {
					t := time.Now()
					r.Submit(flush...)
					<-done
					inFlush += time.Since(t)
				}
			}
			reportCPU(b, cpu)
			b.ReportMetric(float64(inFlush.Nanoseconds())/1000/float64(b.N), "flush-us/op")
		})
	}
}

func randomWrites(b *testing.B, r ring.Ring, f ring.File, depth, bytes int, fixed int) {
	done := make(chan *ring.Op, depth)
	batch := make([]*ring.Op, 0, depth)
	mem := ringtest.Memory(depth * bytes)
	for i := range depth {
		batch = append(batch, &ring.Op{Kind: ring.Write, File: f, Done: done,
			Buf: mem[i*bytes : (i+1)*bytes], Fixed: fixed})
	}
	b.SetBytes(int64(bytes))
	cpu := cpuTime()
	b.ResetTimer()
	started, finished := 0, 0
	for finished < b.N {
		batch = batch[:min(len(batch), b.N-started)]
		for _, op := range batch {
			op.Off = rand.Int64N(benchBytes/int64(bytes)) * int64(bytes)
		}
		started += len(batch)
		r.Submit(batch...)
		batch = batch[:0]
		for op := <-done; op != nil; {
			if op.Err != nil {
				b.Fatal(op.Err)
			}
			finished++
			batch = append(batch, op)
			select {
			case op = <-done:
			default:
				op = nil
			}
		}
	}
	reportCPU(b, cpu)
}

func benchRing(b *testing.B, cfg ring.Config) ring.Ring {
	r, err := ring.New(cfg)
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { r.Close() })
	return r
}

// benchFile is a new file, or the one that UNTORN_BENCH_FILE names, of at least benchBytes: to let
// fio and this take turns on the very same blocks.
func benchFile(b *testing.B) ring.File {
	if name := os.Getenv("UNTORN_BENCH_FILE"); name != "" {
		f, err := ringtest.Open(b, name)
		if err != nil {
			b.Fatal(err)
		}
		return f
	}
	f := ringtest.Create(b, b.TempDir(), benchBytes)
	if !f.Direct {
		b.Log("the file system refuses O_DIRECT: these figures are the page cache's")
	}
	return f
}

func cpuTime() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportCPU(b *testing.B, since time.Duration) {
	used := cpuTime() - since
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(b.N), "cpu-us/op")
}
