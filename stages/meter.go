package stages

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Meter is what one stage measures of itself. Its owner is the stage; Snapshot and Reset may be
// called by anyone. Nothing of it allocates but NewMeter, Snapshot and the first value of a distribution.
type Meter struct {
	name     string
	inbox    func() (depth, capacity int)
	start    time.Time
	busy     atomic.Int64 // ns
	inFlight atomic.Int64 // pages

	mu         sync.Mutex
	wait       *hdrhistogram.Histogram // ns; like the others nil until it has a value
	service    *hdrhistogram.Histogram // ns
	batches    *hdrhistogram.Histogram // pages or records a batch
	flush      *hdrhistogram.Histogram // ns
	flushPages *hdrhistogram.Histogram
	flushFiles *hdrhistogram.Histogram
	pages      uint64
	flushes    uint64
	held       [Causes]uint64
	spent      PageTime
}

// NewMeter returns a meter; inbox reports the stage's inbox.
func NewMeter(name string, inbox func() (depth, capacity int)) *Meter {
	return &Meter{name: name, inbox: inbox, start: time.Now()}
}

// NewNanos returns a histogram of times: 1 us to 60 s, to two digits.
func NewNanos() *hdrhistogram.Histogram { return hdrhistogram.New(1000, 60e9, 2) }

func newPages() *hdrhistogram.Histogram { return hdrhistogram.New(1, 1<<20, 2) }

// Nanos counts d in a distribution of times, which it makes if it is the first.
func Nanos(h **hdrhistogram.Histogram, d time.Duration) {
	if *h == nil {
		*h = NewNanos()
	}
	RecordNanos(*h, d)
}

// Count counts n in a distribution of numbers, which it makes if it is the first.
func Count(h **hdrhistogram.Histogram, n int) {
	if *h == nil {
		*h = newPages()
	}
	_ = (*h).RecordValue(int64(n))
}

// RecordNanos counts d in a histogram of NewNanos, whose owner calls it.
func RecordNanos(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(max(1000, min(int64(d), 60e9)))
}

// Busy adds time the stage's goroutine spent working rather than waiting.
func (m *Meter) Busy(d time.Duration) { m.busy.Add(int64(d)) }

// Wait records how long a message lay between being sent and being taken up.
func (m *Meter) Wait(d time.Duration) {
	m.mu.Lock()
	Nanos(&m.wait, d)
	m.mu.Unlock()
}

// Service records how long one batch took in this stage, and how many pages it had.
func (m *Meter) Service(d time.Duration, pages int) {
	m.mu.Lock()
	Nanos(&m.service, d)
	Count(&m.batches, pages)
	m.pages += uint64(pages)
	m.mu.Unlock()
}

// InFlight adds to the pages of batches on their way.
func (m *Meter) InFlight(pages int) { m.inFlight.Add(int64(pages)) }

// Backlog is their number.
func (m *Meter) Backlog() int64 { return m.inFlight.Load() }

// Flush records how long one flush took, and how many pages it covered.
func (m *Meter) Flush(d time.Duration, pages int) {
	m.mu.Lock()
	Nanos(&m.flush, d)
	Count(&m.flushPages, pages)
	m.flushes++
	m.mu.Unlock()
}

// FlushGroup records how many files were flushed together.
func (m *Meter) FlushGroup(files int) {
	m.mu.Lock()
	Count(&m.flushFiles, files)
	m.mu.Unlock()
}

// Held counts the times that the stage was held up by a cause.
func (m *Meter) Held(c Cause) {
	m.mu.Lock()
	m.held[c]++
	m.mu.Unlock()
}

// Spend adds what pages spent where, summed over the pages.
func (m *Meter) Spend(t *PageTime) {
	m.mu.Lock()
	for i, d := range t {
		m.spent[i] += d
	}
	m.mu.Unlock()
}

// Reset makes the distributions begin anew: what a benchmark does after its warm-up. Counters go on.
func (m *Meter) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range []*hdrhistogram.Histogram{m.wait, m.service, m.batches, m.flush, m.flushPages, m.flushFiles} {
		if h != nil {
			h.Reset()
		}
	}
}

// Quantiles of a set of values.
type Quantiles struct {
	Count                    int64
	Mean                     float64
	P50, P90, P99, P999, Max int64
}

// StageStats is a snapshot of one stage. Distributions are since the engine opened, or since its
// ResetDistributions; counters since it opened.
type StageStats struct {
	Name          string
	InboxDepth    int
	InboxCapacity int
	Busy          time.Duration // of the stage's goroutine
	BusyShare     float64       // of the wall time since the engine opened
	Pages         uint64        // that went through
	PagesInFlight int64         // of doublewrite batches: written or being written, and not safe in place
	Flushes       uint64
	WaitNanos     Quantiles // a message, between being sent and being taken up
	ServiceNanos  Quantiles // a batch
	BatchPages    Quantiles
	FlushNanos    Quantiles
	FlushPages    Quantiles      // covered by one flush
	FlushFiles    Quantiles      // flushed together; one that flushes a single file has none
	Held          [Causes]uint64 // times that the stage was held up
	PageTime      PageTime
}

// QuantilesOf a histogram, which may be nil.
func QuantilesOf(h *hdrhistogram.Histogram) Quantiles {
	if h == nil || h.TotalCount() == 0 {
		return Quantiles{} // what an empty histogram answers means nothing
	}
	return Quantiles{
		Count: h.TotalCount(), Mean: h.Mean(), P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90),
		P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max(),
	}
}

// Snapshot returns the figures so far.
func (m *Meter) Snapshot() StageStats {
	s := StageStats{Name: m.name, Busy: time.Duration(m.busy.Load()), PagesInFlight: m.inFlight.Load()}
	if m.inbox != nil {
		s.InboxDepth, s.InboxCapacity = m.inbox()
	}
	if wall := time.Since(m.start); wall > 0 {
		s.BusyShare = float64(s.Busy) / float64(wall)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Pages, s.Flushes, s.Held, s.PageTime = m.pages, m.flushes, m.held, m.spent
	s.WaitNanos, s.ServiceNanos, s.FlushNanos = QuantilesOf(m.wait), QuantilesOf(m.service), QuantilesOf(m.flush)
	s.BatchPages, s.FlushPages, s.FlushFiles = QuantilesOf(m.batches), QuantilesOf(m.flushPages), QuantilesOf(m.flushFiles)
	return s
}
