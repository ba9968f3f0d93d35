//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/untorn/untorn/powercut/tape"
	"github.com/untorn/untorn/vm/inside"
)

// pulled verifies what the last death left, and works until the next one.
func pulled(j tape.Job) error {
	const disk, dir = "/dev/vda", mountPoint + "/d"
	f, err := inside.OpenSoon(disk)
	if err != nil {
		return err
	}
	f.Close()
	if err := stablePages("vda"); err != nil {
		return err
	}
	if err := os.MkdirAll(mountPoint, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(disk, mountPoint, j.FS, 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", disk, err)
	}
	if st, err := os.Stat("/told"); err == nil && st.Size() > 0 {
		bad, err := verify(dir)
		if err != nil || bad {
			return err
		}
	}
	if j.Report == "" {
		return unix.Unmount(mountPoint, 0)
	}
	if err := network(); err != nil {
		return err
	}
	if j.SysRq {
		time.AfterFunc(time.Duration(j.Millis)*time.Millisecond, func() {
			if err := os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0); err != nil {
				fmt.Println("powercut: FAIL", err)
			}
		})
	}
	args := []string{"pull", "-dir", dir, "-report", j.Report, "-mode", string(j.Mode), "-pages", "256"}
	if j.Mutant != "" {
		args = append(args, "-mutant", j.Mutant)
	}
	out, err := exec.Command("/untornctl", args...).CombinedOutput()
	return fmt.Errorf("untornctl pull ended: %w: %s", err, out)
}

// verify runs untornctl pull -verify and says what it found, in one line.
func verify(dir string) (bad bool, err error) {
	cmd := exec.Command("/untornctl", "pull", "-verify", "-dir", dir, "-told", "/told", "-json", "-")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var e *exec.ExitError
	if errors.As(err, &e) && e.ExitCode() == 1 {
		bad, err = true, nil
	}
	if err != nil {
		return false, fmt.Errorf("untornctl pull -verify: %w: %s", err, &errs)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, out.Bytes()); err != nil {
		return false, fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String()))
	}
	fmt.Printf("powercut: RESULT %s\n", &line)
	return bad, nil
}

// network gives eth0 the address that qemu's user network expects: linux/sockios.h.
func network() error {
	const name, up = "eth0", unix.IFF_UP | unix.IFF_RUNNING
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	set := func(op uintptr, fill func(b []byte)) error {
		var req [40]byte // struct ifreq
		copy(req[:16], name)
		fill(req[16:])
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), op, uintptr(unsafe.Pointer(&req[0]))); e != 0 {
			return fmt.Errorf("%s: ioctl %#x: %w", name, op, e)
		}
		return nil
	}
	inet := func(a [4]byte) func(b []byte) {
		return func(b []byte) { // struct sockaddr_in
			b[0] = unix.AF_INET
			copy(b[4:], a[:])
		}
	}
	for range 200 { // the driver needs a moment
		if err = set(unix.SIOCSIFADDR, inet([4]byte{10, 0, 2, 15})); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	if err := set(unix.SIOCSIFNETMASK, inet([4]byte{255, 255, 255, 0})); err != nil {
		return err
	}
	return set(unix.SIOCSIFFLAGS, func(b []byte) { b[0], b[1] = up&0xff, up>>8 })
}
