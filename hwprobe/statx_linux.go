package hwprobe

import (
	"golang.org/x/sys/unix"
)

// statx fills the File from statx(2) of a path, or of fd itself where path is "".
func (f *File) statx(fd int, path string) seen {
	flags := 0
	if path == "" {
		flags = unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	mask := unix.STATX_BASIC_STATS | unix.STATX_DIOALIGN | unix.STATX_WRITE_ATOMIC | unix.STATX_MNT_ID
	if err := unix.Statx(fd, path, flags, mask, &st); err != nil {
		why := err.Error()
		miss := Missing[uint64](why, "statx")
		f.ReportsAtomic, f.AtomicAttr = Missing[bool](why, "statx"), Missing[bool](why, "statx")
		f.UnitMin, f.UnitMax, f.UnitMaxOpt, f.SegmentsMax = miss, miss, miss, miss
		f.DIOMemAlign, f.DIOOffsetAlign = miss, miss
		return seen{}
	}
	f.fromStatx(&st)
	out := seen{mount: Missing[uint64]("kernel older than 5.8", "statx")}
	if st.Mask&unix.STATX_MNT_ID != 0 {
		out.mount = Known(st.Mnt_id, "statx")
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		out.dev = devString(st.Rdev_major, st.Rdev_minor)
	} else {
		out.dev = devString(st.Dev_major, st.Dev_minor)
	}
	return out
}

// fromStatx keeps apart what the kernel said from what it did not answer. The mask bit alone means
// nothing (it comes with 0/0 on file systems without support): the attribute bit and unit_max do.
func (f *File) fromStatx(st *unix.Statx_t) {
	num := func(bit uint32, name string, v uint32) Fact[uint64] {
		if st.Mask&bit == 0 {
			return Missing[uint64]("the kernel or file system does not report it", "statx "+name)
		}
		return Known(uint64(v), "statx "+name)
	}
	f.Blksize = Known(uint64(st.Blksize), "statx blksize")
	f.ReportsAtomic = Known(st.Mask&unix.STATX_WRITE_ATOMIC != 0, "statx mask")
	if st.Mask&unix.STATX_WRITE_ATOMIC != 0 {
		f.AtomicAttr = Known(st.Attributes&st.Attributes_mask&unix.STATX_ATTR_WRITE_ATOMIC != 0,
			"statx attributes")
	} else {
		f.AtomicAttr = Missing[bool]("the kernel or file system does not report it", "statx attributes")
	}
	f.UnitMin = num(unix.STATX_WRITE_ATOMIC, "atomic_write_unit_min", st.Atomic_write_unit_min)
	f.UnitMax = num(unix.STATX_WRITE_ATOMIC, "atomic_write_unit_max", st.Atomic_write_unit_max)
	f.UnitMaxOpt = num(unix.STATX_WRITE_ATOMIC, "atomic_write_unit_max_opt",
		st.Atomic_write_unit_max_opt)
	f.SegmentsMax = num(unix.STATX_WRITE_ATOMIC, "atomic_write_segments_max",
		st.Atomic_write_segments_max)
	f.DIOMemAlign = num(unix.STATX_DIOALIGN, "dio_mem_align", st.Dio_mem_align)
	f.DIOOffsetAlign = num(unix.STATX_DIOALIGN, "dio_offset_align", st.Dio_offset_align)
}

// opensDirect tells whether O_DIRECT is taken, by opening for reading only.
func opensDirect(path string) Fact[bool] {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch err {
	case nil:
		unix.Close(fd)
		return Known(true, "open O_DIRECT")
	case unix.EINVAL:
		return Known(false, "open O_DIRECT")
	}
	return Missing[bool](err.Error(), "open O_DIRECT")
}

// takesDirect is the same for a file that is open already.
func takesDirect(fd int) Fact[bool] {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	switch err {
	case nil:
		return Known(true, "fcntl O_DIRECT")
	case unix.EINVAL:
		return Known(false, "fcntl O_DIRECT")
	}
	return Missing[bool](err.Error(), "fcntl O_DIRECT")
}
