package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn"
)

// want runs a command line and fails the test unless it ends with rc and says every word of what.
func want(t *testing.T, rc int, what []string, args ...string) (out string) {
	t.Helper()
	got, out, err := ctl(t, args...)
	if got != rc {
		t.Fatalf("%q exits %d, want %d: %s%s", args, got, rc, out, err)
	}
	for _, w := range what {
		if !strings.Contains(out+err, w) {
			t.Errorf("%q does not say %q: %s%s", args, w, out, err)
		}
	}
	return out
}

func TestBackupAndNewID(t *testing.T) {
	dir := engine(t)
	to := filepath.Join(t.TempDir(), "copy")
	want(t, 1, []string{"untornctl recover"}, "backup", dir, to)
	want(t, 1, []string{"untornctl recover"}, "new-id", dir)
	want(t, 0, nil, "recover", dir)
	var b untorn.Backup
	if err := json.Unmarshal([]byte(want(t, 0, nil, "backup", dir, to, "-json", "-")), &b); err != nil || b.EngineID == "" || b.EndLSN == 0 {
		t.Errorf("%v %+v", err, b)
	}
	want(t, 3, []string{"not empty"}, "backup", dir, to)
	want(t, 0, []string{"sound"}, "verify", to)
	want(t, 0, nil, "recover", to)
	want(t, 0, []string{b.EngineID}, "new-id", to)
	want(t, 0, []string{"sound"}, "verify", to)
	want(t, 0, []string{"sound"}, "verify", dir)

	// Interrupted: the marker is there.
	text := `{"old_engine_id":"` + b.EngineID + `","new_engine_id":"` + strings.Repeat("ab", 16) + `"}`
	if err := os.WriteFile(filepath.Join(dir, "new-id"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, 1, []string{"new-id"}, "inspect", dir)
	want(t, 3, []string{"untornctl new-id"}, "recover", dir)
	want(t, 0, []string{strings.Repeat("ab", 16), "earlier"}, "new-id", dir)
	want(t, 0, []string{"sound"}, "verify", dir)

	e, err := untorn.Open(t.Context(), untorn.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	want(t, 3, []string{"Engine.Backup"}, "backup", dir, to+"2")
	want(t, 3, []string{"running"}, "new-id", dir)
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, 2, nil, "backup", dir)
	want(t, 2, nil, "backup", dir, to, "-rate", "-1")
	want(t, 3, nil, "new-id", filepath.Join(to, "nothing"))
}
