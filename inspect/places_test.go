package inspect

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/super"
)

// TestPlaces: log and doublewrite file elsewhere, and a data file outside of the directory, of
// which only the log knows when super is gone.
func TestPlaces(t *testing.T) {
	t.Parallel()
	ctx, tmp := t.Context(), t.TempDir()
	o := testOptions(filepath.Join(tmp, "d"))
	o.WALDir, o.DWBDir = filepath.Join(tmp, "w"), filepath.Join(tmp, "b")
	outside := filepath.Join(tmp, "outside.pages")
	e, err := untorn.Open(ctx, o)
	must(t, err)
	f, err := e.OpenFile(ctx, "far", untorn.FileOptions{Create: true, PageSize: testPage, Pages: 4, Path: outside})
	must(t, err)
	_, lsn, err := e.Append([]byte("r"))
	must(t, err)
	must(t, f.WritePages(ctx, []untorn.PageWrite{{No: 2, LSN: lsn, Data: fill("far")}}, untorn.Durable))
	must(t, e.Close(ctx))

	d, err := Open(untorn.NewLayout(o.Dir, o.WALDir, o.DWBDir))
	must(t, err)
	defer d.Close()
	v, err := d.Verify(ctx, nil)
	must(t, err)
	if !v.OK || v.Pages != 4 {
		t.Errorf("%+v", v)
	}
	must(t, os.WriteFile(filepath.Join(o.Dir, "super"), make([]byte, super.FileBytes), 0o600))
	r, err := d.RebuildSuper(ctx, RebuildOptions{DryRun: true, Files: []string{outside}})
	must(t, err)
	if len(r.Files) != 1 {
		t.Errorf("a file that was named and is known: %+v", r.Files)
	}
	r, err = d.RebuildSuper(ctx, RebuildOptions{})
	must(t, err)
	if len(r.Files) != 1 || r.Files[0].Name != "far" || r.Files[0].Pages != 4 || r.Files[0].Why != "" {
		t.Errorf("%+v", r.Files)
	}
	e, err = untorn.Open(ctx, o)
	must(t, err)
	f, err = e.OpenFile(ctx, "far", untorn.FileOptions{})
	must(t, err)
	p := []untorn.PageRead{{No: 2, Data: make([]byte, testPage)}}
	must(t, f.ReadPages(ctx, p))
	if !bytes.Equal(p[0].Data[untorn.PageHeader:], fill("far")[untorn.PageHeader:]) || p[0].LSN != lsn {
		t.Error("page 2 is not what was written")
	}
	must(t, e.Close(ctx))
}
