package aligned

// waiter is a Get that waits in the pool's queue.
type waiter struct {
	class class
	dst   []Frame
	err   error
	ready chan struct{} // holds a token once the waiter has left the queue, served or refused

	prev, next *waiter // of the queue, or next of the spares
}

// enqueue puts a request at the end of the queue. The caller holds mu, here and below.
func (p *Pool) enqueue(c class, dst []Frame) *waiter {
	w := p.spare
	if w == nil {
		w = &waiter{ready: make(chan struct{}, 1)}
	} else {
		p.spare = w.next
	}
	w.class, w.dst, w.err, w.prev, w.next = c, dst, nil, p.last, nil
	if p.last == nil {
		p.first = w
	} else {
		p.last.next = w
	}
	p.last = w
	p.stats.Waits++
	p.stats.Waiting++
	p.queued.Add(1)
	select {
	case p.wants <- struct{}{}:
	default: // one is there already, which nobody has taken
	}
	return w
}

func (p *Pool) remove(w *waiter) {
	if w.prev == nil {
		p.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		p.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	p.stats.Waiting--
	p.queued.Add(-1)
}

// serve gives frames to those who wait, strictly in order: a request that does not fit yet holds
// up the ones behind it, or else small requests could starve it for ever.
func (p *Pool) serve() {
	for w := p.first; w != nil && p.fits(w.class, len(w.dst)); w = p.first {
		p.take(w.class, w.dst)
		p.remove(w)
		w.ready <- struct{}{}
	}
}

func (p *Pool) recycle(w *waiter) {
	w.dst, w.err = nil, nil
	w.next = p.spare
	p.spare = w
}
