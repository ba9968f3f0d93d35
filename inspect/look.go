package inspect

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Summary is what is in a directory.
type Summary struct {
	Schema int    `json:"schema"`
	Dir    string `json:"dir"`
	// Health is one line; OK is false when the next open would be refused.
	Health string `json:"health"`
	OK     bool   `json:"ok"`
	// Problems keep the directory from being opened; Notes do not.
	Problems []string `json:"problems"`
	Notes    []string `json:"notes"`
	InUse    bool     `json:"in_use"`
	PID      int      `json:"pid,omitempty"` // of the process that has it open, if that can be seen

	Super []SuperCopy `json:"super"`
	State *State      `json:"state"` // of the newest valid copy
	Log   Log         `json:"log"`
	DWB   DWB         `json:"doublewrite"`
	Files []File      `json:"files"`
}

// SuperCopy is one copy of super.
type SuperCopy struct {
	Copy     int    `json:"copy"`
	Valid    bool   `json:"valid"`
	Sequence uint64 `json:"sequence,omitempty"`
	Epoch    uint64 `json:"epoch,omitempty"`
	Why      string `json:"why,omitempty"` // not valid
}

// State is what super says.
type State struct {
	EngineID      string `json:"engine_id"`
	CreatedUnix   int64  `json:"created_unix_seconds"`
	BlockBytes    int    `json:"block_bytes"`
	Epoch         uint64 `json:"epoch"`
	Clean         bool   `json:"clean"`
	Recoveries    uint32 `json:"recoveries_begun"`
	RecoveringLSN uint64 `json:"recovering_lsn,omitempty"`
	Watermark     string `json:"watermark"`
	DurableEpoch  uint64 `json:"durable_epoch"`
	DurableLSN    uint64 `json:"durable_lsn"`
	RedoEpoch     uint64 `json:"checkpoint_epoch"`
	RedoLSN       uint64 `json:"checkpoint_redo_lsn"`
	CatalogLSN    uint64 `json:"catalogue_lsn"`
	Checkpoint    uint64 `json:"checkpoint"`
	PayloadBytes  int    `json:"payload_bytes"`
	NextFile      uint32 `json:"next_file"`
	SegmentBytes  int64  `json:"segment_bytes"`
}

func stateOf(st *super.State) *State {
	return &State{
		EngineID: hex.EncodeToString(st.Engine[:]), CreatedUnix: st.Created, BlockBytes: st.Block,
		Epoch: st.Epoch, Clean: st.Clean, Recoveries: st.Recoveries,
		RecoveringLSN: uint64(st.Recovering),
		Watermark:     st.Watermark.String(), DurableEpoch: st.Durable.Epoch,
		DurableLSN: uint64(st.Durable.LSN),
		RedoEpoch:  st.Redo.Epoch, RedoLSN: uint64(st.Redo.LSN), CatalogLSN: uint64(st.CatalogLSN),
		Checkpoint: st.Stamp.Checkpoint, PayloadBytes: len(st.Payload),
		NextFile:     uint32(st.NextFile),
		SegmentBytes: st.LogSegment,
	}
}

func (s *Summary) problem(format string, a ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, a...))
}

func (s *Summary) note(format string, a ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, a...))
}

// Look describes the directory. The error is of ctx alone: everything else is in the summary.
func (d *Dir) Look(ctx context.Context) (*Summary, error) {
	return again(ctx, func() (*Summary, bool) {
		s := d.look(ctx)
		return s, len(s.Problems) == 0
	})
}

func (d *Dir) look(ctx context.Context) *Summary {
	s := &Summary{Schema: 1, Dir: d.layout.Dir(), Problems: []string{}, Notes: []string{},
		Files: []File{}}
	s.PID, s.InUse = holder(d.layout.Lock(d.layout.Dir()))
	if _, err := d.fs.Stat(d.layout.NewID()); err == nil {
		s.problem("%v", untorn.ErrNewIDUnfinished)
	}
	st := d.lookSuper(s)
	if st != nil {
		s.State = stateOf(st)
	}
	log := d.lookLog(ctx, s, st)
	d.lookDWB(s, st)
	if st != nil {
		d.lookFiles(ctx, s, st, log)
	}
	if log != nil {
		if err := log.Close(); err != nil {
			s.note("%v", err)
		}
	}
	s.judge(st)
	return s
}

