//go:build unix && !linux && !darwin

package ring

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// flush uses fsync(2) for both kinds: it is everywhere and does at least what either asks for.
func flush(fd int, _ Kind) syscall.Errno { return errno(unix.Fsync(fd)) }
