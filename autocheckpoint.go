package untorn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/untorn/untorn/page"
)

// AutoCheckpoint has the engine take checkpoints on its own.
type AutoCheckpoint struct {
	// Prepare is asked for a checkpoint's redo and payload, as Engine.Checkpoint takes them: it passes
	// every change of a record below redo to WritePages first. It calls p.Step between its writes, which
	// spreads them. It returns early when ctx ends, which Close and poison do. ErrSkip means: not now.
	// It runs in a goroutine of its own, one at a time, and must not call Checkpoint or Close.
	Prepare func(ctx context.Context, p *Pace) (redo page.LSN, payload []byte, err error)
	// LogBytes begins a checkpoint when the log has grown by so much since the last one began. 0 =
	// not by size.
	LogBytes int64
	// Interval begins one when so long has passed since the last one began, if the log has grown. 0 =
	// not by time.
	Interval time.Duration
	// Spread is the part of the time to the next checkpoint that Prepare's writes are spread over, from
	// 0 (as fast as they go) to 1. They hurry when the log grows faster than before.
	Spread float64
}

// ErrSkip is what AutoCheckpoint.Prepare returns when there is nothing to claim now: before the replay
// after an open is over, for one. The next one is tried when a trigger comes again.
var ErrSkip = errors.New("no checkpoint now")

func (a *AutoCheckpoint) validate() error {
	switch {
	case a == nil:
		return nil
	case a.Prepare == nil:
		return fmt.Errorf("%w: AutoCheckpoint needs Prepare", ErrOptions)
	case a.LogBytes < 0 || a.Interval < 0 || a.LogBytes == 0 && a.Interval == 0:
		return fmt.Errorf("%w: AutoCheckpoint needs LogBytes or Interval", ErrOptions)
	case a.Spread < 0 || a.Spread > 1:
		return fmt.Errorf("%w: AutoCheckpoint.Spread %v is not from 0 to 1", ErrOptions, a.Spread)
	}
	return nil
}

// CheckpointPhase is how far a checkpoint has come.
type CheckpointPhase string

// The phases, in order.
const (
	CheckpointPrepare CheckpointPhase = "prepare" // the caller passes its pages on
	CheckpointImages  CheckpointPhase = "images"  // writes that rely on older page images are being accepted
	CheckpointPages   CheckpointPhase = "pages"   // accepted pages are being made durable
	CheckpointSuper   CheckpointPhase = "super"   // files are stamped and super is written
	CheckpointDone    CheckpointPhase = "done"
	CheckpointFailed  CheckpointPhase = "failed"
	CheckpointSkipped CheckpointPhase = "skipped"
)

// CheckpointProgress is a checkpoint under way, or the last one.
type CheckpointProgress struct {
	Number uint64 // counted from 1 since the engine was opened
	Auto   bool
	Phase  CheckpointPhase
	// Cause of an automatic one: "log size" or "time".
	Cause string
	Began time.Time
	// Took is how long it has taken, or took, in all; Paced how long of that Prepare was held back.
	Took, Paced time.Duration
	// Written of Total, in whatever unit Prepare counts; 0 of 0 before it has said.
	Written, Total int64
	Redo           page.LSN
	// LogBytes is what the log had grown by since the one before had begun.
	LogBytes int64
	// Backlog is how many pages had been doublewritten and were not safe in place when it began.
	Backlog int64
	Err     error // of one that failed
}

// CheckpointStats counts checkpoints since the engine was opened.
type CheckpointStats struct {
	Done, Auto, Failed, Skipped uint64
	// Now is the one under way, nil if there is none; Last is the last that ended, nil before.
	Now, Last *CheckpointProgress
}

// checkpoints is the engine's account of them, and what takes the automatic ones.
type checkpoints struct {
	o     *AutoCheckpoint
	tell  func(CheckpointProgress) // Options.OnCheckpoint; may be nil
	kick  chan struct{}            // has room for one
	next  atomic.Uint64            // log end from which LogBytes have been written; 0 = not by size
	stop  context.CancelFunc
	ended chan struct{}

	mu    sync.Mutex
	stats CheckpointStats
	begin page.LSN  // log end when the last one began
	at    time.Time // and when that was
}

// begun notes the beginning of a checkpoint.
func (c *checkpoints) begun(end page.LSN, auto bool, cause string, backlog int64) {
	c.mu.Lock()
	n := uint64(1)
	if c.stats.Last != nil {
		n = c.stats.Last.Number + 1
	}
	c.stats.Now = &CheckpointProgress{Number: n, Auto: auto, Cause: cause, Phase: CheckpointPrepare,
		Began: time.Now(), LogBytes: int64(end - c.begin), Backlog: backlog}
	c.begin, c.at = end, c.stats.Now.Began
	if c.o != nil && c.o.LogBytes > 0 {
		c.next.Store(uint64(end) + uint64(c.o.LogBytes))
	}
	p := *c.stats.Now
	c.mu.Unlock()
	c.event(p)
}

