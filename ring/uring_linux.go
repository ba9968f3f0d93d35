package ring

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	// Only the sub-package with the system calls and the layout of entries: the package above it
	// reaches into package syscall by linkname and does not link with Go 1.23 or newer.
	iouring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// uring is the io_uring backend. Any goroutine submits: it fills entries under mu. One goroutine,
// the reaper, takes completions and gives the ops back. While the reaper is awake it also hands the
// entries to the kernel, from its own thread; otherwise the submitter does that itself.
//
// An op in flight occupies a slot, and there are as many slots as submission entries and half as
// many as completion entries, so neither queue can overflow. The slot table also keeps the op, and
// through it its memory, reachable while only the kernel refers to it.
type uring struct {
	fd     int
	cfg    Config
	reason string
	gate   gate
	count  counters
	once   sync.Once

	sq   queue
	sqes []iouring.SubmissionQueueEntry64
	cq   queue
	cqes []iouring.CompletionQueueEvent16
	maps [][]byte // what to unmap

	mu      sync.Mutex
	room    sync.Cond // a slot is free, or the gate is shut
	waiting int       // submitters waiting for room
	slots   []slot
	free    []uint32 // indices of free slots
	vecs    vecPool
	reaper  reaperState
	wake    chan struct{} // there is something in flight, or stopping
	stop    bool
	reaped  chan struct{} // closed when the reaper has ended

	regions atomic.Pointer[[]region]
	table   int // places in the kernel's table of buffers, -1 = it cannot grow

	helper *threads // flushes, Do, and ops the ring gets nowhere with

	// fake lets a test put another result in a completion's place.
	fake func(op *Op, res int32) int32
}

// reaperState says where the reaper is, and so who hands over what is queued now.
type reaperState uint8

const (
	awake   reaperState = iota // it hands over everything queued before it blocks
	blocked                    // in the kernel, or about to be: the submitter hands over
	asleep                     // the same, but nothing is in flight and it waits for wake
)

// queue is one side of the shared memory: what the kernel and we tell each other is loaded and
// stored atomically.
type queue struct {
	head, tail *uint32
	mask       uint32
}

type slot struct {
	op  *Op
	vec *vecTable // of a vectored op
}

// What New insists on: one mapping for both queues (5.4), no completion ever dropped and entries
// consumed by the time enter returns (5.5), opcodes READ and WRITE (came with this flag in 5.6).
const needFeatures = iouring.IORING_FEAT_SINGLE_MMAP | iouring.IORING_FEAT_NODROP |
	iouring.IORING_FEAT_SUBMIT_STABLE | iouring.IORING_FEAT_RW_CUR_POS

func newUring(cfg Config, reason string) (Ring, error) {
	u, err := setupUring(cfg)
	if err != nil {
		return nil, err
	}
	if err := u.probe(); err != nil {
		u.unmap()
		return nil, err
	}
	u.reason = reason
	go u.reap()
	return u, nil
}

func setupUring(cfg Config) (*uring, error) {
	p := iouring.IOURingParams{
		Flags:     iouring.IORING_SETUP_CQSIZE,
		CQEntries: uint32(2 * cfg.Entries),
	}
	fd, err := iouring.IOURingSetup(uint(cfg.Entries), &p)
	if err != nil {
		return nil, whyNoUring(err)
	}
	if p.Features&needFeatures != needFeatures {
		unix.Close(fd)
		return nil, fmt.Errorf("kernel too old: io_uring features %#x, need %#x (Linux 5.6)",
			p.Features, needFeatures)
	}
	u := &uring{
		fd:     fd,
		cfg:    cfg,
		gate:   newGate(),
		slots:  make([]slot, cfg.Entries),
		wake:   make(chan struct{}, 1),
		reaped: make(chan struct{}),
	}
	u.room.L = &u.mu
	for i := range u.slots {
		u.free = append(u.free, uint32(len(u.slots)-1-i))
	}
	if err := u.mapQueues(&p); err != nil {
		u.unmap()
		return nil, err
	}
	helper := cfg
	helper.Workers = min(cfg.Workers, 8)
	u.helper = newThreads(helper, "helper of io_uring")
	return u, nil
}

