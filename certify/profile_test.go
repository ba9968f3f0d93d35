package certify

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/explore"
	"github.com/untorn/untorn/torture"
)

// TestMain lets the test binary be the children of torture.
func TestMain(m *testing.M) {
	if torture.IsChild() {
		os.Exit(torture.Child())
	}
	os.Exit(m.Run())
}

func TestRead(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{``, "EOF"},
		{`{`, "unexpected end"},
		{`[]`, "cannot unmarshal"},
		{`{"schema": "other/1", "verdict": "certified"}`, "schema"},
		{`{"schema": "untorn.profile/1", "verdict": "fine"}`, `verdict "fine"`},
		{`{"schema": "untorn.profile/1", "verdict": "certified", "facts": [{"where": "a", "what": "b"}, {"where": "a", "what": "b", "value": "x"}]}`, "twice"},
		{`{"schema": "untorn.profile/1", "verdict": "certified"}`, ""},
		{`{"schema": "untorn.profile/1", "verdict": "certified", "facts": [{"where": "a", "what": "b"}, {"where": "a", "layer": 1, "what": "b"}], "new": 1}`, ""},
	} {
		p, err := Read(strings.NewReader(c.text))
		switch {
		case c.want == "" && (err != nil || p == nil):
			t.Errorf("%s: %v", c.text, err)
		case c.want != "" && (!errors.Is(err, ErrNotProfile) || !strings.Contains(err.Error(), c.want) && c.text != ""):
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}

// FuzzRead: no profile of any origin makes Read, Compare or the text panic.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"schema": "untorn.profile/1", "verdict": "certified", "facts": [{"where": "dir", "layer": -1, "what": "stack"}]}`), "x")
	f.Add([]byte(`{"schema": "untorn.profile/1", "verdict": "certified", "explored": [null], "tortured": [{}], "started": "x"}`), "")
	f.Fuzz(func(t *testing.T, b []byte, value string) {
		p, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		now := []Fact{fact("dir", 0, "stack", value), fact("dir", 1, "firmware", value)}
		var out bytes.Buffer
		if err := WriteChanges(&out, p, Compare(p, now), time.Time{}); err != nil {
			t.Error(err)
		}
	})
}

// TestRun certifies a directory, finds nothing changed afterwards, and leaves nothing behind. It
// judges the stack of whoever runs the test, so a refusal of that stack is fine, too.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("explores and kills for seconds")
	}
	for _, c := range []struct {
		mode     untorn.Mode
		controls []string // one is enough where images would take ten seconds
		explore  time.Duration
	}{
		{untorn.ModeDoublewrite, nil, time.Second},
		{untorn.ModeFullpage, []string{"ack-early"}, time.Second / 4},
		{untorn.ModeShadow, []string{"ack-early"}, time.Second / 4},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			testRun(t, Config{Mode: c.mode, controls: c.controls, Explore: c.explore})
		})
	}
}

func testRun(t *testing.T, c Config) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "profile.json")
	var steps []string
	c.Dir, c.WALDir, c.Rounds, c.Quick = dir, filepath.Join(dir, "w"), 2, true
	c.Done = func(step, _ string, p *Profile) error {
		steps = append(steps, step)
		if p.Verdict != Incomplete {
			t.Errorf("after step %s it is %s already", step, p.Verdict)
		}
		return p.Save(out)
	}
	p, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(steps, " ") != "stack control explore torture" || len(p.Tortured) != 3 || len(p.Explored) != 1 || len(p.Places) != 2 {
		t.Fatalf("steps %v, %+v", steps, p)
	}
	for _, x := range p.Explored {
		if x.Mode != string(c.Mode) || x.Violations > 0 {
			t.Errorf("explored %+v", x)
		}
	}
	for _, x := range p.Tortured {
		if r := x.Result; r.Mode != string(c.Mode) || r.Rounds == 0 || r.Violations > 0 {
			t.Errorf("tortured, %s: %+v", x.What, r)
		}
	}
	if p.Verdict == Incomplete || p.Finished == "" {
		t.Errorf("%s: %q", p.Verdict, p.Reasons)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != "mine" {
		t.Errorf("left behind: %v, %v", list, err)
	}
	if err := p.Save(out); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	q, err := Read(f)
	if err != nil || !reflect.DeepEqual(p.Facts, q.Facts) || q.Verdict != p.Verdict {
		t.Fatalf("%v: %+v", err, q)
	}
	q.Config.WALDir = "" // it was made for the run
	now, err := Now(t.Context(), q, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Compare(q, now) {
		if c.Where != "wal" {
			t.Errorf("nothing was changed: %s", c)
		}
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil || !strings.Contains(b.String(), "convicted, as it must be") {
		t.Errorf("%v:\n%s", err, &b)
	}
}

// TestControlsOf: a mode that logs page images is certified by an explorer that finds a missing one.
func TestControlsOf(t *testing.T) {
	for mode, want := range map[untorn.Mode]bool{untorn.ModeDoublewrite: false, untorn.ModeAtomic: false,
		untorn.ModeAuto: false, untorn.ModeFullpage: true, untorn.ModeShadow: true} {
		cs := controlsOf(mode)
		if slices.Contains(cs, "image-skipped") != want || len(cs) < 3 {
			t.Errorf("%s: %v", mode, cs)
		}
		for _, m := range cs {
			if err := (explore.Options{Mutant: m}).Validate(); err != nil {
				t.Errorf("%s: %v", mode, err)
			}
		}
	}
}

// TestInterrupted: what there is by then is kept, and says that it is not all.
func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	p, err := Run(ctx, Config{Dir: t.TempDir(), Done: func(step, _ string, _ *Profile) error {
		stop()
		return nil
	}})
	if err != nil || p.Verdict != Incomplete || len(p.Facts) == 0 || len(p.Reasons) == 0 || p.Finished != "" {
		t.Errorf("%v: %+v", err, p)
	}
}

func TestConfigs(t *testing.T) {
	for _, c := range []Config{
		{}, {Dir: "x", Mode: untorn.ModeNone}, {Dir: "x", Mode: untorn.ModeDetect}, {Dir: "x", Mode: "odd"},
		{Dir: "x", PageBytes: 5000}, {Dir: "x", Rounds: -1},
	} {
		if p, err := Run(t.Context(), c); err == nil || p != nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Config{Dir: file}); err == nil {
		t.Error("a file was certified")
	}
}
