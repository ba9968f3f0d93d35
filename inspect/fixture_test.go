package inspect

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/super"
)

const (
	testPage  = 4 << 10
	testPages = 24
)

func testOptions(dir string) untorn.Options {
	return untorn.Options{
		Dir: dir, SegmentBytes: 256 << 10, BatchBytes: 64 << 10, Batches: 2, Unflushed: 1, Memory: 4 << 20, Backend: "threads",
	}
}

// fixture is an engine directory as a killed engine leaves it, and what has to be in it.
type fixture struct {
	dir     string
	live    string // the directory it was copied from, whose engine runs until the test ends
	records []string
	pages   map[string][]string // newest protected text by file and page; "" = empty
}

func text(file string, no, v int) string { return fmt.Sprintf("%s page %d version %d", file, no, v) }

func fill(s string) []byte {
	b := make([]byte, testPage)
	copy(b[untorn.PageHeader:], bytes.Repeat([]byte(s+"|"), testPage/(len(s)+1)-1))
	return b
}

// crashed makes one: two files, one of them renamed and grown, a third removed, records, a
// checkpoint and pages after it.
func crashed(t *testing.T) *fixture {
	t.Helper()
	ctx := t.Context()
	f := &fixture{live: filepath.Join(t.TempDir(), "live"), dir: filepath.Join(t.TempDir(), "crashed"), pages: map[string][]string{}}
	e, err := untorn.Open(ctx, testOptions(f.live))
	must(t, err)
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	create := func(name string) *untorn.File {
		x, err := e.OpenFile(ctx, name, untorn.FileOptions{Create: true, PageSize: testPage, Pages: testPages})
		must(t, err)
		f.pages[name] = make([]string, testPages)
		return x
	}
	put := func(x *untorn.File, v int, level untorn.Level, nos ...int) {
		var ws []untorn.PageWrite
		for _, no := range nos {
			s := text(x.Name(), no, v)
			_, lsn, err := e.Append([]byte(s))
			must(t, err)
			f.records = append(f.records, s)
			ws = append(ws, untorn.PageWrite{No: untorn.PageNo(no), LSN: lsn, Data: fill(s)})
			f.pages[x.Name()][no] = s
		}
		must(t, x.WritePages(ctx, ws, level))
	}
	a, b := create("alpha"), create("beta")
	put(a, 1, untorn.Durable, 0, 1, 2, 3, 4, 5, 6)
	c := create("gone")
	put(c, 1, untorn.Durable, 0)
	must(t, e.Remove(ctx, "gone"))
	delete(f.pages, "gone")
	redo := e.EndLSN()
	must(t, e.Checkpoint(ctx, redo, []byte("payload")))
	f.records = nil // replay begins after them
	must(t, e.Rename(ctx, "beta", "gamma"))
	f.pages["gamma"] = f.pages["beta"]
	delete(f.pages, "beta")
	must(t, b.Grow(ctx, testPages+4))
	f.pages["gamma"] = append(f.pages["gamma"], make([]string, 4)...)
	put(b, 2, untorn.Durable, 0, 1, 2, 3, testPages+1)
	put(a, 2, untorn.Protected, 3)
	must(t, os.CopyFS(f.dir, os.DirFS(f.live)))
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// check opens the directory and compares everything.
func (f *fixture) check(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	e, err := untorn.Open(ctx, testOptions(f.dir))
	must(t, err)
	defer func() { must(t, e.Close(ctx)) }()
	seen := map[string]bool{}
	for r, err := range e.Replay(ctx) {
		must(t, err)
		seen[string(r.Data)] = true
	}
	for _, want := range f.records {
		if !seen[want] {
			t.Errorf("record %q is gone", want)
		}
	}
	if got := e.Files(); len(got) != len(f.pages) {
		t.Errorf("files %v, want %d", got, len(f.pages))
	}
	for name, pages := range f.pages {
		x, err := e.OpenFile(ctx, name, untorn.FileOptions{})
		must(t, err)
		if x.Pages() != uint64(len(pages)) {
			t.Errorf("%s has %d pages, want %d", name, x.Pages(), len(pages))
		}
		for no, want := range pages {
			p := []untorn.PageRead{{No: untorn.PageNo(no), Data: make([]byte, testPage)}}
			must(t, x.ReadPages(ctx, p))
			img := make([]byte, testPage)
			if want != "" {
				img = fill(want)
			}
			if !bytes.Equal(p[0].Data[untorn.PageHeader:], img[untorn.PageHeader:]) {
				t.Errorf("page %d of %s is not %q", no, name, want)
			}
		}
	}
}

// open looks at the directory.
func (f *fixture) open(t *testing.T) *Dir { return look(t, f.dir) }

func look(t *testing.T, dir string) *Dir {
	t.Helper()
	d, err := Open(untorn.NewLayout(dir, "", ""))
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// patch changes bytes of a file of the directory.
func (f *fixture) patch(t *testing.T, name string, off int64, b []byte) {
	t.Helper()
	x, err := os.OpenFile(filepath.Join(f.dir, name), os.O_RDWR, 0)
	must(t, err)
	_, err = x.WriteAt(b, off)
	must(t, err)
	must(t, x.Close())
}

// garble destroys copies of super.
func (f *fixture) garble(t *testing.T, copies ...int) {
	t.Helper()
	for _, i := range copies {
		f.patch(t, "super", int64(i)*super.Zone+40, bytes.Repeat([]byte{0xa5}, 64))
	}
}

// pageOffset is where a page of a data file lies; alpha is file 1, beta file 2.
func (f *fixture) pageOffset(no int) int64 { return super.DataStart(4096) + int64(no)*testPage }

// snapshot is every file's bytes, to show that looking changes nothing.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	}))
	return all
}

func same(t *testing.T, before, after map[string]string) {
	t.Helper()
	if len(before) != len(after) {
		t.Errorf("%d files before, %d after", len(before), len(after))
	}
	for k, v := range before {
		if after[k] != v {
			t.Errorf("%s was changed", k)
		}
	}
}
