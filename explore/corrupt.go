package explore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// What became of a damaged state, as it is counted.
const (
	Unharmed = "damaged: all is there"
	Reported = "damaged: pages reported"
	Declined = "damaged: open refused"
	Accepted = "damaged: loss accepted"
	Healed   = "damaged: undone after a refusal"
)

// damageCounter is what damage to a kind of structure is counted as.
func damageCounter(k areaKind) string { return "damage to " + k.String() }

// corrupt damages a crash state that recovery had been right about, in one place or in several, and
// opens it again. What may follow is worked out from the damaged bytes: nothing at all where nothing
// that counts was hit, else a repair, a page that is reported, or an open that is refused and says
// why; an acknowledged version or record may only be missing when every proof of it was hit too.
func (r *run) corrupt(ctx context.Context, pt *sim.Point, c sim.Choice, exp *expect, seen *observed, buf *buffers) {
	d := pt.Make(c)
	m := readMedium(d, r.p)
	if m.super == nil {
		return // the directory is being created
	}
	v := &vandal{
		rng:    rand.New(rand.NewPCG(r.p.seed^uint64(pt.Index), 0x64616d61^uint64(len(c.Name)))),
		sector: int64(r.p.disk.Sector), m: m, log: r.log, at: pt.Index,
	}
	areas := m.areas(r.p, seen.report.Log.Start, seen.report.Log.End)
	ds := v.plan(areas)
	if len(ds) == 0 {
		return
	}
	for _, x := range ds {
		if err := x.do(d); err != nil {
			return // a range past the end of its file: nothing lies there
		}
	}
	hit := touched(areas, ds)
	let := m.allow(r.p, m.damaged(r.p, ds), areas, hit, ds, seen)
	transitions := []string{Rotten}
	for k := range areaKinds {
		if hit.kinds[k] {
			transitions = append(transitions, damageCounter(k))
		}
	}
	story := "power cut, then damage: " + list(ds)
	d.Record()
	t := r.try(ctx, d, buf)
	switch {
	case t.err != nil:
		r.x.count(false, append(transitions, Declined)...)
		r.refused(ctx, pt, c, exp, seen, &t, d, ds, let, story, buf)
		var bad *walstage.CorruptError
		if errors.As(t.err, &bad) {
			r.giveUp(ctx, pt, c, exp, seen, m, ds, hit, let, bad, story, buf)
		}
		return
	case t.seen.reported() > 0:
		transitions = append(transitions, Reported)
	default:
		transitions = append(transitions, Unharmed)
	}
	r.x.count(false, transitions...)
	if cs := t.judge(exp, let); len(cs) > 0 {
		t.leave(d, buf)
		r.report(cs, pt, c, story, exp, t.seen, nil)
		return
	}
	if v.rng.IntN(4) == 0 { // what was repaired stays repaired, what was not stays reported
		r.again(ctx, d, &t, second{pt: pt, c: c, exp: exp, let: let, path: story}, buf)
		return
	}
	t.leave(d, buf)
}

