package ring

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall" // see uring_linux.go
	"golang.org/x/sys/unix"
)

// region is memory the kernel has pinned and mapped for this ring, as buffers of pieceSize.
type region struct {
	base  uintptr
	size  uintptr
	index uint16 // of its first buffer in the kernel's table
}

const (
	pieceShift = 30 // the kernel's limit for one buffer: 1 GiB
	pieceSize  = 1 << pieceShift
	// tableSize buffers may be registered, in all the regions together, where the kernel can add
	// to a table later (5.19).
	tableSize = 1024
)

// Register op codes and structures that the iouring package, older than they are, lacks.
const (
	registerBuffers2      = 15
	registerBuffersUpdate = 16
	resourceSparse        = 1
)

type resourceRegister struct {
	nr, flags         uint32
	resv, data2, tags uint64
}

type resourceUpdate struct {
	offset, resv uint32
	data, tags   uint64
	nr, resv2    uint32
}

// Register implements Ring. Ops in flight are not disturbed.
func (u *uring) Register(mem []byte) (int, error) {
	if len(mem) == 0 {
		return 0, errors.New("no memory to register")
	}
	if !u.gate.enter() {
		return 0, ErrClosed
	}
	defer u.gate.leave()
	u.mu.Lock()
	defer u.mu.Unlock()
	var old []region
	if p := u.regions.Load(); p != nil {
		old = *p
	}
	used := 0
	for _, r := range old {
		used += pieces(r.size)
	}
	r := region{
		base:  addrOf(mem),
		size:  uintptr(len(mem)),
		index: uint16(used),
	}
	iov := make([]unix.Iovec, 0, pieces(r.size))
	for rest := mem; len(rest) > 0; {
		b := rest[:min(len(rest), pieceSize)]
		v := unix.Iovec{Base: unsafe.SliceData(b)}
		v.SetLen(len(b))
		iov = append(iov, v)
		rest = rest[len(b):]
	}
	if err := u.registerPieces(used, iov); err != nil {
		return 0, err
	}
	regions := append(append([]region(nil), old...), r)
	u.regions.Store(&regions)
	return len(regions), nil
}

func pieces(size uintptr) int { return int((size + pieceSize - 1) >> pieceShift) }

func (u *uring) registerPieces(used int, iov []unix.Iovec) error {
	if used == 0 {
		sparse := resourceRegister{nr: tableSize, flags: resourceSparse}
		err := iouring.IOURingRegister(u.fd, registerBuffers2, unsafe.Pointer(&sparse),
			uint32(unsafe.Sizeof(sparse)))
		u.table = tableSize
		if errors.Is(err, syscall.EINVAL) {
			u.table = len(iov)
			return whyNotRegistered(iouring.IOURingRegister(u.fd, iouring.IORING_REGISTER_BUFFERS,
				unsafe.Pointer(&iov[0]), uint32(len(iov))))
		}
		if err != nil && !errors.Is(err, syscall.EBUSY) { // EBUSY: the table is there
			return whyNotRegistered(err)
		}
	}
	if used+len(iov) > u.table {
		return fmt.Errorf("no place for %d more buffers in the ring's table of %d",
			len(iov), u.table)
	}
	up := resourceUpdate{
		offset: uint32(used),
		data:   uint64(uintptr(unsafe.Pointer(&iov[0]))),
		nr:     uint32(len(iov)),
	}
	// Not the iouring package's wrapper: it hides how many were done.
	n, _, errno := unix.Syscall6(iouring.SYS_IO_URING_REGISTER, uintptr(u.fd),
		registerBuffersUpdate, uintptr(unsafe.Pointer(&up)), unsafe.Sizeof(up), 0, 0)
	runtime.KeepAlive(iov)
	switch {
	case errno != 0:
		return whyNotRegistered(errno)
	case int(n) < len(iov):
		return whyNotRegistered(syscall.ENOMEM)
	}
	return nil
}

func whyNotRegistered(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOMEM):
		var l unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l) == nil {
			return fmt.Errorf("memory that may be locked is limited to %d KiB (ulimit -l): %w",
				l.Cur>>10, err)
		}
	}
	return err
}

// fixed finds the buffer that b lies in. An op that names the wrong region, or straddles two
// buffers, is done with the plain opcode.
func (u *uring) fixed(fixed int, b []byte) (uint16, bool) {
	p := u.regions.Load()
	if p == nil || fixed < 1 || fixed > len(*p) || len(b) == 0 {
		return 0, false
	}
	r := (*p)[fixed-1]
	at := addrOf(b) - r.base
	last := at + uintptr(len(b)) - 1
	if at >= r.size || last >= r.size || at>>pieceShift != last>>pieceShift {
		return 0, false
	}
	return r.index + uint16(at>>pieceShift), true
}

func addrOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
