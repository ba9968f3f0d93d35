package sim

import (
	"errors"
	"testing"

	"github.com/untorn/untorn/fsys"
)

// A failed flush of a directory leaves a change undecided for good; changing the same name again and
// flushing settles it, as writing a lost block again does.
func TestAChangeAfterAFailedSyncDirSettles(t *testing.T) {
	d := New(Config{})
	fs := d.FS()
	fail := true
	d.InjectFS(func(op, _ string) error {
		if op == "syncdir" && fail {
			return errors.New("injected")
		}
		return nil
	})
	create := func() {
		f, err := fs.Open("/a", fsys.OpenFlags{Create: true})
		check(t, err)
		check(t, f.Close())
	}
	create()
	if fs.SyncDir("/") == nil {
		t.Fatal("injected, and yet no error")
	}
	fail = false
	check(t, fs.SyncDir("/"))
	if n := d.Point().Units(); n != 1 {
		t.Fatalf("%d units after a flush that came too late, want the creation", n)
	}
	check(t, fs.Remove("/a"))
	create()
	check(t, fs.SyncDir("/"))
	if n := d.Point().Units(); n != 0 {
		t.Errorf("%d units are undecided after the name was changed again", n)
	}
	if _, err := d.Crash().ReadFile("/a"); err != nil {
		t.Error(err)
	}
}
