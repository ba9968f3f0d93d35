package explore

import (
	"testing"

	"github.com/untorn/untorn"
)

// TestThrough: a log given up from a point on is compared as far back as both opens begin, and through
// the point.
func TestThrough(t *testing.T) {
	log := func(redo untorn.LSN, ends ...untorn.LSN) *observed {
		s := &observed{checkpoint: checkpoint{redo: redo}}
		for _, e := range ends {
			s.records = append(s.records, record{id: uint64(e), end: e})
		}
		return s
	}
	for _, c := range []struct {
		what        string
		before, now *observed
		ok          bool
	}{
		{"the same", log(10, 20, 30, 40), log(10, 20, 30), true},
		{"an older super", log(20, 30, 40), log(0, 10, 20, 30), true},
		{"one is missing", log(10, 20, 30, 40), log(10, 20), false},
		{"one is behind the point", log(10, 20, 30, 40), log(10, 20, 30, 40), false},
	} {
		if got := through(c.before, c.now, 30); (len(got) == 0) != c.ok {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// TestHitInAFileThatCameBack: a file whose removal was given up with the log is there again, and so is what
// had hit its pages.
func TestHitInAFileThatCameBack(t *testing.T) {
	x := &expect{catalogs: []catalog{{"a": {1, 1}, "b": {2, 3}}, {"a": {1, 1}}}}
	was := &observed{files: map[string]*seenFile{"a": {id: 7, uid: 1, pages: make([]sight, 1)}}}
	now := &observed{files: map[string]*seenFile{"a": {id: 7, pages: make([]sight, 1)}, "b": {id: 8, pages: make([]sight, 3)}}}
	let := pass{damaged: map[pageKey]bool{}}
	h := hits{pages: map[pageName]bool{{8, 2}: true}}
	h.ofRevived(&let, x, was, now)
	if !let.damaged[pageKey{2, 2}] || len(let.damaged) != 1 {
		t.Errorf("let pass: %v", let.damaged)
	}
}

// TestReplacedOnce: three whole structures of one length, added up, are one that its checksum takes for
// whole; no drive does that.
func TestReplacedOnce(t *testing.T) {
	at := func(file string, off int64, n int) damage { return damage{file: file, off: off, mask: make([]byte, n)} }
	left := apart([]damage{at("a", 0, 512), at("a", 511, 10), at("a", 512, 512), at("b", 0, 512), at("a", 100, 1)})
	if len(left) != 4 || left[1].off != 512 {
		t.Errorf("left are %v", left)
	}
}

// TestNeighboursOfARepair: what shares a block with a damaged page may go when its repair is cut off.
func TestNeighboursOfARepair(t *testing.T) {
	let := pass{inPlace: map[pageKey]bool{{1, 6}: true}}
	if got := let.withNeighbours(1); len(got.damaged) != 0 {
		t.Errorf("with a page to a block: %v", got.damaged)
	}
	got := let.withNeighbours(4)
	for no := uint64(3); no <= 8; no++ {
		if k := (pageKey{1, no}); got.damaged[k] != (no >= 4 && no < 8) || got.inPlace[k] != got.damaged[k] {
			t.Errorf("page %d: %v, %v", no, got.damaged[k], got.inPlace[k])
		}
	}
	if len(let.inPlace) != 1 {
		t.Error("the original was changed")
	}
}

// TestDiffers: a page that shares a block with one that recovery writes may be torn when the power goes then,
// and an image in the log is newer than what it was. Nothing else may differ, and never be older.
func TestDiffers(t *testing.T) {
	saw := func(version uint64) *observed {
		return &observed{files: map[string]*seenFile{"f": {uid: 1, pages: []sight{{version: 3}, {version: version}}}}}
	}
	torn := func(k pageKey) bool { return k == pageKey{1, 1} }
	for _, c := range []struct {
		name        string
		first, then uint64
		torn        func(pageKey) bool
		want        int
	}{
		{"the same", 4, 4, nil, 0}, {"newer", 4, 5, nil, 1}, {"older", 4, 3, nil, 1},
		{"torn, newer", 4, 5, torn, 0}, {"torn, older", 4, 3, torn, 1},
		{"another is torn", 4, 5, func(k pageKey) bool { return k.no == 0 }, 1},
	} {
		if got := saw(c.first).differs(saw(c.then), c.torn); len(got) != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
