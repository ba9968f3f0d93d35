package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn/pull"
)

// TestPull: a listener, a workload that ends by itself, and the verification.
func TestPull(t *testing.T) {
	if testing.Short() {
		t.Skip("works for a second")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	tmp := t.TempDir()
	dir, told := filepath.Join(tmp, "d"), filepath.Join(tmp, "told")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var heard, heardErr bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"pull", "-listen", addr, "-out", told}, &heard, &heardErr) }()
	rc, out := 3, ""
	var w pull.Telling
	// Until it listens, and until a round was long enough for something to be acknowledged.
	for d := 300 * time.Millisecond; (rc == 3 || w.PageAcks == 0) && d < time.Minute && ctx.Err() == nil; {
		rc, out, _ = ctl(t, "pull", "-dir", dir, "-report", addr, "-duration", d.String(), "-pages", "64", "-json", "-")
		if rc == 3 {
			continue
		}
		if err := json.Unmarshal([]byte(out), &w); rc != 0 || err != nil {
			t.Fatalf("exit %d, %v:\n%s", rc, err, out)
		}
		d *= 2
	}
	if w.PageAcks == 0 {
		t.Errorf("nothing was acknowledged:\n%s", out)
	}
	stop()
	if rc := <-done; rc != 0 || !strings.Contains(heard.String(), ": ended in order") {
		t.Errorf("exit %d:\n%s%s", rc, &heard, &heardErr)
	}
	rc, out, errs := ctl(t, "pull", "-verify", "-dir", dir, "-told", told, "-json", "-")
	var r pull.Result
	if err := json.Unmarshal([]byte(out), &r); rc != 0 || err != nil || r.Rounds == 0 || r.PageAcks == 0 {
		t.Errorf("exit %d, %v:\n%s%s", rc, err, out, errs)
	}
	if rc, out, _ = ctl(t, "pull", "-verify", "-dir", t.TempDir(), "-told", told); rc != 1 ||
		!strings.Contains(out, "VIOLATION") {
		t.Errorf("an empty directory: exit %d:\n%s", rc, out)
	}
}

func TestPullUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-listen", ":1", "-verify"}, {"-listen", "1"}, {"-report", "x:1"}, {"-verify", "-dir", "d"},
		{"-dir", "d", "-report", "x:1", "-mode", "odd"}, {"-dir", "d", "-report", "x:1", "-page", "5000"},
		{"-dir", "d", "-report", "x:1", "-mutant", "odd"}, {"-dir", "d", "-report", "x:1", "-backend", "odd"},
	} {
		if rc, _, _ := ctl(t, append([]string{"pull"}, args...)...); rc != 2 {
			t.Errorf("%q: exit %d", args, rc)
		}
	}
	if rc, _, errs := ctl(t, "pull", "-verify", "-dir", t.TempDir(), "-told", "nowhere"); rc != 3 {
		t.Errorf("no told file: exit %d: %s", rc, errs)
	}
}
