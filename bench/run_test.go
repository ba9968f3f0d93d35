package bench

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
)

// little is a run that takes a moment.
func little(t testing.TB, m Mode) Config {
	return Config{
		Dir: t.TempDir(), Mode: m, Unsafe: m == None, SizeBytes: 4 << 20, Clients: 3, Batch: 8, Seed: 1,
		Duration: 100 * time.Millisecond, Warmup: 20 * time.Millisecond, BoundTime: 20 * time.Millisecond, Verify: true,
	}
}

// patient is Run, with more time where a busy machine acknowledged nothing: one flush can take
// longer than the intervals of a test.
func patient(t *testing.T, c Config) (*Result, error) {
	for {
		r, err := Run(t.Context(), c, nil)
		if !errors.Is(err, ErrNothing) || c.Duration > 4*time.Second {
			return r, err
		}
		c.Duration *= 4
	}
}

func TestEveryModeEndToEnd(t *testing.T) {
	for _, m := range Modes() {
		t.Run(string(m), func(t *testing.T) {
			c := little(t, m)
			r, err := patient(t, c)
			if errors.Is(err, untorn.ErrNotAtomic) && m == Atomic {
				empty(t, c.Dir)
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Pages == 0 || r.PagesPerSecond <= 0 || r.Bound <= 0 || r.Efficiency <= 0 || r.Latency.Count == 0 || r.CPU <= 0 {
				t.Fatalf("%+v", r.Interval)
			}
			if l := r.Latency; l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
				t.Fatalf("latency %+v", l)
			}
			if v := r.Verify; v == nil || !v.OK || !v.Reopened || v.Written == 0 || v.Checked != 2*r.Config.pages() {
				t.Fatalf("verification %+v", v)
			}
			seriesIsWhole(t, r)
			// Each page goes to the device once or twice, and what is written beside it is not that much.
			// Calls under way at either end of so short an interval blur it, and so does a segment of the
			// log that is being made while the machine is busy: a longer one is asked, then.
			least := 1.5
			if r.BoundKind == boundFlushed {
				least = 0.75
			}
			for (r.DeviceBytes < least || r.DeviceBytes > 6) && c.Duration < 2*time.Second {
				t.Logf("%.2f bytes a page byte in %v", r.DeviceBytes, c.Duration)
				c.Duration *= 4
				if r, err = patient(t, c); err != nil {
					t.Fatal(err)
				}
			}
			if r.DeviceBytes < least || r.DeviceBytes > 6 {
				t.Errorf("%.2f bytes a page byte", r.DeviceBytes)
			}
			if m.engine() == (len(r.Stages) == 0) {
				t.Errorf("%d stages", len(r.Stages))
			}
			empty(t, c.Dir)
		})
	}
}

