package untorn_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
)

// autoEngine has checkpoints of its own, and tells of those that ended.
func autoEngine(t *testing.T, a untorn.AutoCheckpoint) (*untorn.Engine, *untorn.File, chan untorn.CheckpointProgress) {
	o := onSim(sim.New(sim.Config{Seed: 5}))
	ended := make(chan untorn.CheckpointProgress, 100)
	o.AutoCheckpoint = &a
	o.OnCheckpoint = func(p untorn.CheckpointProgress) {
		switch p.Phase {
		case untorn.CheckpointDone, untorn.CheckpointFailed, untorn.CheckpointSkipped:
			ended <- p
		}
	}
	e := open(t, o)
	return e, create(t, e, "table", untorn.FileOptions{Pages: 20, PageSize: 4096, Mode: untorn.ModeFullpage}), ended
}

// TestAutoCheckpointBySize: the log grows past the bound, images of pages among it, the caller is
// asked, and the log is let go of.
func TestAutoCheckpointBySize(t *testing.T) {
	var e *untorn.Engine
	var f *untorn.File
	asked := 0
	failure := errors.New("not today")
	e, f, ended := autoEngine(t, untorn.AutoCheckpoint{LogBytes: 64 << 10, Prepare: func(ctx context.Context, p *untorn.Pace) (untorn.LSN, []byte, error) {
		switch asked++; asked {
		case 1:
			return 0, nil, untorn.ErrSkip
		case 2:
			return 0, nil, failure
		}
		redo := e.EndLSN()
		return redo, []byte("mine"), p.Step(ctx, 1, 1)
	}})
	want := []untorn.CheckpointPhase{untorn.CheckpointSkipped, untorn.CheckpointFailed, untorn.CheckpointDone, untorn.CheckpointDone}
	for v := uint64(1); len(want) > 0; v++ {
		writeVersion(t, e, f, upTo(20), v, untorn.Durable) // 80 KiB of images after each checkpoint
		if _, _, err := e.Append(make([]byte, 8000)); err != nil {
			t.Fatal(err)
		}
		select {
		case p := <-ended:
			if p.Phase != want[0] || !p.Auto || p.Cause != "log size" || p.LogBytes < 64<<10 {
				t.Errorf("%+v, want it %s", p, want[0])
			}
			if p.Phase == untorn.CheckpointFailed && !errors.Is(p.Err, failure) {
				t.Errorf("failed with %v", p.Err)
			}
			want = want[1:]
		default:
		}
	}
	s := e.Stats().Checkpoints
	if s.Done < 2 || s.Auto != s.Done || s.Failed != 1 || s.Skipped != 1 || s.Last == nil || s.Last.Redo == 0 {
		t.Errorf("%+v", s)
	}
	if redo, payload := e.LastCheckpoint(); redo == 0 || string(payload) != "mine" {
		t.Errorf("redo %d, payload %q", redo, payload)
	}
}

// TestAutoCheckpointByTime: the clock asks, but not for a log that stands still; explicit ones count,
// too.
func TestAutoCheckpointByTime(t *testing.T) {
	var e *untorn.Engine
	open := make(chan struct{})
	e, f, ended := autoEngine(t, untorn.AutoCheckpoint{Interval: 10 * time.Millisecond, Spread: 0.5, Prepare: func(ctx context.Context, p *untorn.Pace) (untorn.LSN, []byte, error) {
		<-open
		return e.EndLSN(), nil, p.Step(ctx, 10, 10)
	}})
	close(open)
	for v := uint64(1); v <= 2; v++ {
		writeVersion(t, e, f, upTo(20), v, untorn.Durable)
		if p := <-ended; p.Phase != untorn.CheckpointDone || p.Cause != "time" {
			t.Errorf("%+v", p)
		}
	}
	if err := e.Checkpoint(ctx, e.EndLSN(), nil); err != nil {
		t.Fatal(err)
	}
	for p := range ended {
		if !p.Auto {
			break
		}
	}
	mustClose(t, e)
}

// TestCloseEndsAnAutoCheckpoint: Close does not wait for a schedule.
func TestCloseEndsAnAutoCheckpoint(t *testing.T) {
	begun := make(chan struct{})
	e, f, ended := autoEngine(t, untorn.AutoCheckpoint{LogBytes: 1, Prepare: func(ctx context.Context, _ *untorn.Pace) (untorn.LSN, []byte, error) {
		close(begun)
		<-ctx.Done()
		return 0, nil, ctx.Err()
	}})
	writeVersion(t, e, f, upTo(20), 1, untorn.Durable)
	<-begun
	if s := e.Stats().Checkpoints; s.Now == nil || s.Now.Phase != untorn.CheckpointPrepare {
		t.Errorf("under way: %+v", s.Now)
	}
	mustClose(t, e)
	if p := <-ended; p.Phase != untorn.CheckpointFailed {
		t.Errorf("%+v", p)
	}
}
