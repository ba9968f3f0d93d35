package torture

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/untorn/untorn"
)

// told runs a round in dir until enough has been acknowledged, and returns what was told, call by
// call.
func told(t *testing.T, dir string, round uint32, mode untorn.Mode) (*Work, [][]byte) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	var all [][]byte
	acks := 0
	w := &Work{Dir: dir, Mode: mode, Seed: 9, Round: round, Shape: ShapeOf(3)}
	w.Tell = func(b []byte, first bool) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, b)
		if kind(b[0]) == evPageAck {
			if acks++; acks == 20 {
				stop()
			}
		}
	}
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return w, all
}

func judge(t *testing.T, j *Judge, w *Work) *Result {
	t.Helper()
	r, err := j.Look(w)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOutside: two rounds told to a judge from outside; a directory put back to the first is found
// to have lost what the second had acknowledged.
func TestOutside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	j := NewJudge(untorn.ModeDoublewrite, 9, true)
	w, evs := told(t, dir, 1, untorn.ModeDoublewrite)
	j.Begin(1)
	for _, b := range evs {
		if err := j.Told(b); err != nil {
			t.Fatal(err)
		}
	}
	if !j.Closed() {
		t.Error("an orderly close was not told")
	}
	if r := judge(t, j.Clone(), w); r.Violations != 0 || r.PageAcks < 20 || r.RecordAcks == 0 {
		t.Fatalf("%+v", r)
	}
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	w, evs = told(t, dir, 2, untorn.ModeDoublewrite)
	j.Begin(2)
	for _, b := range evs {
		if err := j.Told(b); err != nil {
			t.Fatal(err)
		}
	}
	if r := judge(t, j.Clone(), w); r.Violations != 0 {
		t.Fatalf("%+v", r)
	}
	w.Dir = old
	r := judge(t, j, w)
	if r.Violations == 0 || !slices.ContainsFunc(r.Stories, func(s Violation) bool { return strings.Contains(s.What, "had been acknowledged") }) {
		t.Errorf("an old copy: %+v", r)
	}
	if err := j.Told([]byte("half")); err == nil {
		t.Error("half an event was taken")
	}
}

// TestUnannounced: what was begun and not told is let pass for the last round only, and never
// something older than acknowledged.
func TestUnannounced(t *testing.T) {
	base := []event{
		{kind: evOpened}, {kind: evFilesEnd}, {kind: evSeenBase}, {kind: evSeenEnd}, {kind: evSeenAll},
		{kind: evFile, a: 1}, {kind: evFileAck},
		{kind: evRecord, version: recordID(1, 0, 1)}, {kind: evRecordAck},
		{kind: evPage, version: makeVersion(1, 5)},
		{kind: evPageAck, version: makeVersion(1, 5), level: uint8(untorn.Durable)},
	}
	look := func(v version, rec version) []event {
		return []event{
			{kind: evOpened}, {kind: evSeenFile, a: 1}, {kind: evFilesEnd}, {kind: evSeenBase},
			{kind: evSeenRecord, version: recordID(1, 0, 1), b: 8},
			{kind: evSeenRecord, page: 1, version: rec, a: 8, b: 16}, {kind: evSeenEnd, a: 2, b: 16},
			{kind: evSeenPage, version: v}, {kind: evSeenAll},
		}
	}
	for _, c := range []struct {
		name        string
		unannounced bool
		seen, rec   version
		wrong       int
	}{
		{"told nothing of either", true, makeVersion(1, 9), recordID(1, 0, 1), 0},
		{"all has to be told", false, makeVersion(1, 9), recordID(1, 0, 1), 2},
		{"older", true, makeVersion(1, 4), recordID(1, 0, 1), 1},
		{"of another round", true, makeVersion(2, 1), recordID(2, 0, 1), 2},
		{"half a batch", true, makeVersion(1, 9), recordID(1, 0, 2), 1},
	} {
		j := NewJudge(untorn.ModeDoublewrite, 1, c.unannounced)
		j.Begin(1)
		j.m.emit(base...)
		k := j.Clone()
		k.Begin(2)
		k.m.emit(look(c.seen, c.rec)...)
		if v := k.Violations(); len(v) != c.wrong {
			t.Errorf("%s: %v", c.name, v)
		}
		if len(j.Violations()) > 0 || j.m.files[0].pages[0].floor.v != makeVersion(1, 5) {
			t.Errorf("%s: the clone's findings are the original's", c.name)
		}
	}
}
