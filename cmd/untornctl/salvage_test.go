package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/untorn/untorn"
)

// TestSalvageAndRecoverTo is what an operator does with a corrupt log: look, copy, recover the copy.
func TestSalvageAndRecoverTo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	e, err := untorn.Open(t.Context(), untorn.Options{Dir: dir, SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var starts, ends []untorn.LSN
	for i := range 10 {
		s, end, err := e.AppendSync(t.Context(), []byte(fmt.Sprintf("record %d", i)))
		if err != nil {
			t.Fatal(err)
		}
		starts, ends = append(starts, s), append(ends, end)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	patch(t, filepath.Join(dir, "wal", "0000000000000001.wal"), int64(starts[5])+9)
	rc, _, errs := ctl(t, "recover", dir)
	if rc != 3 || !strings.Contains(errs, "-salvage") || !strings.Contains(errs, fmt.Sprintf("ends at LSN %d", ends[4])) {
		t.Fatalf("exit %d: %s", rc, errs)
	}
	saved := filepath.Join(t.TempDir(), "saved")
	rc, out, errs := ctl(t, "recover", dir, "-salvage", saved)
	if rc != 0 || strings.Count(out, "  intact ") != 2 {
		t.Fatalf("exit %d: %s%s", rc, out, errs)
	}
	m := regexp.MustCompile(`-to-lsn (\d+)`).FindStringSubmatch(out)
	if m == nil || m[1] != fmt.Sprint(ends[4]) {
		t.Fatalf("no point to recover to in %s", out)
	}
	if rc, out, errs := ctl(t, "dump", "wal", saved, "-from", fmt.Sprint(ends[5])); rc != 0 || !strings.Contains(out, fmt.Sprint(starts[9])) {
		t.Errorf("what lies behind the damage: exit %d: %s%s", rc, out, errs)
	}
	for _, args := range [][]string{{"-salvage", saved}, {"-to-lsn", fmt.Sprint(ends[8])}, {"-to-lsn", "5"}} {
		if rc, out, _ := ctl(t, append([]string{"recover", dir}, args...)...); rc != 3 {
			t.Errorf("%v: exit %d: %s", args, rc, out)
		}
	}
	if rc, _, _ := ctl(t, "recover", dir, "-salvage", saved, "-dry-run"); rc != 2 {
		t.Errorf("-salvage with -dry-run: exit %d", rc)
	}
	if rc, out, errs := ctl(t, "recover", saved, "-to-lsn", m[1]); rc != 0 {
		t.Fatalf("exit %d: %s%s", rc, out, errs)
	}
	if rc, out, _ := ctl(t, "verify", saved); rc != 0 {
		t.Errorf("the copy is not sound: %s", out)
	}
	if rc, out, _ := ctl(t, "inspect", saved); rc != 0 || !strings.Contains(out, "given up: the log was corrupt") {
		t.Errorf("inspect: exit %d: %s", rc, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "super")); err != nil {
		t.Error(err)
	}
}
