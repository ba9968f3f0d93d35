package explore

import (
	"maps"
	"slices"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
)

// pageKey names a page for good: names change and are used again, uids are not.
type pageKey struct{ uid, no uint64 }

// fileState is what the catalogue says of a file.
type fileState struct{ uid, pages uint64 }

type catalog map[string]fileState

// after is the catalogue once a has happened.
func (c catalog) after(a *act) catalog {
	n := maps.Clone(c)
	switch a.kind {
	case actCreate, actGrow:
		n[a.name] = fileState{a.uid, a.pages}
	case actRename:
		n[a.to] = n[a.name]
		delete(n, a.name)
	case actRemove:
		delete(n, a.name)
	}
	return n
}

// record is one that was appended.
type record struct {
	id    uint64
	start untorn.LSN // 0: not known
	end   untorn.LSN
	batch int // act that appended it
	bytes int64
	// changes are what it says of pages, where a replay needs to know.
	changes []change
	// accepted: its append had returned.
	accepted bool
}

type checkpoint struct {
	redo    untorn.LSN
	payload uint64
}

// expect is what may be found after a crash at one point.
type expect struct {
	catalogs []catalog // the last acknowledged, and the one after if its change was under way
	// floor is the oldest version that may be found, ceil the newest.
	floor, ceil map[pageKey]uint64
	floorBy     map[pageKey]*act
	accepted    map[pageKey]uint64
	records     []record // appended, in order of LSN
	acked       untorn.LSN
	ackedBy     *act
	checkpoints []checkpoint // the last acknowledged, and those under way
	// proven is how far a durable group header says that the log had been durable: rot before it is
	// evidence of corruption (I10), rot behind it looks like a torn tail.
	proven  untorn.LSN
	knew    map[int]untorn.LSN // by append: acked when it began
	strict  bool               // what an open returned is durable
	loose   map[uint64]bool    // files for which it need not be: they were in a mode without a copy
	risk    map[pageKey]uint64 // newest version written in place without one: the page may be torn
	foreign map[uint64]bool    // files whose LSNs are not of this log
	mixed   bool               // files change their modes: what a mode is meant to lose is no complaint
	shared  uint64             // pages that share a block, if more than one
	home    map[pageKey]uint64 // newest version known to be flushed in its place
	grows   map[uint64]uint64  // of files whose growth is under way: their pages before
	drive   []driveFault       // what the drive did that nobody can make good
	bound   int64              // bytes of records commit policy async may lose; 0 = any
	newID   bool               // a change of the directory's id has begun, and no open has been since
	marker  bool               // one failed: its marker may come back with a power cut, and stops an open of a clean directory
	copies  []*copied          // backups begun
	cutting *act               // a cut under way
	mustGo  untorn.LSN         // with it goes everything behind it that ends through here
	cuts    []*act             // done
	gone    map[uint64]bool    // records cut off
}

// expectAt walks the marks. Acknowledgements count up to the crash point; permissions, which are
// versions begun and records appended, up to the next open.
// before is what was expected of a first life on another log, nil if there was none.
func expectAt(log *sim.Log, at int, p *profile, before *expect) *expect {
	x := &expect{
		catalogs: []catalog{{}}, floor: map[pageKey]uint64{}, ceil: map[pageKey]uint64{},
		floorBy: map[pageKey]*act{}, accepted: map[pageKey]uint64{}, checkpoints: []checkpoint{{}},
		knew:   map[int]untorn.LSN{},
		strict: strictFor(p.mode), bound: p.opts.LossBytes,
		loose: map[uint64]bool{}, risk: map[pageKey]uint64{}, foreign: map[uint64]bool{}, shared: p.shared(), mixed: len(p.modes) > 0, home: map[pageKey]uint64{}, grows: map[uint64]uint64{},
	}
	if before != nil {
		x.drive = slices.Clip(before.drive)
		x.newID, x.marker = before.newID, before.marker
		maps.Copy(x.loose, before.loose)
		maps.Copy(x.risk, before.risk)
		maps.Copy(x.foreign, before.foreign)
		for k := range before.ceil {
			if x.loose[k.uid] {
				x.floor[k], x.ceil[k], x.floorBy[k] = before.floor[k], before.ceil[k], before.floorBy[k]
			}
		}
	}
	syncs := map[*act]map[pageKey]uint64{}
	for i, v := range log.Marks(log.Len()) {
		if d, ok := v.(driveFault); ok && i < at {
			x.drive = append(x.drive, d)
		}
		m, ok := v.(mark)
		if !ok {
			continue
		}
		if i >= at {
			if m.a.kind == actOpen && m.p == done {
				break
			}
			x.permit(m)
			continue
		}
		x.permit(m)
		x.take(m, syncs)
		x.alongside()
	}
	return x
}

