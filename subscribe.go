package untorn

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/walstage"
)

// SubscribeOptions of Engine.Subscribe.
type SubscribeOptions struct {
	// Name is for people: Stats and warnings show it.
	Name string
	// From is where to begin: the first record that starts at or after it. The End of the last record
	// taken resumes exactly behind it. A place that the log no longer has is walstage.ErrTruncated.
	From LSN
	// Engine hands out the engine's own records as well (Kind is not 0).
	Engine bool
	// Manual keeps the log until Ack says that it may go. Otherwise asking for the next records says
	// that those before are done with.
	Manual bool
}

// Subscription follows the log live: every record once, in order, none before it is durable. It reads
// the log's files at its own pace; the engine never waits for it. The log is kept for it from the last
// acknowledged position on, within Options.HoldMaxBytes and HoldMaxAge: beyond them it is evicted, and
// learns it (*EvictedError), rather than miss anything. Next and Records are for one goroutine; Ack,
// Position, Lag and Close may be called from any.
type Subscription struct {
	e    *Engine
	o    SubscribeOptions
	hold *Hold
	cur  *walstage.Cursor
	more chan struct{}

	mu     sync.Mutex
	at     LSN // the end of the last record handed out
	seen   LSN // up to here there was nothing more to hand out
	once   sync.Once
	closed chan struct{}
}

// Subscribe begins to follow the log. Close ends it, and so does closing the engine.
func (e *Engine) Subscribe(ctx context.Context, o SubscribeOptions) (*Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: "subscribe", LSN: o.From, Err: err}
	}
	h, err := e.hold(o.Name, o.From, true)
	if err != nil {
		return nil, &Error{Op: "subscribe", LSN: o.From, Err: errors.Unwrap(err)}
	}
	return &Subscription{e: e, o: o, hold: h, cur: e.log.Cursor(o.From), at: o.From,
		more: make(chan struct{}, 1), closed: make(chan struct{})}, nil
}

// Next waits for the next record. Data is valid until the next call. It ends with ErrClosed when the
// subscription or the engine is closed, with the cause when the engine is poisoned and everything
// durable has been handed out, and with an *EvictedError.
func (s *Subscription) Next(ctx context.Context) (Record, error) {
	for {
		r, ok, err := s.take(ctx)
		switch {
		case err != nil:
			return Record{}, &Error{Op: "follow", LSN: s.Position(), Err: err}
		case ok:
			s.mu.Lock()
			s.at = r.End
			s.mu.Unlock()
			if r.Kind == 0 || s.o.Engine {
				return r, nil
			}
			continue
		}
		if err := s.wait(ctx); err != nil {
			return Record{}, &Error{Op: "follow", LSN: s.Position(), Err: err}
		}
	}
}

// take returns the next record if there is one.
func (s *Subscription) take(ctx context.Context) (Record, bool, error) {
	if s.cur.Ready() {
		return s.cur.Next(ctx)
	}
	select {
	case <-s.closed:
		return Record{}, false, ErrClosed
	default:
	}
	if err := s.e.enter(false); err != nil {
		return Record{}, false, err
	}
	defer s.e.gate.leave()
	err := s.hold.Err()
	if err == nil && !s.o.Manual {
		err = s.hold.Advance(s.Position())
	}
	if err != nil {
		return Record{}, false, err
	}
	r, ok, err := s.cur.Next(ctx)
	if err != nil {
		if evicted := s.hold.Err(); evicted != nil {
			err = evicted // what it was about to read is gone
		}
	}
	return r, ok, err
}

// wait returns when there may be more. It forces nothing: records become durable when somebody waits
// for them, or by the commit policy.
func (s *Subscription) wait(ctx context.Context) error {
	e := s.e
	if err := e.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	s.seen = s.cur.UpTo()
	s.mu.Unlock()
	e.log.WhenDurable(s.seen+1, s.more)
	defer func() {
		e.log.Forget(s.more)
		select {
		case <-s.more:
		default:
		}
	}()
	select {
	case <-s.more:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.ending:
		return ErrClosed
	case <-s.closed:
		return ErrClosed
	case <-e.poison.C():
		return nil // what is durable is handed out first
	}
}

// Records yields records until ctx ends, the loop is left, or Next fails; the error comes last.
func (s *Subscription) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			r, err := s.Next(ctx)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Ack lets go of the log before lsn: the subscriber will never ask for it again.
func (s *Subscription) Ack(lsn page.LSN) error {
	if err := s.hold.Advance(lsn); err != nil {
		return &Error{Op: "acknowledge", LSN: lsn, Err: err}
	}
	return nil
}

// Position is the end of the last record handed out, or passed over as the engine's own: From of a subscription that goes on behind it.
func (s *Subscription) Position() LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// Lag is how many bytes of durable log have not been handed out.
func (s *Subscription) Lag() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, int64(s.e.log.Durable())-int64(max(s.at, s.seen)))
}

// Close ends the subscription and lets go of the log. A Next that waits returns ErrClosed.
func (s *Subscription) Close() {
	s.once.Do(func() {
		close(s.closed)
		s.hold.Release()
	})
}
