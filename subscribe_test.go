package untorn_test

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/walstage"
)

// numbered is record n, long enough for a few hundred of them to fill several segments.
func numbered(n uint64) []byte {
	b := make([]byte, 900+n%700)
	binary.LittleEndian.PutUint64(b, n)
	return b
}

// follow takes records until it has seen number last, and checks that none is missing, doubled or
// not yet durable.
func follow(t testing.TB, e *untorn.Engine, s *untorn.Subscription, next, last uint64) {
	t.Helper()
	for next <= last {
		r, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n := binary.LittleEndian.Uint64(r.Data); n != next || len(r.Data) != len(numbered(n)) {
			t.Fatalf("record %d, want %d", n, next)
		}
		if d := e.DurableLSN(); r.End > d || s.Position() != r.End {
			t.Fatalf("record %d ends at %d, the log is durable through %d", next, r.End, d)
		}
		next++
	}
}

// TestSubscribe follows a log live while writers, checkpoints and a file being made go on, and resumes
// exactly, in the same engine and after a restart.
func TestSubscribe(t *testing.T) {
	o := smallLog(t)
	e := open(t, o)
	s, err := e.Subscribe(ctx, untorn.SubscribeOptions{Name: "replica"})
	if err != nil {
		t.Fatal(err)
	}
	const n = 400
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint64(n) {
			_, end, err := e.Append(numbered(i))
			if err == nil && i%5 == 0 {
				err = e.WaitDurable(ctx, end)
			}
			if err != nil {
				t.Error(err)
				return
			}
			if i%50 == 0 {
				if err := e.Checkpoint(ctx, e.DurableLSN(), nil); err != nil {
					t.Error(err)
				}
			}
			if i == 100 {
				create(t, e, "table", untorn.FileOptions{Pages: 2})
			}
		}
		if err := e.WaitDurable(ctx, e.EndLSN()); err != nil {
			t.Error(err)
		}
	})
	follow(t, e, s, 0, n/2)
	again, err := e.Subscribe(ctx, untorn.SubscribeOptions{Name: "replica", From: s.Position()})
	if err != nil {
		t.Fatal(err)
	}
	s.Close() // only now: what is behind its position is not let go in between
	for err == nil {
		_, err = s.Next(ctx) // records that were in memory
	}
	if !errors.Is(err, untorn.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	follow(t, e, again, n/2+1, n-10)
	wg.Wait()
	if lag := again.Lag(); lag < 9*900 || lag > 9*2000+64<<10 {
		t.Errorf("nine records behind, the lag is %d bytes", lag)
	}
	if r := e.Retention(); len(r.Holders) != 1 || !r.Holders[0].Subscriber || r.Holders[0].Name != "replica" {
		t.Errorf("%+v", r)
	}
	at := again.Position()
	mustClose(t, e)
	if _, err := again.Next(ctx); !errors.Is(err, untorn.ErrClosed) {
		t.Errorf("after the engine's end: %v", err)
	}
	e = open(t, o)
	third, err := e.Subscribe(ctx, untorn.SubscribeOptions{Name: "replica", From: at})
	if err != nil {
		t.Fatal(err)
	}
	follow(t, e, third, n-9, n-1)
	short, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	if r, err := third.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("at the end: %v %v", r, err)
	}
	if third.Lag() != 0 {
		t.Errorf("at the end the lag is %d", third.Lag())
	}
	_, end, err := e.Append(numbered(n))
	if err == nil {
		err = e.WaitDurable(ctx, end)
	}
	if err != nil {
		t.Fatal(err)
	}
	follow(t, e, third, n, n)
	mustClose(t, e)
}

// TestSubscriberIsSlow: the engine does not wait for a subscriber; one that is evicted learns it.
func TestSubscriberIsSlow(t *testing.T) {
	o := smallLog(t)
	o.HoldMaxBytes = 600 << 10
	e := open(t, o)
	slow, err := e.Subscribe(ctx, untorn.SubscribeOptions{Name: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	manual, err := e.Subscribe(ctx, untorn.SubscribeOptions{Name: "manual", Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	var last untorn.LSN
	for i := range uint64(100) {
		_, end, err := e.Append(numbered(i))
		if err == nil {
			err = e.WaitDurable(ctx, end)
		}
		if err != nil {
			t.Fatal(err)
		}
		last = end
	}
	follow(t, e, slow, 0, 5)
	follow(t, e, manual, 0, 99)
	checkpoint(t, e)
	if r := e.Retention(); r.Begin != 0 || r.Holders[0].Name != "manual" {
		t.Errorf("what was read but not acknowledged was let go: %+v", r)
	}
	if err := manual.Ack(last); err != nil {
		t.Fatal(err)
	}
	appendSome(t, e, 60)
	checkpoint(t, e)
	var gone *untorn.EvictedError
	for err = nil; err == nil; {
		_, err = slow.Next(ctx)
	}
	if !errors.As(err, &gone) || gone.Name != "slow" {
		t.Errorf("the slow one: %v", err)
	}
	if r := e.Retention(); r.Begin == 0 || r.Evicted != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := e.Subscribe(ctx, untorn.SubscribeOptions{From: slow.Position()}); !errors.Is(err, walstage.ErrTruncated) {
		t.Errorf("coming back: %v", err)
	}
	mustClose(t, e)
}

// TestSubscriberAndPoison: what was durable before the engine stopped is handed out, then the cause.
func TestSubscriberAndPoison(t *testing.T) {
	d := sim.New(sim.Config{})
	e := open(t, onSim(d))
	s, err := e.Subscribe(ctx, untorn.SubscribeOptions{Name: "replica"})
	if err != nil {
		t.Fatal(err)
	}
	var end untorn.LSN
	for i := range uint64(3) {
		if _, end, err = e.Append(numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.WaitDurable(ctx, end); err != nil {
		t.Fatal(err)
	}
	d.Inject(func(op *ring.Op) sim.Fault {
		if op.Kind == ring.DataSync {
			return sim.Fault{Err: syscall.EIO}
		}
		return sim.Fault{}
	})
	if _, end, err = e.Append(numbered(3)); err != nil {
		t.Fatal(err)
	}
	if err := e.WaitDurable(ctx, end); !errors.Is(err, untorn.ErrPoisoned) {
		t.Fatal(err)
	}
	follow(t, e, s, 0, 2)
	if r, err := s.Next(ctx); !errors.Is(err, untorn.ErrPoisoned) {
		t.Errorf("%v %v", r.Start, err)
	}
}
