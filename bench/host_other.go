//go:build !linux

package bench

import "golang.org/x/sys/unix"

// platform fills in what uname knows.
func (h *Host) platform(string) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
}
