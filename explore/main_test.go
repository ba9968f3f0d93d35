package explore

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain collects seldom: states are garbage a moment after they were made.
func TestMain(m *testing.M) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(512 << 20)
	os.Exit(m.Run())
}
