package untorn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/super"
)

// Kinds of engine records in the log; 0 is the caller's.
const (
	recordCreate = 1 + iota
	recordGrow
	recordRename
	recordRemove
	// recordCut is a cut of the log. Super has what counts; the record is for what super is not with: an
	// archive of the log, and a super made anew.
	recordCut
)

// catalogRecord is an engine record: the file as it is after the change. Records are JSON: they are
// rare, and whoever follows the log can read them.
type catalogRecord struct {
	File super.File `json:"file"`
	Cut  *super.Cut `json:"cut,omitempty"`
}

// change appends an engine record and waits until it is durable.
func (e *Engine) logChange(ctx context.Context, kind uint8, f super.File) (page.LSN, error) {
	b, err := json.Marshal(catalogRecord{File: f})
	if err != nil {
		return 0, err
	}
	_, end, err := e.log.Append(kind, b)
	if err == nil {
		err = e.log.WaitDurable(ctx, end)
	}
	if err != nil && e.poison.Err() != nil {
		err = poisoned(err)
	}
	return end, err
}

// applyCatalog brings the catalogue up to the end of the log: engine records behind the snapshot in
// super are applied before any doublewrite slot is looked at.
func (e *Engine) applyCatalog(ctx context.Context, st *super.State, dry bool) error {
	for r, err := range e.walDir.Replay(ctx, st.CatalogLSN) {
		if err != nil {
			return &Error{Op: "recover", LSN: r.Start, Err: err}
		}
		if r.Kind == 0 || r.Kind == pageimage.Kind || r.Kind == recordCut {
			continue
		}
		var c catalogRecord
		if err := json.Unmarshal(r.Data, &c); err != nil {
			return &Error{Op: "recover", LSN: r.Start, Err: fmt.Errorf("engine record: %w", err)}
		}
		if err := e.applyRecord(ctx, st, r.Kind, c.File); err != nil {
			return err
		}
	}
	for i := range st.Files {
		f := e.files[st.Files[i].Name]
		if f == nil || f.io == nil {
			return &Error{Op: "open", File: st.Files[i].Name, Err: ErrMissingFile}
		}
	}
	return nil
}

func (e *Engine) applyRecord(ctx context.Context, st *super.State, kind uint8, c super.File) error {
	have := st.ByID(c.ID)
	switch kind {
	case recordCreate:
		st.NextFile = max(st.NextFile, c.ID+1)
		if have != nil {
			return nil
		}
		st.Files = append(st.Files, c)
		return e.openData(ctx, st, &st.Files[len(st.Files)-1], true)
	case recordGrow:
		if have != nil && c.Pages > have.Pages {
			have.Pages = c.Pages
			e.files[have.Name].info = *have
			e.files[have.Name].pages.Store(c.Pages)
		}
	case recordRename:
		if have != nil && have.Name != c.Name {
			f := e.files[have.Name]
			delete(e.files, have.Name)
			have.Name, f.info.Name = c.Name, c.Name
			f.desc.Renamed.Store(&c.Name)
			e.files[c.Name] = f
		}
	case recordRemove:
		if have != nil {
			f := e.files[have.Name]
			delete(e.files, have.Name)
			e.slots[f.desc.Slot] = nil
			if f.io != nil {
				if err := f.io.Close(); err != nil {
					return &Error{Op: "close", File: c.Name, Err: err}
				}
			}
			dropFile(st, c.ID)
		}
	default:
		return fmt.Errorf("%w: engine record of kind %d", ErrVersion, kind)
	}
	return nil
}

func dropFile(st *super.State, id page.FileID) {
	for i := range st.Files {
		if st.Files[i].ID == id {
			st.Files = append(st.Files[:i:i], st.Files[i+1:]...)
			return
		}
	}
}

// removeOrphans unlinks data files that no catalogue entry names: creations that never became
// durable, and removals that did.
func (e *Engine) removeOrphans(st *super.State) error {
	dir := e.places.dataDir()
	list, err := e.o.FS.ReadDir(dir)
	if err != nil {
		return &Error{Op: "list", File: dir, Err: err}
	}
	named := map[string]bool{}
	for i := range st.Files {
		named[dataFileName(st.Files[i].ID)] = true
	}
	gone := false
	for _, x := range list {
		if named[x.Name] || !strings.HasSuffix(x.Name, dataSuffix) {
			continue
		}
		path := filepath.Join(dir, x.Name)
		if err := e.o.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &Error{Op: "remove", File: path, Err: err}
		}
		gone = true
		e.o.Logger.Info("removed a data file that nothing names", "file", x.Name)
	}
	if !gone {
		return nil
	}
	if err := e.o.FS.SyncDir(dir); err != nil {
		return &Error{Op: "flush directory", File: dir, Err: err}
	}
	return nil
}

const dataSuffix = ".pages"

func dataFileName(id page.FileID) string { return fmt.Sprintf("%08d%s", id, dataSuffix) }

// checkName refuses what would not be a plain file name anywhere.
func checkName(name string) error {
	if name == "" || len(name) > super.MaxName || strings.HasPrefix(name, ".") {
		return &Error{Op: "open", File: name, Err: ErrName}
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || c == '/' || c == '\\' {
			return &Error{Op: "open", File: name, Err: ErrName}
		}
	}
	return nil
}
