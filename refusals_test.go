package untorn_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// What is refused, by name, and changes nothing.

func TestCallsThatAreRefused(t *testing.T) {
	e := open(t, small(t))
	f := create(t, e, "table", untorn.FileOptions{Pages: 10})
	page := make([]byte, f.PageSize())
	write := func(no uint64, lsn untorn.LSN, b []byte) error {
		return f.WritePages(ctx, []untorn.PageWrite{{No: untorn.PageNo(no), LSN: lsn, Data: b}}, untorn.Durable)
	}
	long := strings.Repeat("x", super.MaxName+1)
	openAs := func(name string, o untorn.FileOptions) error {
		_, err := e.OpenFile(ctx, name, o)
		return err
	}
	alloced := make([][]byte, 1)
	if err := f.Alloc(ctx, alloced); err != nil {
		t.Fatal(err)
	}
	big := create(t, e, "big", untorn.FileOptions{Pages: 1, PageSize: 64 << 10})
	for name, c := range map[string]struct{ got, want error }{
		"short buffer":           {write(0, 0, page[:100]), untorn.ErrBufferSize},
		"long buffer":            {write(0, 0, append(page, 0)), untorn.ErrBufferSize},
		"no buffer":              {write(0, 0, nil), untorn.ErrBufferSize},
		"foreign frame":          {big.WritePages(ctx, []untorn.PageWrite{{Data: alloced[0]}}, 0), untorn.ErrBufferSize},
		"page out of file":       {write(10, 0, page), untorn.ErrPageRange},
		"read out of file":       {f.ReadPages(ctx, []untorn.PageRead{{No: 10, Data: page}}), untorn.ErrPageRange},
		"read into short buffer": {f.ReadPages(ctx, []untorn.PageRead{{Data: page[1:]}}), untorn.ErrBufferSize},
		"LSN beyond the log":     {write(0, e.EndLSN()+1, page), untorn.ErrLSNBeyondLog},
		"wait beyond the log":    {e.WaitDurable(ctx, e.EndLSN()+1), untorn.ErrLSNBeyondLog},
		"redo beyond the log":    {e.Checkpoint(ctx, e.EndLSN()+1, nil), untorn.ErrRedo},
		"huge payload":           {e.Checkpoint(ctx, 0, make([]byte, super.MaxPayload+1)), untorn.ErrTooLarge},
		"empty record":           {second(e.Append(nil)), walstage.ErrEmpty},
		"huge record":            {second(e.Append(make([]byte, 1<<20))), walstage.ErrTooLarge},
		"unknown level":          {f.WritePages(ctx, []untorn.PageWrite{{Data: page}}, 9), untorn.ErrOptions},
		"name with slash":        {openAs("a/b", untorn.FileOptions{Create: true}), untorn.ErrName},
		"name dot dot":           {openAs("..", untorn.FileOptions{Create: true}), untorn.ErrName},
		"empty name":             {openAs("", untorn.FileOptions{Create: true}), untorn.ErrName},
		"long name":              {openAs(long, untorn.FileOptions{Create: true}), untorn.ErrName},
		"name with NUL":          {openAs("a\x00b", untorn.FileOptions{Create: true}), untorn.ErrName},
		"unknown file":           {openAs("nobody", untorn.FileOptions{}), untorn.ErrUnknownFile},
		"file that exists":       {openAs("table", untorn.FileOptions{Create: true}), untorn.ErrExists},
		"page size":              {openAs("x", untorn.FileOptions{Create: true, PageSize: 5000}), untorn.ErrOptions},
		"other page size":        {openAs("table", untorn.FileOptions{PageSize: 4096}), untorn.ErrOptions},
		"mode":                   {openAs("x", untorn.FileOptions{Create: true, Mode: "magic"}), untorn.ErrOptions},
		"mode of an open file":   {openAs("table", untorn.FileOptions{Mode: untorn.ModeDetect}), untorn.ErrInUse},
		"rename of nobody":       {e.Rename(ctx, "nobody", "x"), untorn.ErrUnknownFile},
		"rename onto another":    {e.Rename(ctx, "table", "big"), untorn.ErrExists},
		"remove of nobody":       {e.Remove(ctx, "nobody"), untorn.ErrUnknownFile},
		"shrink":                 {f.Grow(ctx, 5), untorn.ErrOptions},
		"too many pages":         {f.Grow(ctx, 1<<62), untorn.ErrTooLarge},
		"missing record":         {second2(e.ReadAt(ctx, 1<<40)), untorn.ErrLSNBeyondLog},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	f.Free(alloced)
	if err := write(0, 0, page); err != nil {
		t.Errorf("after all that: %v", err)
	}
	mustClose(t, e)
	if err := write(0, 0, page); !errors.Is(err, untorn.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := e.Close(ctx); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestDirectoriesThatAreRefused(t *testing.T) {
	o := small(t)
	o.LockWait = -1
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    error
	}{
		"somebody else's": {func(d string) error { return os.WriteFile(filepath.Join(d, "notes.txt"), nil, 0o600) }, untorn.ErrNotEngine},
		"lock is a link":  {func(d string) error { return os.Symlink("/etc/passwd", filepath.Join(d, "lock")) }, fsys.ErrSymlink},
		"log without super": {func(d string) error {
			return errors.Join(os.WriteFile(filepath.Join(d, "lock"), nil, 0o600), os.Mkdir(filepath.Join(d, "wal"), 0o700),
				os.WriteFile(filepath.Join(d, "wal", "x"), nil, 0o600))
		}, untorn.ErrNoSuper},
		"super is a link": {func(d string) error {
			return errors.Join(os.WriteFile(filepath.Join(d, "lock"), nil, 0o600), os.Symlink("/etc/passwd", filepath.Join(d, "super")))
		}, fsys.ErrSymlink},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.Dir = t.TempDir()
			if err := c.prepare(o.Dir); err != nil {
				t.Fatal(err)
			}
			if _, err := untorn.Open(ctx, o); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	missing := o
	missing.MustExist = true
	if _, err := untorn.Open(ctx, missing); !errors.Is(err, untorn.ErrNotEngine) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
	e := open(t, o)
	if _, err := untorn.Open(ctx, o); !errors.Is(err, untorn.ErrLocked) {
		t.Errorf("a second opener: %v", err)
	}
	ro := o
	ro.ReadOnly = true
	if _, err := untorn.Open(ctx, ro); !errors.Is(err, untorn.ErrLocked) {
		t.Errorf("a read-only opener beside a writer: %v", err)
	}
	mustClose(t, e)
	a, b := open(t, ro), open(t, ro) // readers share
	if _, _, err := a.Append([]byte("x")); !errors.Is(err, untorn.ErrReadOnly) {
		t.Errorf("append: %v", err)
	}
	if err := a.Checkpoint(ctx, 0, nil); !errors.Is(err, untorn.ErrReadOnly) {
		t.Errorf("checkpoint: %v", err)
	}
	mustClose(t, a)
	mustClose(t, b)
}

// TestPrivateFiles: permissions are private, whatever the umask.
func TestPrivateFiles(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	o := small(t)
	e := open(t, o)
	create(t, e, "table", untorn.FileOptions{Pages: 1})
	mustClose(t, e)
	err := filepath.Walk(o.Dir, func(path string, i os.FileInfo, err error) error {
		if err == nil && i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, i.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