// permit is what a begun act allows to be found.
func (x *expect) permit(m mark) {
	switch {
	case m.a.kind == actAppend && m.p == begun:
		for _, c := range m.a.changes { // a replay makes them, written or not
			k := pageKey{c.uid, c.no}
			x.ceil[k] = max(x.ceil[k], c.version)
		}
	case m.a.kind == actWrite && m.p == begun:
		for i, no := range m.a.nos {
			k := pageKey{m.a.uid, no}
			x.ceil[k] = max(x.ceil[k], m.a.vers[i])
		}
	case m.a.kind == actAppend && m.p == done:
		for i, id := range m.a.recs {
			if x.cutOff(m.a.starts[i]) {
				continue // before its append had returned
			}
			x.records = append(x.records, record{id: id, start: m.a.starts[i], end: m.a.ends[i], batch: m.a.id, bytes: m.a.sizes[i]})
			if i == len(m.a.recs)-1 {
				x.records[len(x.records)-1].changes = m.a.changes
			}
		}
		for i := len(x.records) - 1; i > 0 && x.records[i].end < x.records[i-1].end; i-- {
			x.records[i], x.records[i-1] = x.records[i-1], x.records[i]
		}
	}
}

func (x *expect) take(m mark, syncs map[*act]map[pageKey]uint64) {
	a := m.a
	switch a.kind {
	case actOpen:
		if m.p == done {
			x.reset(a)
		}
	case actAppend:
		if m.p == begun {
			x.knew[a.id] = x.acked
		}
		for i := range x.records {
			r := &x.records[i]
			r.accepted = r.accepted || m.p == done && r.batch == a.id
		}
	case actWait, actFollow:
		if m.p == done {
			x.ackLog(a.lsn, a)
		}
	case actBackup:
		x.takeBackup(m)
	case actCut:
		x.takeCut(m)
	case actNewID:
		x.newID, x.marker = m.p != done, x.marker || m.p == failed
	case actWrite:
		x.takeWrite(m)
	case actSync, actCheckpoint, actClose, actRemove:
		switch m.p {
		case begun:
			syncs[a] = maps.Clone(x.accepted)
		case done:
			for k, v := range syncs[a] {
				if a.kind != actSync && a.kind != actRemove || k.uid == a.uid {
					x.raise(k, v, a)
					x.home[k] = max(x.home[k], v)
				}
			}
		}
	}
	switch {
	case a.kind == actCheckpoint && m.p == begun:
		x.checkpoints = append(x.checkpoints, checkpoint{a.redo, a.payload})
	case a.kind == actCheckpoint && m.p == done:
		x.checkpoints = []checkpoint{{a.redo, a.payload}}
		x.ackLog(a.redo, a)
	case a.kind == actClose && m.p == done && len(x.records) > 0:
		x.ackLog(x.records[len(x.records)-1].end, a)
	case a.kind.changesCatalog() && m.p == begun:
		if a.kind == actGrow {
			x.grows[a.uid] = x.catalogs[len(x.catalogs)-1][a.name].pages
		}
		if a.kind == actCreate {
			x.loose[a.uid] = !strictFor(a.mode)
			x.foreign[a.uid] = a.foreign
		}
		x.catalogs = append(x.catalogs, x.catalogs[len(x.catalogs)-1].after(a))
	case a.kind.changesCatalog() && m.p == done:
		delete(x.grows, a.uid)
		x.catalogs = x.catalogs[len(x.catalogs)-1:]
	case a.kind.changesCatalog() && m.p == failed && a.refused:
		x.catalogs = x.catalogs[:len(x.catalogs)-1]
	}
}