func (d *Dir) lookSuper(s *Summary) *super.State {
	copies, err := d.copies()
	if err != nil {
		if _, uerr := d.fs.Stat(d.layout.Unfinished()); gone(err) && uerr == nil {
			s.note("the creation of this directory never finished; the next open begins anew")
			return nil
		}
		s.problem("super cannot be read: %v; see untornctl rebuild-super", err)
		return nil
	}
	seen := map[uint64]*super.State{}
	for _, c := range copies {
		x := SuperCopy{Copy: c.Index, Valid: c.State != nil, Sequence: c.Seq}
		if c.State != nil {
			x.Epoch = c.State.Epoch
			if o := seen[c.Seq]; o != nil && fmt.Sprint(*o) != fmt.Sprint(*c.State) {
				s.problem("super copy %d has sequence %d and disagrees with another of that sequence",
					c.Index, c.Seq)
			}
			seen[c.Seq] = c.State
		} else {
			x.Why = c.Err.Error()
			s.note("super copy %d: %v", c.Index, c.Err)
		}
		s.Super = append(s.Super, x)
	}
	st, _, valid := newest(copies)
	if valid < 2 {
		s.problem("%d of %d copies of super are valid, an open wants two; see untornctl rebuild-super",
			valid, super.Copies)
	}
	return st
}

// judge writes the health line.
func (s *Summary) judge(st *super.State) {
	s.OK = len(s.Problems) == 0
	switch {
	case !s.OK:
		s.Health = "broken: " + s.Problems[0]
		if n := len(s.Problems) - 1; n > 0 {
			s.Health += fmt.Sprintf(" (and %d more)", n)
		}
	case st == nil:
		s.Health = "not made yet: " + strings.Join(s.Notes, "; ")
	case s.InUse && s.PID > 0:
		s.Health = fmt.Sprintf("in use by process %d", s.PID)
	case s.InUse:
		s.Health = "in use by a process that cannot be seen from here"
	case st.Clean:
		s.Health = "closed in order; nothing to recover"
	default:
		s.Health = fmt.Sprintf("not closed in order: the next open recovers (%d doublewrite batches above the watermark)",
			s.DWB.Above)
		if st.Recoveries > 0 {
			s.Health += fmt.Sprintf("; %d recoveries were begun and have not finished",
				st.Recoveries)
		}
	}
}

// Log is the log directory.
type Log struct {
	Dir      string    `json:"dir"`
	Segments []Segment `json:"segments"`
	// BeginLSN is where the unbroken run of segments begins, EndLSN where the last whole group ends.
	BeginLSN   uint64 `json:"begin_lsn"`
	EndLSN     uint64 `json:"end_lsn"`
	LastRecord uint64 `json:"last_record_end_lsn"`
	Epoch      uint64 `json:"epoch"`
	Groups     int    `json:"groups"`
	Records    int    `json:"records"`
	Durable    uint64 `json:"durable_lsn_in_groups"`
	Watermark  string `json:"watermark_in_groups,omitempty"`
	EndReason  string `json:"end_reason,omitempty"`
	// Headers is the ring of copies of group headers, if there is one.
	Headers *Headers `json:"header_ring,omitempty"`
	// Cuts are ranges of LSNs without records.
	Cuts []Cut `json:"cuts,omitempty"`
}

// Headers is the ring of copies of group headers.
type Headers struct {
	Copies  int    `json:"copies"`
	Newest  uint64 `json:"newest"`
	Durable uint64 `json:"durable_lsn"` // the log had been durable through here, by the newest
	Epoch   uint64 `json:"epoch"`
}

// Cut is a range of LSNs without records: those that start from From on and before To are void.
type Cut struct {
	From    uint64 `json:"from_lsn"`
	To      uint64 `json:"to_lsn"`
	GivenUp bool   `json:"given_up"` // the log was corrupt; else the caller cut it
}

// judgeHeaders holds what the log was seen to end with against the copies read before: a running
// engine may have added to it since, never taken away.
func (s *Summary) judgeHeaders(list []walstage.HeaderCopy) {
	if len(list) == 0 {
		return
	}
	h := list[len(list)-1]
	s.Log.Headers = &Headers{len(list), h.Number, uint64(h.Durable), h.Group.Epoch}
	if l := &s.Log; uint64(h.Durable) > l.LastRecord && h.Group.Epoch >= l.Epoch {
		s.problem("the last record of the log ends at LSN %d; copy %d in the ring of headers says that a group of %d records was there, through %d",
			l.LastRecord, h.Number, h.Group.Records, h.Durable)
	}
}

// Segment is one file of the log.
type Segment struct {
	Name     string `json:"name"`
	Bytes    int64  `json:"bytes"`
	FirstLSN uint64 `json:"first_lsn"`
	Epoch    uint64 `json:"epoch"`
	Groups   int    `json:"groups"`
	Why      string `json:"why,omitempty"` // it counts as empty
}

