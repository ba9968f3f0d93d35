package untorn

import (
	"context"
	"time"

	"github.com/untorn/untorn/page"
)

// Pace spreads the writes of an automatic checkpoint over the time to the next one.
type Pace struct {
	c   *checkpoints
	end func() page.LSN
	s   schedule
}

// schedule says when how much of a checkpoint should have been written: all of it after time, or
// after log bytes of the log, whichever comes first. 0 = that one does not matter.
type schedule struct {
	began time.Time
	time  time.Duration
	from  page.LSN
	log   int64
}

// early is how long to wait before more is written, part (0 to 1) being written already. 0 = no wait.
func (s *schedule) early(part float64, now time.Time, end page.LSN) time.Duration {
	if s.time <= 0 || s.log > 0 && part*float64(s.log) <= float64(end-s.from) {
		return 0
	}
	return max(0, time.Duration(part*float64(s.time))-now.Sub(s.began))
}

// newPace makes the schedule of a checkpoint that begins now. What will pass until the next one is
// what passed since the last one began, at most the interval.
func newPace(c *checkpoints, end func() page.LSN) *Pace {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	span := now.Sub(c.at)
	if c.o.Interval > 0 {
		span = min(span, c.o.Interval)
	}
	return &Pace{c: c, end: end, s: schedule{
		began: now, time: time.Duration(c.o.Spread * float64(span)),
		from: end(), log: int64(c.o.Spread * float64(c.o.LogBytes)),
	}}
}

// paceStep is the longest wait before the schedule is looked at again: the log may have grown.
const paceStep = 50 * time.Millisecond

// Step says that written of total has been passed on, counted in whatever the caller likes, and waits
// if that is ahead of the schedule. It returns ctx's error when ctx ends.
func (p *Pace) Step(ctx context.Context, written, total int64) error {
	p.c.change(func(x *CheckpointProgress) { x.Written, x.Total = written, total })
	if total <= 0 {
		return ctx.Err()
	}
	part := min(1, float64(written)/float64(total))
	for {
		d := p.s.early(part, time.Now(), p.end())
		if d <= 0 {
			return ctx.Err()
		}
		d = min(d, paceStep)
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		p.c.change(func(x *CheckpointProgress) { x.Paced += d })
	}
}
