package explore

import (
	"fmt"
	"maps"

	"github.com/untorn/untorn"
)

// complaint is one way in which what was observed is not what was promised.
type complaint struct {
	kind string
	text string
	file string
	page int // -1: none
	at   int // log index, of what was noticed while the workload ran

	stacks []byte // of the goroutines, where they are the evidence
}

// The kinds of complaint.
const (
	Refused   = "refused"   // a healthy state did not open
	LostRec   = "record"    // a record is missing, wrong, or came back
	Older     = "older"     // a page is older than acknowledged
	Newer     = "newer"     // a page is newer than the log, or came back
	Torn      = "torn"      // a page is no version, and the engine did not notice
	Damaged   = "damaged"   // a page is no version, and the engine said so
	Files     = "files"     // the catalogue is neither before nor after the last change
	LossBound = "loss"      // more accepted records are gone than commit policy async allows
	Redo      = "redo"      // the checkpoint is neither the last nor the one under way
	Differs   = "differs"   // recovery run again returned something else
	Failed    = "failed"    // a call failed with no fault injected
	Stuck     = "stuck"     // the engine came to rest with calls waiting
	Disorder  = "disorder"  // two writes of one page raced
	Ahead     = "ahead"     // in mode shadow, a copy was written before its image was durable
	Stale     = "staleread" // a read returned something else than the newest accepted image
	Unnamed   = "unnamed"   // a refusal that a program cannot tell, or that names a page nothing was done to
)

// pass is what a judge lets pass, because a fault explains it.
type pass struct {
	damaged map[pageKey]bool // it may be reported: damage was done to the page, or to a copy of it
	inPlace map[pageKey]bool // of these, the page itself was hit
	olderOf map[pageKey]bool // every proof of a newer image was hit (the residual of I6)
	refuse  bool             // the open may be refused
	onlyFor bool             // and only because of pages it names
	unread  bool             // somewhere sectors cannot be read
	tail    bool             // the log may end early, behind what is proven of it
	proven  untorn.LSN
	ahead   bool // so a page may be ahead of the log
}

// later is what is let pass after a recovery that was right, and work on it: only pages that were
// damaged in their place still are, everything else was repaired or given up.
func (let pass) later() pass {
	return pass{damaged: let.inPlace, ahead: let.ahead, unread: let.unread, refuse: let.unread || len(let.inPlace) > 0, onlyFor: !let.unread}
}

// withNeighbours lets the pages that lie in one block with a page that was damaged go too: a recovery that
// repairs it changes the block, and a power cut then may take all of it.
func (let pass) withNeighbours(perBlock uint64) pass {
	if perBlock < 2 {
		return let
	}
	hit, in := map[pageKey]bool{}, map[pageKey]bool{}
	maps.Copy(hit, let.damaged)
	for k := range let.inPlace {
		for no := k.no / perBlock * perBlock; no < (k.no/perBlock+1)*perBlock; no++ {
			n := pageKey{k.uid, no}
			hit[n], in[n] = true, true
		}
	}
	let.damaged, let.inPlace = hit, in
	return let
}

// stillOlder are the pages that may be older after a second crash too: of files for which what an open
// returned need not be durable the floor is that of before.
func (x *expect) stillOlder(was map[pageKey]bool) map[pageKey]bool {
	still := map[pageKey]bool{}
	for k := range was {
		if x.loose[k.uid] {
			still[k] = true
		}
	}
	return still
}

// nothing reports whether no damage was done.
func (let pass) nothing() bool {
	return len(let.damaged)+len(let.olderOf) == 0 && !let.refuse && !let.unread && !let.tail
}

