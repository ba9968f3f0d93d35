package bench

import (
	"fmt"
	"strings"
	"time"
)

// methodOf says how runs were measured, to those who ask that first.
func methodOf(runs []*Result) string {
	c := &runs[0].Config
	var b strings.Builder
	took, cut := c.Duration, false
	if r := runs[0]; r.Interrupted {
		took, cut = cutShort(took, r.Seconds)
	}
	b.WriteString(intervals(len(runs[0].Repeats), took, c.Warmup, len(runs) > 1))
	switch {
	case cut:
		b.WriteString(wasCut(c.BoundTime))
	case c.BoundTime > 0:
		fmt.Fprintf(&b, " The bound was measured before and after each interval, %v for each part of it, in the same directory.", c.BoundTime)
	}
	if !runs[0].DirectIO {
		b.WriteString(" Data went through the page cache: the drive's own speed was not measured.")
	}
	return b.String() + verified(runs[0].Verify, "page", 2) + briefly(c.Duration)
}

// method of a sweep.
func (r *SweepResult) method() string { return methodOf(r.Runs()) }

// method of a measurement of the log.
func (r *WALResult) method() string {
	c := &r.Config
	took, cut := c.Duration, false
	if r.Interrupted {
		took, cut = cutShort(took, r.Seconds)
	}
	s := intervals(len(r.Repeats), took, c.Warmup, false)
	switch {
	case cut:
		s += wasCut(c.BoundTime)
	case c.BoundTime > 0:
		s += fmt.Sprintf(" The bound was measured for %v before and after each interval, in the same directory; a bare DSYNC write beside it.", c.BoundTime)
	}
	return s + verified(r.Verify, "record", 1) + briefly(c.Duration)
}

func (r *WALSweepResult) method() string {
	s := r.Points[0].Run.method()
	if len(r.Points) > 1 {
		s = "All points were measured in turns. " + s
	}
	return s
}

// cutShort is how long the only interval of an interrupted run was, if it is not whole.
func cutShort(d time.Duration, seconds float64) (took time.Duration, cut bool) {
	if t := time.Duration(seconds * float64(time.Second)); t < d*9/10 {
		return t.Round(time.Millisecond), true
	}
	return d, false
}

func wasCut(bound time.Duration) string {
	if bound > 0 {
		return " It was cut short; its bound was measured only before."
	}
	return " It was cut short."
}

func intervals(n int, d, warm time.Duration, turns bool) string {
	s := fmt.Sprintf("%d intervals of %v", n, d)
	if n == 1 {
		s = fmt.Sprintf("One interval of %v", d)
	} else if turns {
		s += ", in turns: every one once, then every one again"
	}
	if n > 1 {
		s += "; shown is the one with the median throughput"
	}
	if warm > 0 {
		s += fmt.Sprintf(". A warm-up of %v before each is in no figure", warm)
	}
	return s + "."
}

func verified(v *Verified, unit string, times int) string {
	switch {
	case v == nil:
		return fmt.Sprintf(" No %s was read back (-verify does).", unit)
	case !v.OK:
		return " What was read back is NOT what was acknowledged."
	case times == 2:
		return " Every page was read back at the end and once more after closing and opening again: all as acknowledged."
	}
	return fmt.Sprintf(" %s records were read back after closing and opening again: all as acknowledged.", Count(float64(v.Checked)))
}

// briefly warns of what a short run cannot show.
func briefly(d time.Duration) string {
	if d >= time.Minute {
		return ""
	}
	return " So short a run does not show what a drive does when its cache is full or it cleans up: -duration 10m does."
}
