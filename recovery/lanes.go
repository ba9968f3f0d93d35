package recovery

import (
	"github.com/untorn/untorn/ring"
)

// laneCount is how many pages recovery reads or writes side by side: enough to keep a drive busy.
const laneCount = 32

// lanes are reads or writes in flight, each with a buffer of its own, which is there from its first
// page on: few recoveries have a page for each. What they are followed by is
// done in the order they were started in, in the caller's goroutine.
type lanes struct {
	ring  ring.Ring
	alloc func(n, align int) []byte
	align int
	all   []lane
	done  chan *ring.Op
	head  int // the oldest in flight
	n     int // in flight
	err   error
}

type lane struct {
	op   ring.Op
	buf  []byte
	over bool
	then func(*lane) error
}

func newLanes(r ring.Ring, alloc func(n, align int) []byte, align int) *lanes {
	return &lanes{ring: r, alloc: alloc, align: align, all: make([]lane, laneCount), done: make(chan *ring.Op, laneCount)}
}

// next returns a lane that nothing is in flight on, with a buffer of n bytes, or the first error.
func (l *lanes) next(n int) (*lane, error) {
	for l.n == len(l.all) && l.err == nil {
		l.reap()
	}
	if l.err != nil {
		return nil, l.drain()
	}
	x := &l.all[(l.head+l.n)%len(l.all)]
	x.over, x.then = false, nil
	if cap(x.buf) < n {
		x.buf = l.alloc(n, l.align)
	}
	x.buf = x.buf[:n]
	return x, nil
}

// start submits what next returned.
func (l *lanes) start(x *lane) {
	x.op.Done, x.op.Ctx = l.done, x
	l.n++
	l.ring.Submit(&x.op)
}

// reap waits for one completion and does what follows the oldest ones.
func (l *lanes) reap() {
	op := <-l.done
	op.Ctx.(*lane).over = true
	for l.n > 0 && l.all[l.head].over {
		x := &l.all[l.head]
		l.head, l.n = (l.head+1)%len(l.all), l.n-1
		if l.err == nil {
			l.err = x.then(x)
		}
	}
}

// drain waits for all of them: their buffers are the kernel's until then.
func (l *lanes) drain() error {
	for l.n > 0 {
		l.reap()
	}
	return l.err
}