// judge compares, and returns every complaint.
func (x *expect) judge(s *observed, let pass) (cs []complaint) {
	complain := func(kind, file string, page int, format string, args ...any) {
		cs = append(cs, complaint{kind: kind, text: fmt.Sprintf(format, args...), file: file, page: page})
	}
	for _, o := range s.odd {
		complain(LostRec, "", -1, "%s", o)
	}
	x.judgeLog(s, let, complain)
	if r := s.report; r != nil && r.Shadow != nil && r.Shadow.DWBAhead > 0 && let.nothing() {
		complain(Ahead, "", -1, "mode shadow: the doublewrite buffer is ahead of the log: %+v", r.Shadow.Pages)
	}
	c := x.match(s)
	if c == nil {
		complain(Files, "", -1, "the files are %v, expected %v", s.sizes(), describe(x.catalogs))
		return cs
	}
	s.adopt(c)
	s.replayed()
	for name, f := range s.files {
		for no := range f.pages {
			x.judgePage(s, name, f.uid, no, &f.pages[no], let, complain)
		}
	}
	return cs
}

type complainer func(kind, file string, page int, format string, args ...any)

// judgeLog compares with the logs there may be: it has to fit one.
func (x *expect) judgeLog(s *observed, let pass, complain complainer) {
	fits := false
	for _, c := range x.checkpoints {
		fits = fits || c == s.checkpoint
	}
	if !fits {
		complain(Redo, "", -1, "the checkpoint is %+v, expected one of %+v", s.checkpoint, x.checkpoints)
	}
	type told struct{ kind, text string }
	var first []told
	for n, log := range x.logs() {
		var cs []told
		x.judgeRecords(s, log, let, func(kind, _ string, _ int, format string, args ...any) {
			cs = append(cs, told{kind, fmt.Sprintf(format, args...)})
		})
		if len(cs) == 0 {
			return
		}
		if n == 0 {
			first = cs
		}
	}
	for _, c := range first {
		complain(c.kind, "", -1, "%s", c.text)
	}
}

func (x *expect) judgeRecords(s *observed, log []record, let pass, complain complainer) {
	var want []record
	for _, r := range log {
		if r.end > s.checkpoint.redo {
			want = append(want, r)
		}
	}
	for i, r := range s.records {
		if i >= len(want) {
			complain(LostRec, "", -1, "record %d ending at LSN %d is there and should not be: it was cut off, or never appended", r.id, r.end)
			return
		}
		if w := want[i]; r.id != w.id || r.end != w.end {
			complain(LostRec, "", -1, "after LSN %d comes record %d ending at %d, expected record %d ending at %d",
				before(s.records, i), r.id, r.end, w.id, w.end)
			return
		}
	}
	if n := len(s.records); n < len(want) {
		if !let.tail {
			x.judgeLoss(want[n:], complain)
		}
		w := want[n]
		if w.end <= x.acked && (!let.tail || w.end <= let.proven) {
			complain(LostRec, "", -1, "the log ends at LSN %d; record %d ending at %d is missing, and LSN %d had been acknowledged durable to %v",
				before(s.records, n), w.id, w.end, x.acked, x.ackedBy)
		} else if n > 0 && want[n-1].batch == w.batch {
			complain(LostRec, "", -1, "record %d is missing of a batch whose record %d is there", w.id, want[n-1].id)
		}
	}
}

// judgeLoss holds what commit policy async accepted and the crash took against its bound.
func (x *expect) judgeLoss(gone []record, complain complainer) {
	lost := int64(0)
	for _, r := range gone {
		if r.accepted {
			lost += r.bytes
		}
	}
	if x.bound > 0 && lost > x.bound {
		complain(LossBound, "", -1, "%d bytes of accepted records are gone, from record %d on; commit policy async allows %d",
			lost, gone[0].id, x.bound)
	}
}

func before(rs []record, i int) uint64 {
	if i == 0 {
		return 0
	}
	return uint64(rs[i-1].end)
}

