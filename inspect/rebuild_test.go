package inspect

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn"
)

// TestRebuildSuper: with 1 to 4 copies gone, rebuild (where it has to be), recover, compare
// everything.
func TestRebuildSuper(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		copies []int
		need   bool
	}{
		{"one", []int{1}, false},
		{"two", []int{0, 3}, false},
		{"three", []int{0, 1, 3}, true},
		{"four", []int{0, 1, 2, 3}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := crashed(t)
			f.garble(t, c.copies...)
			if !c.need {
				before := snapshot(t, f.dir)
				if r, err := f.open(t).RebuildSuper(t.Context(), RebuildOptions{}); !errors.Is(err, ErrEnough) || !Inconclusive(err) || r.Written {
					t.Errorf("rebuilt with %d valid copies: %v", r.ValidCopies, err)
				}
				same(t, before, snapshot(t, f.dir))
				f.check(t)
				return
			}
			if _, err := untorn.Open(t.Context(), testOptions(f.dir)); !errors.Is(err, untorn.ErrSuper) {
				t.Errorf("open: %v", err)
			}
			rebuild(t, f, RebuildOptions{})
		})
	}
}

// rebuild looks, rebuilds, and checks the outcome.
func rebuild(t *testing.T, f *fixture, o RebuildOptions) *Rebuilt {
	t.Helper()
	d := f.open(t)
	dry := o
	dry.DryRun = true
	before := snapshot(t, f.dir)
	said, err := d.RebuildSuper(t.Context(), dry)
	must(t, err)
	if said.Written {
		t.Error("a dry run wrote")
	}
	same(t, before, snapshot(t, f.dir))
	r, err := d.RebuildSuper(t.Context(), o)
	must(t, err)
	if !r.Written || r.State == nil || r.State.Clean || len(r.Files) != len(f.pages) {
		t.Errorf("%+v", r)
	}
	var b bytes.Buffer
	must(t, r.Write(&b))
	for _, want := range []string{"epoch", "watermark", "never claimed", "untornctl recover"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("nothing is said of %q:\n%s", want, &b)
		}
	}
	s, err := d.Look(t.Context())
	must(t, err)
	if !s.OK {
		t.Errorf("after rebuilding: %q", s.Problems)
	}
	f.check(t)
	return r
}

func TestRebuildMissingSuper(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	must(t, os.Remove(filepath.Join(f.dir, "super")))
	rebuild(t, f, RebuildOptions{})
}

func TestRebuildForced(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	rebuild(t, f, RebuildOptions{Force: true})
}

// TestRebuildTorn: what recovery needs from the doublewrite file is still there afterwards.
func TestRebuildTorn(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	f.garble(t, 0, 1, 2, 3)
	f.patch(t, filepath.Join("data", "00000001.pages"), f.pageOffset(3)+testPage/2, []byte("torn"))
	rebuild(t, f, RebuildOptions{})
}

// TestRebuildWithoutDWBHeader: the distance between two headers of one batch gives the geometry.
func TestRebuildWithoutDWBHeader(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	f.garble(t, 0, 1, 2, 3)
	f.patch(t, filepath.Join("dwb", "regions"), 0, make([]byte, 4096))
	r := rebuild(t, f, RebuildOptions{})
	if r.State == nil {
		t.Fatal("no state")
	}
}

func TestRebuildRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		harm func(t *testing.T, f *fixture)
		want string
	}{
		{"two engines", func(t *testing.T, f *fixture) {
			other := filepath.Join(t.TempDir(), "other")
			e, err := untorn.Open(t.Context(), testOptions(other))
			must(t, err)
			_, err = e.OpenFile(t.Context(), "x", untorn.FileOptions{Create: true, PageSize: testPage, Pages: 1})
			must(t, err)
			must(t, e.Close(t.Context()))
			b, err := os.ReadFile(filepath.Join(other, "data", "00000001.pages"))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(f.dir, "data", "00000009.pages"), b, 0o600))
		}, "mixed"},
		{"no log", func(t *testing.T, f *fixture) {
			must(t, os.RemoveAll(filepath.Join(f.dir, "wal")))
			must(t, os.Mkdir(filepath.Join(f.dir, "wal"), 0o700))
		}, "no segment"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := crashed(t)
			f.garble(t, 0, 1, 2, 3)
			c.harm(t, f)
			before := snapshot(t, f.dir)
			_, err := f.open(t).RebuildSuper(t.Context(), RebuildOptions{})
			if !Inconclusive(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			same(t, before, snapshot(t, f.dir))
		})
	}
}

// TestRebuildInUse: a running engine is never rebuilt under.
func TestRebuildInUse(t *testing.T) {
	t.Parallel()
	f := crashed(t)
	d := look(t, f.live)
	o := untorn.Options{Dir: f.live, LockWait: -1}
	err := untorn.ReplaceSuper(t.Context(), o, nil)
	if !errors.Is(err, untorn.ErrLocked) {
		t.Errorf("%v, want ErrLocked", err)
	}
	s, err := d.Look(t.Context())
	must(t, err)
	if !s.OK {
		t.Errorf("%q", s.Problems)
	}
}
