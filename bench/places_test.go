package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn/fsys"
)

// TestRoomInEveryPlace: what a place has no room for is refused before anything is written, there or
// in the others.
func TestRoomInEveryPlace(t *testing.T) {
	for name, change := range map[string]func(c *Config, elsewhere string){
		"log":                func(c *Config, d string) { c.WALDir, c.LogBytes, c.CheckpointBytes = d, 100, 1<<60 },
		"images":             func(c *Config, d string) { c.WALDir, c.Mode, c.CheckpointBytes = d, FullPage, 1<<60 },
		"copies":             func(c *Config, d string) { c.DWBDir, c.BatchBytes = d, 1<<56 },
		"log with the pages": func(c *Config, d string) { c.Dir, c.LogBytes, c.CheckpointBytes = d, 100, 1<<60 },
	} {
		c := little(t, Doublewrite).withDefaults()
		elsewhere := t.TempDir()
		change(&c, elsewhere)
		_, err := newSession(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), elsewhere+" has ") {
			t.Errorf("%s: %v", name, err)
		}
		empty(t, c.Dir)
		empty(t, elsewhere)
	}
	// No copies, no log of their own: nothing is asked for in vain.
	c := little(t, None).withDefaults()
	c.CheckpointBytes = 1 << 60
	if data, log, copies := c.needs(); data+log+copies > 1<<30 {
		t.Errorf("%d + %d + %d bytes for %d of pages", data, log, copies, c.SizeBytes)
	}
}

// TestFlushesOffInAnyPlace: a log or copies in memory are not durable, however good the data's drive is.
func TestFlushesOffInAnyPlace(t *testing.T) {
	const shm = "/dev/shm"
	if m, err := fsys.OS().Mount(shm); err != nil || m.Type != "tmpfs" {
		t.Skip("no file system in memory")
	}
	dir, err := os.MkdirTemp(shm, "untornbench-test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *Config){
		"log":    func(c *Config) { c.WALDir = dir },
		"copies": func(c *Config) { c.DWBDir = link },
	} {
		c := little(t, Doublewrite)
		c.BoundTime, c.Verify = -1, false
		change(&c)
		r, err := patient(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if want := name + ": tmpfs is memory"; !strings.Contains(r.Host.FlushesOff, want) || !strings.Contains(r.Meaning, "survives a power cut") {
			t.Errorf("%s: flushes off: %q, %s", name, r.Host.FlushesOff, r.Meaning)
		}
		var b strings.Builder
		if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), name+" on tmpfs") || !strings.Contains(b.String(), "FLUSHES ARE OFF") {
			t.Errorf("%v: %s", err, b.String())
		}
	}
}
