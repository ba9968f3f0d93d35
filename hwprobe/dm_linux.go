package hwprobe

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// struct dm_ioctl and DM_TABLE_STATUS of linux/dm-ioctl.h.
const (
	dmControl      = "/dev/mapper/control"
	dmIoctlSize    = 312
	ioctlDMStatus  = 0xc138fd0c // _IOWR(0xfd, 12, struct dm_ioctl)
	dmStatusTable  = 1 << 4     // the table, not the status
	dmBufferFull   = 1 << 8
	dmNoFlush      = 1 << 11
	dmSecureData   = 1 << 15 // the kernel wipes its copy: a crypt table holds the key
	dmMaxTableSize = 1 << 20
)

// dmTable reads a table and keeps only where it maps to. The buffer is wiped: the parameters of
// dm-crypt hold a key.
func (kernel) dmTable(s source, d *Device) Fact[[]Segment] {
	miss := func(err error) Fact[[]Segment] { return Missing[[]Segment](reason(err), dmControl) }
	major, minor, ok := majorMinor(d.Dev)
	if !ok {
		return miss(errors.New("its device number could not be read"))
	}
	f, err := os.OpenFile(s.path(dmControl), os.O_RDWR, 0)
	if err != nil {
		return miss(err)
	}
	defer f.Close()
	for n := 16 << 10; n <= dmMaxTableSize; n *= 4 {
		segs, full, err := tableStatus(f, major, minor, n)
		if err != nil {
			return miss(err)
		}
		if !full {
			return Known(segs, dmControl)
		}
	}
	return miss(errors.New("table too large"))
}

func tableStatus(f *os.File, major, minor uint32, n int) ([]Segment, bool, error) {
	buf := make([]byte, n)
	defer clear(buf)
	var pin runtime.Pinner
	pin.Pin(&buf[0])
	defer pin.Unpin()
	le := binary.NativeEndian
	le.PutUint32(buf[0:], 4) // interface version 4.0.0: any 4.x kernel takes it
	le.PutUint32(buf[12:], uint32(n))
	le.PutUint32(buf[16:], dmIoctlSize)
	le.PutUint32(buf[28:], dmStatusTable|dmNoFlush|dmSecureData)
	le.PutUint64(buf[40:], uint64(minor&0xff|major<<8|minor&^0xff<<12)) // as huge_encode_dev
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, false, err
	}
	var errno unix.Errno
	err = conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, ioctlDMStatus, uintptr(unsafe.Pointer(&buf[0])))
	})
	switch {
	case err != nil:
		return nil, false, err
	case errno != 0:
		return nil, false, errno
	case le.Uint32(buf[28:])&dmBufferFull != 0:
		return nil, true, nil
	}
	segs, err := parseTargets(buf, le.Uint32(buf[16:]), le.Uint32(buf[20:]))
	return segs, false, err
}