// refused judges an open that was refused: it must have been allowed to, say what is wrong in a way
// a program understands, and have changed nothing. Given up pages are exactly those it named.
func (r *run) refused(ctx context.Context, pt *sim.Point, c sim.Choice, exp *expect, seen *observed, t *tried, d *sim.Disk,
	ds []damage, let pass, story string, buf *buffers) {
	if cs := t.judge(exp, let); len(cs) > 0 {
		t.leave(d, buf)
		r.report(cs, pt, c, story, exp, nil, nil)
		return
	}
	undo := true
	for _, x := range ds {
		undo = undo && !x.unreadable && x.area.kind != superCopy && x.area.kind != superPadding
	}
	if undo {
		for _, x := range ds {
			_ = x.do(d) // it worked the first time
		}
		t2 := r.try(ctx, d, buf)
		r.x.count(false, Healed)
		cs := t2.judge(exp, pass{})
		if len(cs) == 0 {
			cs = seen.differs(t2.seen, nil)
		}
		t2.leave(d, buf)
		if len(cs) > 0 {
			r.report(cs, pt, c, story+"; the open was refused ("+t.err.Error()+"), the damage undone", exp, t2.seen, nil)
		}
		return
	}
	t.leave(d, buf)
	var lost *recovery.LostError
	if !errors.As(t.err, &lost) {
		return
	}
	d = pt.Make(c)
	for _, x := range ds {
		_ = x.do(d)
	}
	let.damaged = map[pageKey]bool{} // what the refusal named, and no other page but those hit in their place
	for k := range let.inPlace {
		let.damaged[k] = true
	}
	for _, o := range lost.Pages {
		for _, c := range exp.catalogs { // its name may be the one before a rename under way
			if f, ok := c[o.File]; ok {
				let.damaged[pageKey{f.uid, o.Page}] = true
			}
		}
	}
	t2 := r.tryWith(ctx, d, buf, func(o *untorn.Options) { o.AcceptLoss = true })
	r.x.count(false, Accepted)
	cs := t2.judge(exp, let)
	t2.leave(d, buf)
	if len(cs) > 0 {
		r.report(cs, pt, c, story+"; loss was accepted", exp, t2.seen, nil)
	}
}

// reported counts the pages the engine said are damaged.
func (s *observed) reported() (n int) {
	for _, f := range s.files {
		for i := range f.pages {
			if f.pages[i].damaged != "" {
				n++
			}
		}
	}
	return n
}

func list(ds []damage) string {
	var b strings.Builder
	for i, x := range ds {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(x.String())
	}
	return b.String()
}

// plan picks what to damage: one place, several, or several that back each other up.
func (v *vandal) plan(areas [][]area) (ds []damage) {
	if v.rng.IntN(4) == 0 {
		for _, a := range v.together(areas) {
			ds = append(ds, v.hit(a, areas[a.kind])...)
		}
	} else {
		for n := []int{1, 1, 1, 2, 3, 4}[v.rng.IntN(6)]; n > 0; n-- {
			k := v.rng.IntN(int(areaKinds))
			if list := areas[k]; len(list) > 0 {
				ds = append(ds, v.hit(list[v.rng.IntN(len(list))], list)...)
			}
		}
	}
	return v.bounded(apart(ds), areas)
}

// apart leaves out what would replace bytes a second time: damage is a mask, and two of one place, each
// made of a whole structure, add up to a third that its checksum, being linear, takes for whole.
func apart(ds []damage) (left []damage) {
	for _, x := range ds {
		over := slices.ContainsFunc(left, func(y damage) bool {
			return x.file == y.file && x.off < y.off+int64(y.n()) && y.off < x.off+int64(x.n())
		})
		if x.n() == 1 || !over { // a flipped bit, or the first here
			left = append(left, x)
		}
	}
	return left
}

// together picks structures of which one would repair the other.
func (v *vandal) together(areas [][]area) []area {
	pick := func(k areaKind, fits func(area) bool) []area {
		var of []area
		for _, a := range areas[k] {
			if fits == nil || fits(a) {
				of = append(of, a)
			}
		}
		if len(of) == 0 {
			return nil
		}
		return []area{of[v.rng.IntN(len(of))]}
	}
	all := func(k areaKind, fits func(area) bool) (of []area) {
		for _, a := range areas[k] {
			if fits(a) {
				of = append(of, a)
			}
		}
		return of
	}
	switch v.rng.IntN(4) {
	case 0: // a page and its copies
		one := pick(dwbSlot, nil)
		if one == nil {
			return nil
		}
		same := func(a area) bool { return a.page == one[0].page }
		return append(all(dwbSlot, same), all(dataPage, same)...)
	case 1: // all headers of a batch
		one := pick(dwbHeader, nil)
		if one == nil {
			return nil
		}
		return all(dwbHeader, func(a area) bool { return a.index == one[0].index })
	case 2: // both headers of a file
		one := pick(fileHeader, nil)
		if one == nil {
			return nil
		}
		return all(fileHeader, func(a area) bool { return a.file == one[0].file })
	}
	no := v.rng.IntN(super.Copies) // all copies of super but one
	return all(superCopy, func(a area) bool { return a.index != no })
}

