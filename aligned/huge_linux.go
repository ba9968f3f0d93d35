package aligned

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages: fewer to pin and to walk for each I/O. It is only a wish.
func adviseHuge(b []byte) {
	if len(b) >= HugePage {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}
