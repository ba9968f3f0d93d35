package recovery

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// where finds a copy on the medium.
type where struct {
	head head
	slot int
}

// install is one destination to be written.
type install struct {
	file  *stages.File
	no    page.No
	image []byte // of a slot; nil = lost, or an image of the log
	crc   uint32 // of a destination that is written again
}

// Plan is what recovery will do. Making it changes nothing.
type Plan struct {
	in       Input
	ev       *Evidence
	use      map[int]head // regions to be rewritten, with the header that both ends get
	installs []install
	fromLog  map[page.LSN]install // page images, by where their records start
	again    []install            // destinations to be written as they are
	lanes    *lanes               // for reads until everything is decided, for writes then
	Report   *Report
}

// LostError names pages of which no image may be trusted.
type LostError struct{ Pages []Outcome }

// ErrLost is what a LostError matches.
var ErrLost = errors.New("page lost")

func (e *LostError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d pages lost:", len(e.Pages))
	for i, p := range e.Pages {
		if i == 8 {
			fmt.Fprintf(&b, " and %d more", len(e.Pages)-i)
			break
		}
		fmt.Fprintf(&b, " page %d of %s (%s);", p.Page, p.File, p.Reason)
	}
	return strings.TrimSuffix(b.String(), ";")
}

// Is makes errors.Is(err, ErrLost) hold.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// MakePlan reads slots and destinations and decides every page that a header above the watermark
// names. Pages that are lost are in the report; Apply refuses them unless told otherwise.
func MakePlan(ctx context.Context, in Input, ev *Evidence) (*Plan, error) {
	p := &Plan{in: in, ev: ev, use: map[int]head{}, fromLog: map[page.LSN]install{}, Report: &Report{
		Watermark: ev.W.String(), FlushedThrough: ev.F.String(), Faults: ev.Faults, DWBBytes: ev.Bytes,
	}}
	if in.Mutants.Has(stages.StaleCopy) {
		ev.W = reclaim.Seq{}
	}
	pages := map[page.ID][]where{}
	var order []page.ID
	for _, h := range ev.heads {
		if h.Seq.LE(ev.W) {
			continue
		}
		for i := range h.Slots {
			id := h.Slots[i].Page
			if pages[id] == nil {
				order = append(order, id)
			}
			pages[id] = append(pages[id], where{h, i})
		}
	}
	if in.Images != nil {
		p.Report.Images, p.Report.ImageBytes = in.Images.Records, in.Images.Bytes
		order = append(order, in.Images.others(func(id page.ID) bool { return pages[id] != nil })...)
	}
	p.lanes = newLanes(in.Ring, in.alloc, in.Geometry.Block)
	reads := p.lanes
	for _, id := range order {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, reads.drain())
		}
		f := in.File(id.File)
		if f == nil {
			p.Report.Ignored++ // a removed file: its slots name nothing any more
			continue
		}
		x, err := reads.next(f.PageSize)
		if err != nil {
			return nil, err
		}
		x.op = ring.Op{Kind: ring.Read, File: f.IO, Off: f.Offset(id.No), Buf: x.buf}
		x.then = func(x *lane) error { return p.decide(ctx, f, id, pages[id], x.op.Buf, x.op.Err) }
		reads.start(x)
	}
	return p, reads.drain()
}

// slot returns the bytes of a copy.
func (p *Plan) slot(w where) []byte {
	img := p.ev.images[w.head.region]
	off := w.head.SlotOffset(p.in.Geometry, w.slot)
	return img[off : off+int(w.head.Slots[w.slot].Len)]
}

func (p *Plan) copyOf(f *stages.File, w where) Copy {
	s := w.head.Slots[w.slot]
	c := Copy{
		Seq: w.head.Seq, LSN: s.LSN, CRC: s.CRC,
		SameLSN: f.Format.Detects() && f.ForeignLSN == (s.Flags&1 != 0),
	}
	b := p.slot(w)
	c.Valid = int(s.Len) == f.PageSize && page.ImageCRC(b) == s.CRC
	if c.Valid && f.Format.Detects() {
		// The image must be of this very page of this very file, with the LSN the header says.
		lsn, err := f.Format.Check(b, f.Seed(s.Page.No))
		c.Valid = err == nil && lsn == s.LSN
	}
	if p.in.Mutants.Has(stages.UnprovenCopy) {
		c.Valid = int(s.Len) == f.PageSize
	}
	return c
}

