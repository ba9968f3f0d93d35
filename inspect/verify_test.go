package inspect

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/recovery"
)

func verify(t *testing.T, dir string) *Verdict {
	t.Helper()
	last := int64(-1)
	v, err := look(t, dir).Verify(t.Context(), func(done, total int64) {
		if done > total {
			t.Errorf("%d bytes of %d", done, total)
		}
		last = done
	})
	must(t, err)
	if last < 0 {
		t.Error("no progress was told")
	}
	return v
}

func TestVerifySound(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	before := snapshot(t, f.dir)
	for _, dir := range []string{f.dir, f.live} {
		v := verify(t, dir)
		if !v.OK || v.Files != 2 || v.Pages != 2*testPages+4 || v.Records == 0 {
			t.Errorf("%+v", v)
		}
		if s := v.Text(); !strings.Contains(s, "sound: ") {
			t.Error(s)
		}
	}
	same(t, before, snapshot(t, f.dir))
	f.check(t) // recovers, closes in order
	if v := verify(t, f.dir); !v.OK {
		t.Errorf("after a clean close: %+v", v.Findings)
	}
}

func TestVerifyDamage(t *testing.T) {
	t.Parallel()
	data := func(id string) string { return filepath.Join("data", id+".pages") }
	for _, c := range []struct {
		name  string
		harm  func(t *testing.T, f *fixture)
		where string
		what  string
		as    Severity
		opens bool // the next open repairs it
	}{
		{"a torn page with a copy", func(t *testing.T, f *fixture) {
			f.patch(t, data("00000001"), f.pageOffset(3)+testPage/2, []byte("torn"))
		}, "page 3 of alpha", "recovery repairs it from doublewrite batch", Repairable, true},
		{"a page without a copy", func(t *testing.T, f *fixture) {
			f.patch(t, data("00000001"), f.pageOffset(20)+1000, []byte("rot"))
		}, "page 20 of alpha", "no doublewrite copy above the watermark", Damaged, true},
		{"a page of zeros", func(t *testing.T, f *fixture) {
			f.patch(t, data("00000002"), f.pageOffset(21), make([]byte, testPage))
		}, "page 21 of gamma", "no native page header", Damaged, true},
		{"a page given up", func(t *testing.T, f *fixture) {
			b := make([]byte, testPage)
			recovery.MarkLost(b)
			f.patch(t, data("00000002"), f.pageOffset(21), b)
		}, "page 21 of gamma", "given up", Damaged, true},
		{"one copy of super", func(t *testing.T, f *fixture) { f.garble(t, 2) }, "super", "copy 2", Repairable, true},
		{"the last durable record", func(t *testing.T, f *fixture) {
			s, err := f.open(t).Look(t.Context())
			must(t, err)
			seg := s.Log.Segments[len(s.Log.Segments)-1]
			for _, x := range s.Log.Segments {
				if x.Groups > 0 {
					seg = x
				}
			}
			off := int64(s.Log.LastRecord-seg.FirstLSN) &^ 4095
			f.patch(t, filepath.Join("wal", seg.Name), off, []byte("garbage"))
		}, "log", "it had been durable", Damaged, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := crashed(t)
			c.harm(t, f)
			v := verify(t, f.dir)
			if v.OK {
				t.Fatal("nothing was found")
			}
			found := false
			for _, x := range v.Findings {
				found = found || x.Where == c.where && strings.Contains(x.What, c.what) && x.Severity == c.as
				if !strings.Contains(v.Text(), x.What) {
					t.Errorf("the text does not say %q", x.What)
				}
			}
			if !found {
				t.Errorf("findings %+v, want %s: %s, %s", v.Findings, c.where, c.what, c.as)
			}
			e, err := untorn.Open(t.Context(), testOptions(f.dir))
			if c.opens != (err == nil) {
				t.Errorf("open: %v", err)
			}
			if err == nil {
				must(t, e.Close(t.Context()))
			}
			if c.as == Repairable {
				if v := verify(t, f.dir); !v.OK {
					t.Errorf("after the open: %+v", v.Findings)
				}
			}
		})
	}
}

func TestVerifyWithoutSuper(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	f.garble(t, 0, 1, 2, 3)
	v, err := f.open(t).Verify(t.Context(), nil)
	must(t, err)
	if v.OK || !strings.Contains(v.Text(), "rebuild-super") {
		t.Error(v.Text())
	}
}
