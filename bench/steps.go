package bench

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxSteps of one interval's time series.
const maxSteps = 600

// stepOf is how long a step of an interval is.
func stepOf(d time.Duration) time.Duration {
	return max(min(max(d/60, 50*time.Millisecond), time.Second), d/maxSteps)
}

// steps are the calls of an interval by when they ended: a histogram for each step, to which a
// client adds its own when it notices that a step is over. That is the only lock in a client's loop,
// taken once a step and not once a call.
type steps struct {
	now atomic.Int32 // the step calls are counted in

	mu    sync.Mutex
	hists []*hdrhistogram.Histogram // nil until something is added
}

// newStepHistogram counts nanoseconds up to 100 s, to two digits.
func newStepHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, 100e9, 2) }

func newSteps(d time.Duration) *steps {
	return &steps{hists: make([]*hdrhistogram.Histogram, int(d/stepOf(d))+2)}
}

func (s *steps) add(step int32, h *hdrhistogram.Histogram) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := min(int(step), len(s.hists)-1)
	if s.hists[at] == nil {
		s.hists[at] = newStepHistogram()
	}
	s.hists[at].Merge(h)
}

// stepper is one client's part of steps.
type stepper struct {
	all  *steps
	step int32
	hist *hdrhistogram.Histogram
}

func newStepper() *stepper { return &stepper{hist: newStepHistogram()} }

// join makes it ready for an interval.
func (p *stepper) join(all *steps) {
	p.all, p.step = all, 0
	p.hist.Reset()
}

// record counts a call that has just ended.
func (p *stepper) record(took time.Duration) {
	if now := p.all.now.Load(); now != p.step {
		p.leave()
		p.step = now
	}
	_ = p.hist.RecordValue(max(1000, min(int64(took), 100e9)))
}

// leave hands over what has been counted.
func (p *stepper) leave() {
	if p.hist.TotalCount() > 0 {
		p.all.add(p.step, p.hist)
		p.hist.Reset()
	}
}

// finish puts each step's latencies beside its throughput. All clients have left.
func (s *steps) finish(series []Sample) {
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	for i := range series {
		if i >= len(s.hists) || s.hists[i] == nil {
			continue
		}
		h := s.hists[i]
		series[i].Calls = uint64(h.TotalCount())
		series[i].P50, series[i].P99 = us(h.ValueAtQuantile(50)), us(h.ValueAtQuantile(99))
		series[i].MaxLatency = us(h.Max())
	}
}

// log is the interval as lines of a HdrHistogram log, begun at begin.
func (s *steps) log(begin time.Time, series []Sample, end time.Time) []byte {
	var b bytes.Buffer
	w := hdrhistogram.NewHistogramLogWriter(&b)
	from := begin
	for i, h := range s.hists {
		to := end
		if i < len(series) {
			to = begin.Add(time.Duration(series[i].Second * float64(time.Second)))
		}
		if h != nil {
			h.SetStartTimeMs(from.UnixMilli())
			h.SetEndTimeMs(to.UnixMilli())
			_ = w.OutputIntervalHistogram(h) // into memory; a histogram of our own geometry encodes
		}
		if from = to; i >= len(series) {
			break
		}
	}
	return b.Bytes()
}
