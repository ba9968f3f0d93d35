package bench

import (
	"context"
	"errors"
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

	lot         int       // most that are in flight
	from        int       // done when a load began
	base, end   int       // done when its first lot was, and when it was over
	since, last time.Time // when base was reached, and when the last one was done
	ended       time.Time // when end was reached
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
		s.count(s.covered)
	case s.every == 0:
		s.free = append(s.free, op)
		s.count(1)
	default:
		s.free = append(s.free, op)
		s.reaped++
	}
}

// count goes on counting. The first lot is begun before anything can be done: it says when to begin
// the clock, and is in no rate. Otherwise a slow drive would look slower than it is.
func (s *stream) count(n int) {
	s.done, s.last = s.done+n, time.Now()
	if s.since.IsZero() && s.done-s.from >= s.lot {
		s.base, s.since = s.done, s.last
	}
}

// enough reports whether there is a rate: as much again as the first lot.
func (s *stream) enough() bool { return !s.since.IsZero() && s.done-s.base >= s.lot }

// perSecond is the writes a second behind the first lot, of whole flushes where there are some.
func (s *stream) perSecond() float64 {
	return ratio(float64(s.end-s.base), s.ended.Sub(s.since).Seconds())
}

// errStalled is a load in which everything is done and nothing may begin.
var errStalled = errors.New("bench: nothing is in flight, and nothing may begin")

// load runs streams from one goroutine until d is over and the first of them has enough for a rate,
// then waits for what is in flight. It returns how long it was at it, without the waiting; counts and
// rates are the streams', which may be loaded again.
func load(ctx context.Context, r ring.Ring, comps chan *ring.Op, d time.Duration, streams ...*stream) (time.Duration, error) {
	var failed error
	inFlight := 0
	group := make([]*ring.Op, 0, 4)
	start := time.Now()
	for _, s := range streams {
		s.lot, s.from, s.since = max(len(s.free), s.ahead), s.done, time.Time{}
	}
	over := func() bool {
		return failed != nil || ctx.Err() != nil || time.Since(start) >= d && streams[0].enough()
	}
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
		if submit(); inFlight == 0 {
			failed = errStalled
			break
		}
		reap(<-comps)
		for n := len(comps); n > 0; n-- {
			reap(<-comps)
		}
	}
	took := time.Since(start)
	for _, s := range streams {
		s.end, s.ended = s.done, s.last
	}
	for inFlight > 0 {
		reap(<-comps)
	}
	if failed == nil {
		failed = ctx.Err()
	}
	return took, failed
}
