package recovery

import (
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// LostPage is what Input.Fetch is asked for: a page of which no image in the directory may be trusted.
type LostPage struct {
	Engine      dwbstage.EngineID
	File        string
	FileID      page.FileID
	Incarnation uint64
	Page        page.No
	PageSize    int // bytes
	Format      string
	// LSN and CRC (page.ImageCRC) are those of the newest copy that counts, by its batch's header. An
	// image is taken if it is that one, or if it is whole and its LSN is higher and in the log.
	LSN    page.LSN
	CRC    uint32
	Reason string // why it is lost
}

// Fetch brings the image of a lost page from elsewhere; nil without an error if nobody has one. The
// image is copied.
type Fetch func(ctx context.Context, lost LostPage) ([]byte, error)

// offer is what is known of an image from elsewhere.
type offer struct {
	crc  uint32
	err  error    // of the format's own check, with page number and incarnation
	lsn  page.LSN // if err is nil
	held bool     // the log durably holds what lsn stands for
}

// judge says whether an offer may stand in for the newest copy that counts, and whether it is that very
// image; the error says why it may not. ordered is whether copy, page and log count LSNs in one space
// that the page's format vouches for. It is pure.
func (o offer) judge(want Copy, detects, ordered bool) (same bool, err error) {
	switch {
	case o.err != nil:
		return false, o.err
	case o.crc == want.CRC && (!detects || o.lsn == want.LSN):
		return true, nil
	case !ordered || want.LSN == 0:
		return false, fmt.Errorf("CRC %08x, not the %08x of the newest copy, and there are no LSNs to compare", o.crc, want.CRC)
	case o.lsn < want.LSN:
		return false, fmt.Errorf("LSN %d is older than the newest copy's, %d", o.lsn, want.LSN)
	case o.lsn == want.LSN: // which of two images of one LSN is the newer one, nobody knows
		return false, fmt.Errorf("CRC %08x at LSN %d, where the newest copy has %08x", o.crc, o.lsn, want.CRC)
	case !o.held: // I3: such a page was never written here
		return false, fmt.Errorf("LSN %d is not in the log", o.lsn)
	}
	return false, nil
}

// fetch asks for a lost page. If what comes is taken, it changes the decision, and returns the image
// to install; else the decision's reason has why not.
//
// The very image that a header names is put into its slot, which was damaged: the region is rewritten
// and flushed first, as any region recovery uses, and a recovery that dies finds a valid slot. A newer
// one has no slot. Until the destination is flushed and the regions are retired it is in the caller's
// hands alone, and a recovery that died finds the page lost as before, and asks again (I8).
func (p *Plan) fetch(ctx context.Context, f *stages.File, ws []where, copies []Copy, d *Decision) (*fetchedPage, error) {
	if p.in.Fetch == nil || len(ws) == 0 { // without a header entry nothing could be proven
		return nil, nil
	}
	// Newer copies than the deciding one were never flushed, and count as never started (I6). Where
	// none decided, the newest of them may be what was acknowledged last.
	i := max(d.Copy, 0)
	want, slot := copies[i], p.slot(ws[i])
	no := ws[i].head.Slots[ws[i].slot].Page.No
	img, err := p.in.Fetch(ctx, LostPage{
		Engine: p.in.Engine, File: f.Called(), FileID: f.ID, Incarnation: f.Incarnation, Page: no,
		PageSize: f.PageSize, Format: f.Format.Name(), LSN: want.LSN, CRC: want.CRC, Reason: d.Reason,
	})
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	if err == nil && img == nil {
		d.Reason += "; nobody else has it"
		return nil, nil
	}
	x := &fetchedPage{}
	var o offer
	if err == nil {
		if len(img) != f.PageSize || len(slot) != f.PageSize {
			err = fmt.Errorf("%d bytes, not %d", len(img), f.PageSize)
		} else {
			o.crc = page.ImageCRC(img)
			o.lsn, o.err = f.Format.Check(img, f.Seed(no))
			o.held = p.in.Held != nil && p.in.Held(o.lsn)
			x.same, err = o.judge(want, f.Format.Detects(), want.SameLSN && !f.ForeignLSN)
		}
		if err != nil {
			err = fmt.Errorf("an image from elsewhere is refused: %w", err)
		}
	}
	if err != nil {
		d.Reason += "; " + err.Error()
		p.Report.Faults = append(p.Report.Faults, fmt.Sprintf("lost page %d of %s: %v", no, f.Called(), err))
		return nil, nil
	}
	if x.same {
		p.use[ws[i].head.region] = ws[i].head
		copy(slot, img)
		x.image = slot
		d.Reason += "; the image it names came from elsewhere"
	} else {
		x.image = append([]byte(nil), img...)
		d.Reason += "; a newer one came from elsewhere"
	}
	x.lsn = o.lsn
	d.Source = Fetched
	return x, nil
}

// fetchedPage is an image from elsewhere that is installed.
type fetchedPage struct {
	image []byte
	lsn   page.LSN
	same  bool
}
