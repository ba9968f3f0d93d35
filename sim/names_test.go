package sim

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestNamesAreDurableAfterSyncDirOnly(t *testing.T) {
	g := newRig(t, Config{})
	fsy := g.d.FS()
	check(t, fsy.Mkdir("/d"))
	f := g.open("/d/a", fsys.OpenFlags{Create: true})
	check(t, g.write(f, 0, 512, 1, 0), g.r.Do(&ring.Op{Kind: ring.Sync, File: f}))
	g.want("/d/a", 0, -1, 1)
	check(t, fsy.SyncDir("/d"))
	g.want("/d/a", 0, -1, 1) // its directory may still be missing
	check(t, fsy.SyncDir("/"))
	g.want("/d/a", 0, 1)

	check(t, fsy.Rename("/d/a", "/d/b"))
	for c, d := range g.d.Point().States(Explore{}) {
		_, errA := d.ReadFile("/d/a")
		_, errB := d.ReadFile("/d/b")
		if (errA == nil) == (errB == nil) {
			t.Errorf("%v: a rename is one step: %v, %v", c, errA, errB)
		}
	}
	check(t, fsy.SyncDir("/d"))
	g.want("/d/b", 0, 1)
	g.want("/d/a", 0, -1)
	check(t, fsy.Remove("/d/b"))
	g.want("/d/b", 0, 1, -1)
	check(t, fsy.SyncDir("/d"))
	g.want("/d/b", 0, -1)
}

func TestChangesOfOneNameHappenInOrder(t *testing.T) {
	g := newRig(t, Config{})
	fsy := g.d.FS()
	tmp := g.open("/tmp", fsys.OpenFlags{Create: true})
	check(t, g.write(tmp, 0, 512, 7, ring.DSync), fsy.Rename("/tmp", "/f"))
	g.want("/f", 0, 0, 7) // never missing: the old file or the new one
	g.open("/tmp", fsys.OpenFlags{Create: true})
	for c, d := range g.d.Point().States(Explore{}) {
		e, err := d.FS().Stat("/tmp")
		b, _ := d.ReadFile("/f")
		if err == nil && b[0] == 7 && e.Size != 0 {
			t.Errorf("%v: the second /tmp is the first", c)
		}
		if err == nil && b[0] == 0 && e.Size == 0 {
			t.Errorf("%v: the second /tmp without the rename that made room for it", c)
		}
	}
}

func TestFailedSyncDirIsNeverMadeGood(t *testing.T) {
	g := newRig(t, Config{})
	cause := errors.New("medium error")
	fail := true
	g.d.InjectFS(func(op, _ string) error {
		if fail && op == "syncdir" {
			return cause
		}
		return nil
	})
	g.open("/a", fsys.OpenFlags{Create: true})
	if err := g.d.FS().SyncDir("/"); !errors.Is(err, cause) {
		t.Fatal(err)
	}
	fail = false
	g.open("/b", fsys.OpenFlags{Create: true})
	check(t, g.d.FS().SyncDir("/"))
	g.want("/a", 0, -1, -2)
	g.want("/b", 0, -2)
}

func TestSizesAreDurableAfterAFlushOfTheFile(t *testing.T) {
	g := newRig(t, Config{})
	check(t, g.f.Preallocate(fileSize, 4096))
	g.want("/f", fileSize, 0, -2)
	g.mustFlush()
	g.want("/f", fileSize, 0)

	g.mustWrite(fileSize+4096, 512, 3) // extends
	g.want("/f", fileSize+4096, 0, 3, -2)
	g.mustFlush()
	g.want("/f", fileSize+4096, 3)

	check(t, g.f.Truncate(512))
	g.mustFlush() // fdatasync need not shrink a file
	g.want("/f", fileSize+4096, 3, -2)
	check(t, g.r.Do(&ring.Op{Kind: ring.Sync, File: g.f}))
	g.want("/f", fileSize+4096, -2)
	check(t, g.f.Truncate(fileSize))
	g.want("/f", 1024, 0, -2)
}

func TestSizeLostByAFailedFlush(t *testing.T) {
	g := newRig(t, Config{})
	check(t, g.f.Preallocate(fileSize, 4096))
	fail := true
	g.d.Inject(func(op *ring.Op) Fault {
		if fail && op.Kind == ring.DataSync {
			return Fault{Err: errors.New("medium error")}
		}
		return Fault{}
	})
	if g.flush(g.f) == nil {
		t.Fatal("the fault was not injected")
	}
	fail = false
	g.mustFlush()
	g.want("/f", fileSize, 0, -2)
}