// seriesIsWhole: the steps of an interval are all of it, to the last call.
func seriesIsWhole(t *testing.T, r *Result) {
	t.Helper()
	calls, pages, at := int64(0), 0.0, 0.0
	for _, s := range r.Series {
		calls += int64(s.Calls)
		pages += s.PagesPerSecond * (s.Second - at)
		at = s.Second
	}
	if calls != r.Latency.Count || math.Abs(pages-float64(r.Pages)) > 0.01 || math.Abs(at-r.Seconds) > 1e-6 {
		t.Errorf("the series has %d calls and %.2f pages in %.6f s, the interval %d, %d and %.6f", calls, pages, at, r.Latency.Count, r.Pages, r.Seconds)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWorkloads(t *testing.T) {
	if testing.Short() {
		t.Skip("the modes alone have to do")
	}
	for name, change := range map[string]func(*Config){
		"hot, one core":          func(c *Config) { c.Dist, c.Hot, c.Cores = Hot, 20, 1 },
		"open loop, zipf":        func(c *Config) { c.Rate, c.Dist = 2000, Zipf },
		"sequential, log, reads": func(c *Config) { c.Dist, c.LogBytes, c.Reads = Seq, 300, 50 },
		"accepted, reads, small": func(c *Config) { c.Ack, c.Reads, c.PageBytes = "accepted", 30, 4096 },
		"logged, large":          func(c *Config) { c.Ack, c.LogBytes, c.PageBytes, c.Clients, c.Batch = "logged", 64, 65536, 2, 4 },
		"protected, threads":     func(c *Config) { c.Ack, c.Backend = "protected", ring.Threads },
		"buffered, compressible": func(c *Config) { c.Backend, c.Zeros = ring.Buffered, 80 },
		"other places, one at a time": func(c *Config) {
			c.WALDir, c.DWBDir, c.Clients, c.Batch = filepath.Join(c.Dir, "w", "x"), filepath.Join(c.Dir, "d"), 1, 1
		},
		"no bound, repeated": func(c *Config) { c.BoundTime, c.Repeat = -1, 3 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := little(t, Doublewrite)
			c.Duration = 60 * time.Millisecond
			change(&c)
			r, err := patient(t, c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Pages == 0 || r.Verify == nil || !r.Verify.OK || len(r.Repeats) > r.Config.Repeat {
				t.Fatalf("%+v, %+v", r.Interval, r.Verify)
			}
			if c.Rate > 0 && r.StartLag == nil || c.Reads > 0 && r.ReadPages == 0 {
				t.Errorf("%+v", r.Interval)
			}
			if c.Reads > 0 && r.ReadLatency.Count > 0 && !bytes.Contains(r.hlog, []byte("Tag=read,")) {
				t.Errorf("%d reads, and none of them in the interval log", r.ReadLatency.Count)
			}
			empty(t, c.Dir)
		})
	}
}

func TestModesSideBySide(t *testing.T) {
	c := little(t, "")
	c.Dir = filepath.Join(c.Dir, "new", "below")
	c.Duration, c.Repeat = 150*time.Millisecond, 2
	rs, err := CompareModes(t.Context(), c, []Mode{None, NaiveBatch, Doublewrite, Atomic}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if len(r.Repeats) == 0 || !r.Verify.OK {
			t.Errorf("%s: %d repeats, %+v", r.Mode, len(r.Repeats), r.Verify)
		}
	}
	empty(t, filepath.Dir(filepath.Dir(c.Dir)))
}

func TestInterruptKeepsWhatThereIs(t *testing.T) {
	c := little(t, Doublewrite)
	c.Duration, c.Repeat = 100*time.Millisecond, 1000
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Run(ctx, c, func(what string, _ float64) {
		if what == "doublewrite, 5 of 1000" {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || len(r.Repeats) == 0 || len(r.Repeats) >= 1000 || r.PagesPerSecond <= 0 {
		t.Fatalf("interrupted %t, %d repeats", r.Interrupted, len(r.Repeats))
	}
	empty(t, c.Dir)
}

// TestInterruptedReadingBack: what was measured is whole, and nothing is said of what was not read.
func TestInterruptedReadingBack(t *testing.T) {
	c := little(t, Doublewrite)
	c.Duration = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Run(ctx, c, func(what string, _ float64) {
		if what == "reading back doublewrite" {
			cancel()
		}
	})
	if err != nil || !r.Interrupted || len(r.Repeats) != 1 || r.Verify != nil {
		t.Fatalf("%v, interrupted %t, %d repeats, verification %+v", err, r.Interrupted, len(r.Repeats), r.Verify)
	}
	l := WALConfig{Dir: c.Dir, Duration: time.Second, Warmup: -1, BoundTime: -1, Verify: true}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	w, err := RunWAL(ctx, l, func(what string, _ float64) {
		if what == "reading back the log" {
			cancel()
		}
	})
	if err != nil || !w.Interrupted || len(w.Repeats) != 1 || w.Verify != nil {
		t.Fatalf("%v, interrupted %t, %d repeats, verification %+v", err, w.Interrupted, len(w.Repeats), w.Verify)
	}
	empty(t, c.Dir)
}

// TestModesThatWereNotMeasuredAreLeftOut: an interrupt leaves no run of zeros behind.
func TestModesThatWereNotMeasuredAreLeftOut(t *testing.T) {
	c := little(t, "")
	c.Duration = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rs, err := CompareModes(ctx, c, []Mode{Detect, Doublewrite}, func(what string, _ float64) {
		if what == "doublewrite, 1 of 1" {
			cancel()
		}
	})
	if err != nil || len(rs) != 1 || rs[0].Mode != Detect || !rs[0].Interrupted {
		t.Fatalf("%v, %d results: %+v", err, len(rs), rs)
	}
}

// TestSweepKeepsWhatThereIs: an interrupt in the second round leaves all of the first.
func TestSweepKeepsWhatThereIs(t *testing.T) {
	c := little(t, "")
	c.Duration, c.Repeat, c.Verify = 150*time.Millisecond, 1000, false
	s := SweepConfig{Base: c, Modes: []Mode{Doublewrite, Detect}, Over: "clients", Values: []int{1, 3}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Sweep(ctx, s, func(what string, _ float64) {
		if what == "detect, clients=1, 5 of 1000" {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || len(r.Points) != 4 {
		t.Fatalf("interrupted %t, %d points", r.Interrupted, len(r.Points))
	}
	for i, p := range r.Points {
		want := Point{Value: s.Values[i/2], Run: &Result{Mode: s.Modes[i%2]}}
		if p.Value != want.Value || p.Run.Mode != want.Run.Mode || p.Run.Clients != want.Value || p.Run.PagesPerSecond <= 0 || p.Run.Bound <= 0 {
			t.Errorf("point %d: %s, clients %d: %v pages/s", i, p.Run.Mode, p.Value, p.Run.PagesPerSecond)
		}
	}
	empty(t, c.Dir)
}

// TestOverload: what is offered is more than is done, callers fall behind, and nothing else happens;
// the time of a page is told by cause.
func TestOverload(t *testing.T) {
	c := little(t, Doublewrite)
	c.Overload, c.LogBytes, c.Duration = 300, 100, 300*time.Millisecond
	r, err := patient(t, c)
	if err != nil {
		t.Fatal(err)
	}
	o := r.Overload
	if o == nil || o.Capacity <= 0 || o.Offered < 2.9*o.Capacity || o.Behind <= 0 || !r.Verify.OK {
		t.Fatalf("%+v, %+v", o, r.Verify)
	}
	where := map[string]float64{}
	for _, p := range r.Time {
		where[p.Where] = p.Micros
	}
	for _, want := range []string{spentTurn, spentFill, "doublewrite", "write in place", "flush in place"} {
		if where[want] <= 0 {
			t.Errorf("no time in %q: %+v", want, r.Time)
		}
	}
	if m := r.Memory; m.Frames <= 0 || m.FramesMax <= 0 || m.FramesMax > m.Frames {
		t.Errorf("%+v", m)
	}
	empty(t, c.Dir)
}

// TestBottleneckCountsReads: an open loop's rate and the CPU time of a page are of pages read, too.
func TestBottleneckCountsReads(t *testing.T) {
	r := full()
	r.Config.Rate, r.Overload, r.Efficiency = 1000, nil, 0.1
	r.PagesPerSecond, r.Seconds, r.ReadPages = 300, 2, 1400
	if got := r.bottleneck(); got != "nothing: the rate asked for was reached" {
		t.Errorf("300 pages written and 700 read a second, of 1000 asked for: %s", got)
	}
	r.Config.Rate, r.Config.Cores, r.CPU = 0, 1, 950
	if got := r.bottleneck(); !strings.HasPrefix(got, "CPU: ") {
		t.Errorf("1000 pages a second of 950 us each: %s", got)
	}
}

func TestImpossibleDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := little(t, Doublewrite)
	c.Dir = filepath.Join(file, "below")
	if r, err := Run(t.Context(), c, nil); err == nil || errors.Is(err, ErrUsage) {
		t.Fatalf("%v, %v", r, err)
	}
	c = little(t, Doublewrite)
	c.SizeBytes = 1 << 50
	if _, err := Run(t.Context(), c, nil); err == nil {
		t.Fatal("a pebibyte fits")
	}
	empty(t, c.Dir)
}

func TestConfigComplaints(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"unsafe":         func(c *Config) { c.Mode, c.Unsafe = None, false },
		"mode":           func(c *Config) { c.Mode = "x" },
		"ack":            func(c *Config) { c.Ack = "x" },
		"dist":           func(c *Config) { c.Dist = "x" },
		"backend":        func(c *Config) { c.Backend = "x" },
		"page":           func(c *Config) { c.PageBytes = 5000 },
		"too few pages":  func(c *Config) { c.SizeBytes = 64 << 10 },
		"clients":        func(c *Config) { c.Clients = -1 },
		"reads":          func(c *Config) { c.Reads = 101 },
		"naive ack":      func(c *Config) { c.Mode, c.Ack = Naive, "protected" },
		"naive log":      func(c *Config) { c.Mode, c.LogBytes = NaiveBatch, 5 },
		"batch backend":  func(c *Config) { c.Mode, c.Backend = NaiveBatch, ring.Uring },
		"negative rate":  func(c *Config) { c.Rate = -1 },
		"overload, rate": func(c *Config) { c.Overload, c.Rate = 120, 5 },
		"overload":       func(c *Config) { c.Overload = -1 },
		"rate NaN":       func(c *Config) { c.Rate = math.NaN() },
		"rate +Inf":      func(c *Config) { c.Rate = math.Inf(1) },
		"overload NaN":   func(c *Config) { c.Overload = math.NaN() },
		"no overload":    func(c *Config) { c.Overload = 0.01 },
		"negative times": func(c *Config) { c.Duration = -1 },
		"no such drive":  func(c *Config) { c.SizeBytes = math.MaxInt64 },
	} {
		c := little(t, Doublewrite)
		change(&c)
		if err := c.Validate(); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkRun(b *testing.B) {
	for _, m := range []Mode{Doublewrite, Detect, None, Naive, NaiveBatch} {
		b.Run("mode="+string(m)+"/page=16384/clients=4/batch=16", func(b *testing.B) {
			c := little(b, m)
			c.SizeBytes, c.Clients, c.Batch, c.Verify, c.Duration = 32<<20, 4, 16, false, 300*time.Millisecond
			for b.Loop() {
				r, err := Run(b.Context(), c, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.PagesPerSecond, "pages/s")
				b.ReportMetric(r.Efficiency, "efficiency")
				b.ReportMetric(r.Latency.P50, "p50-us")
				b.ReportMetric(r.Latency.P99, "p99-us")
				b.ReportMetric(r.CPU, "cpu-us/page")
				b.ReportMetric(r.Allocs, "allocs/page")
			}
		})
	}
}
