//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// load is a closed loop: every client waits for its job before it begins the next.
type load struct {
	name    string
	clients int
	bytes   int    // of a record or page
	batch   int    // pages of a job; 0 = records
	pages   uint64 // working set
	warm    time.Duration
	time    time.Duration
}

// unit is what is counted.
func (l *load) unit() string {
	if l.batch == 0 {
		return "records"
	}
	return "pages"
}

// round is the outcome of one entrant in one round.
type round struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	CPU       float64 `json:"cpu_us_each"`
	// Flushes the device was asked for per acknowledged job; -1 where the kernel does not say.
	Flushes float64 `json:"device_flushes_per_ack"`
}

// run drives c with l. The values are incompressible and change from job to job.
func (l *load) run(ctx context.Context, c contender, dev string) (round, error) {
	var measuring, stop atomic.Bool
	hists := make([]*hdrhistogram.Histogram, l.clients)
	errs := make(chan error, l.clients)
	var wg sync.WaitGroup
	for i := range l.clients {
		h := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
		hists[i] = h
		wg.Go(func() {
			w := l.writer(uint64(i))
			for !stop.Load() {
				counted := measuring.Load()
				w.next()
				begin := time.Now()
				if err := c.commit(&w.job); err != nil {
					errs <- err
					stop.Store(true)
					return
				}
				if counted {
					_ = h.RecordValue(max(1, time.Since(begin).Microseconds()))
				}
			}
		})
	}
	wait(ctx, l.warm, &stop)
	measuring.Store(true)
	begin, cpu, flushes := time.Now(), cpuTime(), deviceFlushes(dev)
	wait(ctx, l.time, &stop)
	measuring.Store(false)
	took, used, flushed := time.Since(begin), cpuTime()-cpu, deviceFlushes(dev)-flushes
	stop.Store(true)
	wg.Wait()
	select {
	case err := <-errs:
		return round{}, err
	default:
	}
	all := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	for _, h := range hists {
		all.Merge(h)
	}
	acks := float64(all.TotalCount())
	if acks == 0 {
		return round{}, fmt.Errorf("nothing was acknowledged in %v", took)
	}
	n := acks * float64(max(l.batch, 1))
	r := round{
		PerSecond: n / took.Seconds(), CPU: float64(used.Microseconds()) / n, Flushes: -1,
		P50: float64(all.ValueAtQuantile(50)), P99: float64(all.ValueAtQuantile(99)),
	}
	if flushes >= 0 {
		r.Flushes = float64(flushed) / acks
	}
	return r, ctx.Err()
}

func wait(ctx context.Context, d time.Duration, stop *atomic.Bool) {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil && !stop.Load(); {
		<-t.C
	}
}

// writer makes one client's jobs.
type writer struct {
	l   *load
	rng *rand.Rand
	job job
}

func (l *load) writer(seed uint64) *writer {
	w := &writer{l: l, rng: rand.New(rand.NewPCG(seed, 7))}
	w.job.done = make(chan error, 1)
	for range max(l.batch, 1) {
		v := make([]byte, l.bytes)
		for i := range v {
			v[i] = byte(w.rng.Uint32())
		}
		w.job.vals = append(w.job.vals, v)
	}
	if l.batch > 0 {
		w.job.keys = make([]uint64, l.batch)
	}
	return w
}

// next changes a few bytes of every value and draws distinct pages.
func (w *writer) next() {
	for _, v := range w.job.vals {
		for range 4 {
			v[w.rng.IntN(len(v))]++
		}
	}
	for i := range w.job.keys {
		for {
			k := w.rng.Uint64N(w.l.pages)
			if !slices.Contains(w.job.keys[:i], k) {
				w.job.keys[i] = k
				break
			}
		}
	}
}

// deviceFlushes reads how many flushes a block device has been asked for (the 16th field of
// /sys/block/*/stat: the kernel's Documentation/block/stat.rst), or -1.
func deviceFlushes(dev string) int64 {
	b, err := os.ReadFile("/sys/dev/block/" + dev + "/stat")
	if err != nil {
		return -1
	}
	f := strings.Fields(string(b))
	if len(f) < 16 {
		return -1
	}
	n, err := strconv.ParseInt(f[15], 10, 64)
	if err != nil {
		return -1
	}
	return n
}
