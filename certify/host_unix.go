//go:build unix

package certify

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// limits adds what the kernel and the administrator allow this process.
func (l *facts) limits() {
	for _, r := range []struct {
		what string
		id   int
	}{{"RLIMIT_MEMLOCK", unix.RLIMIT_MEMLOCK}, {"RLIMIT_NOFILE", unix.RLIMIT_NOFILE}, {"RLIMIT_FSIZE", unix.RLIMIT_FSIZE}} {
		var x unix.Rlimit
		if err := unix.Getrlimit(r.id, &x); err != nil {
			l.list = append(l.list, Fact{Where: l.where, What: r.what, Missing: err.Error()})
			continue
		}
		v := fmt.Sprint(x.Cur)
		if int64(x.Cur) < 0 || x.Cur == 1<<63-1 {
			v = "unlimited"
		}
		l.put(r.what, v)
	}
	// Absent before Linux 6.6 and elsewhere: then nobody can have turned it off there.
	if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil {
		l.put("io_uring_disabled", strings.TrimSpace(string(b)))
	}
}
