package fsys

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sysfs is where the kernel describes block devices; tests build another.
const sysfs = "/sys"

// queue is the sysfs folder of a block device's request queue, "" when there is none to see.
type queue string

// queueOf finds the queue of the device a file lies on. File systems with device numbers of their
// own (btrfs, overlay) name none; then what is mounted there may.
func queueOf(dev uint64, path string) queue {
	if q := findQueue(sysfs, dev); q != "" {
		return q
	}
	m, err := findMount(path)
	if err != nil {
		return ""
	}
	return sourceQueue(m.Source)
}

// sourceQueue is the queue of a mount's source when that is a block device.
func sourceQueue(source string) queue {
	var st unix.Stat_t
	if !filepath.IsAbs(source) || unix.Stat(source, &st) != nil || kindOf(st.Mode) != Device {
		return ""
	}
	return findQueue(sysfs, uint64(st.Rdev))
}

// findQueue finds the queue of a device number; a partition has none and uses its disk's.
func findQueue(root string, dev uint64) queue {
	dir := filepath.Join(root, "dev", "block", majorMinor(dev))
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		q := filepath.Join(d, "queue")
		if st, err := os.Stat(q); err == nil && st.IsDir() {
			return queue(q)
		}
	}
	return ""
}

func majorMinor(dev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)) }

// text is one attribute, "" when it cannot be read.
func (q queue) text(name string) string {
	if q == "" {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(string(q), name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number is one attribute that must be a power of two, 0 when it is not.
func (q queue) number(name string) int {
	n, err := strconv.Atoi(q.text(name))
	if err != nil || n <= 0 || n&(n-1) != 0 {
		return 0
	}
	return n
}
