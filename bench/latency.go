package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms count tenths of a microsecond up to an hour, to three digits: a long overload is further
// behind than any call of its own takes.
const (
	tick     = 100 * time.Nanosecond
	mostTime = time.Hour
	maxTick  = int64(mostTime / tick)
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxTick, 3) }

// record is called by the histogram's only owner.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(max(1, min(int64(d/tick), maxTick)))
}

// Latency is a distribution in microseconds.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
	// Curve has (percentile, microseconds) pairs for a plot.
	Curve [][2]float64 `json:"curve,omitempty"`
}

// curvePoints are evenly spread over the nines.
var curvePoints = []float64{
	1, 10, 25, 50, 75, 82.5, 90, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.975, 99.99, 99.999, 100,
}

func latency(h *hdrhistogram.Histogram, curve bool) Latency {
	us := func(v int64) float64 { return float64(v) * micros(tick) }
	l := Latency{
		Count: h.TotalCount(), Mean: h.Mean() * micros(tick),
		P50: us(h.ValueAtQuantile(50)), P90: us(h.ValueAtQuantile(90)), P99: us(h.ValueAtQuantile(99)),
		P999: us(h.ValueAtQuantile(99.9)), Max: us(h.Max()),
	}
	if !curve || l.Count == 0 {
		return l
	}
	for _, p := range curvePoints {
		if p < 100 && !l.reaches(p) {
			continue
		}
		l.Curve = append(l.Curve, [2]float64{p, us(h.ValueAtQuantile(p))})
	}
	return l
}

// reaches reports whether anything was counted beyond percentile p: if not, that says no more than the
// maximum does.
func (l *Latency) reaches(p float64) bool { return float64(l.Count)*(100-p) >= 100-1e-6 }

// p99 and p999 show the two in a unit of the caller's; "-" where they are only the maximum.
func (l *Latency) p99(show func(us float64) string) string { return l.tail(99, l.P99, show) }

func (l *Latency) p999(show func(us float64) string) string { return l.tail(99.9, l.P999, show) }

// atP99 goes on after a median, if there is a p99 to speak of.
func (l *Latency) atP99() string {
	if !l.reaches(99) {
		return ""
	}
	return ", " + Micros(l.P99) + " at p99"
}

func (l *Latency) tail(p, us float64, show func(us float64) string) string {
	if !l.reaches(p) {
		return "-"
	}
	return show(us)
}
