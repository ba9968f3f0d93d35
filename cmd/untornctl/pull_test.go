package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
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
	tmp := t.TempDir()
	dir, told := filepath.Join(tmp, "d"), filepath.Join(tmp, "told")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var heard, heardErr bytes.Buffer
	says, to := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"pull", "-listen", "127.0.0.1:0", "-out", told}, to, &heardErr)
		to.Close()
	}()
	first, err := bufio.NewReader(io.TeeReader(says, &heard)).ReadString('\n')
	_, addr, ok := strings.Cut(first, "listening on ")
	addr, _, _ = strings.Cut(addr, ";")
	if err != nil || !ok {
		t.Fatalf("it does not say where it listens: %q, %v\n%s", first, err, &heardErr)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&heard, says)
	}()
	rc, out := 0, ""
	var w pull.Telling
	// Until a round was long enough for something to be acknowledged.
	for d := 300 * time.Millisecond; w.PageAcks == 0 && d < time.Minute; {
		rc, out, _ = ctl(t, "pull", "-dir", dir, "-report", addr, "-duration", d.String(), "-pages", "64", "-json", "-")
		if err := json.Unmarshal([]byte(out), &w); rc != 0 || err != nil {
			t.Fatalf("exit %d, %v:\n%s", rc, err, out)
		}
		d *= 2
	}
	if w.PageAcks == 0 {
		t.Errorf("nothing was acknowledged:\n%s", out)
	}
	stop()
	rc = <-done
	<-read
	if rc != 0 || !strings.Contains(heard.String(), ": ended in order") {
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
