package ring

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel does I/O by direct system calls, without allocating.
type kernel struct{ vecs vecPool }

// smallVec pieces fit on the stack of a call; longer vectors take a table from the pool.
const smallVec = 16

func (k *kernel) issue(op *Op) (int, syscall.Errno) {
	fd := op.File.Fd()
	switch op.Kind {
	case DataSync:
		_, _, e := unix.Syscall(unix.SYS_FDATASYNC, fd, 0, 0)
		return 0, e
	case Sync:
		_, _, e := unix.Syscall(unix.SYS_FSYNC, fd, 0, 0)
		return 0, e
	}
	if op.Vec == nil && op.Flags == 0 {
		b := op.Buf[op.t.from:min(len(op.Buf), op.t.from+maxCall)]
		if op.Kind == Read {
			return result(unix.Pread(int(fd), b, op.Off+int64(op.t.from)))
		}
		return result(unix.Pwrite(int(fd), b, op.Off+int64(op.t.from)))
	}
	n, e := k.vectored(fd, op, rwFlags(op))
	if (e == syscall.EOPNOTSUPP || e == syscall.ENOSYS) && op.Kind == Write && op.Flags == DSync {
		// An emulated kernel (gVisor) without the flag: nothing was written yet, and a write and a
		// flush promise more than what was asked for.
		if n, e = k.vectored(fd, op, 0); e == 0 {
			_, _, e = unix.Syscall(unix.SYS_FDATASYNC, fd, 0, 0)
		}
	}
	return n, e
}

func (k *kernel) vectored(fd uintptr, op *Op, flags uint32) (int, syscall.Errno) {
	if len(op.Vec) <= smallVec {
		var iov [smallVec]unix.Iovec
		return vectored(fd, op, iov[:], flags)
	}
	t := k.vecs.get()
	n, e := vectored(fd, op, t[:], flags)
	k.vecs.put(t)
	return n, e
}

func vectored(fd uintptr, op *Op, iov []unix.Iovec, flags uint32) (int, syscall.Errno) {
	n := fillVec(iov, op)
	off := op.Off + int64(op.t.from)
	nr := uintptr(unix.SYS_PREADV)
	switch {
	case flags != 0:
		nr = unix.SYS_PWRITEV2
	case op.Kind == Write:
		nr = unix.SYS_PWRITEV
	}
	// Beside the low word the kernel takes the high one, which on 64 bits it shifts out.
	const wordBits = 32 << (^uintptr(0) >> 63)
	r, _, e := unix.Syscall6(nr, fd, uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(n),
		uintptr(off), uintptr(uint64(off)>>(wordBits-1)>>1), uintptr(flags))
	if e != 0 {
		return 0, e
	}
	return int(r), 0
}

func result(n int, err error) (int, syscall.Errno) {
	if err != nil {
		return 0, err.(syscall.Errno)
	}
	return n, 0
}

func rwFlags(op *Op) uint32 {
	var f uint32
	if op.Kind == Write {
		if op.Flags&DSync != 0 {
			f |= unix.RWF_DSYNC
		}
		if op.Flags&Atomic != 0 {
			f |= unix.RWF_ATOMIC
		}
	}
	return f
}

// fillVec describes what is left of op to the kernel and returns the number of pieces.
func fillVec(iov []unix.Iovec, op *Op) int {
	skip, n := op.t.from, 0
	add := func(b []byte) {
		if skip >= len(b) {
			skip -= len(b)
			return
		}
		b = b[skip:]
		skip = 0
		iov[n].Base = unsafe.SliceData(b)
		iov[n].SetLen(len(b))
		n++
	}
	if op.Vec == nil {
		add(op.Buf[:min(len(op.Buf), op.t.from+maxCall)])
	}
	for _, b := range op.Vec {
		add(b)
	}
	return n
}

// vecTable describes one vectored request. The kernel copies it when the request is submitted.
type vecTable [MaxVec]unix.Iovec

// vecPool keeps tables for reuse. It never gives memory back: it holds as many tables as there
// were long vectored requests at one time, and the collector cannot empty it as it does sync.Pool.
type vecPool struct {
	mu   sync.Mutex
	free []*vecTable
}

func (p *vecPool) get() *vecTable {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		t := p.free[n-1]
		p.free = p.free[:n-1]
		return t
	}
	return new(vecTable)
}

func (p *vecPool) put(t *vecTable) {
	clear(t[:]) // it must not keep anybody's buffers alive
	p.mu.Lock()
	p.free = append(p.free, t)
	p.mu.Unlock()
}
