//go:build !linux

package bench

import (
	"golang.org/x/sys/unix"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// platformSyncWays is the call that is not what it is called: on darwin fsync stops at the drive's
// cache, and F_FULLFSYNC is what ring.Sync does.
func platformSyncWays() []syncWay {
	write := viaRing(0)
	return []syncWay{{
		"buffered + bare fsync(2)", "stops at the drive's volatile cache: gone with the power", false, false,
		func(r ring.Ring, f fsys.File, off int64, buf []byte) error {
			if err := write(r, f, off, buf); err != nil {
				return err
			}
			return unix.Fsync(int(f.Fd()))
		},
	}}
}
