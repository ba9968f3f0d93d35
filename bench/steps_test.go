package bench

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// TestStepsCountEveryCallWhereItEnded: clients beside each other, steps that pass some of them by.
func TestStepsCountEveryCallWhereItEnded(t *testing.T) {
	all := newSteps(time.Second)
	const clients, calls = 4, 1000
	var wg sync.WaitGroup
	next := make(chan struct{})
	for i := range clients {
		p := newStepper(ofWrites)
		p.join(all)
		reads := newStepper(ofReads)
		reads.join(all)
		wg.Go(func() {
			for k := range calls {
				if k == calls/2 {
					<-next
				}
				if i > 0 || k >= calls/2 { // the first one has nothing to say in the first step
					p.record(time.Duration(i+1) * time.Millisecond)
				}
			}
			for range i { // reads are nobody else's
				reads.record(9 * time.Second)
			}
			p.leave()
			reads.leave()
		})
	}
	// Half of the calls happen in some step before 3, the rest in 3.
	all.now.Store(3)
	close(next)
	wg.Wait()
	series := make([]Sample, 5)
	for i := range series {
		series[i].Second = float64(i+1) / 5
	}
	all.finish(series)
	var sum, reads uint64
	for _, s := range series {
		sum += s.Calls
		if s.Reads != nil {
			reads += s.Reads.Calls
		}
	}
	if want := uint64(clients * (clients - 1) / 2); reads != want {
		t.Errorf("%d reads in all steps, want %d", reads, want)
	}
	if want := uint64((2*clients - 1) * calls / 2); sum != want {
		t.Errorf("%d calls in all steps, want %d", sum, want)
	}
	if s := series[3]; s.Calls < clients*calls/2 || s.MaxLatency < 3900 || s.MaxLatency > 4100 {
		t.Errorf("the last step: %+v", s)
	}
}

// TestHLOGReadsBack by HdrHistogram's own reader, with the calls, latencies and times put in.
func TestHLOGReadsBack(t *testing.T) {
	begin := time.Unix(1_700_000_000, 0)
	all := newSteps(time.Second)
	p, reads := newStepper(ofWrites), newStepper(ofReads)
	p.join(all)
	reads.join(all)
	for i := range 3 {
		if i == 1 {
			reads.record(5 * time.Millisecond)
		}
		for range 10 * (i + 1) {
			p.record(time.Duration(i+1) * 10 * time.Millisecond)
		}
		all.now.Store(int32(i + 1))
	}
	p.leave()
	reads.leave()
	series := []Sample{{Second: 0.1}, {Second: 0.2}, {Second: 0.3}}
	r := &Result{Repeats: []Interval{{hlog: all.log(begin, series, begin.Add(time.Second)), begun: begin}}}
	var b bytes.Buffer
	if err := r.WriteHLOG(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "#[Histogram log format version 1.3]") {
		t.Errorf("%s", b.String())
	}
	in := hdrhistogram.NewHistogramLogReader(bytes.NewReader(b.Bytes()))
	for i := range 3 {
		h, err := in.NextIntervalHistogram()
		if err != nil || h == nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if h.Tag() != "" {
			t.Errorf("step %d: tag %q", i, h.Tag())
		}
		if h.TotalCount() != int64(10*(i+1)) {
			t.Errorf("step %d: %d calls", i, h.TotalCount())
		}
		if got := time.Duration(h.Max()); got < time.Duration(i+1)*10*time.Millisecond*99/100 || got > time.Duration(i+1)*10*time.Millisecond*101/100 {
			t.Errorf("step %d: max %v", i, got)
		}
		if got := h.StartTimeMs() - begin.UnixMilli(); got != int64(i*100) {
			t.Errorf("step %d begins %d ms after the first", i, got)
		}
		if i == 1 { // the only step with a read
			r, err := in.NextIntervalHistogram()
			if err != nil || r == nil || r.Tag() != "read" || r.TotalCount() != 1 || r.StartTimeMs() != h.StartTimeMs() {
				t.Errorf("the reads of step %d: %+v, %v", i, r, err)
			}
		}
	}
	if h, _ := in.NextIntervalHistogram(); h != nil {
		t.Errorf("a fourth step of %d calls", h.TotalCount())
	}
	if err := (&Result{}).WriteHLOG(&b); err == nil {
		t.Error("a result from a file has no histograms")
	}
}
