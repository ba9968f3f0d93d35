package inspect

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// trail is everything outside of super that says something about what super said.
type trail struct {
	copies []super.Copy
	base   *super.State // the newest valid copy, nil if there is none
	valid  int

	engine  super.EngineID
	ids     map[super.EngineID][]string // who claims which identity
	block   int
	epoch   uint64 // the highest seen
	mark    reclaim.Seq
	nextID  page.FileID
	changes []untorn.CatalogChange

	log struct {
		begin, last page.LSN
		durable     super.EpochLSN
		epoch       uint64 // at begin
		segment     int64
		reason      error
		records     int
	}
	geometry dwbstage.Geometry
	shape    string // where the geometry is from
	files    []dataTrail
	warnings []string
}

// dataTrail is a data file found by its header.
type dataTrail struct {
	path  string
	bytes int64
	head  *super.FileHeader
	pages uint64 // whole pages the file has room for
}

func (t *trail) warn(format string, a ...any) {
	t.warnings = append(t.warnings, fmt.Sprintf(format, a...))
}

func (t *trail) claim(id super.EngineID, who string) { t.ids[id] = append(t.ids[id], who) }
func (t *trail) sawEpoch(e uint64)                   { t.epoch = max(t.epoch, e) }
func (t *trail) sawMark(w reclaim.Seq)               { t.mark = t.mark.Max(w); t.sawEpoch(w.Epoch) }

// errEvidence is evidence that does not allow a conclusion.
var errEvidence = errors.New("the evidence does not allow a conclusion")

// follow collects the trail. extra are data files outside of the directory.
func (d *Dir) follow(ctx context.Context, extra []string) (*trail, error) {
	t := &trail{ids: map[super.EngineID][]string{}, nextID: 1}
	var err error
	if t.copies, err = d.copies(); err != nil && !gone(err) {
		return nil, err
	}
	t.base, _, t.valid = newest(t.copies)
	for _, c := range t.copies {
		if c.State != nil {
			t.claim(c.State.Engine, fmt.Sprintf("super copy %d", c.Index))
			t.sawEpoch(c.State.Epoch)
			t.sawMark(c.State.Watermark)
			t.block = c.State.Block
		}
	}
	if err := d.followLog(ctx, t); err != nil {
		return nil, err
	}
	if err := d.followDWB(t); err != nil {
		return nil, err
	}
	if err := d.followFiles(t, extra); err != nil {
		return nil, err
	}
	return t, t.agree()
}

// agree finds the engine id. Two of them mean that files of two directories were mixed: nobody
// knows which are the wrong ones.
func (t *trail) agree() error {
	if len(t.ids) == 1 {
		for id := range t.ids {
			t.engine = id
		}
		return nil
	}
	var who []string
	for id, by := range t.ids {
		who = append(who, fmt.Sprintf("%s says %s", strings.Join(by, ", "),
			hex.EncodeToString(id[:])))
	}
	if len(who) == 0 {
		return fmt.Errorf("%w: nothing tells the engine id", errEvidence)
	}
	return fmt.Errorf("%w: files of several engines are mixed: %s", errEvidence, strings.Join(who,
		"; "))
}

// followLog: segments and groups prove epochs, durability and watermarks; engine records tell what
// became of the data files.
func (d *Dir) followLog(ctx context.Context, t *trail) error {
	log, err := d.peek(ctx, t.base)
	if err != nil {
		return err
	}
	defer log.Close()
	for _, h := range log.Segments() {
		if h.Block == 0 {
			t.warn("log segment %s: %v", h.Name, h.Err)
			continue
		}
		t.claim(h.Engine, "log segment "+h.Name)
		t.sawEpoch(h.Epoch)
		t.block, t.log.segment = h.Block, h.Length
	}
	begin, ok := log.Begin()
	if !ok {
		return fmt.Errorf("%w: %w", errEvidence, ErrEmptyLog)
	}
	t.log.begin, t.log.last = begin, begin
	first := true
	_, reason, err := log.Walk(ctx, begin, func(g *walstage.GroupHead) bool {
		if first {
			t.log.epoch, first = g.Epoch, false
		}
		t.log.last = g.Last
		t.log.records += g.Records
		t.log.durable = super.EpochLSN{Epoch: g.Epoch, LSN: g.Durable}
		// Recovery ends with a durable watermark of the new epoch before that epoch's first group.
		t.sawMark(reclaim.Seq{Epoch: g.Epoch})
		t.sawMark(reclaim.Seq{Epoch: g.Mark.Epoch, Num: g.Mark.Num})
		err = g.Each(func(r walstage.Record) bool {
			if r.Kind == 0 || r.Kind == pageimage.Kind {
				return true
			}
			c, err := untorn.ParseCatalogChange(r.Kind, r.Data)
			if err != nil {
				t.warn("engine record at LSN %d: %v", r.Start, err)
				return true
			}
			t.changes = append(t.changes, c)
			t.nextID = max(t.nextID, c.File.ID+1)
			return true
		})
		return err == nil
	})
	t.log.reason = reason
	return err
}

