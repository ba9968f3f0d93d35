package inspect

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn"
)

// TestCutsAndHeaders: what a log with a ring of headers and a cut looks like from outside, while its
// engine runs, closed, and with its last record rotten.
func TestCutsAndHeaders(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "d")
	o := testOptions(dir)
	o.LogHeaders = true
	e, err := untorn.Open(ctx, o)
	must(t, err)
	var starts, ends []untorn.LSN
	put := func(s string) {
		start, end, err := e.AppendSync(ctx, []byte(s))
		must(t, err)
		starts, ends = append(starts, start), append(ends, end)
	}
	for i := range 6 {
		put(fmt.Sprintf("record %d", i))
	}
	must(t, e.TruncateAfter(ctx, ends[2]))
	put("after the cut")
	check := func(when string) {
		t.Helper()
		s, err := look(t, dir).Look(ctx)
		must(t, err)
		var b bytes.Buffer
		must(t, s.Log.write(&b))
		if !s.OK || len(s.Log.Cuts) != 1 || s.Log.Cuts[0].From != uint64(ends[2]) || s.Log.Cuts[0].GivenUp ||
			s.Log.Headers == nil || s.Log.Headers.Durable != uint64(ends[6]) || s.Log.Headers.Copies != 8 {
			t.Errorf("%s: %v, %+v", when, s.Problems, s.Log)
		}
		if !strings.Contains(b.String(), "cut off by the caller") || !strings.Contains(b.String(), "ring of log headers: 8 copies") {
			t.Errorf("%s:\n%s", when, &b)
		}
		got := map[uint64]bool{}
		_, err = look(t, dir).DumpWAL(ctx, WALFilter{Kind: "user"}, func(r *Record) error {
			got[r.StartLSN] = r.Cut
			return nil
		})
		must(t, err)
		for i, lsn := range starts {
			if cut, ok := got[uint64(lsn)]; !ok || cut != (i > 2 && i < 6) {
				t.Errorf("%s: record %d is there %v, cut %v", when, i, ok, cut)
			}
		}
		v, err := look(t, dir).Verify(ctx, nil)
		must(t, err)
		if !v.OK {
			t.Errorf("%s: %+v", when, v.Findings)
		}
	}
	check("running")
	copied := filepath.Join(t.TempDir(), "killed")
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	must(t, e.Close(ctx))
	check("closed")

	// A copy as a kill leaves it: nothing but the ring speaks of the last group.
	dir = copied
	seg := filepath.Join(dir, "wal", "0000000000000001.wal")
	b, err := os.ReadFile(seg)
	must(t, err)
	b[starts[6]+10] ^= 1
	must(t, os.WriteFile(seg, b, 0o600))
	s, err := look(t, dir).Look(ctx)
	must(t, err)
	if !strings.Contains(fmt.Sprint(s.Problems), "ring of headers") {
		t.Errorf("the last group is rotten, and nobody says so: %v", s.Problems)
	}
	v, err := look(t, dir).Verify(ctx, nil)
	must(t, err)
	if v.OK || !strings.Contains(fmt.Sprint(v.Findings), "ring of headers") {
		t.Errorf("the last group is rotten: %+v", v.Findings)
	}
}
