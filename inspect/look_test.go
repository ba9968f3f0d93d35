package inspect

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Open(untorn.NewLayout(filepath.Join(dir, "nothing"), "", "")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
	if _, err := Open(untorn.NewLayout(dir, "", "")); !errors.Is(err, untorn.ErrNotEngine) {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	before := snapshot(t, f.dir)
	for _, c := range []struct {
		name, dir, health string
	}{
		{"crashed", f.dir, "not closed in order"},
		{"live", f.live, "in use by process"},
	} {
		s, err := look(t, c.dir).Look(t.Context())
		must(t, err)
		if !s.OK || !strings.Contains(s.Health, c.health) {
			t.Errorf("%s: health %q, problems %q", c.name, s.Health, s.Problems)
		}
		if len(s.Super) != 4 || s.State == nil || s.State.Clean || s.State.PayloadBytes != 7 {
			t.Errorf("%s: super %+v, state %+v", c.name, s.Super, s.State)
		}
		if len(s.Files) != 2 || s.Files[0].Name != "alpha" || s.Files[1].Name != "gamma" || s.Files[1].Pages != testPages+4 {
			t.Errorf("%s: files %+v", c.name, s.Files)
		}
		if s.DWB.Above == 0 || s.Log.Records == 0 || s.Log.EndLSN == 0 {
			t.Errorf("%s: log %+v, %d batches above the watermark", c.name, s.Log, s.DWB.Above)
		}
		var b bytes.Buffer
		must(t, s.Write(&b))
		for _, want := range []string{"SUPER COPY", "LOG SEGMENT", "DWB REGION", "DATA FILE", "gamma", "protocol block", "4 KiB"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: the table says nothing of %q:\n%s", c.name, want, &b)
			}
		}
	}
	same(t, before, snapshot(t, f.dir))
}

func TestLookAtBroken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		harm  func(t *testing.T, f *fixture)
		wants string
	}{
		{"three copies of super", func(t *testing.T, f *fixture) { f.garble(t, 0, 1, 3) }, "1 of 4 copies"},
		{"no super", func(t *testing.T, f *fixture) { must(t, os.Remove(filepath.Join(f.dir, "super"))) }, "super cannot be read"},
		{"no log", func(t *testing.T, f *fixture) { must(t, os.RemoveAll(filepath.Join(f.dir, "wal"))) }, "the log cannot be read"},
		{"no doublewrite", func(t *testing.T, f *fixture) { must(t, os.RemoveAll(filepath.Join(f.dir, "dwb"))) }, "doublewrite file cannot be read"},
		{"a data file gone", func(t *testing.T, f *fixture) { must(t, os.Remove(filepath.Join(f.dir, "data", "00000002.pages"))) }, "gamma"},
		{"a data file short", func(t *testing.T, f *fixture) {
			must(t, os.Truncate(filepath.Join(f.dir, "data", "00000001.pages"), f.pageOffset(3)))
		}, "too short"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := crashed(t)
			c.harm(t, f)
			s, err := f.open(t).Look(t.Context())
			must(t, err)
			if s.OK || !strings.HasPrefix(s.Health, "broken: ") || !strings.Contains(strings.Join(s.Problems, "\n"), c.wants) {
				t.Errorf("health %q, problems %q; want one about %q", s.Health, s.Problems, c.wants)
			}
			must(t, s.Write(&bytes.Buffer{}))
		})
	}
}

func TestDumpWAL(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	d := f.open(t)
	all := func(w WALFilter) []Record {
		var rs []Record
		end, err := d.DumpWAL(t.Context(), w, func(r *Record) error { rs = append(rs, *r); return nil })
		must(t, err)
		if end.Reason == "" {
			t.Error("no reason for the end")
		}
		return rs
	}
	rs := all(WALFilter{Data: -1})
	for i := 1; i < len(rs); i++ {
		if rs[i].StartLSN < rs[i-1].EndLSN || rs[i].Group < rs[i-1].Group {
			t.Errorf("record %+v follows %+v", rs[i], rs[i-1])
		}
	}
	ops := ""
	for _, r := range all(WALFilter{Kind: "engine"}) {
		ops += r.Kind + " "
	}
	if want := "create create create remove rename grow "; ops != want {
		t.Errorf("engine records %q, want %q", ops, want)
	}
	if n := len(all(WALFilter{Kind: "user"})) + len(all(WALFilter{Kind: "engine"})); n != len(rs) {
		t.Errorf("user and engine records are %d of %d", n, len(rs))
	}
	mid := rs[len(rs)/2]
	part := all(WALFilter{From: untorn.LSN(mid.StartLSN), To: untorn.LSN(mid.EndLSN), Data: 4})
	if len(part) != 1 || part[0].StartLSN != mid.StartLSN || len(part[0].Data) != 8 {
		t.Errorf("one record asked for, got %+v", part)
	}
	if l := part[0].Line(); !strings.Contains(l, mid.Segment) {
		t.Errorf("line %q", l)
	}
	// Without super the segments tell whose they are.
	must(t, os.Remove(filepath.Join(f.dir, "super")))
	if n := len(all(WALFilter{})); n != len(rs) {
		t.Errorf("%d records without super, %d with", n, len(rs))
	}
}

func TestDumpDWB(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	slots := func() (n, bad int) {
		s, err := f.open(t).DumpDWB(t.Context())
		must(t, err)
		var b bytes.Buffer
		must(t, s.DWB.Write(&b))
		for _, r := range s.DWB.Regions {
			for _, x := range r.Slots {
				n++
				if !x.Matches {
					bad++
					if !strings.Contains(b.String(), x.Why) {
						t.Errorf("%q is not in the table", x.Why)
					}
				}
			}
		}
		return n, bad
	}
	n, bad := slots()
	if n == 0 || bad != 0 {
		t.Fatalf("%d slots, %d do not match", n, bad)
	}
	// The first slot of region 0: file header, region header twice, image.
	f.patch(t, filepath.Join("dwb", "regions"), 3*4096+100, []byte("garbage"))
	if m, bad := slots(); m != n || bad != 1 {
		t.Errorf("after damage to one slot: %d slots, %d do not match", m, bad)
	}
	must(t, os.Remove(filepath.Join(f.dir, "super")))
	if m, bad := slots(); m != n || bad != 1 {
		t.Errorf("without super: %d slots, %d do not match", m, bad)
	}
}
