package inspect

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Slot is one page of a doublewrite batch: what the header says, and whether the bytes agree.
type Slot struct {
	Slot       int    `json:"slot"`
	File       string `json:"file"` // name, or "file N" where the catalogue has none
	FileID     uint32 `json:"file_id"`
	Page       uint64 `json:"page"`
	LSN        uint64 `json:"lsn"`
	CRC        string `json:"crc"`
	Bytes      int    `json:"bytes"`
	ForeignLSN bool   `json:"foreign_lsn,omitempty"`
	Matches    bool   `json:"matches"`
	Why        string `json:"why,omitempty"` // it does not
}

// DumpDWB describes every region with its slots. What a slot holds is compared with the newer of
// the region's headers, as recovery would, but nothing is decided.
func (d *Dir) DumpDWB(ctx context.Context) (*Summary, error) {
	s, err := d.Look(ctx)
	if err != nil || len(s.DWB.Regions) == 0 {
		return s, err
	}
	copies, _ := d.copies() // Look has reported
	st, _, _ := newest(copies)
	if st != nil {
		if log, err := d.peek(ctx, st); err == nil {
			if full, err := catalog(ctx, st, log); err == nil {
				st = full
			}
			if err := log.Close(); err != nil {
				return s, err
			}
		}
	}
	f, err := d.open(d.layout.DWB(), false)
	if err != nil {
		return s, err
	}
	defer f.Close()
	g := dwbstage.Geometry{Block: s.DWB.BlockBytes, Batch: s.DWB.BatchBytes,
		Regions: len(s.DWB.Regions)}
	id, err := d.dwbOwner(f, st)
	if err != nil {
		return s, err
	}
	w := reclaim.Seq{}
	regions := make([]*region, g.Regions)
	if st != nil {
		w = st.Watermark
	}
	for i := range regions {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		regions[i] = d.region(f, g, id, i)
		for _, h := range regions[i].heads {
			w = w.Max(h.W)
		}
	}
	for i, r := range regions {
		s.DWB.Regions[i] = r.describe(w)
		s.DWB.Regions[i].Slots = r.slots(g, st)
	}
	return s, nil
}

// dwbOwner is the engine that the doublewrite file has to belong to.
func (d *Dir) dwbOwner(f fsys.File, st *super.State) (dwbstage.EngineID, error) {
	if st != nil {
		return st.Engine, nil
	}
	b, err := d.read(f, 0, 1<<20)
	if err != nil {
		return dwbstage.EngineID{}, err
	}
	id, _, err := dwbstage.PeekFileHeader(b)
	return id, err
}

func (r *region) slots(g dwbstage.Geometry, st *super.State) []Slot {
	h := r.newest()
	if h == nil {
		return nil
	}
	out := make([]Slot, len(h.Slots))
	for k := range h.Slots {
		x := &h.Slots[k]
		off := h.SlotOffset(g, k)
		s := Slot{
			Slot: k, File: fmt.Sprintf("file %d", x.Page.File), FileID: uint32(x.Page.File),
			Page: uint64(x.Page.No),
			LSN:  uint64(x.LSN), CRC: fmt.Sprintf("%08x", x.CRC), Bytes: int(x.Len),
			ForeignLSN: x.Flags&dwbstage.FlagForeignLSN != 0,
		}
		var info *super.File
		if st != nil {
			info = st.ByID(x.Page.File)
		}
		if info != nil {
			s.File = info.Name
		}
		if err := matches(r.bytes[off:off+int(x.Len)], x, info); err != nil {
			s.Why = err.Error()
		} else {
			s.Matches = true
		}
		out[k] = s
	}
	return out
}

// matches checks an image against its header entry and, where the file is known, its format.
func matches(b []byte, x *dwbstage.Slot, info *super.File) error {
	if sum := page.ImageCRC(b); sum != x.CRC {
		return fmt.Errorf("the bytes have CRC %08x", sum)
	}
	if info == nil {
		return nil
	}
	f := page.FormatNamed(info.Format)
	if f == nil {
		return nil
	}
	lsn, err := f.Check(b, page.Seed{Incarnation: info.Incarnation, No: x.Page.No})
	if err == nil && lsn != x.LSN {
		err = fmt.Errorf("the page has LSN %d", lsn)
	}
	return err
}

// Record is one record of the log as DumpWAL shows it.
type Record struct {
	StartLSN uint64 `json:"start_lsn"`
	EndLSN   uint64 `json:"end_lsn"`
	Epoch    uint64 `json:"epoch"`
	Kind     string `json:"kind"` // "user", or what the engine recorded
	Bytes    int    `json:"bytes"`
	Segment  string `json:"segment"`
	GroupLSN uint64 `json:"group_lsn"`
	Group    int    `json:"group"`             // ordinal in this dump
	FileID   uint32 `json:"file_id,omitempty"` // of a record about a data file
	File     string `json:"file,omitempty"`    // its name, where it is known
	// Change tells what an engine record says.
	Change string `json:"change,omitempty"`
	// Cut: it is still there, and void.
	Cut  bool   `json:"cut,omitempty"`
	Data string `json:"data,omitempty"` // hex, as much as was asked for
}

// WALFilter says which records are wanted.
type WALFilter struct {
	From, To untorn.LSN // records that start in [From, To); To 0 = all
	// Kind is "", "user", "engine", or one of "create", "grow", "rename", "remove".
	Kind string
	// File is the name or the id of a data file: records about it. The caller's name none.
	File string
	// Data is how many bytes of each record's data to show; negative = all.
	Data int
}

