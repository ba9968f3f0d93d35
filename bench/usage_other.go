//go:build !linux

package bench

// deviceBytes is not told here.
func deviceBytes() (uint64, bool) { return 0, false }
