package bench

import (
	"context"
	"time"

	"github.com/untorn/untorn/ring"
)

// stream is writes of one size to one file, kept in flight, with or without flushes among them.
type stream struct {
	file  ring.File
	next  func() int64 // offset of the next write
	every int          // flush when this many have been reaped since the last flush began; 0 = never
	ahead int          // most writes begun and not flushed yet; 0 = no bound
	may   func() bool  // whether the next write may begin; nil = yes

	free     []*ring.Op
	begun    int // writes, in all
	reaped   int // since the last flush began
	covered  int // by the flush in flight
	done     int // flushed, or reaped where nothing is flushed
	flush    ring.Op
	flushing bool
}

// newStream has one write in flight for each buffer.
func newStream(f ring.File, bufs []buffer, next func() int64, comps chan *ring.Op) *stream {
	s := &stream{file: f, next: next}
	for _, b := range bufs {
		s.free = append(s.free, &ring.Op{
			Kind: ring.Write, File: f, Buf: b.mem, Fixed: b.fixed, Done: comps, Ctx: s,
		})
	}
	s.flush = ring.Op{Kind: ring.DataSync, File: f, Done: comps, Ctx: s}
	return s
}

// buffer is memory for one write.
type buffer struct {
	mem   []byte
	fixed int
}

// ready is the next write, or nil if none may begin.
func (s *stream) ready() *ring.Op {
	n := len(s.free)
	if n == 0 || s.ahead > 0 && s.begun-s.done >= s.ahead || s.may != nil && !s.may() {
		return nil
	}
	op := s.free[n-1]
	s.free = s.free[:n-1]
	op.Off = s.next()
	s.begun++
	return op
}

// flushDue is the flush, if it should begin now: it covers what has been reaped (I1).
func (s *stream) flushDue() *ring.Op {
	if s.every == 0 || s.flushing || s.reaped < s.every {
		return nil
	}
	s.flushing, s.covered, s.reaped = true, s.reaped, 0
	return &s.flush
}

func (s *stream) completed(op *ring.Op) {
	switch {
	case op.Kind == ring.DataSync:
		s.flushing = false
		s.done += s.covered
	case s.every == 0:
		s.free = append(s.free, op)
		s.done++
	default:
		s.free = append(s.free, op)
		s.reaped++
	}
}

// load runs streams from one goroutine until d is over, then waits for what is in flight. It
// returns how long it was at it, without the waiting; counts are the streams'.
func load(ctx context.Context, r ring.Ring, comps chan *ring.Op, d time.Duration, streams ...*stream) (time.Duration, error) {
	var failed error
	inFlight := 0
	group := make([]*ring.Op, 0, 4)
	start := time.Now()
	over := func() bool { return failed != nil || ctx.Err() != nil || time.Since(start) >= d }
	submit := func() {
		if len(group) > 0 {
			inFlight += len(group)
			r.Submit(group...)
			group = group[:0]
		}
	}
	reap := func(op *ring.Op) {
		inFlight--
		if op.Err != nil && failed == nil {
			failed = op.Err
		}
		op.Ctx.(*stream).completed(op)
	}
	for !over() {
		for _, s := range streams {
			if op := s.flushDue(); op != nil {
				group = append(group, op)
				submit()
			}
			for op := s.ready(); op != nil; op = s.ready() {
				if group = append(group, op); len(group) == cap(group) {
					submit()
				}
			}
		}
		submit()
		reap(<-comps)
		for n := len(comps); n > 0; n-- {
			reap(<-comps)
		}
	}
	took := time.Since(start)
	counted := make([]int, len(streams))
	for i, s := range streams {
		counted[i] = s.done
	}
	for inFlight > 0 {
		reap(<-comps)
	}
	for i, s := range streams {
		s.done = counted[i]
	}
	if failed == nil {
		failed = ctx.Err()
	}
	return took, failed
}
