package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/stages"
)

func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	for _, mode := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeDetect, untorn.ModeNone} {
		rounds := 1
		if mode == untorn.ModeDoublewrite {
			rounds = 5
		}
		dir := filepath.Join(t.TempDir(), "t")
		told := 0
		r, err := Run(t.Context(), Config{
			Dir: dir, Rounds: rounds, Mode: mode, Seed: 4, Progress: func(*Result) { told++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Violations != 0 || r.Rounds != rounds || told != rounds || r.Opens == 0 || r.Stopped {
			t.Errorf("mode %s: %+v", mode, r)
		}
		e, err := untorn.Open(t.Context(), untorn.Options{Dir: dir, ReadOnly: true})
		if err != nil {
			t.Fatalf("what the run left: %v", err)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestMutant: a broken rule that a kill can show is shown, told, and its directory kept.
func TestMutant(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	dir := filepath.Join(t.TempDir(), "t")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, err := Run(ctx, Config{
		Dir: dir, Rounds: 60, Seed: 3, Mutants: stages.WALRuleOff, Mutant: "wal-rule-off", Keep: true,
		Progress: func(r *Result) {
			if r.Violations > 0 {
				stop() // an interrupt: what was found by then is reported
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Violations == 0 || len(r.Stories) != r.Violations || len(r.Kept) == 0 {
		t.Fatalf("%+v", r)
	}
	if _, err := os.Stat(r.Kept[0]); err != nil {
		t.Error(err)
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"VIOLATION in round", "wal-rule-off", "-seed 3 -keep", "kept for a look"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report says nothing of %q:\n%s", want, &b)
		}
	}
	b.Reset()
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"schema", "mode", "mutant", "rounds", "kills", "violations", "seed", "elapsed_seconds"} {
		if m[k] == nil {
			t.Errorf("JSON has no %s", k)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Config{
		{Dir: dir, Rounds: 1}, {Rounds: 1}, {Dir: dir}, {Dir: dir, Rounds: 1, Mode: "odd"},
		{Dir: filepath.Join(dir, "new"), Rounds: 1, Starve: Starve{Full: "vfat"}},
	} {
		if _, err := Run(t.Context(), c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "mine")); err != nil {
		t.Error(err)
	}
}
