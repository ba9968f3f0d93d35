package inspect

import (
	"slices"

	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/reclaim"
)

// region is a doublewrite region as read. Two valid headers of different batches are both kept: it
// was being written.
type region struct {
	index               int
	front, second, back string
	heads               []*dwbstage.Header
	bytes               []byte
}

// region reads a region, headers and slots.
func (d *Dir) region(f fsys.File, g dwbstage.Geometry, id dwbstage.EngineID, i int) *region {
	r := &region{index: i}
	img, err := d.read(f, g.RegionOffset(i), g.RegionBytes())
	if err != nil {
		r.front, r.second, r.back = err.Error(), "not read", "not read"
		return r
	}
	if int64(len(img)) < g.RegionBytes() {
		const short = "the file ends before"
		r.front, r.second, r.back = short, short, short
		return r
	}
	r.bytes = img
	says := [...]*string{&r.front, &r.second, &r.back}
	for k, at := range g.HeaderOffsets() {
		block := img[at : at+g.Block]
		h, err := dwbstage.Decode(block, g, id, i)
		switch {
		case err != nil && blank(block):
			*says[k] = "blank"
			continue
		case err != nil:
			*says[k] = err.Error()
			continue
		case len(r.heads) > 0 && h.Seq != r.heads[0].Seq:
			*says[k] = "ok, of batch " + h.Seq.String()
		default:
			*says[k] = "ok"
		}
		if !slices.ContainsFunc(r.heads, func(x *dwbstage.Header) bool { return x.Seq == h.Seq }) {
			r.heads = append(r.heads, h)
		}
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
	x := Region{Region: r.index, Front: r.front, Second: r.second, Back: r.back}
	if h := r.newest(); h != nil {
		x.Seq, x.F, x.W, x.Pages, x.Above = h.Seq.String(), h.F, h.W.String(), len(h.Slots),
			!h.Seq.LE(w)
	}
	return x
}
