package explore

import (
	"fmt"
	"path"

	"github.com/untorn/untorn/super"
)

// areaKind is a kind of structure on the medium that can be hit.
type areaKind uint8

const (
	superCopy     areaKind = iota // a copy of super
	superPadding                  // the zeros behind it, which are checked
	dwbFileHeader                 // super knows what it says
	dwbHeader                     // a copy of a batch's header, if the batch counts
	dwbSlot                       // an image in it
	dwbUnused                     // of the doublewrite file: what no batch that counts uses
	fileHeader                    // one of the two headers of a data file
	fileGap                       // between headers and pages
	dataPage                      // a page in its place
	logHeader                     // of a segment that a recovery needs
	logGroup                      // of the log, from where replay begins to its end: padding included
	logUnused                     // of the log: before, behind, and spare segments
	areaKinds
)

var areaNames = [...]string{"super copy", "super padding", "doublewrite file header", "doublewrite batch header",
	"doublewrite slot", "doublewrite unused", "data file header", "data file gap", "page", "log segment header",
	"log group", "log unused"}

func (k areaKind) String() string { return areaNames[k] }

// area is a part of a file that is one structure.
type area struct {
	kind   areaKind
	file   string
	off, n int64
	index  int      // of the super copy, doublewrite region, header block
	page   pageName // of a page and a slot
	newer  bool     // of a data file header: the one that counts
}

// pageName names a page as the engine does.
type pageName struct {
	file uint32
	no   uint64
}

// areas cuts a medium into structures. The log is needed from one LSN to another.
func (m *medium) areas(p *profile, from, to uint64) [][]area {
	all := make([][]area, areaKinds)
	add := func(a area) {
		if a.n > 0 {
			all[a.kind] = append(all[a.kind], a)
		}
	}
	m.superAreas(p, add)
	m.dwbAreas(p, add)
	for i := range m.super.Files {
		m.fileAreas(p, &m.super.Files[i], add)
	}
	m.logAreas(p, from, to, add)
	return all
}

func (m *medium) superAreas(p *profile, add func(area)) {
	b := m.files[p.superPath()]
	for _, c := range super.DecodeCopies(b) {
		if c.State == nil {
			continue
		}
		at := int64(c.Index) * super.Zone
		n := int64(le32(b[at+8:]))
		add(area{kind: superCopy, file: p.superPath(), off: at, n: n, index: c.Index})
		add(area{kind: superPadding, file: p.superPath(), off: at + n, n: super.Zone - n, index: c.Index})
	}
}

func (m *medium) dwbAreas(p *profile, add func(area)) {
	g, name := m.geometry(), p.dwbPath()
	add(area{kind: dwbFileHeader, file: name, n: int64(g.Block)})
	for i, r := range m.regs {
		at := g.RegionOffset(i)
		h := r.head()
		if h == nil {
			continue // may become a batch that never was whole: no bit of it counts, but two may
		}
		if h.Seq.LE(m.w) {
			add(area{kind: dwbUnused, file: name, off: at, n: g.RegionBytes(), index: i})
			continue
		}
		for k, off := range g.HeaderOffsets() {
			if r[k] != nil && r[k].Seq == h.Seq {
				add(area{kind: dwbHeader, file: name, off: at + int64(off), n: int64(g.Block), index: i})
			}
		}
		for k := range h.Slots {
			s := &h.Slots[k]
			add(area{kind: dwbSlot, file: name, off: at + int64(h.SlotOffset(g, k)), n: int64(s.Len), index: i,
				page: pageName{uint32(s.Page.File), uint64(s.Page.No)}})
		}
		used := at + int64(h.SlotOffset(g, len(h.Slots)))
		add(area{kind: dwbUnused, file: name, off: used, n: at + g.RegionBytes() - int64(g.Block) - used, index: i})
	}
}

func dataPath(p *profile, id uint32) string {
	return path.Join(p.opts.Dir, "data", fmt.Sprintf("%08d.pages", id))
}

func (m *medium) fileAreas(p *profile, f *super.File, add func(area)) {
	name := dataPath(p, uint32(f.ID))
	b := m.files[name]
	block := int64(m.super.Block)
	if int64(len(b)) < f.Start+int64(f.Pages)*int64(f.PageSize) {
		return
	}
	var heads [2]*super.FileHeader
	for i := range heads {
		heads[i], _ = super.DecodeFileHeader(b[int64(i)*block : int64(i+1)*block])
	}
	counts := super.Newer(heads[0], heads[1])
	for i, h := range heads {
		if h != nil {
			add(area{kind: fileHeader, file: name, off: int64(i) * block, n: block, index: i, newer: h == counts})
		}
	}
	add(area{kind: fileGap, file: name, off: 2 * block, n: f.Start - 2*block})
	for no := range f.Pages {
		add(area{kind: dataPage, file: name, off: f.Start + int64(no)*int64(f.PageSize), n: int64(f.PageSize),
			page: pageName{uint32(f.ID), no}})
	}
}

func (m *medium) logAreas(p *profile, from, to uint64, add func(area)) {
	block := int64(m.super.Block)
	for _, name := range m.sorted() {
		b := m.files[name]
		if path.Dir(name) != p.walDir() {
			continue
		}
		first, length, ok := segmentOf(b)
		live := ok && first+length >= from && first <= max(from, to)
		if !live {
			add(area{kind: logUnused, file: name, n: int64(len(b))})
			continue
		}
		add(area{kind: logHeader, file: name, n: block})
		at := block // what lies from here on belongs to no group yet
		for _, g := range m.groups {
			if g.file != name || g.off < at || g.first >= to || g.first+uint64(g.length) <= from {
				continue
			}
			add(area{kind: logUnused, file: name, off: at, n: g.off - at})
			add(area{kind: logGroup, file: name, off: g.off, n: g.length})
			at = g.off + g.length
		}
		add(area{kind: logUnused, file: name, off: at, n: int64(len(b)) - at})
	}
}