func (u *uring) mapQueues(p *iouring.IOURingParams) error {
	const sqeSize = unsafe.Sizeof(iouring.SubmissionQueueEntry64{})
	const cqeSize = unsafe.Sizeof(iouring.CompletionQueueEvent16{})
	sqSize := uintptr(p.SQOffset.Array) + uintptr(p.SQEntries)*4
	cqSize := uintptr(p.CQOffset.Cqes) + uintptr(p.CQEntries)*cqeSize
	rings, err := u.mmap(iouring.IORING_OFF_SQ_RING, max(sqSize, cqSize))
	if err != nil {
		return err
	}
	entries, err := u.mmap(iouring.IORING_OFF_SQES, uintptr(p.SQEntries)*sqeSize)
	if err != nil {
		return err
	}
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&rings[off])) }
	u.sq = queue{word(p.SQOffset.Head), word(p.SQOffset.Tail), *word(p.SQOffset.RingMask)}
	u.cq = queue{word(p.CQOffset.Head), word(p.CQOffset.Tail), *word(p.CQOffset.RingMask)}
	u.sqes = unsafe.Slice((*iouring.SubmissionQueueEntry64)(unsafe.Pointer(&entries[0])),
		p.SQEntries)
	u.cqes = unsafe.Slice((*iouring.CompletionQueueEvent16)(unsafe.Pointer(
		&rings[p.CQOffset.Cqes])), p.CQEntries)
	array := unsafe.Slice(word(p.SQOffset.Array), p.SQEntries)
	for i := range array {
		array[i] = uint32(i) // place i of the queue is entry i, for good
	}
	return nil
}

func (u *uring) mmap(off uint64, size uintptr) ([]byte, error) {
	m, err := unix.Mmap(u.fd, int64(off), int(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("cannot map the queues: %w", err)
	}
	u.maps = append(u.maps, m)
	return m, nil
}

func (u *uring) unmap() {
	for _, m := range u.maps {
		unix.Munmap(m)
	}
	u.maps = nil
	unix.Close(u.fd)
}

// probe sends one no-op through, before the reaper runs: a filter may allow the setup call alone.
func (u *uring) probe() error {
	e := &u.sqes[0]
	e.Reset()
	e.PrepOperation(iouring.IORING_OP_NOP, -1, 0, 0, 0)
	atomic.StoreUint32(u.sq.tail, 1)
	for atomic.LoadUint32(u.cq.tail) == 0 {
		submit := 1 - atomic.LoadUint32(u.sq.head)
		if errno := u.enter(submit, 1); errno != 0 && errno != syscall.EINTR {
			return fmt.Errorf("io_uring_enter: %w", errno)
		}
	}
	if res := u.cqes[0].Result(); res != 0 {
		return fmt.Errorf("a no-op ended in %w", syscall.Errno(-res))
	}
	atomic.StoreUint32(u.cq.head, 1)
	return nil
}

// enter submits entries and waits for completions. It is a Syscall6, never a RawSyscall6: the raw
// call keeps its P while it sleeps and stalls the garbage collector. Unlike the wrapper of the
// iouring package it does not allocate when the call is interrupted.
func (u *uring) enter(submit, wait uint32) syscall.Errno {
	var flags uintptr
	if wait > 0 {
		flags = uintptr(iouring.IORING_ENTER_FLAGS_GETEVENTS)
	}
	u.count.enters.Add(1)
	_, _, errno := unix.Syscall6(iouring.SYS_IO_URING_ENTER, uintptr(u.fd), uintptr(submit),
		uintptr(wait), flags, 0, 0)
	return errno
}

// whyNoUring turns the error of io_uring_setup into what an operator can act on.
func whyNoUring(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSYS):
		return fmt.Errorf("the kernel is too old or built without it, or a sandbox hides it: %w",
			err)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		b, _ := os.ReadFile("/proc/sys/kernel/io_uring_disabled")
		if v := strings.TrimSpace(string(b)); v == "1" || v == "2" {
			return fmt.Errorf("sysctl kernel.io_uring_disabled is %s: %w", v, err)
		}
		return fmt.Errorf("forbidden, most likely by a container's seccomp profile: %w", err)
	case errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("not enough memory that may be locked (ulimit -l): %w", err)
	}
	return err
}
