package untorn

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestSchedule: a checkpoint's writes wait while they are ahead of the clock and of the log.
func TestSchedule(t *testing.T) {
	at := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		s     schedule
		part  float64
		after time.Duration
		end   LSN
		want  time.Duration
	}{
		"ahead of the clock":   {schedule{at, 10 * time.Second, 0, 0}, 0.5, 2 * time.Second, 0, 3 * time.Second},
		"on the clock":         {schedule{at, 10 * time.Second, 0, 0}, 0.5, 5 * time.Second, 0, 0},
		"behind the clock":     {schedule{at, 10 * time.Second, 0, 0}, 0.1, 5 * time.Second, 0, 0},
		"ahead of both":        {schedule{at, 10 * time.Second, 100, 1000}, 0.5, 2 * time.Second, 300, 3 * time.Second},
		"behind the log":       {schedule{at, 10 * time.Second, 100, 1000}, 0.5, 2 * time.Second, 600, 0},
		"no spread":            {schedule{at, 0, 100, 0}, 0.5, 0, 100, 0},
		"the log alone is not": {schedule{at, 0, 100, 1000}, 0.5, 0, 100, 0},
	} {
		if got := c.s.early(c.part, at.Add(c.after), c.end); got != c.want {
			t.Errorf("%s: waits %v, want %v", name, got, c.want)
		}
	}
}

// TestPaceSpreads: ten steps over eight tenths of ten seconds; a log that fills up ends the waits.
func TestPaceSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &checkpoints{o: &AutoCheckpoint{Interval: 10 * time.Second, Spread: 0.8, LogBytes: 1000}, at: time.Now()}
		time.Sleep(10 * time.Second)
		var end LSN
		p := newPace(c, func() LSN { return end })
		c.begun(end, true, "time", 0)
		begun := time.Now()
		for i := range int64(5) {
			if err := p.Step(context.Background(), i+1, 10); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begun); d != 4*time.Second {
			t.Errorf("half of it took %v of 8 s", d)
		}
		if s := c.snapshot(); s.Now == nil || s.Now.Written != 5 || s.Now.Total != 10 || s.Now.Paced != 4*time.Second {
			t.Errorf("progress %+v", s.Now)
		}
		end = 800 // all that the spread allows
		for i := range int64(5) {
			if err := p.Step(context.Background(), i+6, 10); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begun); d != 4*time.Second {
			t.Errorf("with the log full the rest took until %v", d)
		}
		ctx, stop := context.WithCancel(context.Background())
		stop()
		if err := p.Step(ctx, 1, 1); err == nil {
			t.Error("a step after the end of ctx goes on")
		}
	})
}
