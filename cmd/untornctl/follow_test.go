package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/inspect"
)

// lines hands the lines written to it to a channel.
type lines struct {
	part []byte
	ch   chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.part = append(l.part, p...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		l.ch <- string(l.part[:i])
		l.part = l.part[i+1:]
	}
}

// TestFollow follows a running engine from outside, is interrupted, and resumes: every record once.
func TestFollow(t *testing.T) {
	dir, at := filepath.Join(t.TempDir(), "d"), filepath.Join(t.TempDir(), "at")
	e, err := untorn.Open(t.Context(), untorn.Options{Dir: dir, SegmentBytes: 64 << 10, BatchBytes: 64 << 10, Memory: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close(context.Background()) }()
	write := func(i int) {
		_, end, err := e.Append([]byte(fmt.Sprintf("record %d %s", i, strings.Repeat(".", 2000))))
		if err == nil {
			err = e.WaitDurable(t.Context(), end)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	next := 0
	for round := range 3 {
		ctx, stop := context.WithCancel(t.Context())
		out := &lines{ch: make(chan string, 1000)}
		rc := make(chan int)
		var stderr bytes.Buffer
		go func() {
			rc <- run(ctx, []string{"follow", dir, "-resume", at, "-every", "1ms", "-data", "-1", "-kind", "user", "-json", "-"}, out, &stderr)
		}()
		for i := range 40 {
			write(40*round + i)
		}
		for n := 0; n < 30; n++ {
			var r inspect.Record
			if err := json.Unmarshal([]byte(<-out.ch), &r); err != nil {
				t.Fatal(err)
			}
			if untorn.LSN(r.EndLSN) > e.DurableLSN() {
				t.Errorf("record through %d, durable is %d", r.EndLSN, e.DurableLSN())
			}
			if want := fmt.Sprintf("%x", fmt.Sprintf("record %d ", next)); !strings.HasPrefix(r.Data, want) {
				t.Fatalf("round %d: record %d is missing: %.60s", round, next, r.Data)
			}
			next++
		}
		stop()
		if got := <-rc; got != 0 {
			t.Errorf("interrupted it exits %d: %s", got, stderr.String())
		}
		next += len(out.ch) // handed out before it noticed
	}
	if out := want(t, 0, nil, "follow", dir, "-n", "3", "-json", "-"); strings.Count(out, "\n") != 3 {
		t.Error(out)
	}
	want(t, 2, nil, "follow", dir, "-from", "here")
	want(t, 2, nil, "follow", dir, "-kind", "odd")
	want(t, 3, nil, "follow", filepath.Join(dir, "nothing"))
	if err := e.Checkpoint(t.Context(), e.DurableLSN(), nil); err != nil {
		t.Fatal(err)
	}
	for i := 0; e.Stats().Log.Recycled < 3; i++ {
		write(i)
	}
	want(t, 1, []string{"begin anew"}, "follow", dir, "-from", "5000", "-n", "1")
	f, err := e.OpenFile(t.Context(), "table", untorn.FileOptions{Create: true, Pages: 1})
	if err == nil {
		err = f.Grow(t.Context(), 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	for args, n := range map[string]int{"table": 2, "1": 2, "other": 0} {
		if out := want(t, 0, nil, "dump", "wal", dir, "-file", args, "-json", "-"); strings.Count(out, `"file":"table"`) != n {
			t.Errorf("-file %s: %s", args, out)
		}
	}
}