func (c *checkpoints) event(p CheckpointProgress) {
	if c.tell != nil {
		c.tell(p)
	}
}

// change alters the progress of the one under way and, for a new phase, tells of it.
func (c *checkpoints) change(alter func(*CheckpointProgress)) {
	c.mu.Lock()
	p := c.stats.Now
	if p == nil {
		c.mu.Unlock()
		return
	}
	was := p.Phase
	alter(p)
	p.Took = time.Since(p.Began)
	now := *p
	c.mu.Unlock()
	if now.Phase != was {
		c.event(now)
	}
}

func (c *checkpoints) phase(p CheckpointPhase) {
	c.change(func(x *CheckpointProgress) { x.Phase = p })
}

func (c *checkpoints) over(redo page.LSN, err error) {
	c.change(func(x *CheckpointProgress) {
		x.Redo, x.Err = redo, err
		switch {
		case errors.Is(err, ErrSkip):
			x.Phase, x.Err = CheckpointSkipped, nil
			c.stats.Skipped++
		case err != nil:
			x.Phase = CheckpointFailed
			c.stats.Failed++
		default:
			x.Phase = CheckpointDone
			c.stats.Done++
			if x.Auto {
				c.stats.Auto++
			}
		}
		c.stats.Last, c.stats.Now = x, nil
	})
}

func (c *checkpoints) snapshot() CheckpointStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	for _, p := range []**CheckpointProgress{&s.Now, &s.Last} {
		if *p != nil {
			x := **p
			*p = &x
		}
	}
	if s.Now != nil {
		s.Now.Took = time.Since(s.Now.Began)
	}
	return s
}

// grown is told the log's end by whoever appends. It costs a load.
func (c *checkpoints) grown(end page.LSN) {
	if next := c.next.Load(); next != 0 && uint64(end) >= next {
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
}

// startCheckpoints lets automatic ones begin.
func (e *Engine) startCheckpoints() {
	c := &e.ckpt
	c.o, c.tell = e.o.AutoCheckpoint, e.o.OnCheckpoint
	c.begin, c.at = e.current().Redo.LSN, time.Now() // what a replay would read counts as grown
	if c.o == nil || e.log == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	c.kick, c.stop, c.ended = make(chan struct{}, 1), stop, make(chan struct{})
	if c.o.LogBytes > 0 {
		c.next.Store(uint64(c.begin) + uint64(c.o.LogBytes))
	}
	go func() {
		defer close(c.ended)
		e.takeCheckpoints(ctx)
	}()
}

// stopCheckpoints ends the one under way and waits for that.
func (e *Engine) stopCheckpoints(ctx context.Context) {
	if e.ckpt.stop == nil {
		return
	}
	e.ckpt.stop()
	select {
	case <-e.ckpt.ended:
	case <-ctx.Done():
	}
}

func (e *Engine) takeCheckpoints(ctx context.Context) {
	c := &e.ckpt
	var tick <-chan time.Time
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if tick = nil; c.o.Interval > 0 {
			c.mu.Lock()
			due := c.at.Add(c.o.Interval)
			c.mu.Unlock()
			timer.Reset(max(time.Millisecond, time.Until(due)))
			tick = timer.C
		}
		cause := "log size"
		select {
		case <-c.kick:
			if next := c.next.Load(); next == 0 || uint64(e.log.End()) < next {
				continue // an explicit one came between
			}
		case <-tick:
			cause = "time"
			c.mu.Lock()
			due := time.Since(c.at) >= c.o.Interval
			if due && e.log.End() == c.begin { // nothing to let go of
				c.at, due = time.Now(), false
			}
			c.mu.Unlock()
			if !due {
				continue
			}
		case <-ctx.Done():
			return
		case <-e.poison.C():
			return
		}
		if ctx.Err() != nil {
			return
		}
		if err := e.autoCheckpoint(ctx, cause); err != nil && ctx.Err() == nil && !errors.Is(err, ErrSkip) {
			e.o.Logger.Error("automatic checkpoint failed; it is tried again", "cause", cause, "err", err)
		}
	}
}

func (e *Engine) autoCheckpoint(ctx context.Context, cause string) error {
	if err := e.enter(true); err != nil {
		return err
	}
	defer e.gate.leave()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-e.poison.C():
			stop()
		case <-ctx.Done():
		}
	}()
	c := &e.ckpt
	p := newPace(c, e.log.End)
	c.begun(e.log.End(), true, cause, e.dwb.Backlog())
	redo, payload, err := c.o.Prepare(ctx, p)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		e.ddl.Lock()
		err = e.checkpoint(ctx, redo, payload)
		e.ddl.Unlock()
	}
	c.over(redo, err)
	return err
}