func (x *expect) takeWrite(m mark) {
	a := m.a
	switch m.p {
	case begun:
		for i, no := range a.nos {
			if k := (pageKey{a.uid, no}); x.mixed && a.mode == untorn.ModeDetect {
				x.risk[k] = max(x.risk[k], a.vers[i])
			}
		}
	case accepted:
		for i, no := range a.nos {
			k := pageKey{a.uid, no}
			x.accepted[k] = max(x.accepted[k], a.vers[i])
		}
	case done:
		switch a.level {
		case untorn.Durable, untorn.Protected:
			for i, no := range a.nos {
				k := pageKey{a.uid, no}
				x.raise(k, a.vers[i], a)
				if a.level == untorn.Durable {
					x.home[k] = max(x.home[k], a.vers[i])
				}
			}
			x.ackLog(a.lsn, a)
		case untorn.Logged:
			x.ackLog(a.lsn, a)
		}
	}
}

func (x *expect) raise(k pageKey, v uint64, by *act) {
	if v > x.floor[k] {
		x.floor[k], x.floorBy[k] = v, by
	}
}

func (x *expect) ackLog(lsn untorn.LSN, by *act) {
	if lsn <= x.acked {
		return
	}
	x.acked, x.ackedBy = lsn, by
	for _, r := range x.records {
		if r.end <= lsn {
			x.proven = max(x.proven, x.knew[r.batch])
		}
	}
}

// reset begins anew from what an open returned: it is durable, what it gave up never comes back.
func (x *expect) reset(a *act) {
	s := a.seen
	x.ended()
	x.newID, x.cutting = false, nil
	x.catalogs = []catalog{s.catalog()}
	x.checkpoints = []checkpoint{s.checkpoint}
	// Without doublewrite what an open reads may be known to the cache alone, after a failed flush: a
	// later sync says nothing of what was accepted before.
	x.accepted = map[pageKey]uint64{}
	if x.strict {
		floor, ceil, by := x.floor, x.ceil, x.floorBy
		x.floor, x.ceil = map[pageKey]uint64{}, map[pageKey]uint64{}
		x.floorBy = map[pageKey]*act{}
		for k := range ceil {
			if x.loose[k.uid] {
				x.floor[k], x.ceil[k], x.floorBy[k] = floor[k], ceil[k], by[k]
			}
		}
		for _, f := range s.files {
			if x.loose[f.uid] {
				continue
			}
			for no, p := range f.pages {
				k := pageKey{f.uid, uint64(no)}
				x.ceil[k] = p.version
				x.raise(k, p.version, a)
				x.home[k] = p.version // a recovery has flushed what it wrote
			}
		}
	}
	for _, f := range s.files { // from here on
		x.loose[f.uid] = x.loose[f.uid] || !strictFor(f.mode)
	}
	x.records = slices.Clone(s.records)
	for i := range x.records {
		x.records[i].batch = -1 - i // each durable on its own by now
	}
	x.acked, x.ackedBy = s.last, a
}

// torn reports whether a power cut may have left the page damaged: it was being written in place
// without a copy, or shares a block with a page that was being written (SmallPages).
func (x *expect) torn(k pageKey) bool {
	if x.risk[k] > x.floor[k] {
		return true
	}
	if x.shared < 2 {
		return false
	}
	if first, ok := x.grows[k.uid]; ok && k.no/x.shared == first/x.shared {
		return true // a growth writes its first page beside the last
	}
	for no := k.no / x.shared * x.shared; no < (k.no/x.shared+1)*x.shared; no++ {
		if n := (pageKey{k.uid, no}); x.ceil[n] > x.home[n] {
			return true
		}
	}
	return false
}
