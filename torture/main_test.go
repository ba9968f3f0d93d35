package torture

import (
	"os"
	"testing"
)

// TestMain lets the test binary be its own children.
func TestMain(m *testing.M) {
	if IsChild() {
		os.Exit(Child())
	}
	os.Exit(m.Run())
}
