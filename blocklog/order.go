package blocklog

import (
	"cmp"
	"fmt"
	"hash/crc64"
	"math"
	"slices"
	"sort"
)

// Stroke is one sector (Tear bytes) of a write, as the disk itself took it: which one, and a checksum
// of its contents.
type Stroke struct {
	Sector uint64
	Sum    uint64
}

var sums = crc64.MakeTable(crc64.ECMA)

// Strokes appends those of a write of b at byte off, a multiple of Tear.
func Strokes(to []Stroke, off int64, b []byte) []Stroke {
	for at := 0; at < len(b); at += Tear {
		to = append(to, Stroke{uint64(off+int64(at)) / Tear, crc64.Checksum(b[at:min(at+Tear, len(b))], sums)})
	}
	return to
}

// Disorder is where a log and its disk disagree about what sectors were told, one after the other.
// What is out of order or missing makes the log unfit: the replay lands something the disk had
// overwritten, or not what it was told.
type Disorder struct {
	// OutOfOrder sectors were told the same, in another order.
	OutOfOrder int `json:"sectors_out_of_order"`
	// Stale are those of them that hold something older than the disk when the whole log has landed.
	Stale int `json:"sectors_stale_in_the_end"`
	// Missing sectors were told more often, or less, than the log says.
	Missing int `json:"sectors_missing"`
	// Changed sectors are in order, but one time or the other with contents that only the log or only the
	// disk knows: a page of the page cache may be changed while it is written, and is written again then.
	Changed int `json:"sectors_changed_on_the_way"`
	// Entry is the first one that stands in a wrong place, Sector one of its sectors that shows it; -1:
	// none.
	Entry  int   `json:"first_entry"`
	Sector int64 `json:"first_sector"`
}

// Unfit says why a log must not be believed, or "".
func (d *Disorder) Unfit() string {
	switch {
	case d.OutOfOrder > 0:
		return fmt.Sprintf("%d sectors were written in another order than the log says, %d of them hold something older "+
			"when all of it has landed; first: entry %d, sector %d", d.OutOfOrder, d.Stale, d.Entry, d.Sector)
	case d.Missing > 0:
		return fmt.Sprintf("%d sectors were not written as often as the log says", d.Missing)
	}
	return ""
}

// told is what a log says a sector was told, by which entry.
type told struct {
	sum   uint64
	entry int
}

// Reorder puts what dm-log-writes logged too late where it belongs, and returns how many writes that were.
// A flush takes the list of the unflushed writes when it is submitted, and is logged with that list when
// it completes: of two at a time the later one can come first in the log, and what has FUA comes before
// everything that no flush has taken yet. Then an older write stands behind a newer one.
//
// A write without FUA goes before the first one that the disk took after it. This invents no state: it was
// on the disk when that came, so a flush that covers that covers it; and all that it waited for had
// completed before it came, and stands before that.
func (l *Log) Reorder(disk []Stroke) (moved int, err error) {
	took := map[Stroke][]int{}
	for i, s := range disk {
		took[s] = append(took[s], i)
	}
	type place struct {
		before int // entry
		pos    int // in disk
		e      Entry
	}
	places := make([]place, len(l.Entries))
	newest := make([]int, len(l.Entries)) // up to each entry: what the disk took last
	last := -1
	var b []byte
	for i := range l.Entries {
		e := &l.Entries[i]
		places[i] = place{before: i, pos: math.MaxInt, e: *e} // behind what moves to before it
		if e.Writes() && e.Flags&(Discard|Flush) == 0 {
			if b, err = l.Data(i, b); err != nil {
				return 0, err
			}
			pos := position(took, Strokes(nil, e.Off, b))
			if pos >= 0 && e.Flags&FUA == 0 {
				if k := sort.SearchInts(newest[:i], pos+1); k < i {
					places[i].before, places[i].pos = k, pos
					moved++
				}
			}
			last = max(last, pos)
		}
		newest[i] = last
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.before, b.before), cmp.Compare(a.pos, b.pos))
	})
	for i, p := range places {
		l.Entries[i] = p.e
	}
	return moved, nil
}

// position is where the disk took a write: one of its sectors has contents that it took once only. -1:
// none has.
func position(took map[Stroke][]int, write []Stroke) int {
	for i, s := range write {
		if at := took[s]; len(at) == 1 {
			return at[0] - i
		}
	}
	return -1
}

// Compare holds what the log says against what the disk took, for every sector from the first write to
// the last. The contents in the end alone would not do: what stands in the wrong order and was written
// again later is wrong in between.
func (l *Log) Compare(disk []Stroke) (Disorder, error) {
	took := map[uint64][]uint64{}
	for _, s := range disk {
		took[s.Sector] = append(took[s.Sector], s.Sum)
	}
	says := map[uint64][]told{}
	var b []byte
	var ss []Stroke
	for i := range l.Entries {
		e := &l.Entries[i]
		if !e.Writes() || e.Flags&Discard != 0 {
			continue
		}
		var err error
		if b, err = l.Data(i, b); err != nil {
			return Disorder{}, err
		}
		ss = Strokes(ss[:0], e.Off, b)
		for _, s := range ss {
			says[s.Sector] = append(says[s.Sector], told{s.Sum, i})
		}
	}
	d := Disorder{Entry: -1, Sector: -1}
	for sector := range took {
		if says[sector] == nil {
			d.Missing++
		}
	}
	for sector, a := range says {
		d.sector(int64(sector), a, took[sector])
	}
	return d, nil
}

// sector counts one, what the log says of it against what it took.
func (d *Disorder) sector(at int64, says []told, took []uint64) {
	if len(says) != len(took) {
		d.Missing++
		return
	}
	changed := false
	for i, s := range says {
		if s.sum == took[i] {
			continue
		}
		if !slices.Contains(took, s.sum) && !slices.ContainsFunc(says, func(o told) bool { return o.sum == took[i] }) {
			changed = true
			continue
		}
		d.OutOfOrder++
		if last := len(says) - 1; says[last].sum != took[last] {
			d.Stale++
		}
		if d.Entry < 0 || s.entry < d.Entry || s.entry == d.Entry && at < d.Sector {
			d.Entry, d.Sector = s.entry, at
		}
		return
	}
	if changed {
		d.Changed++
	}
}
