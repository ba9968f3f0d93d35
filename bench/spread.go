package bench

import (
	"cmp"
	"slices"
)

// MinMedMax of repeated measurements.
type MinMedMax struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

func minMedMax(v []float64) MinMedMax {
	if len(v) == 0 {
		return MinMedMax{}
	}
	v = slices.Sorted(slices.Values(v))
	m := v[len(v)/2]
	if len(v)%2 == 0 {
		m = (v[len(v)/2-1] + m) / 2
	}
	return MinMedMax{v[0], m, v[len(v)-1]}
}

// overlap reports whether two sets of measurements share a range.
func (a MinMedMax) overlap(b MinMedMax) bool { return a.Min <= b.Max && b.Min <= a.Max }

// spreadOf is the spread of one figure.
func spreadOf[T any](in []T, f func(*T) float64) MinMedMax {
	v := make([]float64, 0, len(in))
	for i := range in {
		v = append(v, f(&in[i]))
	}
	return minMedMax(v)
}

func spread(in []Interval) Spread {
	of := func(f func(*Interval) float64) MinMedMax { return spreadOf(in, f) }
	s := Spread{
		PagesPerSecond: of(func(i *Interval) float64 { return i.PagesPerSecond }),
		Bound:          of(func(i *Interval) float64 { return i.Bound }),
		Efficiency:     of(func(i *Interval) float64 { return i.Efficiency }),
		P50:            of(func(i *Interval) float64 { return i.Latency.P50 }),
		P99:            of(func(i *Interval) float64 { return i.Latency.P99 }),
		P999:           of(func(i *Interval) float64 { return i.Latency.P999 }),
		CPU:            of(func(i *Interval) float64 { return i.CPU }),
	}
	if len(in) > 0 && !slices.ContainsFunc(in, func(i Interval) bool { return i.ReadLatency == nil }) {
		p50 := of(func(i *Interval) float64 { return i.ReadLatency.P50 })
		p99 := of(func(i *Interval) float64 { return i.ReadLatency.P99 })
		s.ReadP50, s.ReadP99 = &p50, &p99
	}
	return s
}

// median is the interval in the middle by throughput: one that was, not an average of several.
func median(in []Interval) Interval {
	return in[middle(in, func(i Interval) float64 { return i.PagesPerSecond })]
}

// middle is the index of the median element; of an even number, the lower of the two.
func middle[T any](in []T, by func(T) float64) int {
	order := make([]int, len(in))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(by(in[a]), by(in[b])) })
	return order[(len(order)-1)/2]
}