func (d *Dir) lookLog(ctx context.Context, s *Summary, st *super.State) *walstage.Peek {
	s.Log.Dir = d.layout.Log()
	log, err := d.peek(ctx, st)
	if err != nil {
		s.problem("the log cannot be read: %v", err)
		return nil
	}
	at := map[string]int{}
	for _, h := range log.Segments() {
		x := Segment{Name: h.Name, Bytes: h.Bytes, FirstLSN: uint64(h.First), Epoch: h.Epoch}
		if h.Err != nil {
			x.Why = h.Err.Error()
			if errors.Is(h.Err, walstage.ErrForeign) {
				s.problem("log segment %s belongs to another engine", h.Name)
			}
		}
		at[h.Name] = len(s.Log.Segments)
		s.Log.Segments = append(s.Log.Segments, x)
	}
	begin, ok := log.Begin()
	if !ok {
		s.problem("the log has no segment with a sound header")
		return log
	}
	// Without super the whole run is shown; with it, what the next open reads.
	from := begin
	if st != nil {
		from = max(begin, min(st.Redo.LSN, st.CatalogLSN))
	}
	l := &s.Log
	if st != nil {
		for _, c := range st.Cuts {
			l.Cuts = append(l.Cuts, Cut{uint64(c.From), uint64(c.To), c.Given != 0})
		}
	}
	copies, err := log.Headers()
	if err != nil {
		s.problem("the ring of log headers cannot be read: %v", err)
	}
	defer func() { s.judgeHeaders(copies) }()
	l.BeginLSN = uint64(begin)
	var mark walstage.Watermark
	end, reason, err := log.Walk(ctx, from, func(g *walstage.GroupHead) bool {
		l.Groups++
		l.Records += g.Records
		l.Segments[at[g.Segment]].Groups++
		l.LastRecord, l.Epoch, l.Durable, mark = uint64(g.Last), g.Epoch, uint64(g.Durable), g.Mark
		return true
	})
	if mark != (walstage.Watermark{}) {
		l.Watermark = reclaim.Seq{Epoch: mark.Epoch, Num: mark.Num}.String()
	}
	l.EndLSN = uint64(end)
	if reason != nil {
		l.EndReason = reason.Error()
	}
	if err != nil {
		s.problem("the log cannot be read from LSN %d on: %v", end, err)
	}
	if st != nil && st.Durable.LSN > end && st.Durable.Epoch >= l.Epoch {
		s.problem("the log ends at LSN %d (%v); super says that it was durable through %d", end,
			reason, st.Durable.LSN)
	}
	return log
}

// DWB is the doublewrite file.
type DWB struct {
	File       string   `json:"file"`
	BlockBytes int      `json:"block_bytes"`
	BatchBytes int      `json:"batch_bytes"`
	Regions    []Region `json:"regions"`
	// Above is the number of batches above the watermark: what recovery has to look at.
	Above int `json:"batches_above_watermark"`
}

// Region is one region and what the copies of its header say.
type Region struct {
	Region int    `json:"region"`
	Front  string `json:"front"` // "ok", "blank", or what is wrong
	Second string `json:"second"`
	Back   string `json:"back"` // written only where the batch fills the region
	Seq    string `json:"sequence,omitempty"`
	F      uint64 `json:"flushed_through,omitempty"`
	W      string `json:"watermark,omitempty"`
	Pages  int    `json:"pages"`
	Above  bool   `json:"above_watermark"`
	Slots  []Slot `json:"slots,omitempty"` // DumpDWB
}

func (d *Dir) lookDWB(s *Summary, st *super.State) {
	s.DWB.File = d.layout.DWB()
	f, err := d.open(d.layout.DWB(), false)
	if err != nil {
		s.problem("the doublewrite file cannot be read: %v", err)
		return
	}
	defer f.Close()
	head, err := d.read(f, 0, 1<<20)
	if err != nil {
		s.problem("%v", err)
		return
	}
	id, g, err := dwbstage.PeekFileHeader(head)
	switch {
	case err != nil && st == nil:
		s.note("doublewrite file header: %v", err)
		return
	case err != nil:
		s.note("doublewrite file header: %v; super has the geometry", err)
		id, g = st.Engine, untorn.DWBGeometry(st)
	case st != nil && id != st.Engine:
		s.problem("the doublewrite file belongs to another engine")
		return
	case st != nil && g != untorn.DWBGeometry(st):
		s.note("the doublewrite file says %+v, super %+v", g, untorn.DWBGeometry(st))
		g = untorn.DWBGeometry(st)
	}
	if size, err := f.Size(); err != nil || size < g.FileBytes() {
		s.problem("the doublewrite file has %d bytes of %d", size, g.FileBytes())
	}
	s.DWB.BlockBytes, s.DWB.BatchBytes = g.Block, g.Batch
	var w reclaim.Seq
	if st != nil {
		w = st.Watermark
	}
	regions := make([]*region, g.Regions)
	for i := range regions {
		regions[i] = d.region(f, g, id, i)
		for _, h := range regions[i].heads {
			w = w.Max(h.W)
		}
	}
	for _, r := range regions {
		x := r.describe(w)
		if x.Above {
			s.DWB.Above++
		}
		s.DWB.Regions = append(s.DWB.Regions, x)
	}
}
