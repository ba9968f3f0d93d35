package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Input is what recovery works on.
type Input struct {
	Ring      ring.Ring
	DWB       ring.File
	Geometry  dwbstage.Geometry
	Engine    dwbstage.EngineID
	Watermark reclaim.Seq // super's, and the log's
	// File finds an open data file; nil for one that has been removed: its slots are ignored.
	File func(page.FileID) *stages.File
	// Images are the log's page images, Records reads them again. The log is repaired and durable when
	// Apply is called. nil = there are none.
	Images *Logged
	// Shadow are the files in mode shadow, ShadowLog that they are repaired from the log.
	Shadow    func(page.FileID) bool
	ShadowLog bool
	Records   Records
	// Fetch is asked for pages that are lost; nil = nobody is. Held says whether the log durably holds
	// the records through an LSN, when recovery is over.
	Fetch   Fetch
	Held    func(page.LSN) bool
	Alloc   func(n, align int) []byte // where buffers come from; nil = the heap
	Mutants stages.Mutant
}

func (in *Input) alloc(n, align int) []byte {
	if in.Alloc != nil {
		return in.Alloc(n, align)
	}
	return aligned.Alloc(n, align)
}

// head is one valid header of a region. The two of a region usually are the same.
type head struct {
	*dwbstage.Header
	region int
}

// Evidence is what the doublewrite file says.
type Evidence struct {
	W, F    reclaim.Seq
	heads   []head
	images  [][]byte // of whole regions, by index; nil where no header counts
	Faults  []string // what could not be read or did not check
	Regions int
	Bytes   int64 // read
}

// ErrMissing is a flushed batch whose region holds no header of it any more (ErrDWBMissing).
var ErrMissing = errors.New("a flushed doublewrite batch is missing")

// ErrUnreadable is a region neither of whose headers can be read: it may hold anything.
var ErrUnreadable = errors.New("doublewrite region cannot be read")

// Scan reads all headers and the regions that count.
func Scan(ctx context.Context, in Input) (*Evidence, error) {
	g := in.Geometry
	ev := &Evidence{W: in.Watermark, images: make([][]byte, g.Regions), Regions: g.Regions}
	if err := ev.scanRegions(ctx, in); err != nil {
		return nil, err
	}
	have := map[reclaim.Seq]bool{}
	for _, h := range ev.heads {
		have[h.Seq] = true
		ev.W = ev.W.Max(h.W)
		ev.F = ev.F.Max(reclaim.Seq{Epoch: h.Seq.Epoch, Num: h.F})
	}
	// I6: every flushed batch above the watermark must still be named.
	if ev.W.Epoch <= ev.F.Epoch {
		from := uint64(1)
		if ev.W.Epoch == ev.F.Epoch {
			from = ev.W.Num + 1
		}
		if from <= ev.F.Num && ev.F.Num-from >= uint64(g.Regions) {
			return nil, fmt.Errorf("%w: %d batches between watermark %s and flushed-through %s, only %d regions",
				ErrMissing, ev.F.Num-from+1, ev.W, ev.F, g.Regions)
		}
		for n := from; n <= ev.F.Num; n++ {
			if q := (reclaim.Seq{Epoch: ev.F.Epoch, Num: n}); !have[q] {
				return nil, fmt.Errorf("%w: sequence %s, watermark %s, flushed-through %s", ErrMissing, q, ev.W, ev.F)
			}
		}
	}
	sort.SliceStable(ev.heads, func(i, j int) bool { return !ev.heads[i].Seq.LE(ev.heads[j].Seq) })
	return ev, nil
}

// scanAhead is how many regions are being read while one is looked at.
const scanAhead = 4