// match finds the catalogue that agrees with the files observed.
func (x *expect) match(s *observed) catalog {
	for i := len(x.catalogs) - 1; i >= 0; i-- {
		c := x.catalogs[i]
		ok := len(c) == len(s.files)
		for name, f := range s.files {
			want, there := c[name]
			ok = ok && there && want.pages == uint64(len(f.pages))
		}
		if ok {
			return c
		}
	}
	return nil
}

func (s *observed) sizes() map[string]int {
	m := map[string]int{}
	for name, f := range s.files {
		m[name] = len(f.pages)
	}
	return m
}

func describe(cs []catalog) (all []map[string]uint64) {
	for _, c := range cs {
		m := map[string]uint64{}
		for name, f := range c {
			m[name] = f.pages
		}
		all = append(all, m)
	}
	return all
}

func (x *expect) judgePage(s *observed, name string, uid uint64, no int, p *sight, let pass, complain complainer) {
	k := pageKey{uid, uint64(no)}
	floor, ceil := x.floor[k], x.ceil[k]
	by := acknowledged{x.floorBy[k]}
	switch {
	case p.damaged != "":
		if !let.damaged[k] && !x.torn(k) {
			complain(Damaged, name, no, "page %d of %s cannot be read: %s; expected version %d to %d%v", no, name, p.damaged, floor, ceil, by)
		}
	case p.torn != "":
		complain(Torn, name, no, "page %d of %s is torn and was returned as good: %s; expected version %d to %d%v", no, name, p.torn, floor, ceil, by)
	case p.version != 0 && p.uid != uid:
		complain(Torn, name, no, "page %d of %s holds an image of another file (%d, not %d)", no, name, p.uid, uid)
	case p.version < floor:
		if !let.olderOf[k] {
			complain(Older, name, no, "page %d of %s has version %d; version %d had been acknowledged%v", no, name, p.version, floor, by)
		}
	case p.version > ceil:
		complain(Newer, name, no, "page %d of %s has version %d; the newest that may be there is %d: recovery had given it up", no, name, p.version, ceil)
	case p.lsn > s.last && !let.ahead && !x.foreign[k.uid]:
		complain(Newer, name, no, "page %d of %s has version %d with LSN %d, and the log ends at %d (I3)", no, name, p.version, p.lsn, s.last)
	}
}

// acknowledged says by which act, if there is one. Most pages are as they should be, and nobody asks.
type acknowledged struct{ by *act }

func (a acknowledged) String() string {
	if a.by == nil {
		return ""
	}
	return fmt.Sprintf(" (%v)", a.by)
}

// differs compares two recoveries of one crash state (I8). What torn says may have been destroyed in
// between may be newer the second time: the destination held an older image than the log does. nil: nothing.
func (s *observed) differs(o *observed, torn func(pageKey) bool) (cs []complaint) {
	complain := func(file string, page int, format string, args ...any) {
		cs = append(cs, complaint{kind: Differs, text: "recovery cut off and run again: " + fmt.Sprintf(format, args...), file: file, page: page})
	}
	if a, b := len(s.records), len(o.records); a != b {
		complain("", -1, "%d records instead of %d", b, a)
	}
	if s.checkpoint != o.checkpoint {
		complain("", -1, "checkpoint %+v instead of %+v", o.checkpoint, s.checkpoint)
	}
	for name, f := range s.files {
		g := o.files[name]
		if g == nil || len(g.pages) != len(f.pages) {
			complain(name, -1, "file %s is not the same", name)
			continue
		}
		for no := range f.pages {
			if g.pages[no].damaged != "" {
				continue // the judge has said whether it may be
			}
			if torn != nil && f.pages[no].version < g.pages[no].version && torn(pageKey{f.uid, uint64(no)}) {
				continue // nor did it have to be that old: the judge knows how new it may be
			}
			if f.pages[no].version != g.pages[no].version {
				complain(name, no, "page %d of %s has version %d, the first time it had %d", no, name, g.pages[no].version, f.pages[no].version)
			}
		}
	}
	return cs
}
