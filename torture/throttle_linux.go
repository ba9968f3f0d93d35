package torture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// throttle is a control group whose writes to one disk are slow: what its processes have queued
// outlives them.
type throttle struct{ dir string }

const (
	cgroupRoot   = "/sys/fs/cgroup"
	throttleRate = 8 << 20 // bytes a second
)

// newThrottle makes a group for the disk below dir, in cgroup v2 (io.max) or v1 (blkio).
func newThrottle(dir string) (*throttle, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a control group needs root")
	}
	disk, err := wholeDisk(dir)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("untorn-torture-%d", os.Getpid())
	var errs []error
	for _, way := range []struct{ parent, file, format string }{
		{cgroupRoot, "io.max", "%s wbps=%d"},
		{cgroupRoot + "/unified", "io.max", "%s wbps=%d"},
		{cgroupRoot + "/blkio", "blkio.throttle.write_bps_device", "%s %d"},
	} {
		t := &throttle{filepath.Join(way.parent, name)}
		if err := os.Mkdir(t.dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		// Opened without O_CREATE: in a cgroup file system there is only what the kernel offers.
		err := writeFile(filepath.Join(t.dir, way.file), fmt.Sprintf(way.format, disk,
			throttleRate))
		if err == nil {
			return t, nil
		}
		t.close()
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("no control group that slows a disk down: %w", errors.Join(errs...))
}

func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
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

// add moves a process, with all its threads, into the group.
func (t *throttle) add(pid int) error {
	return writeFile(filepath.Join(t.dir, "cgroup.procs"), strconv.Itoa(pid))
}

// close removes the group; it is empty by then.
func (t *throttle) close() {
	if t != nil {
		_ = os.Remove(t.dir)
	}
}
