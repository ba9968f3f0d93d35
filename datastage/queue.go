package datastage

import "github.com/untorn/untorn/stages"

// queue is a FIFO of fixed size.
type queue struct {
	ring []*stages.Entry
	head int
	n    int
}

func newQueue(n int) queue { return queue{ring: make([]*stages.Entry, n)} }

func (q *queue) push(e *stages.Entry) {
	if q.n == len(q.ring) {
		panic("datastage: more pages in flight than dwbstage may have")
	}
	q.ring[(q.head+q.n)%len(q.ring)] = e
	q.n++
}

// pop returns the oldest entry, or nil.
func (q *queue) pop() *stages.Entry {
	if q.n == 0 {
		return nil
	}
	e := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return e
}