func (ev *Evidence) scanRegions(ctx context.Context, in Input) error {
	g := in.Geometry
	var ops [scanAhead]ring.Op
	var done [scanAhead]chan *ring.Op
	for k := range done {
		done[k] = make(chan *ring.Op, 1)
	}
	next := 0
	ahead := func() {
		if next < g.Regions {
			k := next % scanAhead
			ops[k] = ring.Op{
				Kind: ring.Read, File: in.DWB, Off: g.RegionOffset(next),
				Buf: in.alloc(int(g.RegionBytes()), g.Block), Done: done[k],
			}
			in.Ring.Submit(&ops[k])
			next++
		}
	}
	for range scanAhead {
		ahead()
	}
	var err error
	for i := range g.Regions {
		if i == next { // nothing more was asked for: there is an error
			break
		}
		op := <-done[i%scanAhead] // also after an error: the memory is the kernel's until then
		if err = cmp.Or(err, ctx.Err()); err != nil {
			continue
		}
		if err = ev.scanRegion(in, i, op.Buf, op.Err); err == nil {
			ahead()
		}
	}
	return err
}

// scanRegion looks at region i as it was read into img, or read again if that failed.
func (ev *Evidence) scanRegion(in Input, i int, img []byte, failed error) error {
	g := in.Geometry
	off := g.RegionOffset(i)
	var unread []int // blocks
	if failed != nil {
		// One bad sector must not hide the rest: read block by block.
		ev.Faults = append(ev.Faults, failed.Error())
		clear(img)
		for b := 0; b < len(img); b += g.Block {
			if in.Ring.Do(&ring.Op{Kind: ring.Read, File: in.DWB, Off: off + int64(b), Buf: img[b : b+g.Block]}) != nil {
				clear(img[b : b+g.Block])
				unread = append(unread, b)
			}
		}
	}
	ev.Bytes += int64(len(img))
	// Where a batch does not fill its region, the last copy is an older batch's, or was never written.
	var heads []*dwbstage.Header
	var faults []error
	front := false // one of the two at the beginning is whole
	for _, at := range g.HeaderOffsets() {
		block := img[at : at+g.Block]
		h, err := dwbstage.Decode(block, g, in.Engine, i)
		switch {
		case err == nil:
			front = front || at < g.SlotsOffset()
			if !slices.ContainsFunc(heads, func(x *dwbstage.Header) bool { return x.Seq == h.Seq }) {
				heads = append(heads, h)
			}
		case !blank(block):
			faults = append(faults, fmt.Errorf("header at %d: %w", at, err))
		}
	}
	// A read error is not a torn header: with every copy of the newest gone, one of them to a read
	// error, what this region holds is not known. A copy at the end may be an older batch's.
	if !front && (slices.Contains(unread, 0) || slices.Contains(unread, g.Block)) {
		return fmt.Errorf("%w: region %d", ErrUnreadable, i)
	}
	if len(heads) == 0 {
		return nil // blank, or a batch that never became whole
	}
	for _, err := range faults {
		ev.Faults = append(ev.Faults, err.Error())
	}
	for _, h := range heads {
		ev.heads = append(ev.heads, head{h, i})
	}
	ev.images[i] = img
	return nil
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// LSNs are the page LSNs that batches above the watermark prove the log durable through, by I3.
// LSN 0 and foreign LSN spaces prove nothing.
func (ev *Evidence) LSNs(each func(epoch uint64, lsn page.LSN, seq reclaim.Seq)) {
	for _, h := range ev.heads {
		if h.Seq.LE(ev.W) {
			continue
		}
		for i := range h.Slots {
			if s := &h.Slots[i]; s.LSN != 0 && s.Flags&dwbstage.FlagForeignLSN == 0 {
				each(h.Seq.Epoch, s.LSN, h.Seq)
			}
		}
	}
}

// Heads calls each for every header that counts, newest first.
func (ev *Evidence) Heads(each func(h *dwbstage.Header, aboveWatermark bool)) {
	for _, h := range ev.heads {
		each(h.Header, !h.Seq.LE(ev.W))
	}
}

// Raise applies a watermark learnt from elsewhere: the log's groups carry it too (I7).
func (ev *Evidence) Raise(w reclaim.Seq) { ev.W = ev.W.Max(w) }
