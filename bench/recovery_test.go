package bench

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecovery: what is measured is a recovery, of the log it was asked for.
func TestRecovery(t *testing.T) {
	dir := t.TempDir()
	r, err := Recovery(context.Background(), RecoveryConfig{Dir: dir, LogBytes: []int64{4 << 20}, Modes: []Mode{Doublewrite, FullPage}}, func(what string, _ float64) {
		if left, err := filepath.Glob(filepath.Join(dir, "*", "recovery-*")); err != nil || len(left) > 0 {
			t.Errorf("%s: still there: %v, %v", what, left, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Points) != 2 {
		t.Fatalf("%+v", r.Points)
	}
	for _, p := range r.Points {
		if p.LogBytes < 4<<20 || p.Open <= 0 || p.Recover <= 0 || p.Recover > p.Open || p.Read <= 0 || p.Records == 0 || (p.Images > 0) != (p.Mode == FullPage) || p.Mode == FullPage && p.Restored < 200 {
			t.Errorf("%+v", p)
		}
	}
	if r.Backend == "" || r.BackendReason == "" {
		t.Errorf("backend %q (%s)", r.Backend, r.BackendReason)
	}
	other := *r
	other.Backend = "another"
	if _, differ, err := Compare(r, &other, false); !errors.Is(err, ErrDifferent) || len(differ) != 1 {
		t.Errorf("another backend: %v, %v", differ, err)
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "fullpage") {
		t.Errorf("%v: %s", err, b.String())
	}
	if _, err := Recovery(context.Background(), RecoveryConfig{Modes: []Mode{Naive}, LogBytes: []int64{5}}, nil); !errors.Is(err, ErrUsage) {
		t.Errorf("nonsense: %v", err)
	}
}
