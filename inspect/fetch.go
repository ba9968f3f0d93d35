package inspect

import (
	"context"
	"fmt"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/recovery"
)

// FetchPage is for untorn.Options.FetchPage: it reads a page, found by its file's id, as it is in the
// data files of this directory, a backup or a replica of the one that lost it. Whether it may be used
// is for recovery to decide.
func (d *Dir) FetchPage(_ context.Context, lost recovery.LostPage) (_ []byte, err error) {
	st, _, _ := d.newestState()
	if st == nil {
		return nil, wrong(d.layout.Super(), untorn.ErrSuper)
	}
	info := st.ByID(lost.FileID)
	switch {
	case st.Engine != lost.Engine:
		return nil, wrong(d.layout.Dir(), untorn.ErrForeign)
	case info == nil || uint64(lost.Page) >= info.Pages:
		return nil, nil
	case info.Incarnation != lost.Incarnation || info.PageSize != lost.PageSize:
		return nil, wrong(d.layout.DataFile(info), errForeign)
	}
	f, err := d.openData(st, info)
	if err != nil {
		return nil, wrong(d.layout.DataFile(info), err)
	}
	defer f.io.Close()
	b, err := d.read(f.io, f.desc.Offset(lost.Page), int64(lost.PageSize))
	if err != nil {
		return nil, fmt.Errorf("page %d of %s: %w", lost.Page, f.path, err)
	}
	return b, nil
}
