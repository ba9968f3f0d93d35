package ring

import (
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// onDoomedThread runs f on a thread of its own that ends with it: what f gives up is lost to that
// thread only. (Go makes new threads from a clean one while a goroutine is locked.)
func onDoomedThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// A container's seccomp profile, as Docker's: Auto takes the other road and says why.
func TestForbiddenBySeccomp(t *testing.T) {
	onDoomedThread(func() {
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_IO_URING_SETUP, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: 0x50000 | uint32(syscall.EPERM)}, // errno
			{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},                      // allow
		}
		prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER,
				uintptr(unsafe.Pointer(&prog)), 0, 0)
		}
		if err != nil {
			t.Log("cannot set a filter here:", err)
			return
		}
		if _, err := New(Config{Backend: Uring}); !errors.Is(err, syscall.EPERM) {
			t.Errorf("uring asked for: %v", err)
		}
		r, err := New(Config{})
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		in := r.Info()
		if in.Backend != "threads" || !strings.Contains(in.Reason, "seccomp") &&
			!strings.Contains(in.Reason, "io_uring_disabled") {
			t.Errorf("%+v", in)
		}
	})
}

// Without the privilege, memory that the kernel locks counts against RLIMIT_MEMLOCK.
func TestMemoryLockLimit(t *testing.T) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l); err != nil || l.Cur > 64<<20 {
		t.Skip("the limit is too high to run into: ", l.Cur, err)
	}
	onDoomedThread(func() {
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var d [2]unix.CapUserData
		if err := unix.Capget(&h, &d[0]); err != nil {
			t.Error(err)
			return
		}
		d[0].Effective &^= 1 << unix.CAP_IPC_LOCK
		if err := unix.Capset(&h, &d[0]); err != nil {
			t.Error(err)
			return
		}
		r, err := New(Config{Backend: Uring})
		if err != nil {
			t.Log(err)
			return
		}
		defer r.Close()
		fixed, why := r.Register(make([]byte, l.Cur+(4<<20)))
		if fixed != 0 || why == nil || !strings.Contains(why.Error(), "ulimit -l") {
			t.Error("above the limit:", fixed, why)
		}
		if fixed, why = r.Register(make([]byte, 64<<10)); fixed == 0 {
			t.Error("below the limit:", why)
		}
	})
}
