package aligned

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestZeros(t *testing.T) {
	for _, n := range []int{512, 4096, 100 << 10, MaxZeros} {
		for align := 512; align <= Chunk; align *= 2 {
			b := Zeros(n, align)
			if len(b) != n || cap(b) != n || addr(b)%uintptr(align) != 0 || !bytes.Equal(b, make([]byte, n)) {
				t.Errorf("%d bytes at %d: %d bytes, capacity %d", n, align, len(b), cap(b))
			}
		}
	}
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, Zeros(MaxZeros, 4096), 0o600); err != nil {
		t.Error(err)
	}
}

// TestNobodyWritesZeros: they are everybody's, and one that is not zero would be written to every file.
func TestNobodyWritesZeros(t *testing.T) {
	if _, err := mapZeros(4096); err != nil {
		t.Skip(err)
	}
	if os.Getenv("WRITE_ZEROS") != "" {
		Zeros(4096, 4096)[17] = 1
		return
	}
	c := exec.Command(os.Args[0], "-test.run=TestNobodyWritesZeros")
	c.Env = append(os.Environ(), "WRITE_ZEROS=1")
	if out, err := c.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("fault")) {
		t.Errorf("a write to them: %v\n%s", err, out)
	}
}
