//go:build linux || darwin

package tablespace

import (
	"os"

	"golang.org/x/sys/unix"
)

// locked tells, without taking a lock, which process holds one on f: InnoDB locks its data files.
func locked(f *os.File) (pid int, held bool) {
	l := unix.Flock_t{Type: unix.F_RDLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil {
		return 0, false
	}
	return int(l.Pid), l.Type != unix.F_UNLCK
}