func TestNothingIsFoundPastTheEnd(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(fileSize, 512, 3)
	for c, d := range g.d.Point().States(Explore{}) {
		f, err := d.FS().Open("/f", fsys.OpenFlags{})
		check(t, err)
		size, err := f.Size()
		check(t, err, f.Preallocate(fileSize, 512))
		if b, _ := d.ReadFile("/f"); size == fileSize && b[fileSize] != 0 {
			t.Errorf("%v: %d where the file had ended", c, b[fileSize])
		}
	}
}

func TestCutsComeBeforeWhateverIsMadeDurable(t *testing.T) {
	g := newRig(t, Config{})
	g.open("/a", fsys.OpenFlags{Create: true})
	check(t, g.d.FS().SyncDir("/"), g.write(g.f, 0, 512, 1, ring.DSync))
	l := g.d.Log()
	cuts := l.Cuts()
	if len(cuts) != 3 || l.At(cuts[0]).Kind != SyncDir || l.At(cuts[1]).Kind != WriteDone {
		t.Error(cuts)
	}
}

func TestWriteBeforeATruncationDoesNotComeBack(t *testing.T) {
	g := newRig(t, Config{})
	g.mustWrite(4096, 512, 5)
	check(t, g.f.Truncate(4096), g.f.Truncate(8192))
	g.want("/f", 4096, 0, 5, -2)
	for c, d := range g.d.Point().States(Explore{NoGarbage: true}) {
		if b, _ := d.ReadFile("/f"); len(b) == 8192 && b[4096] == 5 {
			t.Errorf("%v: cut off and back again", c)
		}
	}
}

func TestFileSystemRules(t *testing.T) {
	g := newRig(t, Config{Capacity: fileSize + 8192})
	fsy := g.d.FS()
	check(t, fsy.Mkdir("/d"), fsy.Mkdir("/d"))
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"create twice", second(fsy.Open("/f", fsys.OpenFlags{Create: true})), fs.ErrExist},
		{"open nothing", second(fsy.Open("/g", fsys.OpenFlags{})), fs.ErrNotExist},
		{"open a directory", second(fsy.Open("/d", fsys.OpenFlags{})), fsys.ErrNotFile},
		{"no parent", fsy.Mkdir("/x/y"), fs.ErrNotExist},
		{"a file in the way", fsy.Mkdir("/f"), fs.ErrExist},
		{"remove a directory", fsy.Remove("/d"), fsys.ErrNotFile},
		{"rename nothing", fsy.Rename("/g", "/h"), fs.ErrNotExist},
		{"disk full", g.f.Preallocate(0, fileSize+8193), fsys.ErrNoSpace},
	} {
		var pe *fs.PathError
		if !errors.Is(c.err, c.want) || !errors.As(c.err, &pe) {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	if n, err := g.f.Size(); err != nil || n != fileSize {
		t.Error("a refused growth leaves the size:", n, err)
	}
	list, err := fsy.ReadDir("/")
	if err != nil || len(list) != 2 || list[0].Name != "d" || list[1].Size != fileSize {
		t.Error(list, err)
	}
	g.d.SetMount(fsys.Mount{Type: "sim", FlushesOff: "barrier=0"})
	if m, err := fsy.Mount("/d"); err != nil || m.FlushesOff == "" {
		t.Error(m, err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestWritesAfterATruncation: one flush covers a truncation, a growth and a write in that order, and
// what was written after the truncation is there; what was written before it is not.
func TestWritesAfterATruncation(t *testing.T) {
	for _, dsync := range []bool{false, true} {
		g := newRig(t, Config{})
		g.mustWrite(fileSize, 512, 3)
		check(t, g.f.Truncate(fileSize))
		check(t, g.f.Preallocate(fileSize, 1024))
		if dsync {
			check(t, g.write(g.f, fileSize+512, 512, 4, ring.DSync))
		} else {
			g.mustWrite(fileSize+512, 512, 4)
			g.mustFlush()
		}
		g.want("/f", fileSize, 0)
		g.want("/f", fileSize+512, 4)
	}
}
