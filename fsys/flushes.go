package fsys

import "slices"

// flushOptions are the mount options that turn a file system's flushes off, and those that turn
// them on again; of several the last counts. What is not here is not known to matter: on XFS
// nobarrier has done nothing since Linux 4.10, and ext4's data=journal changes what a flush
// writes, not that it does.
var flushOptions = []struct {
	types   []string
	off, on []string
}{
	{[]string{"ext3", "ext4"}, []string{"barrier=0", "nobarrier"}, []string{"barrier", "barrier=1"}},
	{[]string{"btrfs", "gfs2", "nilfs2", "hfsplus"}, []string{"nobarrier"}, []string{"barrier"}},
	{[]string{"f2fs"}, []string{"nobarrier"}, []string{"barrier"}},
	{[]string{"f2fs"}, []string{"fsync_mode=nobarrier"},
		[]string{"fsync_mode=posix", "fsync_mode=strict"}},
	{[]string{"overlay"}, []string{"volatile"}, nil}, // all syncs of the upper layer are skipped
	{[]string{"cifs", "smb3"}, []string{"nostrictsync"}, []string{"strictsync"}},
}

// FlushesOff says which option of a mount makes a flush do nothing, or "" when none is known to.
// It sees options only: a preloaded library that swallows fsync (eatmydata), a FUSE server that
// does, a hypervisor with cache=unsafe or a drive that lies do not show.
func FlushesOff(fsType string, options []string) string {
	for _, f := range flushOptions {
		if !slices.Contains(f.types, fsType) {
			continue
		}
		off := ""
		for _, o := range options {
			switch {
			case slices.Contains(f.off, o):
				off = o
			case slices.Contains(f.on, o):
				off = ""
			}
		}
		if off != "" {
			return fsType + " is mounted with " + off
		}
	}
	return ""
}
