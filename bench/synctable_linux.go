package bench

import (
	"golang.org/x/sys/unix"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// platformSyncWays is the call that looks as if it made bytes durable. (syncfs does, but it would
// make everybody's files on this file system durable, and their owners wait for it.)
func platformSyncWays() []syncWay {
	write := viaRing(0)
	return []syncWay{
		{
			"buffered + sync_file_range", "no flush is sent to the drive, and no metadata is written: gone with the power",
			false, false,
			func(r ring.Ring, f fsys.File, off int64, buf []byte) error {
				if err := write(r, f, off, buf); err != nil {
					return err
				}
				return unix.SyncFileRange(int(f.Fd()), off, int64(len(buf)),
					unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
			},
		},
	}
}