// decide decides one page. buf is what its place holds, unless reading it failed.
func (p *Plan) decide(ctx context.Context, f *stages.File, id page.ID, ws []where, buf []byte, err error) error {
	var dest Destination
	if err != nil {
		// Unreadable is damaged: a copy may still repair it, and a rewrite may heal the sector.
		p.Report.Faults = append(p.Report.Faults, err.Error())
		clear(buf)
	} else {
		dest.CRC = page.ImageCRC(buf)
		dest.LSN, err = f.Format.Check(buf, f.Seed(id.No))
		dest.Whole = err == nil
		if !dest.Whole && p.in.Mutants.Has(stages.LSNFirst) { // whatever the bytes after it are
			dest.LSN, dest.Whole = page.LSN(binary.LittleEndian.Uint64(buf[8:]))+1, true
		}
	}
	copies := make([]Copy, len(ws))
	for i, w := range ws {
		copies[i] = p.copyOf(f, w)
	}
	logged := p.in.Images.find(id)
	img := logged.image(f)
	d := Decide(copies, img, dest, p.ev.W, p.ev.F)
	var dwb, log choice
	shadow, class := p.in.Shadow != nil && p.in.Shadow(id.File), Equal
	if shadow {
		var history []imageKey
		if logged != nil {
			history = logged.history
		}
		dwb, log, class = compare(copies, img, history, dest, p.ev.W, p.ev.F)
		d = repair(dwb, log, p.in.ShadowLog)
	}
	var got *fetchedPage
	if d.Source == Lost {
		if got, err = p.fetch(ctx, f, ws, copies, &d); err != nil {
			return err
		}
	}
	out := Outcome{File: f.Called(), FileID: uint32(id.File), Page: uint64(id.No), Case: string(d.Case),
		Source: d.Source.String(), Reason: d.Reason, WasWhole: dest.Whole, WasLSN: uint64(dest.LSN)}
	if d.Copy >= 0 {
		out.Seq, out.LSN = copies[d.Copy].Seq.String(), uint64(copies[d.Copy].LSN)
	}
	if d.Source == FromImage || d.Source == Rewrite {
		out.LSN, out.ImageLSN = uint64(logged.lsn), uint64(logged.start)
	}
	if d.Source == Rewrite {
		out.LSN = uint64(dest.LSN)
	}
	if d.Source == Fetched {
		out.LSN = uint64(got.lsn)
	}
	p.Report.Pages = append(p.Report.Pages, out)
	if shadow {
		p.shadow().add(&out, dwb, log, class)
	}
	switch d.Source {
	case Lost:
		p.Report.Lost = append(p.Report.Lost, out)
		p.installs = append(p.installs, install{file: f, no: id.No})
	case Fetched:
		p.Report.Fetched++
		p.installs = append(p.installs, install{file: f, no: id.No, image: got.image})
	case FromSlot:
		if d.Case == 'C' && p.in.Mutants.Has(stages.RecoveryTrusts) {
			return nil
		}
		w := ws[d.Copy]
		p.use[w.head.region] = w.head
		p.installs = append(p.installs, install{file: f, no: id.No, image: p.slot(w)})
	case FromImage:
		if d.Case == 'J' && logged.crc == dest.CRC {
			p.Report.Same++
			if p.in.Mutants.Has(stages.RecoveryTrusts) {
				return nil
			}
		}
		p.fromLog[logged.start] = install{file: f, no: id.No}
	case Rewrite:
		if p.in.Mutants.Has(stages.RecoveryTrusts) {
			return nil
		}
		p.again = append(p.again, install{file: f, no: id.No, crc: dest.CRC})
	case Rebuild:
		if p.in.Mutants.Has(stages.RecoveryTrusts) {
			return nil
		}
		w := ws[d.Copy]
		p.use[w.head.region] = w.head
		copy(p.slot(w), buf)
		p.installs = append(p.installs, install{file: f, no: id.No, image: p.slot(w)})
	}
	if d.Source != Lost && dest.Whole && d.Case == 'C' {
		p.Report.Same++
	}
	return nil
}

func (p *Plan) shadow() *ShadowReport {
	if p.Report.Shadow == nil {
		p.Report.Shadow = &ShadowReport{Repaired: "doublewrite"}
		if p.in.ShadowLog {
			p.Report.Shadow.Repaired = "log"
		}
	}
	return p.Report.Shadow
}
