package walstage

import (
	"context"
	"errors"
	"testing"

	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

func TestCancelledWait(t *testing.T) {
	d := newFakeDisk()
	l := newLog(t, small(d))
	_, end := mustAppend(t, l, "held")
	entered, release := make(chan struct{}), make(chan struct{})
	d.setHook(func(op *ring.Op, _ string) error {
		if op.Flags&ring.DSync != 0 {
			entered <- struct{}{}
			<-release
		}
		return nil
	})
	if err := l.Force(end); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithCancel(bg)
	got := make(chan error)
	go func() { got <- l.WaitDurable(ctx, end) }()
	cancel()
	err := <-got
	var w *WaitError
	if !errors.As(err, &w) || !w.MayBecomeDurable || w.LSN != end || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	cctx, cancel := context.WithCancel(bg)
	cancel()
	if err := l.Close(cctx); !errors.As(err, &w) {
		t.Errorf("Close said %v", err)
	}
	close(release)
	mustWait(t, l, end)
	mustClose(t, l)
}

// TestPoison keeps I5: after a failed write or flush every waiter gets the cause, nothing more is
// acknowledged or appended, and the flush is not tried again.
func TestPoison(t *testing.T) {
	broken := errors.New("broken")
	for _, kind := range []ring.Kind{ring.Write, ring.DataSync} {
		t.Run(kind.String(), func(t *testing.T) {
			d := newFakeDisk()
			o := small(d)
			o.Commit, o.Poison = CommitFlush, stages.NewPoison()
			l := newLog(t, o)
			_, ok := mustAppend(t, l, "fine")
			mustWait(t, l, ok)
			fails := 0
			entered, release := make(chan struct{}, 9), make(chan struct{})
			d.setHook(func(op *ring.Op, name string) error {
				if op.Kind != kind || name != segmentName(1) {
					return nil
				}
				d.mu.Lock()
				fails++
				d.mu.Unlock()
				entered <- struct{}{}
				<-release
				return broken
			})
			_, end := mustAppend(t, l, "lost")
			errs := make(chan error)
			go func() { errs <- l.WaitDurable(bg, end) }()
			<-entered
			_, later := mustAppend(t, l, "later")
			for range 3 {
				go func() { errs <- l.WaitDurable(bg, later) }()
			}
			ch := make(chan struct{}, 1)
			if err := l.NotifyDurable(later, ch); err != nil {
				t.Fatal(err)
			}
			close(release)
			for range 4 {
				if err := <-errs; !errors.Is(err, broken) {
					t.Errorf("a waiter got %v", err)
				}
			}
			<-ch
			if l.Durable() != ok {
				t.Errorf("durable is %d, was %d", l.Durable(), ok)
			}
			var e *Error
			if err := o.Poison.Err(); !errors.As(err, &e) || e.File != segmentName(1) || e.LSN == 0 {
				t.Errorf("the poison's cause is %v", err)
			}
			if _, _, err := l.Append(0, []byte("x")); !errors.Is(err, broken) {
				t.Errorf("append: %v", err)
			}
			if err := l.WaitDurable(bg, ok); err != nil {
				t.Errorf("what was durable stays so: %v", err)
			}
			if err := l.Close(bg); !errors.Is(err, broken) {
				t.Errorf("close: %v", err)
			}
			if fails != 1 {
				t.Errorf("%d attempts at what failed", fails)
			}
		})
	}
}

func TestPoisonFromElsewhere(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.Poison = stages.NewPoison()
	l := newLog(t, o)
	_, end := mustAppend(t, l, "x")
	entered, release := make(chan struct{}), make(chan struct{})
	d.setHook(func(op *ring.Op, _ string) error {
		if op.Flags&ring.DSync != 0 {
			close(entered)
			<-release
		}
		return nil
	})
	if err := l.Force(end); err != nil {
		t.Fatal(err)
	}
	<-entered
	cause := errors.New("the other stage")
	got := make(chan error)
	go func() { got <- l.WaitDurable(bg, end) }()
	o.Poison.Set(cause)
	if err := <-got; !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	close(release)
	if err := l.Close(bg); !errors.Is(err, cause) {
		t.Errorf("close: %v", err)
	}
	if l.Durable() >= end {
		t.Error("acknowledged after the poison")
	}
}

// TestPoisonDuringWrite: a write that succeeds after the engine failed elsewhere is not acknowledged,
// even before the log was told of the failure.
func TestPoisonDuringWrite(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.Poison = stages.NewPoison()
	l := newLog(t, o)
	_, end := mustAppend(t, l, "x")
	cause := errors.New("the other stage")
	l.mu.Lock() // the one who watches the poison has to wait
	if err := l.want(end); err != nil {
		t.Fatal(err)
	}
	g := l.take()
	o.Poison.Set(cause)
	l.complete(g, 0, nil, nil)
	l.mu.Unlock()
	if err := l.WaitDurable(bg, end); !errors.Is(err, cause) || l.Durable() >= end {
		t.Errorf("durable %d of %d, %v", l.Durable(), end, err)
	}
	if err := l.Close(bg); !errors.Is(err, cause) {
		t.Error(err)
	}
}
