package torture

import (
	"fmt"
	"slices"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/stages"
)

// model is what the parent knows: what must be there, and what may be.
type model struct {
	mode  untorn.Mode
	lacks lacking
	round uint32 // of the child, or of the survey under way
	files map[uint32]*fileModel
	log   logModel
	end   ending
	tally tally

	// Where the beginning of a write may not have been told before the crash (package pull), an image
	// or a record of the round that wrote last proves itself by its contents.
	unannounced bool
	wrote       uint32 // that round

	// what keeps the images of damaged pages for the story: set while a survey of the parent's runs.
	image func(tag uint32, no uint64) []byte
	seed  uint64
}

// lacking is what the children of a round are kept short of.
type lacking struct{ space, memory bool }

// tally counts what was checked.
type tally struct {
	events, pageAcks, recordAcks, pagesSeen, recordsSeen, torn uint64
	opens, recoveries, installed, refused, waited              uint64
	noSpace, opensNoSpace, stopsNoSpace, stopsNoMemory         uint64
	violations                                                 []Violation
	unfit                                                      string // why this place cannot be tried: no verdict on the engine
}

// ending is how the directory was left.
type ending uint8

const (
	endClosed  ending = iota // in order
	endClosing               // an orderly close, or an open, was under way
	endKilled
)

// write is one image of a page.
type write struct {
	v     version
	lsn   uint64
	round uint32
	level string // that it was acknowledged with; "" = only started
}

// pageModel: the page holds floor, or one of the writes started after it.
type pageModel struct {
	floor   write
	started []write
}

type fileModel struct {
	created, seen          bool
	least, most            uint64 // pages
	renameStarted, renamed bool
	removeStarted, removed bool
	pages                  []pageModel
}

func newModel(mode untorn.Mode, seed uint64) *model {
	return &model{mode: mode, seed: seed, files: map[uint32]*fileModel{}}
}

func (m *model) violate(format string, a ...any) {
	m.tally.violations = append(m.tally.violations, Violation{Round: int(m.round),
		What: fmt.Sprintf(format, a...)})
}

// emit makes the model a sink: a survey in this process goes straight into it.
func (m *model) emit(evs ...event) {
	for i := range evs {
		m.apply(&evs[i])
	}
}

func (m *model) apply(e *event) {
	m.tally.events++
	switch e.kind {
	case evOpened:
		m.tally.opens++
		m.tally.installed += e.b
		m.opened(e.level == 1)
	case evClosing:
		m.end = endClosing
	case evClosed:
		m.end = endClosed
	case evWrong:
		m.violate("%s", e.text)
	case evStopped:
		m.stopped(e)
	case evSeenBase, evSeenRecord, evSeenEnd, evRecord, evRecordAt, evRecordNot, evRecordAck,
		evCkpt, evCkptAck:
		m.applyLog(e)
	case evSeenPage, evBadPage, evPage, evPageAck:
		m.applyPage(e)
	case evWaited:
		m.tally.waited++
	case evSeenAll:
		m.wrote = m.round // what comes from now on is this round's
	default:
		m.applyFile(e)
	}
}

// stopped judges a child that ended by itself. Lack of space is refused, and leaves a running engine
// healthy; only copy on write may need space for a page that has its place.
func (m *model) stopped(e *event) {
	switch {
	case e.a == lackedMemory && m.lacks.memory:
		m.tally.stopsNoMemory++
	case e.a == lackedSpace && !m.lacks.space:
		m.tally.unfit = "no room for the run: " + e.text
	case e.a == lackedProof:
		m.tally.unfit = e.text
	case e.a == lackedSpace && e.b == 1:
		m.tally.opensNoSpace++
	case e.a == lackedSpace && atomicOf(m.mode):
		m.tally.stopsNoSpace++
	default:
		m.violate("the engine failed, and nobody had killed it: %s", e.text)
	}
}

func (m *model) opened(clean bool) {
	switch {
	case clean && m.end == endKilled:
		m.violate("the directory says that it was closed in order, but its engine was killed while running")
	case !clean && m.end == endClosed:
		m.violate("the directory was closed in order, but the open found it otherwise")
	}
	if !clean {
		m.tally.recoveries++
	}
	m.end = endKilled // until a close is acknowledged
}

func (f *fileModel) resize(n uint64) {
	for uint64(len(f.pages)) < n {
		f.pages = append(f.pages, pageModel{})
	}
	f.pages = f.pages[:n]
}

func (m *model) applyFile(e *event) {
	if e.kind == evFilesEnd {
		m.filesEnd()
		return
	}
	f := m.files[e.tag]
	if f == nil {
		if e.kind != evFile {
			m.violate("file %s is there; nobody ever began to make it", fileName(e.tag,
				e.level == 1))
			f = &fileModel{least: e.a, most: e.a} // adopt it: one violation is enough
		} else {
			f = &fileModel{least: e.a, most: e.a}
		}
		f.resize(e.a)
		m.files[e.tag] = f
	}
	switch e.kind {
	case evSeenFile:
		m.seenFile(f, e)
	case evFileAck:
		f.created = true
	case evGrow:
		f.most = e.a
		f.resize(e.a)
	case evGrowAck:
		f.least = e.a
	case evRename:
		f.renameStarted = true
	case evRenameAck:
		f.renamed = true
	case evRemove:
		f.removeStarted = true
	case evRemoveAck:
		f.removed = true
	case evRefused:
		m.refused(f, e)
	}
}

