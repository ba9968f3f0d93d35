package torture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn"
)

// TestFull: on a disk that is full again and again what needs space is refused, and nothing is lost.
// Atomic writes that copy need space for pages that have their place: the engine stops then.
func TestFull(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	for _, c := range []Config{
		{Starve: Starve{Full: "ext4"}},
		{Starve: Starve{Full: "xfs"}, Mode: untorn.ModeAtomic, AtomicOverride: "8"},
	} {
		c.Dir, c.Rounds, c.Seed = filepath.Join(t.TempDir(), "t"), 3, 7
		if c.Mode == untorn.ModeAtomic && os.Geteuid() != 0 {
			continue // without a file system of its own, what the rest of the machine has decides
		}
		r, err := Run(t.Context(), c)
		if err != nil && strings.Contains(err.Error(), "not proven here") {
			t.Logf("%s: %v", c.Full, err) // Linux before 6.16
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Violations != 0:
			t.Errorf("%s: %+v", c.Full, r)
		case r.FullSkipped != "":
			t.Logf("%s: skipped: %s", c.Full, r.FullSkipped)
		case r.LogFull+r.NoSpace+r.OpensNoSpace+r.StopsNoSpace == 0:
			t.Errorf("%s: it was never full: %+v", c.Full, r)
		}
		if _, err := os.Stat(c.Dir + ".image"); err == nil {
			t.Error("the image is left behind")
		}
	}
}

// TestMemory: children die of a memory limit, and nothing is lost.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	dir := t.TempDir()
	r, err := Run(t.Context(), Config{
		Dir: filepath.Join(dir, "t"), WALDir: filepath.Join(dir, "w"), DWBDir: filepath.Join(dir, "b"), PageBytes: 8192,
		Rounds: 3, Seed: 3, Starve: Starve{Memory: true},
	})
	if err != nil || r.Violations != 0 || r.MemoryKills+int(r.StopsNoMemory) == 0 || r.MemoryLimit == "" {
		t.Fatalf("%v: %+v", err, r)
	}
	t.Logf("%d deaths by %s", r.MemoryKills, r.MemoryLimit)
	e, err := untorn.Open(t.Context(), untorn.Options{
		Dir: filepath.Join(dir, "t"), WALDir: filepath.Join(dir, "w"), DWBDir: filepath.Join(dir, "b"), ReadOnly: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range e.Info().Files {
		if f.PageSize != 8192 {
			t.Errorf("%s has pages of %d bytes", f.Name, f.PageSize)
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