// bounded leaves one copy of super alone: four older ones would be an older directory, which nothing
// in it can tell.
func (v *vandal) bounded(ds []damage, areas [][]area) []damage {
	for {
		hit := touched(areas, ds)
		if len(hit.copies) < super.Copies {
			return ds
		}
		for i, x := range ds {
			if x.area.kind == superCopy || x.area.kind == superPadding {
				ds = append(ds[:i:i], ds[i+1:]...)
				break
			}
		}
	}
}

// hits are the areas that damage touched, whatever it was aimed at.
type hits struct {
	kinds   [areaKinds]bool
	areas   []area
	copies  map[int]bool // of super
	regions map[int]bool
	pages   map[pageName]bool // in their place
}

func touched(areas [][]area, ds []damage) hits {
	h := hits{copies: map[int]bool{}, regions: map[int]bool{}, pages: map[pageName]bool{}}
	for _, list := range areas {
		for _, a := range list {
			for _, x := range ds {
				if x.file != a.file || x.off >= a.off+a.n || x.off+int64(x.n()) <= a.off {
					continue
				}
				h.kinds[a.kind] = true
				h.areas = append(h.areas, a)
				switch a.kind {
				case superCopy, superPadding:
					h.copies[a.index] = true
				case dwbHeader, dwbSlot:
					h.regions[a.index] = true
				case dataPage:
					h.pages[a.page] = true
				}
				break
			}
		}
	}
	return h
}

// allow works out what the damage excuses, from what was on the medium and what is left of it.
func (m *medium) allow(p *profile, left *medium, areas [][]area, hit hits, ds []damage, seen *observed) pass {
	let := pass{damaged: map[pageKey]bool{}, inPlace: map[pageKey]bool{}, olderOf: map[pageKey]bool{}}
	uid := map[uint32]uint64{}
	for _, f := range seen.files {
		uid[f.id] = f.uid
	}
	key := func(n pageName) pageKey { return pageKey{uid[n.file], n.no} }
	for n := range hit.pages {
		let.damaged[key(n)], let.inPlace[key(n)] = true, true
		if m.reverted(p, left, n) {
			let.olderOf[key(n)] = true // all of it: an older page is a page
		}
	}
	unread := m.unreadable(p, ds)
	// Super: enough copies must be left, and the newest among them.
	let.refuse = left.super == nil || left.copies < 2 || left.seq < m.seq
	// A data file's older header says that the file is an older copy.
	for _, a := range hit.areas {
		let.refuse = let.refuse || a.kind == fileHeader && a.newer
	}
	// The log: what no group header, super or doublewrite header says had been durable looks like a
	// torn tail.
	let.unread = unread.any
	if hit.kinds[logGroup] || hit.kinds[logHeader] || unread.log {
		let.refuse, let.tail, let.ahead = true, true, true
		if left.super != nil {
			let.proven = left.proven.LSN
		}
		m.allowImages(&let, key, seen)
	}
	if left.super == nil {
		return let
	}
	// An older header of the doublewrite file has the id from before it was changed.
	if id, _, err := dwbstage.PeekFileHeader(left.files[p.dwbPath()]); err == nil && id != left.super.Engine {
		let.refuse = true
	}
	// The doublewrite file: the newest copy of a page above the watermark that is left, and F.
	for i, r := range m.regs {
		h := r.head()
		var now *dwbstage.Header
		if left.regs != nil {
			now = left.regs[i].head()
		}
		gone := now == nil || h != nil && now.Seq != h.Seq
		// With an unreadable sector and no header at its beginning it may hold anything: the last copy
		// may be an older batch's.
		let.refuse = let.refuse || left.regs == nil || unread.regions[i] && (gone || !left.regs[i].front())
		if h == nil || h.Seq.LE(left.w) {
			continue
		}
		resurrected := h.Seq.LE(m.w) // the watermark that retired it is not there any more
		for k := range h.Slots {
			s := &h.Slots[k]
			n := pageName{uint32(s.Page.File), uint64(s.Page.No)}
			if resurrected || hit.regions[i] && !h.Seq.LE(left.f) {
				let.olderOf[key(n)] = true // the residual of I6
			}
			if hit.regions[i] || resurrected {
				let.damaged[key(n)] = true
				let.refuse = let.refuse || m.slotHit(p, hit, i, k, h)
			}
			let.refuse = let.refuse || hit.pages[n]
		}
		let.refuse = let.refuse || gone && h.Seq.LE(left.f)
	}
	return let
}

