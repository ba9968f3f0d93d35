package recovery

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/sim"
)

// state is what is left of one copy of a header.
type state int

const (
	whole  state = iota
	torn         // there, but its checksum is wrong
	zeros        // zeros: never written
	unread       // the sector cannot be read
)

func (s state) String() string { return [...]string{"whole", "torn", "zeros", "unreadable"}[s] }

// TestHeaderCopies: a region is unreadable when no copy at its beginning is whole and one of them
// cannot be read, whatever stands at its end: there may be an older batch's header, and taking that
// for the newest would take the older image of a page for the newest (I6). Torn headers alone are what a power
// cut leaves: no error.
func TestHeaderCopies(t *testing.T) {
	g := dwbstage.Geometry{Block: 4096, Batch: 64 << 10, Regions: 2}
	const region = 1
	newest, older := reclaim.Seq{Epoch: 3, Num: 4}, reclaim.Seq{Epoch: 3, Num: 2}
	for _, c := range []struct {
		first, second state
		refused       bool
	}{
		{whole, whole, false},
		{whole, torn, false},
		{whole, zeros, false},
		{whole, unread, false},
		{torn, whole, false},
		{torn, torn, false},
		{torn, zeros, false},
		{torn, unread, true},
		{zeros, whole, false},
		{zeros, torn, false},
		{zeros, zeros, false},
		{zeros, unread, true},
		{unread, whole, false},
		{unread, torn, true},
		{unread, zeros, true},
		{unread, unread, true},
	} {
		for _, last := range []state{whole, torn, zeros, unread} { // an older batch's
			d := leave(t, g, region, [...]state{c.first, c.second, last}, newest, older)
			f, err := d.FS().Open("dwb", fsys.OpenFlags{Direct: true})
			if err != nil {
				t.Fatal(err)
			}
			r := d.Ring()
			ev, err := Scan(context.Background(), Input{Ring: r, DWB: f, Geometry: g})
			if err := errors.Join(r.Close(), f.Close()); err != nil {
				t.Error(err)
			}
			if refused := errors.Is(err, ErrUnreadable); refused != c.refused || err != nil && !refused {
				t.Errorf("%v, %v, at the end %v: %v; refused is to be %v", c.first, c.second, last, err, c.refused)
			}
			if err != nil {
				continue
			}
			var want, got []reclaim.Seq
			if c.first == whole || c.second == whole {
				want = append(want, newest)
			}
			if last == whole {
				want = append(want, older)
			}
			ev.Heads(func(h *dwbstage.Header, _ bool) { got = append(got, h.Seq) })
			if !slices.Equal(got, want) {
				t.Errorf("%v, %v, at the end %v: batches %v, want %v", c.first, c.second, last, got, want)
			}
		}
	}
}

// leave makes a doublewrite file with these copies of a region's header: two of the newest batch, and
// an older one's at the end.
func leave(t *testing.T, g dwbstage.Geometry, region int, copies [3]state, newest, older reclaim.Seq) *sim.Disk {
	t.Helper()
	d := sim.New(sim.Config{Seed: 1})
	file := make([]byte, g.FileBytes())
	for k, at := range g.HeaderOffsets() {
		h := dwbstage.Header{Region: region, Seq: newest, F: older.Num, W: older,
			Slots: []dwbstage.Slot{{Page: page.ID{File: 1}, Len: page.MinSize}}}
		if k == 2 {
			h.Seq, h.F, h.W = older, 0, reclaim.Seq{Epoch: older.Epoch}
		}
		b := file[g.RegionOffset(region)+int64(at):][:g.Block]
		if copies[k] != zeros {
			h.Encode(b, g)
		}
		if copies[k] == torn {
			b[100] ^= 1
		}
	}
	if err := d.WriteFile("dwb", file); err != nil {
		t.Fatal(err)
	}
	for k, at := range g.HeaderOffsets() {
		if copies[k] != unread {
			continue
		}
		if err := d.FailReads("dwb", g.RegionOffset(region)+int64(at), 512); err != nil {
			t.Fatal(err)
		}
	}
	return d
}
