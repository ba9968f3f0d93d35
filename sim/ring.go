package sim

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/untorn/untorn/ring"
)

// simRing is one ring on a disk. Its goroutine completes what has no delay of its own, one op at
// a time, picked at random: nothing may rely on the order.
type simRing struct {
	d    *Disk
	room chan struct{} // one element per op in flight
	wake chan struct{} // 1: something is in ready

	mu      sync.Mutex
	regions [][]byte
	ready   []*pending
	flight  int
	closing bool
	drained chan struct{} // closed when closing and nothing is in flight
	stopped chan struct{} // closed when the goroutine has ended
}

// Ring returns a new ring. Under testing/synctest, call it inside the bubble. It must be closed.
func (d *Disk) Ring() ring.Ring {
	r := &simRing{
		d:       d,
		room:    make(chan struct{}, d.cfg.Depth),
		wake:    make(chan struct{}, 1),
		drained: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	go r.run()
	return r
}

// enter counts an op in, unless the ring is closing.
func (r *simRing) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	r.flight++
	return true
}

func (r *simRing) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flight--
	if r.closing && r.flight == 0 {
		close(r.drained)
	}
}

func (r *simRing) Submit(ops ...*ring.Op) {
	for _, op := range ops {
		if !r.enter() {
			op.Err = ring.ErrClosed
			deliver(op)
			continue
		}
		r.room <- struct{}{}
		p := r.d.submit(op, r.registered())
		switch {
		case p.fault.Hold && r.d.hold(p, func() { r.finish(p) }):
		case p.delay > 0:
			time.AfterFunc(p.delay, func() { r.finish(p) })
		case r.d.cfg.Inline:
			r.finish(p)
		default:
			r.queue(p)
		}
	}
}

func (r *simRing) registered() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.regions
}

func (r *simRing) queue(p *pending) {
	r.mu.Lock()
	r.ready = append(r.ready, p)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is awake, and will look again
	}
}

// run completes what is queued, until Close has seen everything drained.
func (r *simRing) run() {
	defer close(r.stopped)
	for {
		select {
		case <-r.wake:
		case <-r.drained:
			return
		}
		for {
			runtime.Gosched() // let more come, so that there is an order to choose
			p := r.pick()
			if p == nil {
				break
			}
			r.finish(p)
		}
	}
}

// pick takes a random op out of the queue, nil when it is empty.
func (r *simRing) pick() *pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.ready)
	if n == 0 {
		return nil
	}
	i := r.d.random(n)
	p := r.ready[i]
	r.ready[i] = r.ready[n-1]
	r.ready = r.ready[:n-1]
	return p
}

func (d *Disk) random(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// finish ends an op and hands it back; it belongs to its submitter from then on.
func (r *simRing) finish(p *pending) {
	op := p.op
	op.Err = r.d.complete(p)
	<-r.room
	deliver(op)
	r.leave()
}

// deliver never waits: a Done without room is a mistake of the submitter (see ring.Op.Done).
func deliver(op *ring.Op) {
	select {
	case op.Done <- op:
	default:
		panic(fmt.Sprintf("sim: Done of a %v on %s has no room", op.Kind, op.File.Name()))
	}
}

func (r *simRing) Do(op *ring.Op) error {
	if !r.enter() {
		op.Err = ring.ErrClosed
		return op.Err
	}
	defer r.leave()
	p := r.d.submit(op, r.registered())
	if p.fault.Hold { // most ops are not held, and need no channel
		released := make(chan struct{})
		if r.d.hold(p, func() { close(released) }) {
			<-released
			p.delay = 0
		}
	}
	if p.delay > 0 {
		time.Sleep(p.delay)
	} else if !p.fault.Hold {
		p.watch = false // nobody had the time
	}
	op.Err = r.d.complete(p)
	return op.Err
}

func (r *simRing) Register(mem []byte) (fixed int, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions = append(r.regions[:len(r.regions):len(r.regions)], mem)
	return len(r.regions), nil
}

func (r *simRing) Info() ring.Info {
	info := ring.Info{Backend: "sim", Reason: "the disk is simulated"}
	for _, m := range r.registered() {
		info.Registered += int64(len(m))
	}
	return info
}

// Stats counts what all rings of the disk did.
func (r *simRing) Stats() ring.Stats { return r.d.Stats() }

// Close waits for what is in flight; what is held must be released first, as a stalled drive must
// answer first.
func (r *simRing) Close() error {
	r.mu.Lock()
	if !r.closing {
		r.closing = true
		if r.flight == 0 {
			close(r.drained)
		}
	}
	r.mu.Unlock()
	<-r.drained
	<-r.stopped
	return nil
}

// hold keeps an op in flight if its fault says so, until Release calls done.
func (d *Disk) hold(p *pending, done func()) bool {
	if !p.fault.Hold || p.err != nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off || d.cleared != p.cleared {
		return false
	}
	p.done = done
	d.held = append(d.held, p)
	return true
}

// Held returns how many ops a Fault.Hold keeps in flight.
func (d *Disk) Held() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held)
}

// Release completes the held ops that match, all of them for nil, in order of submission, and
// returns how many they were.
func (d *Disk) Release(match func(*ring.Op) bool) int {
	d.mu.Lock()
	var out, keep []*pending
	for _, p := range d.held {
		if match == nil || match(p.op) {
			out = append(out, p)
		} else {
			keep = append(keep, p)
		}
	}
	d.held = keep
	d.mu.Unlock()
	for _, p := range out {
		p.done()
	}
	return len(out)
}
