package fsys

import (
	"strings"
	"testing"
)

func TestFlushesOff(t *testing.T) {
	for _, c := range []struct{ fsType, options, option string }{
		{"ext4", "rw,relatime", ""},
		{"ext4", "rw,barrier=0", "barrier=0"},
		{"ext4", "rw,nobarrier,data=ordered", "nobarrier"},
		{"ext4", "rw,barrier=0,barrier=1", ""},
		{"ext4", "rw,data=journal", ""},
		{"ext4", "rw,data=writeback", ""},
		{"ext3", "rw,barrier=0", "barrier=0"},
		{"xfs", "rw,nobarrier", ""},
		{"btrfs", "rw,nobarrier,space_cache", "nobarrier"},
		{"btrfs", "rw,nobarrier,barrier", ""},
		{"f2fs", "rw,fsync_mode=nobarrier", "fsync_mode=nobarrier"},
		{"f2fs", "rw,fsync_mode=posix", ""},
		{"overlay", "rw,lowerdir=/nobarrier", ""},
		{"overlay", "rw,volatile", "volatile"},
		{"cifs", "rw,nostrictsync", "nostrictsync"},
		{"fuse.sshfs", "rw,nobarrier", ""},
		{"tmpfs", "rw", ""},
		{"", "", ""},
	} {
		got := FlushesOff(c.fsType, strings.Split(c.options, ","))
		if (got == "") != (c.option == "") || !strings.HasSuffix(got, c.option) {
			t.Errorf("%s %s: %q, want %q", c.fsType, c.options, got, c.option)
		}
	}
}
