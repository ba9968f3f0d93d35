package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const throttleRate = 2 << 20 // bytes a second

// newThrottle makes a group whose writes to the disk below dir are slow: what its processes have
// queued outlives them. cgroup v2 has io.max, v1 blkio.
func newThrottle(dir string) (*group, error) {
	disk, err := wholeDisk(dir)
	if err != nil {
		return nil, err
	}
	v2 := fmt.Sprintf("%s wbps=%d", disk, throttleRate)
	g, err := newGroup("torture", []limit{
		{parent: cgroupRoot, file: "io.max", value: v2},
		{parent: cgroupRoot + "/unified", file: "io.max", value: v2},
		{parent: cgroupRoot + "/blkio", file: "blkio.throttle.write_bps_device",
			value: fmt.Sprintf("%s %d", disk, throttleRate)},
	})
	if err != nil {
		return nil, fmt.Errorf("no control group that slows a disk down: %w", err)
	}
	return g, nil
}

// wholeDisk is the "major:minor" of the disk that dir's file system lies on: throttling takes
// disks, not partitions.
func wholeDisk(dir string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", err
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	sys, err := filepath.EvalSymlinks("/sys/dev/block/" + dev)
	if err != nil {
		return "", fmt.Errorf("%s is on no block device: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(sys, "partition")); err == nil {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(sys), "dev"))
		if err != nil {
			return "", err
		}
		dev = strings.TrimSpace(string(b))
	}
	return dev, nil
}
