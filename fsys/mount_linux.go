package fsys

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func (osFS) Mount(path string) (Mount, error) {
	e, err := lstat("mount", path)
	if err != nil {
		return Mount{}, err
	}
	if e.Kind == Symlink {
		return Mount{}, pathError("mount", path, ErrSymlink)
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Lstat(path, &st) }); err != nil {
		return Mount{}, pathError("mount", path, err)
	}
	if e.Kind == Device { // the device itself is the stack; where its node lies says nothing
		q := findQueue(sysfs, uint64(st.Rdev))
		return Mount{Type: "device", Point: path, Source: path,
			Device: majorMinor(uint64(st.Rdev)), WriteCache: q.text("write_cache")}, nil
	}
	m, err := findMount(path)
	if err != nil {
		return Mount{}, pathError("mount", path, err)
	}
	q := findQueue(sysfs, uint64(st.Dev))
	if q == "" {
		q = sourceQueue(m.Source)
	}
	m.WriteCache = q.text("write_cache")
	return m, nil
}

// errNoMount should not happen: every path lies on a mount. It does in a chroot without its own
// entry in the table.
var errNoMount = errors.New("not found in the table of mounts")

// findMount finds the mount path lies on, by mount id where statx tells it (Linux 5.8), otherwise
// by device and longest mount point.
func findMount(path string) (Mount, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Mount{}, err
	}
	infos, err := mountinfo.GetMountsFromReader(bytes.NewReader(table), nil)
	if err != nil {
		return Mount{}, err
	}
	var st unix.Statx_t
	err = retry(func() error {
		return unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st)
	})
	if err != nil {
		return Mount{}, err
	}
	if st.Mask&unix.STATX_MNT_ID != 0 {
		for _, i := range infos {
			if uint64(i.ID) == st.Mnt_id {
				return describe(i), nil
			}
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return Mount{}, err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	if i := longest(infos, int(st.Dev_major), int(st.Dev_minor), abs); i != nil {
		return describe(i), nil
	}
	return Mount{}, errNoMount
}

// longest picks the mount with the longest mount point above an absolute path; of two on one
// point the later, which hides the other. The device decides first, unless it matches none: btrfs
// subvolumes and overlay files show device numbers that are in no table.
func longest(infos []*mountinfo.Info, major, minor int, abs string) *mountinfo.Info {
	var best *mountinfo.Info
	for _, device := range []bool{true, false} {
		for _, i := range infos {
			if device && (i.Major != major || i.Minor != minor) || !under(abs, i.Mountpoint) {
				continue
			}
			if best == nil || len(i.Mountpoint) >= len(best.Mountpoint) {
				best = i
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// under reports whether path is dir or lies below it.
func under(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(dir, "/"))
}

func describe(i *mountinfo.Info) Mount {
	m := Mount{
		Type:    i.FSType,
		Point:   i.Mountpoint,
		Source:  i.Source,
		Options: joinOptions(i.Options, i.VFSOptions),
		Device:  strconv.Itoa(i.Major) + ":" + strconv.Itoa(i.Minor),
	}
	m.FlushesOff = FlushesOff(m.Type, m.Options)
	return m
}

// joinOptions is the options of the mount followed by those of the file system, each once.
func joinOptions(lists ...string) []string {
	var all []string
	seen := map[string]bool{}
	for _, l := range lists {
		for o := range strings.SplitSeq(l, ",") {
			if o != "" && !seen[o] {
				seen[o] = true
				all = append(all, o)
			}
		}
	}
	return all
}
