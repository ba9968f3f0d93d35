//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/untorn/untorn/hwprobe/nvmebed/spec"
	"github.com/untorn/untorn/vm/inside"
)

func nothing() {}

// place makes a target ready and says where it is; undo takes it down again.
func (b *bed) place(t spec.Target) (path string, undo func(), err error) {
	if t.Build != "" {
		return b.build(strings.Fields(t.Build))
	}
	if serial, ok := strings.CutSuffix(t.Name, "/"); ok {
		return b.mount(b.nodes[serial])
	}
	if serial, part, ok := strings.Cut(t.Name, ":"); ok {
		return b.nodes[serial] + "p" + part, nothing, nil
	}
	return b.nodes[t.Name], nothing, nil
}

func (b *bed) mount(node string) (string, func(), error) {
	at := "/mnt" + filepath.Base(node)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return "", nil, err
	}
	for _, fs := range []string{"ext4", "xfs"} {
		if unix.Mount(node, at, fs, 0, "") == nil {
			return at, func() {
				if err := unix.Unmount(at, 0); err != nil {
					b.fail("unmount %s: %v", at, err)
				}
			}, nil
		}
	}
	return "", nil, fmt.Errorf("%s holds neither ext4 nor XFS", node)
}

func (b *bed) build(f []string) (string, func(), error) {
	switch {
	case f[0] == "linear":
		dev, n, err := devnum(b.nodes[f[1]])
		if err != nil {
			return "", nil, err
		}
		off, _ := strconv.ParseUint(f[2], 10, 64)
		return b.dm("linear", (n-off)&^2047, fmt.Sprintf("%s %d", dev, off))
	case f[0] == "striped":
		d0, n, err0 := devnum(b.nodes[f[2]])
		d1, _, err1 := devnum(b.nodes[f[3]])
		if err := errors.Join(err0, err1); err != nil {
			return "", nil, err
		}
		return b.dm("striped", 2*n, fmt.Sprintf("2 %s %s 0 %s 0", f[1], d0, d1))
	case f[0] == "raid0":
		chunk, _ := strconv.Atoi(f[1])
		return b.md(0, chunk*512, f[2:])
	case f[0] == "raid1":
		return b.md(1, 0, f[1:])
	}
	return "", nil, fmt.Errorf("cannot build %q", f)
}

// devnum is a device's major:minor and its size in sectors.
func devnum(node string) (string, uint64, error) {
	dir := "/sys/class/block/" + filepath.Base(node)
	dev, err0 := os.ReadFile(dir + "/dev")
	size, err1 := os.ReadFile(dir + "/size")
	n, err2 := strconv.ParseUint(strings.TrimSpace(string(size)), 10, 64)
	return strings.TrimSpace(string(dev)), n, errors.Join(err0, err1, err2)
}

func (b *bed) dm(target string, sectors uint64, params string) (string, func(), error) {
	name := fmt.Sprintf("bed%d", b.dmN)
	b.dmN++
	node, err := inside.MapDevice(name, inside.Segment{Sectors: sectors, Target: target, Params: params})
	if err != nil {
		return "", nil, err
	}
	b.reload = func() error {
		// The same mapping, and at its end a target that knows no atomic writes: the device loses them.
		const tail = 2048
		return inside.RemapDevice(name,
			inside.Segment{Sectors: sectors - tail, Target: target, Params: params},
			inside.Segment{Start: sectors - tail, Sectors: tail, Target: "error"})
	}
	return node, func() {
		if err := inside.UnmapDevice(name); err != nil {
			b.fail("%v", err)
		}
	}, nil
}

// Software RAID without superblocks, by ioctl: linux/raid/md_u.h.
const (
	mdSetArray = 0x40480923
	mdAddDisk  = 0x40140921
	mdRun      = 0x400c0930
	mdStop     = 0x0932
)

func (b *bed) md(level, chunk int, serials []string) (string, func(), error) {
	n := b.mdN
	b.mdN++
	name := fmt.Sprintf("md%d", n)
	if err := os.WriteFile("/sys/module/md_mod/parameters/new_array", []byte(name), 0); err != nil {
		return "", nil, err
	}
	f, err := inside.OpenSoon("/dev/" + name)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	ioctl := func(op uintptr, v []int32) error {
		var p unsafe.Pointer
		if len(v) > 0 {
			p = unsafe.Pointer(&v[0])
		}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), op, uintptr(p)); e != 0 {
			return e
		}
		return nil
	}
	disks := int32(len(serials))
	// major, minor, patch, ctime, level, size, nr, raid, md_minor, not_persistent, utime, state,
	// active, working, failed, spare, layout, chunk_size
	info := []int32{0, 90, 0, 0, int32(level), 0, disks, disks, int32(n), 1, 0, 1, disks, disks,
		0, 0, 0, int32(chunk)}
	if level == 1 {
		info[5] = 32 << 10 // KiB of each member
	}
	if err := ioctl(mdSetArray, info); err != nil {
		return "", nil, fmt.Errorf("SET_ARRAY_INFO: %w", err)
	}
	for i, s := range serials {
		var st unix.Stat_t
		if err := unix.Stat(b.nodes[s], &st); err != nil {
			return "", nil, err
		}
		disk := []int32{int32(i), int32(unix.Major(st.Rdev)), int32(unix.Minor(st.Rdev)), int32(i), 6} // active, in sync
		if err := ioctl(mdAddDisk, disk); err != nil {
			return "", nil, fmt.Errorf("ADD_NEW_DISK %s: %w", s, err)
		}
	}
	if err := ioctl(mdRun, make([]int32, 3)); err != nil {
		return "", nil, fmt.Errorf("RUN_ARRAY: %w", err)
	}
	return "/dev/" + name, func() {
		g, err := os.OpenFile("/dev/"+name, os.O_RDWR, 0)
		if err != nil {
			b.fail("%s: %v", name, err)
			return
		}
		defer g.Close()
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, g.Fd(), mdStop, 0); e != 0 {
			b.fail("stop %s: %v", name, e)
		}
	}, nil
}
