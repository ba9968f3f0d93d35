package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// platform fills in what /proc and /sys know; dev is "major:minor".
func (h *Host) platform(dev string) {
	h.Kernel = line("/proc/sys/kernel/osrelease")
	_, _ = fmt.Sscan(line("/proc/loadavg"), &h.Load)
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
				h.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if n, _ := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); n == 1 {
			h.MemoryBytes = kib << 10
		}
	}
	if dev == "" {
		return
	}
	sys, err := filepath.EvalSymlinks("/sys/dev/block/" + dev)
	if err != nil {
		return
	}
	if _, err := os.Stat(sys + "/queue"); err != nil {
		sys = filepath.Dir(sys) // a partition: the drive has the queue
	}
	h.Drive = strings.TrimSpace(line(sys+"/device/model") + " " + line(sys+"/device/firmware_rev"))
	if h.Drive == "" {
		if drv, err := filepath.EvalSymlinks(sys + "/device/driver"); err == nil {
			h.Drive = filepath.Base(drv)
		}
	}
	if s := line(sys + "/queue/scheduler"); s != "" {
		if _, rest, ok := strings.Cut(s, "["); ok {
			s, _, _ = strings.Cut(rest, "]")
		}
		h.Scheduler = s
	}
}

func line(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	s, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(s)
}