// unreadables says where sectors cannot be read: nobody knows what lies there.
type unreadables struct {
	any, log bool
	regions  map[int]bool
}

func (m *medium) unreadable(p *profile, ds []damage) unreadables {
	u := unreadables{regions: map[int]bool{}}
	for _, x := range ds {
		if !x.unreadable {
			continue
		}
		u.any = true
		u.log = u.log || path.Dir(x.file) == p.walDir()
		for i := range m.regs {
			g := m.geometry()
			if at := g.RegionOffset(i); x.file == p.dwbPath() && x.off < at+g.RegionBytes() && x.off+int64(x.size) > at {
				u.regions[i] = true
			}
		}
	}
	return u
}

// slotHit reports whether damage touched the image of a slot.
func (m *medium) slotHit(p *profile, hit hits, i, k int, h *dwbstage.Header) bool {
	off := m.geometry().RegionOffset(i) + int64(h.SlotOffset(m.geometry(), k))
	for _, a := range hit.areas {
		if a.kind == dwbSlot && a.file == p.dwbPath() && a.off == off {
			return true
		}
	}
	return false
}

// reverted reports whether what is left in a page's place is another whole image of it.
func (m *medium) reverted(p *profile, left *medium, n pageName) bool {
	if left.super == nil {
		return false
	}
	for i := range m.super.Files {
		f := &m.super.Files[i]
		if uint32(f.ID) != n.file {
			continue
		}
		b := left.files[dataPath(p, n.file)]
		off := f.Start + int64(n.no)*int64(f.PageSize)
		if int64(len(b)) < off+int64(f.PageSize) {
			return false
		}
		return wholePage(b[off:off+int64(f.PageSize)], f, n.no)
	}
	return false
}

// typed reports whether an error says to a program why a directory was not opened.
func typed(err error) bool {
	for _, known := range []error{untorn.ErrSuper, untorn.ErrCorrupt, untorn.ErrDWBMissing, untorn.ErrPageLost, untorn.ErrBehind,
		untorn.ErrForeign, untorn.ErrVersion, untorn.ErrMissingFile, recovery.ErrUnreadable, super.ErrFileHeader, super.ErrDisagree, syscall.EIO} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// named checks that a refusal names only pages that were hit, one way or another.
func (let *pass) named(err error, exp *expect) string {
	var lost *recovery.LostError
	if !errors.As(err, &lost) {
		return ""
	}
	for _, o := range lost.Pages {
		found := false
		for _, c := range exp.catalogs {
			found = found || let.damaged[pageKey{c[o.File].uid, o.Page}]
		}
		if !found {
			return fmt.Sprintf("page %d of %s", o.Page, o.File)
		}
	}
	return ""
}

// wholePage reports whether b is a page that belongs there, of whatever age.
func wholePage(b []byte, f *super.File, no uint64) bool {
	_, err := page.Native{}.Check(b, page.Seed{Incarnation: f.Incarnation, No: page.No(no)})
	return err == nil
}
