package ring

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall" // see uring_linux.go
)

// Submit implements Ring.
func (u *uring) Submit(ops ...*Op) {
	if !u.gate.enter() {
		refuse(ops)
		return
	}
	defer u.gate.leave()
	for len(ops) > 0 {
		if u.toHelper(ops[0]) {
			u.helper.Submit(ops[0])
			ops = ops[1:]
			continue
		}
		n, reaper := u.queue(ops)
		if n == 0 {
			refuse(ops)
			return
		}
		ops = ops[n:]
		if reaper == awake {
			continue
		}
		u.push(false)
		if reaper == asleep {
			u.wake <- struct{}{}
		}
	}
}

func (u *uring) toHelper(op *Op) bool {
	return (op.Kind == DataSync || op.Kind == Sync) && u.cfg.FlushBy == FlushWorker
}

// queue waits for room and fills entries for the first few of ops: at most a group, and up to the
// next flush for the helper. It returns how many, 0 if the ring is closing,
// and where the reaper is.
func (u *uring) queue(ops []*Op) (int, reaperState) {
	u.mu.Lock()
	for len(u.free) == 0 && !u.gate.shut() {
		u.waiting++
		u.room.Wait()
		u.waiting--
	}
	if u.gate.shut() {
		u.mu.Unlock()
		return 0, awake
	}
	n := 0
	tail := *u.sq.tail // ours to write, under mu
	for n < min(len(ops), len(u.free), u.cfg.Group) {
		op := ops[n]
		if u.toHelper(op) {
			break
		}
		claim(op)
		op.t.begin(op)
		i := u.free[len(u.free)-1-n]
		op.slot = i + 1
		u.slots[i].op = op
		u.fill(tail, i)
		tail++
		n++
	}
	u.free = u.free[:len(u.free)-n]
	atomic.StoreUint32(u.sq.tail, tail)
	reaper := u.reaper
	if reaper == asleep {
		u.reaper = blocked // whoever saw it asleep wakes it
	}
	u.mu.Unlock()
	u.count.submitted.Add(uint64(n))
	return n, reaper
}

// fill writes the entry at tail for the op in slot i. Its place is free: there are no more slots
// than entries, and one entry at most for each slot. The caller holds mu.
func (u *uring) fill(tail, i uint32) {
	s := &u.slots[i]
	op := s.op
	e := &u.sqes[tail&u.sq.mask]
	e.Reset()
	e.SetUserData(uint64(i))
	fd := int32(op.File.Fd())
	off := uint64(op.Off) + uint64(op.t.from)
	switch {
	case op.Kind == DataSync:
		e.PrepOperation(iouring.IORING_OP_FSYNC, fd, 0, 0, 0)
		e.SetOpFlags(iouring.IORING_FSYNC_DATASYNC)
	case op.Kind == Sync:
		e.PrepOperation(iouring.IORING_OP_FSYNC, fd, 0, 0, 0)
	case op.Vec != nil:
		if s.vec == nil {
			s.vec = u.vecs.get()
		}
		n := fillVec(s.vec[:], op)
		code := iouring.IORING_OP_READV
		if op.Kind == Write {
			code = iouring.IORING_OP_WRITEV
		}
		e.PrepOperation(code, fd, uint64(uintptr(unsafe.Pointer(s.vec))), uint32(n), off)
		e.SetOpFlags(rwFlags(op))
	default:
		b := op.Buf[op.t.from:min(len(op.Buf), op.t.from+maxCall)]
		index, ok := uint16(0), false
		if op.Fixed != 0 && op.Flags&Atomic == 0 { // RWF_ATOMIC wants one plain buffer
			index, ok = u.fixed(op.Fixed, b)
		}
		code := iouring.IORING_OP_READ
		switch {
		case ok && op.Kind == Write:
			code = iouring.IORING_OP_WRITE_FIXED
		case ok:
			code = iouring.IORING_OP_READ_FIXED
		case op.Kind == Write:
			code = iouring.IORING_OP_WRITE
		}
		e.SetBufIndex(index)
		e.PrepOperation(code, fd, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))),
			uint32(len(b)), off)
		e.SetOpFlags(rwFlags(op))
	}
}

// push hands what is queued to the kernel, a group at a time. Several may push side by side, and
// one may hand over what another queued: it is done when the queue is empty, whoever emptied it.
//
// Short of memory the kernel answers EAGAIN, or EBUSY until completions are reaped. The entries
// stay queued then; nothing else is expected, and whatever it is, to give an entry up would be to
// not know whether it runs. A submitter tries again with pauses. The reaper, which has completions
// to see to, comes back later: it gets false.
func (u *uring) push(reaper bool) bool {
	pause := 10 * time.Microsecond
	for {
		n := atomic.LoadUint32(u.sq.tail) - atomic.LoadUint32(u.sq.head)
		if n == 0 || int32(n) < 0 { // negative: the two loads straddled another's push
			return true
		}
		switch u.enter(min(n, uint32(u.cfg.Group)), 0) {
		case 0, syscall.EINTR:
			continue
		}
		if reaper {
			return false
		}
		time.Sleep(pause)
		pause = min(2*pause, time.Millisecond)
	}
}

// Do implements Ring.
func (u *uring) Do(op *Op) error {
	if !u.gate.enter() {
		op.Err = ErrClosed
		return ErrClosed
	}
	defer u.gate.leave()
	return u.helper.do(op)
}
