package inspect

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
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

// shared is made once: tests work on copies of it. Its engine runs until they are over.
var shared struct {
	once sync.Once
	fixture
	engine *untorn.Engine
	err    error
}

func TestMain(m *testing.M) {
	rc := m.Run()
	if shared.engine != nil {
		_ = shared.engine.Close(context.Background())
		_ = os.RemoveAll(filepath.Dir(shared.live))
	}
	os.Exit(rc)
}

// crashed returns a directory of its own as a kill leaves it.
func crashed(t *testing.T) *fixture {
	t.Helper()
	shared.once.Do(func() { shared.err = makeShared() })
	must(t, shared.err)
	f := shared.fixture
	f.dir = filepath.Join(t.TempDir(), "crashed")
	must(t, os.CopyFS(f.dir, os.DirFS(shared.dir)))
	return &f
}

// makeShared makes two files, one of them renamed and grown, a third removed, records, a checkpoint
// and pages after it.
func makeShared() error {
	ctx := context.Background()
	tmp, err := os.MkdirTemp("", "untorn-inspect-")
	if err != nil {
		return err
	}
	f := &shared.fixture
	f.live, f.dir = filepath.Join(tmp, "live"), filepath.Join(tmp, "crashed")
	f.pages = map[string][]string{}
	if shared.engine, err = untorn.Open(ctx, testOptions(f.live)); err != nil {
		return err
	}
	b := builder{e: shared.engine, f: f}
	alpha, beta, gone := b.create("alpha"), b.create("beta"), b.create("gone")
	b.put(alpha, 1, untorn.Durable, 0, 1, 2, 3, 4, 5, 6)
	b.put(gone, 1, untorn.Durable, 0)
	b.try(func() error { return b.e.Remove(ctx, "gone") })
	delete(f.pages, "gone")
	b.try(func() error { return b.e.Checkpoint(ctx, b.e.EndLSN(), []byte("payload")) })
	f.records = nil // replay begins after them
	b.try(func() error { return b.e.Rename(ctx, "beta", "gamma") })
	f.pages["gamma"] = append(f.pages["beta"], make([]string, 4)...)
	delete(f.pages, "beta")
	b.try(func() error { return beta.Grow(ctx, testPages+4) })
	b.put(beta, 2, untorn.Durable, 0, 1, 2, 3, testPages+1)
	b.put(alpha, 2, untorn.Protected, 3)
	b.try(func() error { return os.CopyFS(f.dir, os.DirFS(f.live)) })
	return b.err
}

// builder goes on until something fails.
type builder struct {
	e   *untorn.Engine
	f   *fixture
	err error
}

func (b *builder) try(do func() error) {
	if b.err == nil {
		b.err = do()
	}
}

func (b *builder) create(name string) (f *untorn.File) {
	b.f.pages[name] = make([]string, testPages)
	b.try(func() (err error) {
		f, err = b.e.OpenFile(context.Background(), name,
			untorn.FileOptions{Create: true, PageSize: testPage, Pages: testPages})
		return err
	})
	return f
}

func (b *builder) put(x *untorn.File, v int, level untorn.Level, nos ...int) {
	b.try(func() error {
		var ws []untorn.PageWrite
		for _, no := range nos {
			s := text(x.Name(), no, v)
			_, lsn, err := b.e.Append([]byte(s))
			if err != nil {
				return err
			}
			b.f.records = append(b.f.records, s)
			ws = append(ws, untorn.PageWrite{No: untorn.PageNo(no), LSN: lsn, Data: fill(s)})
			b.f.pages[x.Name()][no] = s
		}
		return x.WritePages(context.Background(), ws, level)
	})
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
