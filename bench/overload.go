package bench

import (
	"context"
	"io"
	"runtime"
	"time"
)

// Overload is an open loop that offers more than can be done. Callers wait for their answers, so
// they fall behind; nothing else may happen: nothing fails, no memory grows, what is acknowledged
// holds.
type Overload struct {
	Percent float64 `json:"percent"`
	// Capacity is what the same clients did in a closed loop right before; Offered the share of it
	// that the schedule then asked for.
	Capacity float64 `json:"capacity_pages_per_second"`
	Offered  float64 `json:"offered_pages_per_second"`
	// Taken is what was done of what was offered; OfCapacity how it compares with the closed loop.
	Taken      float64 `json:"taken_share"`
	OfCapacity float64 `json:"of_capacity"`
	// Behind is how late the latest call began.
	Behind float64 `json:"behind_us"`
	// Blocked is how long a page stood behind something that is neither work nor I/O of its own,
	// without its turn; BlockedBy the cause of most of it. time[] has all causes.
	Blocked   float64 `json:"blocked_us_per_page"`
	BlockedBy string  `json:"blocked_by"`
}

// measured is an interval as configured.
func (s *session) measured(ctx context.Context, profile io.Writer) (Interval, error) {
	if s.c.Cores > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(s.c.Cores))
	}
	l := loadOf{warm: s.c.Warmup, measured: s.c.Duration, rate: s.c.Rate, profile: profile}
	if s.c.Overload == 0 {
		return s.interval(ctx, l)
	}
	closed := loadOf{warm: s.c.Warmup, measured: max(s.c.Duration/2, min(s.c.Duration, 100*time.Millisecond))}
	capacity, err := s.interval(ctx, closed)
	if err != nil {
		return Interval{}, err
	}
	o := &Overload{Percent: s.c.Overload}
	o.Capacity = ratio(float64(capacity.Pages+capacity.ReadPages), capacity.Seconds)
	if o.Capacity == 0 {
		return Interval{}, ErrNothing
	}
	// No second warm-up: how far callers are behind would depend on its length.
	o.Offered = o.Capacity * o.Percent / 100
	l.rate, l.warm = o.Offered, 0
	in, err := s.interval(ctx, l)
	done := ratio(float64(in.Pages+in.ReadPages), in.Seconds)
	o.Taken, o.OfCapacity = ratio(done, o.Offered), ratio(done, o.Capacity)
	if in.StartLag != nil {
		o.Behind = in.StartLag.Max
	}
	us, most := blocked(in.Time)
	o.Blocked, o.BlockedBy = us, most.Where
	in.Overload = o
	return in, err
}