// refused takes back what was started: it is not to be seen.
func (m *model) refused(f *fileModel, e *event) {
	m.tally.noSpace++
	switch kind(e.level) {
	case evFile:
		delete(m.files, e.tag)
	case evGrow:
		f.most = f.least
		f.resize(f.least)
	case evRename:
		f.renameStarted = false
	case evRemove:
		f.removeStarted = false
	}
}

func (m *model) seenFile(f *fileModel, e *event) {
	moved := e.level == 1
	name := fileName(e.tag, moved)
	switch {
	case f.removed:
		m.violate("file %s is back; its removal had been acknowledged", name)
	case moved && !f.renameStarted:
		m.violate("file %s has a name that nobody gave it", name)
	case !moved && f.renamed:
		m.violate("file %s has its old name; the renaming had been acknowledged", name)
	case e.a < f.least:
		m.violate("file %s has %d pages; %d had been acknowledged", name, e.a, f.least)
	case e.a > f.most:
		m.violate("file %s has %d pages; nobody asked for more than %d", name, e.a, f.most)
	}
	f.seen, f.created = true, true
	f.renameStarted, f.renamed = moved, moved
	f.removeStarted, f.removed = false, false
	f.least, f.most = e.a, e.a
	f.resize(e.a)
}

func (m *model) filesEnd() {
	for tag, f := range m.files {
		if f.seen {
			f.seen = false
			continue
		}
		if f.created && !f.removeStarted {
			m.violate("file %s is gone; it had been acknowledged, and nobody began to remove it",
				fileName(tag, f.renamed))
		}
		delete(m.files, tag)
	}
}

func (m *model) applyPage(e *event) {
	f := m.files[e.tag]
	if f == nil || e.page >= uint64(len(f.pages)) {
		m.violate("page %d of file %d: the file has no such page", e.page, e.tag)
		return
	}
	p := &f.pages[e.page]
	switch e.kind {
	case evPage:
		p.started = append(p.started, write{v: e.version, lsn: e.a, round: m.round})
	case evPageAck:
		m.tally.pageAcks++
		if i := p.find(e.version); i >= 0 {
			p.floor = p.started[i]
			p.floor.level = stages.Level(e.level).String()
			p.started = slices.Delete(p.started, 0, i+1)
			// I3: a page is nowhere before its record is durable.
			m.log.pageLSN = max(m.log.pageLSN, p.floor.lsn)
		}
	case evSeenPage:
		m.seenPage(f, p, e)
	case evBadPage:
		m.badPage(f, p, e)
	}
}

// unprotected modes may damage a page while it is written.
func unprotected(m untorn.Mode) bool { return m == untorn.ModeDetect || m == untorn.ModeNone }

// untold reports whether something of this version may be there although nobody told.
func (m *model) untold(v version) bool { return m.unannounced && uint32(v>>32) == m.wrote }

func (p *pageModel) find(v version) int {
	return slices.IndexFunc(p.started, func(w write) bool { return w.v == v })
}

func (m *model) seenPage(f *fileModel, p *pageModel, e *event) {
	m.tally.pagesSeen++
	where := fmt.Sprintf("page %d of %s", e.page, fileName(e.tag, f.renamed))
	found := p.floor
	if e.version != p.floor.v {
		i := p.find(e.version)
		switch {
		case i >= 0:
			found = p.started[i]
		case e.version < p.floor.v:
			m.violate("%s is version %s; %s", where, e.version, p.story())
		case m.untold(e.version):
			i = 0
			found = write{v: e.version, lsn: e.a}
		default:
			m.violate("%s is version %s, whose write was never started; %s", where, e.version,
				p.story())
		}
		if i < 0 {
			found = write{v: e.version, lsn: e.a}
		}
	}
	if found.lsn != e.a {
		m.violate("%s, version %s, has LSN %d; it was written with %d", where, e.version, e.a,
			found.lsn)
	}
	if e.a > m.log.end {
		m.violate("%s, version %s, has LSN %d, but the log ends at %d (I3)", where, e.version, e.a,
			m.log.end)
	}
	if found.level == "" {
		found.level, found.round = "seen", m.round
	}
	p.floor, p.started = found, nil
}

func (m *model) badPage(f *fileModel, p *pageModel, e *event) {
	m.tally.pagesSeen++
	if unprotected(m.mode) && (len(p.started) > 0 || m.unannounced) {
		m.tally.torn++ // it was being written: that is what these modes do not protect from
		return
	}
	what := ""
	if m.image != nil {
		if img := m.image(e.tag, e.page); img != nil {
			what = "; " + describe(img, m.seed, e.tag, e.page, p.versions())
		}
	}
	m.violate("page %d of %s is not whole: %s%s; %s", e.page, fileName(e.tag, f.renamed), e.text,
		what, p.story())
	p.started = append(p.started, p.floor) // whatever comes next will do
}

func (p *pageModel) versions() []version {
	v := []version{p.floor.v}
	for _, w := range p.started {
		v = append(v, w.v)
	}
	return v
}

// story says what had been promised about a page.
func (p *pageModel) story() string {
	s := "no version had been acknowledged"
	if p.floor.level != "" {
		s = fmt.Sprintf("version %s (LSN %d) had been acknowledged as %s in round %d", p.floor.v,
			p.floor.lsn, p.floor.level, p.floor.round)
		if p.floor.level == "seen" {
			s = fmt.Sprintf("version %s (LSN %d) had been seen after round %d", p.floor.v,
				p.floor.lsn, p.floor.round)
		}
	}
	if n := len(p.started); n > 0 {
		s += fmt.Sprintf(", and %d later writes started, the last of version %s", n,
			p.started[n-1].v)
	}
	return s
}
