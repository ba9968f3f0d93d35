package inspect

import (
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/reclaim"
)

// region is a doublewrite region as read. Two valid headers of different batches are both kept: it
// was being written.
type region struct {
	index       int
	front, back string
	heads       []*dwbstage.Header
	bytes       []byte
}

// region reads a region, headers and slots.
func (d *Dir) region(f fsys.File, g dwbstage.Geometry, id dwbstage.EngineID, i int) *region {
	r := &region{index: i}
	img, err := d.read(f, g.RegionOffset(i), g.RegionBytes())
	if err != nil {
		r.front, r.back = err.Error(), "not read"
		return r
	}
	if int64(len(img)) < g.RegionBytes() {
		r.front, r.back = "the file ends before", "the file ends before"
		return r
	}
	r.bytes = img
	read := func(b []byte) (*dwbstage.Header, string) {
		h, err := dwbstage.Decode(b, g, id, i)
		switch {
		case err == nil:
			return h, "ok"
		case blank(b):
			return nil, "blank"
		}
		return nil, err.Error()
	}
	var front, back *dwbstage.Header
	front, r.front = read(img[:g.Block])
	back, r.back = read(img[len(img)-g.Block:])
	if front != nil {
		r.heads = append(r.heads, front)
	}
	if back != nil && (front == nil || front.Seq != back.Seq) {
		r.heads = append(r.heads, back)
	}
	return r
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// newest is the header of the later batch, nil if there is none.
func (r *region) newest() *dwbstage.Header {
	var n *dwbstage.Header
	for _, h := range r.heads {
		if n == nil || n.Seq.LE(h.Seq) {
			n = h
		}
	}
	return n
}

func (r *region) describe(w reclaim.Seq) Region {
	x := Region{Region: r.index, Front: r.front, Back: r.back}
	if h := r.newest(); h != nil {
		x.Seq, x.F, x.W, x.Pages, x.Above = h.Seq.String(), h.F, h.W.String(), len(h.Slots),
			!h.Seq.LE(w)
	}
	return x
}
