package inspect

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// holder tells, without taking a lock, which process holds a file's: the kernel lists them. pid 0:
// somebody this process may not see.
func holder(path string) (pid int, held bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0, false
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)),
		st.Ino)
	for s := bufio.NewScanner(f); s.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 4711 fe:00:12345 0 EOF
		x := strings.Fields(s.Text())
		if len(x) >= 6 && x[1] == "FLOCK" && x[5] == want {
			_, _ = fmt.Sscan(x[4], &pid)
			return max(pid, 0), true
		}
	}
	return 0, false
}
