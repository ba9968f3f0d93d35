//go:build !linux

package bench

// deviceBytes is not told here.
func deviceBytes() (uint64, bool) { return 0, false }

// residentBytes is not told here.
func residentBytes() int64 { return 0 }