// WALEnd says how a dump ended.
type WALEnd struct {
	EndLSN uint64 `json:"end_lsn"`
	Reason string `json:"reason"`
}

func (f *WALFilter) takes(r *Record) bool {
	if f.File != "" && (r.FileID == 0 || f.File != r.File && f.File != strconv.Itoa(int(r.FileID))) {
		return false
	}
	switch f.Kind {
	case "":
		return true
	case "engine":
		return r.Kind != "user"
	}
	return f.Kind == r.Kind
}

// ErrEmptyLog is a log without a sound segment header.
var ErrEmptyLog = errors.New("no segment of the log has a sound header")

// DumpWAL calls visit for each record that is wanted, from the beginning of the newest unbroken run
// of segments to the last whole group, until visit returns an error.
func (d *Dir) DumpWAL(ctx context.Context, f WALFilter, visit func(*Record) error) (*WALEnd,
	error) {
	from := f.From
	end := &WALEnd{}
	names := d.names()
	for try := 0; ; try++ {
		next, reason, err := d.dumpWAL(ctx, names, f, from, visit)
		if err != nil {
			return nil, err
		}
		end.EndLSN, end.Reason = uint64(next), "as far as was asked for"
		if reason == nil {
			return end, nil
		}
		end.Reason = reason.Error()
		if _, inUse := holder(d.layout.Lock(d.layout.Dir())); !inUse || try >= 2 {
			return end, nil
		}
		// A running engine may have been writing just there: look again before it is called the end.
		from = next
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// dumpWAL is one pass from an LSN on; it returns where it ended and why, nil = by request.
func (d *Dir) dumpWAL(ctx context.Context, names *fileNames, f WALFilter, from page.LSN,
	visit func(*Record) error) (page.LSN, error, error) {
	st, _, _ := d.newestState() // without super the segments tell whose they are
	log, err := d.peek(ctx, st)
	if err != nil {
		return 0, nil, err
	}
	defer log.Close()
	begin, ok := log.Begin()
	if !ok {
		return 0, nil, ErrEmptyLog
	}
	from = max(from, begin)
	var failed error
	end, reason, err := log.Walk(ctx, from, func(g *walstage.GroupHead) bool {
		names.groups++
		err := g.Each(func(r walstage.Record) bool {
			if r.Start < from {
				return true
			}
			if f.To != 0 && r.Start >= f.To {
				return false
			}
			x := names.record(r, f.Data)
			x.Segment, x.GroupLSN, x.Group, x.Cut = g.Segment, uint64(g.LSN), names.groups, log.Cut(&r)
			if f.takes(x) {
				failed = visit(x)
			}
			return failed == nil
		})
		failed = errors.Join(failed, err)
		return failed == nil && (f.To == 0 || g.Last < f.To)
	})
	return end, reason, errors.Join(failed, err)
}

// fileNames makes records for people, with the names that files have at that place of the log.
type fileNames struct {
	of     map[page.FileID]string
	groups int
}

func (d *Dir) names() *fileNames {
	n := &fileNames{of: map[page.FileID]string{}}
	st, _, _ := d.newestState()
	if st != nil {
		for i := range st.Files {
			n.of[st.Files[i].ID] = st.Files[i].Name
		}
	}
	return n
}

// newestState is the state that counts of super's copies.
func (d *Dir) newestState() (st *super.State, seq uint64, valid int) {
	copies, _ := d.copies()
	return newest(copies)
}

// record describes a record; show is how much of its data to show, negative = all.
func (n *fileNames) record(r walstage.Record, show int) *Record {
	x := &Record{
		StartLSN: uint64(r.Start), EndLSN: uint64(r.End), Epoch: r.Epoch, Kind: "user", Bytes: len(r.Data),
	}
	if r.Kind != 0 {
		n.describeChange(x, r)
	}
	if show < 0 {
		show = len(r.Data)
	}
	x.Data = hex.EncodeToString(r.Data[:min(show, len(r.Data))])
	return x
}

func (n *fileNames) describeChange(x *Record, r walstage.Record) {
	if r.Kind == pageimage.Kind {
		n.describeImage(x, r)
		return
	}
	x.Kind = fmt.Sprintf("engine(%d)", r.Kind)
	c, err := untorn.ParseCatalogChange(r.Kind, r.Data)
	if err != nil {
		x.Change = err.Error()
		return
	}
	if c.Op == "cut" {
		x.Kind = c.Op
		x.Change = fmt.Sprintf("records that start from LSN %d on and before %d are void", c.Cut.From, c.Cut.To)
		return
	}
	x.Kind, x.FileID, x.File = c.Op, uint32(c.File.ID), c.File.Name
	n.of[c.File.ID] = c.File.Name
	x.Change = fmt.Sprintf("file %d (%s), %d pages of %d bytes, mode %s", c.File.ID, c.File.Name,
		c.File.Pages, c.File.PageSize, c.File.Mode)
}

func (n *fileNames) describeImage(x *Record, r walstage.Record) {
	x.Kind = "image"
	m, err := pageimage.Decode(r.Data)
	if err != nil {
		x.Change = err.Error()
		return
	}
	x.FileID, x.File = uint32(m.Page.File), n.of[m.Page.File]
	x.Change = fmt.Sprintf("page %s, LSN %d, CRC %08x, %d of %d bytes stored, hole of %d, codec %d", m.Page,
		m.LSN, m.CRC, m.Stored(), m.Len, m.HoleLen, m.Codec)
}
