package explore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path"
	"slices"
	"strings"

	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// medium is what lies in the files of a directory, read from outside and without the engine's
// help where that matters: the log is parsed here by its documented format alone.
type medium struct {
	files  map[string][]byte
	super  *super.State // of the newest valid copy, nil if there is none
	seq    uint64       // of that copy
	copies int          // valid ones
	regs   []region
	groups []groupAt
	w, f   reclaim.Seq    // watermark and flushed-through, by every evidence there is
	proven walstage.Claim // the furthest that something says the log had been durable
}

// region is what the copies of a doublewrite region's header say; any may be nil. The last one may be
// an older batch's.
type region []*dwbstage.Header

// head is the header that names the batch the region holds: the newest.
func (r region) head() (newest *dwbstage.Header) {
	for _, h := range r {
		if h != nil && (newest == nil || newest.Seq.LE(h.Seq)) {
			newest = h
		}
	}
	return newest
}

// front reports whether a copy at the region's beginning is whole: those are the newest batch's.
func (r region) front() bool { return r[0] != nil || r[1] != nil }

// groupAt is a group header of the log that is whole and in its place.
type groupAt struct {
	file    string
	off     int64
	length  int64
	first   uint64 // LSN
	durable uint64
	mark    reclaim.Seq
}

// paths of a run's directory.
func (p *profile) superPath() string { return path.Join(p.opts.Dir, "super") }
func (p *profile) dwbPath() string {
	return path.Join(firstOf(p.opts.DWBDir, p.opts.Dir), "dwb", "regions")
}
func (p *profile) walDir() string { return path.Join(firstOf(p.opts.WALDir, p.opts.Dir), "wal") }

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// readMedium reads everything that lies in the directory of a run.
func readMedium(d *sim.Disk, p *profile) *medium {
	m := &medium{files: map[string][]byte{}}
	add := func(name string) {
		if b, err := d.ReadFile(name); err == nil {
			m.files[name] = b
		}
	}
	add(p.superPath())
	add(p.dwbPath())
	for _, dir := range []string{p.walDir(), path.Join(p.opts.Dir, "data")} {
		list, err := d.FS().ReadDir(dir)
		if err != nil {
			continue
		}
		for _, x := range list {
			add(path.Join(dir, x.Name))
		}
	}
	m.parse(p)
	return m
}

// parse finds the evidence in the bytes.
func (m *medium) parse(p *profile) {
	m.super, m.seq, m.copies, m.regs, m.groups = nil, 0, 0, nil, nil
	m.w, m.f, m.proven = reclaim.Seq{}, reclaim.Seq{}, walstage.Claim{}
	for _, c := range super.DecodeCopies(m.files[p.superPath()]) {
		if c.State == nil {
			continue
		}
		m.copies++
		if c.Seq > m.seq {
			m.super, m.seq = c.State, c.Seq
		}
	}
	if m.super == nil {
		return
	}
	m.w = m.super.Watermark
	m.claim(uint64(m.super.Durable.LSN), "super")
	m.parseRegions(m.files[p.dwbPath()])
	m.parseLog(p.walDir())
}

func (m *medium) claim(lsn uint64, source string) {
	if page.LSN(lsn) > m.proven.LSN {
		m.proven = walstage.Claim{LSN: page.LSN(lsn), Source: source}
	}
}

func (m *medium) geometry() dwbstage.Geometry {
	return dwbstage.Geometry{Block: m.super.DWBBlock, Batch: m.super.DWBBatch, Regions: m.super.DWBRegions}
}

func (m *medium) parseRegions(b []byte) {
	g := m.geometry()
	if int64(len(b)) < g.FileBytes() {
		return
	}
	m.regs = make([]region, g.Regions)
	for i := range m.regs {
		for _, off := range g.HeaderOffsets() {
			at := g.RegionOffset(i) + int64(off)
			h, err := dwbstage.Decode(b[at:at+int64(g.Block)], g, m.super.Engine, i)
			if err != nil {
				h = nil
			}
			m.regs[i] = append(m.regs[i], h)
			if h != nil {
				m.w, m.f = m.w.Max(h.W), m.f.Max(reclaim.Seq{Epoch: h.Seq.Epoch, Num: h.F})
			}
		}
	}
	for i, r := range m.regs {
		h := r.head()
		if h == nil || h.Seq.LE(m.w) {
			continue
		}
		for k := range h.Slots {
			if s := &h.Slots[k]; s.Flags&dwbstage.FlagForeignLSN == 0 {
				m.claim(uint64(s.LSN), fmt.Sprintf("doublewrite region %d", i))
			}
		}
	}
}

// parseLog looks at every block for a group header that is whole and says that it belongs there
// (walstage/doc.go has the offsets).
func (m *medium) parseLog(dir string) {
	for _, name := range m.sorted() {
		b := m.files[name]
		if path.Dir(name) != dir || len(b) < 4096 {
			continue
		}
		var seq uint64
		if n, _ := fmt.Sscanf(path.Base(name), "%016x.wal", &seq); n != 1 {
			continue
		}
		for off := m.super.Block; off+4096 <= len(b); off += 4096 {
			h := b[off : off+112]
			if !strings.HasPrefix(string(h), "unWG") || string(h[8:24]) != string(m.super.Engine[:]) ||
				crc32.Checksum(h[:108], page.Castagnoli) != binary.LittleEndian.Uint32(h[108:]) {
				continue
			}
			u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(h[at:]) }
			if u64(32) != seq || u64(40) != uint64(off) {
				continue
			}
			m.groups = append(m.groups, groupAt{
				file: name, off: int64(off), length: int64(binary.LittleEndian.Uint32(h[60:])),
				first: u64(48), durable: u64(80), mark: reclaim.Seq{Epoch: u64(88), Num: u64(96)},
			})
			m.claim(u64(80), fmt.Sprintf("the group header in %s at %d", path.Base(name), off))
		}
	}
}

func (m *medium) sorted() []string {
	var names []string
	for name := range m.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// segmentOf reads a segment's header: where it begins in the log, and its length.
func segmentOf(b []byte) (first, length uint64, ok bool) {
	if len(b) < 72 || !strings.HasPrefix(string(b), "unWS") ||
		crc32.Checksum(b[:64], page.Castagnoli) != binary.LittleEndian.Uint32(b[64:]) {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint64(b[56:]), binary.LittleEndian.Uint64(b[32:]), true
}

// damaged is the medium with damage done to it.
func (m *medium) damaged(p *profile, ds []damage) *medium {
	n := &medium{files: map[string][]byte{}}
	for name, b := range m.files {
		n.files[name] = b
	}
	copied := map[string]bool{}
	for _, x := range ds {
		if !copied[x.file] {
			n.files[x.file], copied[x.file] = slices.Clone(n.files[x.file]), true
		}
		b := n.files[x.file][x.off:]
		if x.unreadable {
			for i := range b[:x.n()] {
				b[i] = 0xee // nothing that is zero, or whole
			}
			continue
		}
		for i, v := range x.mask {
			b[i] ^= v
		}
	}
	n.parse(p)
	return n
}
