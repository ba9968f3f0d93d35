//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// grouping is a store that shows how it was called.
type grouping struct {
	gate   chan struct{}
	groups [][]*job
	err    error
}

func (g *grouping) commitAll(jobs []*job) error {
	<-g.gate
	g.groups = append(g.groups, append([]*job(nil), jobs...))
	return g.err
}
func (g *grouping) close() error { return nil }

// TestQueueGroups: what waits while a commit runs is the next commit, up to its bound, and everybody
// gets its outcome.
func TestQueueGroups(t *testing.T) {
	g := &grouping{gate: make(chan struct{}), err: errors.New("no")}
	q := newQueue(g, 4)
	var wg sync.WaitGroup
	for range 9 {
		wg.Go(func() {
			if err := q.commit(&job{vals: make([][]byte, 1), done: make(chan error, 1)}); !errors.Is(err, g.err) {
				t.Errorf("commit: %v", err)
			}
		})
	}
	go func() {
		for {
			g.gate <- struct{}{}
		}
	}()
	wg.Wait()
	if err := q.close(); err != nil {
		t.Error(err)
	}
	n := 0
	for _, x := range g.groups {
		n += len(x)
		if len(x) > 4 {
			t.Errorf("a group of %d", len(x))
		}
	}
	if n != 9 {
		t.Errorf("%d jobs were committed, want 9", n)
	}
}

// TestEveryContender runs each for a moment: it opens, takes its load, and acknowledges.
func TestEveryContender(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a few hundred MiB of disk")
	}
	file := filepath.Join(t.TempDir(), "out.json")
	var out, errs bytes.Buffer
	if code := run(context.Background(), []string{"-dir", t.TempDir(), "-rounds", "1", "-time", "100ms", "-json", file}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	out.Reset()
	if code := run(context.Background(), []string{"-dir", t.TempDir(), "-loads", "wal-1", "-only", "^untorn$", "-rounds", "1", "-time", "100ms", "-json", "-"}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	var rep report
	if err := json.Unmarshal(out.Bytes()[strings.Index(out.String(), "{"):], &rep); err != nil {
		t.Fatal(err)
	}
	if x := rep.Loads[0].Contenders[0].Rounds[0]; x.PerSecond <= 0 || x.P50 <= 0 {
		t.Errorf("%+v", x)
	}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]int{"-h": 0, "-rounds 0": 2, "-loads (": 2, "x": 2, "-loads nothing": 3} {
		var out, errs bytes.Buffer
		if code := run(context.Background(), strings.Fields(args), &out, &errs); code != want {
			t.Errorf("%s: exit %d, want %d: %s", args, code, want, &errs)
		}
	}
}
