package inside

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Device mapper by ioctl: linux/dm-ioctl.h.
const (
	dmSize    = 312
	dmCreate  = 0xc138fd03
	dmRemove  = 0xc138fd04
	dmSuspend = 0xc138fd06 // without the suspend flag: resume
	dmLoad    = 0xc138fd09
)

// Segment is one line of a table.
type Segment struct {
	Start, Sectors uint64 // of 512 bytes
	Target, Params string
}

// bytes is struct dm_target_spec and the parameters.
func (g Segment) bytes() []byte {
	s := make([]byte, 40+(len(g.Params)+8)&^7)
	binary.NativeEndian.PutUint64(s, g.Start)
	binary.NativeEndian.PutUint64(s[8:], g.Sectors)
	copy(s[24:40], g.Target)
	copy(s[40:], g.Params)
	return s
}

func tableOf(segments []Segment) (b []byte, n int) {
	for _, g := range segments {
		s := g.bytes()
		binary.NativeEndian.PutUint32(s[20:], uint32(len(s))) // next, from this one
		b = append(b, s...)
	}
	return b, len(segments)
}

// dm does one ioctl on a mapped device.
func dm(what string, op uintptr, name string, data []byte, targets int) (dev uint64, err error) {
	ctl, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer ctl.Close()
	buf := make([]byte, dmSize+len(data))
	ne := binary.NativeEndian
	ne.PutUint32(buf, 4)
	ne.PutUint32(buf[12:], uint32(len(buf)))
	ne.PutUint32(buf[16:], dmSize)
	ne.PutUint32(buf[20:], uint32(targets))
	copy(buf[48:], name)
	copy(buf[dmSize:], data)
	_, _, e := unix.Syscall(unix.SYS_IOCTL, ctl.Fd(), op, uintptr(unsafe.Pointer(&buf[0])))
	if e != 0 {
		return 0, fmt.Errorf("device mapper: %s %s: %w", what, name, e)
	}
	return ne.Uint64(buf[40:]), nil
}

// MapDevice makes a device-mapper device and returns its node.
func MapDevice(name string, table ...Segment) (string, error) {
	dev, err := dm("create", dmCreate, name, nil, 0)
	if err != nil {
		return "", err
	}
	if err := RemapDevice(name, table...); err != nil {
		return "", err
	}
	return fmt.Sprintf("/dev/dm-%d", dev&0xff|dev>>12&0xfff00), nil
}

// RemapDevice gives a device another table: it suspends, swaps, goes on.
func RemapDevice(name string, table ...Segment) error {
	b, n := tableOf(table)
	if _, err := dm("load", dmLoad, name, b, n); err != nil {
		return fmt.Errorf("%w (%v)", err, table)
	}
	_, err := dm("resume", dmSuspend, name, nil, 0)
	return err
}

// UnmapDevice removes a device.
func UnmapDevice(name string) error {
	_, err := dm("remove", dmRemove, name, nil, 0)
	return err
}
