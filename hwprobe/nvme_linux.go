package hwprobe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// passthru is struct nvme_passthru_cmd of linux/nvme_ioctl.h: 72 bytes.
type passthru struct {
	opcode, flags                            uint8
	rsvd1                                    uint16
	nsid, cdw2, cdw3                         uint32
	metadata, addr                           uint64
	metadataLen, dataLen                     uint32
	cdw10, cdw11, cdw12, cdw13, cdw14, cdw15 uint32
	timeoutMS, result                        uint32
}

const (
	ioctlNVMeAdmin = 0xc0484e41 // NVME_IOCTL_ADMIN_CMD
	opIdentify     = 0x06
	cnsNamespace   = 0x00
	cnsController  = 0x01
	// identifyTimeout keeps a drive that hangs from hanging us: Identify takes microseconds.
	identifyTimeoutMS = 5000
)

// identify asks the drive afresh: the kernel's own limits date from when the controller was set up.
func (kernel) identify(s source, d *Device, node string) {
	n := d.NVMe
	fail := func(why string) {
		n.Ctrl.Missing, n.NS.Missing = why, why
		n.Ctrl.From, n.NS.From = "Identify through "+node, "Identify through "+node
	}
	nsid, ok := n.NSID.Get()
	if !ok || nsid == 0 || nsid > 0xffffffff {
		fail("its namespace id could not be read")
		return
	}
	f, err := openNode(s.path(node), d.Dev)
	if err != nil {
		fail(err.Error())
		return
	}
	defer f.Close()
	ask := func(cns uint32, nsid uint32) (IDPage, string) {
		page, err := identifyPage(f, cns, nsid)
		if err != nil {
			return nil, err.Error()
		}
		return page, ""
	}
	n.Ctrl.From = fmt.Sprintf("Identify Controller (CNS 01h) through %s", node)
	n.NS.From = fmt.Sprintf("Identify Namespace (CNS 00h, nsid %d) through %s", nsid, node)
	n.Ctrl.Raw, n.Ctrl.Missing = ask(cnsController, 0)
	n.NS.Raw, n.NS.Missing = ask(cnsNamespace, uint32(nsid))
}

// openNode opens a device node for reading and makes sure it is the device meant: a /dev that is
// not this kernel's (a container's, say) may hold anything under that name.
func openNode(node, dev string) (*os.File, error) {
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no device node %s", node)
	}
	if err != nil {
		return nil, errors.New(reason(err))
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, errors.New(reason(err))
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	block := ok && sys.Mode&unix.S_IFMT == unix.S_IFBLK
	char := ok && sys.Mode&unix.S_IFMT == unix.S_IFCHR
	if !block && !char {
		f.Close()
		return nil, fmt.Errorf("%s is no device node", node)
	}
	have := devString(unix.Major(uint64(sys.Rdev)), unix.Minor(uint64(sys.Rdev)))
	if block && dev != "" && have != dev {
		f.Close()
		return nil, fmt.Errorf("%s is device %s, not %s", node, have, dev)
	}
	return f, nil
}

// identifyPage issues one Identify. The buffer's address travels as an integer inside the
// command, which the garbage collector does not see: it is pinned for the call.
func identifyPage(f *os.File, cns, nsid uint32) (IDPage, error) {
	buf := make([]byte, IDPageSize)
	var pin runtime.Pinner
	pin.Pin(&buf[0])
	defer pin.Unpin()
	cmd := passthru{
		opcode: opIdentify, nsid: nsid, cdw10: cns, dataLen: IDPageSize, timeoutMS: identifyTimeoutMS,
		addr: uint64(uintptr(unsafe.Pointer(&buf[0]))),
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var status uintptr
	var errno unix.Errno
	err = conn.Control(func(fd uintptr) {
		status, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, ioctlNVMeAdmin, uintptr(unsafe.Pointer(&cmd)))
	})
	switch {
	case err != nil:
		return nil, err
	case errno != 0:
		return nil, errno
	case status != 0: // a positive return is the drive's status, not an errno
		return nil, fmt.Errorf("the drive answered with NVMe status %#x", status)
	}
	return buf, nil
}
