package untorn

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/super"
)

// Layout says where the parts of an engine directory lie. It is for tools that look at a directory
// without opening it as an engine.
type Layout struct{ p places }

// NewLayout describes the directory that Options with these places open; empty = in dir.
func NewLayout(dir, walDir, dwbDir string) Layout {
	o := Options{Dir: dir, WALDir: walDir, DWBDir: dwbDir}.withDefaults()
	return Layout{places{o: &o}}
}

// Dir is the engine's directory, Roots all places of it, Dir first.
func (l Layout) Dir() string     { return l.p.o.Dir }
func (l Layout) Roots() []string { return l.p.roots() }

// WALRoot and DWBRoot are the places of the log and of the doublewrite file.
func (l Layout) WALRoot() string { return l.p.o.WALDir }
func (l Layout) DWBRoot() string { return l.p.o.DWBDir }

// The files and directories in them.
func (l Layout) Super() string { return l.p.superPath() }
func (l Layout) Log() string   { return l.p.walDir() }
func (l Layout) DWB() string   { return l.p.dwbPath() }
func (l Layout) Data() string  { return l.p.dataDir() }

// Unfinished is the file that marks a directory whose creation has not finished.
func (l Layout) Unfinished() string { return marker(l.p.o.Dir) }

// NewID is the file that stands in a directory while its id is being changed.
func (l Layout) NewID() string { return l.p.newIDPath() }

// Lock is the lock file of a place.
func (l Layout) Lock(root string) string { return filepath.Join(root, lockName) }

// DataFile is where a file of the catalogue lies.
func (l Layout) DataFile(f *super.File) string {
	if f.Path != "" {
		return f.Path
	}
	return filepath.Join(l.p.dataDir(), dataFileName(f.ID))
}

// DWBGeometry is the shape of the doublewrite file as super has it.
func DWBGeometry(st *super.State) dwbstage.Geometry { return geometry(st) }

// CatalogChange is an engine record of the log: a data file as it is after the change.
type CatalogChange struct {
	Op   string // "create", "grow", "rename", "remove" or "cut"
	File super.File
	Cut  super.Cut // of the log, with Op "cut"
}

var catalogOps = map[uint8]string{
	recordCreate: "create", recordGrow: "grow", recordRename: "rename", recordRemove: "remove",
	recordCut: "cut",
}

// ParseCatalogChange reads a record whose kind is not 0.
func ParseCatalogChange(kind uint8, data []byte) (CatalogChange, error) {
	op, ok := catalogOps[kind]
	if !ok {
		return CatalogChange{}, fmt.Errorf("%w: engine record of kind %d", ErrVersion, kind)
	}
	var c catalogRecord
	if err := json.Unmarshal(data, &c); err != nil {
		return CatalogChange{}, fmt.Errorf("engine record: %w", err)
	}
	if (kind == recordCut) != (c.Cut != nil) {
		return CatalogChange{}, fmt.Errorf("engine record: %q with a cut or without", op)
	}
	x := CatalogChange{Op: op, File: c.File}
	if c.Cut != nil {
		x.Cut = *c.Cut
	}
	return x, nil
}

// Apply changes a catalogue as an open does, files found by id.
func (c *CatalogChange) Apply(st *super.State) {
	if c.Op == "cut" {
		if !slices.Contains(st.Cuts, c.Cut) && len(st.Cuts) < super.MaxCuts {
			st.Cuts = append(st.Cuts, c.Cut)
		}
		return
	}
	have := st.ByID(c.File.ID)
	st.NextFile = max(st.NextFile, c.File.ID+1)
	switch {
	case c.Op == "remove":
		if have != nil {
			dropFile(st, c.File.ID)
		}
	case have == nil && c.Op == "create":
		st.Files = append(st.Files, c.File)
	case have != nil && c.Op == "grow":
		have.Pages = max(have.Pages, c.File.Pages)
	case have != nil && c.Op == "rename":
		have.Name = c.File.Name
	}
}
