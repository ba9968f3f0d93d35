package stages

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Meter is what one stage measures of itself. Its owner is the stage; Snapshot may be called by
// anyone.
type Meter struct {
	name  string
	inbox func() (depth, capacity int)
	start time.Time
	busy  atomic.Int64 // ns

	mu      sync.Mutex
	service *hdrhistogram.Histogram // ns
	batches *hdrhistogram.Histogram // pages or records a batch
	flush   *hdrhistogram.Histogram // ns
}

// NewMeter returns a meter; inbox reports the stage's inbox.
func NewMeter(name string, inbox func() (depth, capacity int)) *Meter {
	return &Meter{
		name: name, inbox: inbox, start: time.Now(),
		service: hdrhistogram.New(100, 60e9, 2),
		batches: hdrhistogram.New(1, 1<<20, 2),
		flush:   hdrhistogram.New(1000, 60e9, 2),
	}
}

// Busy adds time the stage's goroutine spent working rather than waiting.
func (m *Meter) Busy(d time.Duration) { m.busy.Add(int64(d)) }

// Service records how long one batch took in this stage, and how many pages it had.
func (m *Meter) Service(d time.Duration, pages int) {
	m.mu.Lock()
	_ = m.service.RecordValue(max(100, min(int64(d), 60e9)))
	_ = m.batches.RecordValue(int64(pages))
	m.mu.Unlock()
}

// Flush records how long one flush took.
func (m *Meter) Flush(d time.Duration) {
	m.mu.Lock()
	_ = m.flush.RecordValue(max(1000, min(int64(d), 60e9)))
	m.mu.Unlock()
}

// Quantiles of a set of values.
type Quantiles struct {
	Count                    int64
	Mean                     float64
	P50, P90, P99, P999, Max int64
}

// StageStats is a snapshot of one stage.
type StageStats struct {
	Name          string
	InboxDepth    int
	InboxCapacity int
	BusyShare     float64 // of the wall time since the engine opened
	ServiceNanos  Quantiles
	BatchPages    Quantiles
	FlushNanos    Quantiles
}

func quantiles(h *hdrhistogram.Histogram) Quantiles {
	return Quantiles{
		Count: h.TotalCount(), Mean: h.Mean(), P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90),
		P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max(),
	}
}

// Snapshot returns the figures so far.
func (m *Meter) Snapshot() StageStats {
	s := StageStats{Name: m.name}
	if m.inbox != nil {
		s.InboxDepth, s.InboxCapacity = m.inbox()
	}
	if wall := time.Since(m.start); wall > 0 {
		s.BusyShare = float64(m.busy.Load()) / float64(wall)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.ServiceNanos, s.BatchPages, s.FlushNanos = quantiles(m.service), quantiles(m.batches), quantiles(m.flush)
	return s
}