// followDWB: the file's own header, or else the distances between batch headers, give the geometry.
func (d *Dir) followDWB(t *trail) error {
	f, err := d.open(d.layout.DWB(), false)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	b, err := d.read(f, 0, 1<<20)
	if err != nil {
		return err
	}
	id, g, err := dwbstage.PeekFileHeader(b)
	switch {
	case err == nil:
		t.claim(id, "the doublewrite file")
		t.geometry, t.shape = g, "the doublewrite file's header"
	case t.base != nil:
		t.geometry, t.shape = untorn.DWBGeometry(t.base), "the copy of super"
	default:
		if t.geometry, err = d.measure(t, f, size); err != nil {
			return err
		}
		t.shape = "the distances between batch headers"
	}
	if size < t.geometry.FileBytes() {
		t.warn("the doublewrite file has %d bytes of %d", size, t.geometry.FileBytes())
	}
	return d.followRegions(t, f)
}

func (d *Dir) followRegions(t *trail, f fsys.File) error {
	for id := range t.ids {
		for i := range t.geometry.Regions {
			for _, h := range d.region(f, t.geometry, id, i).heads {
				t.claim(id, fmt.Sprintf("doublewrite region %d", i))
				t.sawEpoch(h.Seq.Epoch)
				t.sawMark(h.W)
				for k := range h.Slots {
					t.nextID = max(t.nextID, h.Slots[k].Page.File+1)
				}
			}
		}
	}
	return nil
}

// measure finds the geometry in the first batch header of a file whose own header is gone: each
// names it.
func (d *Dir) measure(t *trail, f fsys.File, size int64) (dwbstage.Geometry, error) {
	g := dwbstage.Geometry{Block: t.block}
	for off := int64(t.block); off+int64(t.block) <= size; off += int64(t.block) {
		b, err := d.read(f, off, int64(t.block))
		if err != nil {
			continue // a bad sector is no header
		}
		// A page may hold anything, a header too: its place has to fit what it says.
		h, ok := dwbstage.Peek(b)
		if ok && h.Shape.Validate() == nil && h.Shape.FileBytes() <= size &&
			(off-int64(t.block))%h.Shape.RegionBytes() == 0 {
			g = h.Shape
			break
		}
	}
	if err := g.Validate(); err != nil {
		return g, fmt.Errorf("%w: the doublewrite file's header is damaged, and it holds no batch whole enough to tell its geometry: %w",
			errEvidence, err)
	}
	return g, nil
}

// followFiles reads the headers of the data files.
func (d *Dir) followFiles(t *trail, extra []string) error {
	list, err := d.fs.ReadDir(d.layout.Data())
	if err != nil && !gone(err) {
		return err
	}
	for _, x := range list {
		if strings.HasSuffix(x.Name, ".pages") {
			d.followFile(t, filepath.Join(d.layout.Data(), x.Name))
		}
	}
	for _, path := range t.outside(extra) {
		d.followFile(t, path)
	}
	return nil
}

// outside lists the data files that lie elsewhere: those that were named, and those that a copy of
// super or the log's engine records know of.
func (t *trail) outside(named []string) []string {
	paths := slices.Clone(named)
	if t.base != nil {
		for i := range t.base.Files {
			paths = append(paths, t.base.Files[i].Path)
		}
	}
	for i := range t.changes {
		paths = append(paths, t.changes[i].File.Path)
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	return slices.DeleteFunc(paths, func(p string) bool { return p == "" })
}

func (d *Dir) followFile(t *trail, path string) {
	f, err := d.open(path, true)
	if err != nil {
		t.warn("data file %s: %v", path, err)
		return
	}
	defer f.Close()
	x := dataTrail{path: path}
	x.bytes, err = f.Size()
	if err == nil {
		x.head, _, err = d.fileHeader(f, t.block)
	}
	if err != nil {
		t.warn("data file %s is left out: %v", path, err)
		return
	}
	h := &x.head.File
	t.claim(x.head.Engine, "data file "+filepath.Base(path))
	t.sawEpoch(x.head.Stamp.Epoch)
	t.nextID = max(t.nextID, h.ID+1)
	if room := x.bytes - h.Start; room > 0 {
		x.pages = uint64(room) / uint64(h.PageSize)
	}
	t.files = append(t.files, x)
}
