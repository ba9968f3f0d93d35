package ring

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// reap is the reaper. It takes completions in user space as long as there are any, and only then
// blocks in the kernel; with nothing in flight it blocks on a channel instead.
//
// After it has given ops back it lets their owners run once and hands over what they queued, on its
// own thread. The kernel runs the end of a request on the thread that submitted it: were that a
// thread asleep in the Go scheduler, each completion would wake it first and the reaper second.
func (u *uring) reap() {
	defer close(u.reaped)
	done := make([]*Op, 0, len(u.slots))
	again := make([]uint32, 0, len(u.slots))
	for {
		if u.batch(&done, &again) {
			for i, op := range done {
				done[i] = nil
				deliver(op)
			}
			runtime.Gosched()
			u.push(true)
			continue
		}
		u.mu.Lock()
		inFlight := len(u.slots) - len(u.free)
		stop := inFlight == 0 && u.stop
		u.reaper = blocked
		if inFlight == 0 && !stop {
			u.reaper = asleep
		}
		u.mu.Unlock()
		// What was queued before that is ours to hand over; who comes later does it himself.
		switch {
		case stop:
			return
		case inFlight == 0:
			<-u.wake
		default:
			if !u.push(true) || !u.await() {
				// Short of memory. Completions appear in the queue all the same.
				time.Sleep(100 * time.Microsecond)
			}
		}
		u.mu.Lock()
		u.reaper = awake
		u.mu.Unlock()
	}
}

func (u *uring) await() bool {
	errno := u.enter(0, 1)
	return errno == 0 || errno == syscall.EINTR
}

// batch takes what is in the completion queue. Finished ops go to *done, their slots are free
// when it returns; unfinished ones are submitted again. It reports whether there was anything.
func (u *uring) batch(done *[]*Op, again *[]uint32) bool {
	head, tail := *u.cq.head, atomic.LoadUint32(u.cq.tail) // the head is the reaper's to write
	if head == tail {
		return false
	}
	*done, *again = (*done)[:0], (*again)[:0]
	var sum tally
	var stubborn []*Op
	u.mu.Lock()
	for ; head != tail; head++ {
		e := &u.cqes[head&u.cq.mask]
		i := uint32(e.UserData())
		s := &u.slots[i]
		op := s.op
		res := e.Result()
		if u.fake != nil {
			res = u.fake(op, res)
		}
		n, errno := int(res), syscall.Errno(0)
		if res < 0 {
			n, errno = 0, syscall.Errno(-res)
		}
		finished := op.t.step(op, n, errno)
		if !finished && !op.t.slow() {
			*again = append(*again, i)
			continue
		}
		if s.vec != nil {
			u.vecs.put(s.vec)
		}
		*s = slot{}
		u.free = append(u.free, i)
		if finished {
			sum.add(op)
			*done = append(*done, op)
		} else {
			stubborn = append(stubborn, op)
		}
	}
	atomic.StoreUint32(u.cq.head, head)
	sqTail := *u.sq.tail
	for _, i := range *again {
		u.fill(sqTail, i)
		sqTail++
	}
	atomic.StoreUint32(u.sq.tail, sqTail)
	if u.waiting > 0 {
		u.room.Broadcast()
	}
	u.mu.Unlock()
	u.count.add(&sum)
	if len(*again)+len(stubborn) > 0 {
		u.count.resubmitted.Add(uint64(len(*again) + len(stubborn)))
		u.push(true)
	}
	for _, op := range stubborn {
		// Repeating at once did not help: a helper goes on with it in blocking calls, with pauses.
		op.slot = 0
		u.helper.enqueue(op)
	}
	return true
}

// Info implements Ring.
func (u *uring) Info() Info {
	in := Info{Backend: string(Uring), Reason: u.reason}
	if rs := u.regions.Load(); rs != nil {
		for _, r := range *rs {
			in.Registered += int64(r.size)
		}
	}
	return in
}

// Stats implements StatsRing.
func (u *uring) Stats() Stats { return u.count.snapshot().plus(u.helper.Stats()) }

// Close implements Ring.
func (u *uring) Close() error {
	u.once.Do(func() {
		u.gate.close(func() {
			u.mu.Lock()
			u.room.Broadcast()
			u.mu.Unlock()
		})
		u.mu.Lock()
		u.stop = true
		wake := u.reaper == asleep
		if wake {
			u.reaper = blocked
		}
		u.mu.Unlock()
		if wake {
			u.wake <- struct{}{}
		}
		<-u.reaped
		u.helper.Close()
		u.unmap()
	})
	return nil
}
