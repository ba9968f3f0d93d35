package bench

import (
	"cmp"
	"context"
	"fmt"
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

// WALOverload is Overload of the log: the same fields by other names in the JSON.
type WALOverload struct {
	Percent float64 `json:"percent"`
	// Capacity is what the same callers did in a closed loop right before; Offered the share of it
	// that the schedule then asked for.
	Capacity float64 `json:"capacity_records_per_second"`
	Offered  float64 `json:"offered_records_per_second"`
	// Taken is what was done of what was offered; OfCapacity how it compares with the closed loop.
	Taken      float64 `json:"taken_share"`
	OfCapacity float64 `json:"of_capacity"`
	Behind     float64 `json:"behind_us"` // how late the latest call began
	// Blocked is how long a record stood behind something that is not its own writing, without its
	// turn; BlockedBy the cause of most of it.
	Blocked   float64 `json:"blocked_us_per_record"`
	BlockedBy string  `json:"blocked_by"`
}

// rows are what is said of it; one is what was offered: "page", "record".
func (o *Overload) rows(one string) [][2]string {
	return [][2]string{
		{"overload", fmt.Sprintf("%s %ss/s offered, %.0f %% of the %s that a closed loop did; %s of it was taken, %s of capacity",
			Count(o.Offered), one, o.Percent, Count(o.Capacity), Percent(o.Taken), Percent(o.OfCapacity))},
		{"callers", fmt.Sprintf("up to %s behind their schedule; a %s was blocked %s, most of it by: %s",
			Micros(o.Behind), one, Micros(o.Blocked), cmp.Or(o.BlockedBy, "nothing"))},
	}
}

// measured is an interval as configured.
func (s *session) measured(ctx context.Context, profile io.Writer) (Interval, error) {
	l := loadOf{warm: s.c.Warmup, measured: s.c.Duration, rate: s.c.Rate, profile: profile}
	in, o, err := measured(l, s.c.Cores, s.c.Overload,
		func(l loadOf) (Interval, error) { return s.interval(ctx, l) },
		func(in *Interval) (float64, *Latency, []Spent) {
			return ratio(float64(in.Pages+in.ReadPages), in.Seconds), in.StartLag, in.Time
		})
	in.Overload = o
	return in, err
}

func (s *walSession) measured(ctx context.Context, profile io.Writer) (WALInterval, error) {
	l := loadOf{warm: s.c.Warmup, measured: s.c.Duration, rate: s.c.Rate, profile: profile}
	in, o, err := measured(l, s.c.Cores, s.c.Overload,
		func(l loadOf) (WALInterval, error) { return s.interval(ctx, l) },
		func(in *WALInterval) (float64, *Latency, []Spent) {
			return in.RecordsPerSecond, in.StartLag, walSpent(in.Time)
		})
	in.Overload = (*WALOverload)(o)
	return in, err
}

// measured runs an interval on so many cores (0 = as it is), at so many percent of what a closed loop
// does right before (0 = as l says). of says how much an interval did a second, and what its calls
// waited for.
func measured[I any](
	l loadOf, cores int, percent float64, run func(loadOf) (I, error), of func(*I) (float64, *Latency, []Spent),
) (in I, o *Overload, err error) {
	if cores > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	}
	if percent == 0 {
		in, err = run(l)
		return in, nil, err
	}
	closed, err := run(loadOf{warm: l.warm, measured: max(l.measured/2, min(l.measured, 100*time.Millisecond))})
	if err != nil {
		return in, nil, err
	}
	o = &Overload{Percent: percent}
	if o.Capacity, _, _ = of(&closed); o.Capacity == 0 {
		return in, nil, ErrNothing
	}
	// No second warm-up: how far callers are behind would depend on its length.
	o.Offered = o.Capacity * o.Percent / 100
	l.rate, l.warm = o.Offered, 0
	in, err = run(l)
	done, lag, spent := of(&in)
	o.Taken, o.OfCapacity = ratio(done, o.Offered), ratio(done, o.Capacity)
	if lag != nil {
		o.Behind = lag.Max
	}
	us, most := blocked(spent)
	o.Blocked, o.BlockedBy = us, most.Where
	return in, o, err
}
