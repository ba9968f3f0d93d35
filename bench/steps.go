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

// kind of a call: latencies of reads are not mixed with those of writes.
type kind int

const (
	ofWrites kind = iota
	ofReads
	kinds
)

// tag of a kind's histograms in a HdrHistogram log; writes have none.
func (k kind) tag() string {
	if k == ofReads {
		return "read"
	}
	return ""
}

// steps are the calls of an interval by when they ended: a histogram for each step and kind, to
// which a client adds its own when it notices that a step is over. That is the only lock in a
// client's loop, taken once a step and not once a call.
type steps struct {
	now atomic.Int32 // the step calls are counted in

	mu    sync.Mutex
	hists [kinds][]*hdrhistogram.Histogram // nil until something is added
}

// newStepHistogram counts nanoseconds up to an hour, to two digits.
func newStepHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1000, int64(mostTime), 2)
}

func newSteps(d time.Duration) *steps {
	s := &steps{}
	for k := range s.hists {
		s.hists[k] = make([]*hdrhistogram.Histogram, int(d/stepOf(d))+2)
	}
	return s
}

func (s *steps) add(k kind, step int32, h *hdrhistogram.Histogram) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hists := s.hists[k]
	at := min(int(step), len(hists)-1)
	if hists[at] == nil {
		hists[at] = newStepHistogram()
		hists[at].SetTag(k.tag())
	}
	hists[at].Merge(h)
}

// stepper is one client's part of steps, of calls of one kind.
type stepper struct {
	kind kind
	all  *steps
	step int32
	hist *hdrhistogram.Histogram
}

func newStepper(k kind) *stepper { return &stepper{kind: k, hist: newStepHistogram()} }

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
	_ = p.hist.RecordValue(max(1000, min(int64(took), int64(mostTime))))
}

// leave hands over what has been counted.
func (p *stepper) leave() {
	if p.hist.TotalCount() > 0 {
		p.all.add(p.kind, p.step, p.hist)
		p.hist.Reset()
	}
}

// finish puts each step's latencies beside its throughput. All clients have left.
func (s *steps) finish(series []Sample) {
	for i := range series {
		series[i].StepLatency = s.latency(ofWrites, i)
		if l := s.latency(ofReads, i); l.Calls > 0 || series[i].readPages > 0 {
			series[i].Reads = &ReadStep{PagesPerSecond: series[i].readPages, StepLatency: l}
		}
	}
}

func (s *steps) latency(k kind, step int) (l StepLatency) {
	if step >= len(s.hists[k]) || s.hists[k][step] == nil {
		return l
	}
	h := s.hists[k][step]
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	return StepLatency{
		Calls: uint64(h.TotalCount()), P50: us(h.ValueAtQuantile(50)), P99: us(h.ValueAtQuantile(99)), MaxLatency: us(h.Max()),
	}
}

// log is the interval as lines of a HdrHistogram log, begun at begin.
func (s *steps) log(begin time.Time, series []Sample, end time.Time) []byte {
	var b bytes.Buffer
	w := hdrhistogram.NewHistogramLogWriter(&b)
	from := begin
	for i := range s.hists[ofWrites] {
		to := end
		if i < len(series) {
			to = begin.Add(time.Duration(series[i].Second * float64(time.Second)))
		}
		for k := range s.hists {
			if h := s.hists[k][i]; h != nil {
				h.SetStartTimeMs(from.UnixMilli())
				h.SetEndTimeMs(to.UnixMilli())
				_ = w.OutputIntervalHistogram(h) // into memory; a histogram of our own geometry encodes
			}
		}
		if from = to; i >= len(series) {
			break
		}
	}
	return b.Bytes()
}
