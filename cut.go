package untorn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// ErrCut: the record, or what a page was made from, was cut off with TruncateAfter.
var ErrCut = walstage.ErrCut

// ErrCutRefused: the log cannot be cut there, because something that was accepted relies on what
// would be gone.
var ErrCutRefused = errors.New("the log cannot be cut there")

// Status says what became of the record that starts at an LSN.
type Status = walstage.Status

// TruncateAfter cuts off the caller's records that start at lsn or behind it, as a Raft log does when
// its tail loses an election. lsn is the end of the last record that stays. When it returns nil the cut
// is durable: no open, reader or subscriber will see those records again, Status calls them cut off, and
// new records get LSNs above every one ever issued, so there is a gap. A crash on the way leaves the
// log whole or cut, nothing between.
//
// It is refused (ErrCutRefused) if a page with an LSN above lsn, or a checkpoint with a redo above it,
// was ever accepted: their history would be gone. After a crash that is not known page by page, and a
// directory that has files with LSNs of this log counts as having pages up to the log's end. The
// engine's own records (files made, grown, ...) are not cut, and neither is what is appended meanwhile.
// What subscribers were handed already, and what an archive has, they keep.
func (e *Engine) TruncateAfter(ctx context.Context, lsn page.LSN) error {
	fail := func(err error) error { return &Error{Op: "truncate after", LSN: lsn, Err: err} }
	if err := e.enter(true); err != nil {
		return fail(err)
	}
	defer e.gate.leave()
	e.ddl.Lock() // no checkpoint comes between
	defer e.ddl.Unlock()
	st := e.current()
	switch {
	case lsn < st.Redo.LSN:
		return fail(fmt.Errorf("%w: the last checkpoint's redo is %d", ErrCutRefused, st.Redo.LSN))
	case len(st.Cuts) >= super.MaxCuts:
		return fail(fmt.Errorf("%w: there are %d cuts already; a checkpoint forgets those it passes", ErrCutRefused, len(st.Cuts)))
	}
	// From here on a page above the cut is refused, and one accepted before is seen here.
	before := e.cutList()
	refuse := append(before[:len(before):len(before)], walstage.Cut{From: lsn, To: math.MaxUint64})
	e.cuts.Store(&refuse)
	after := before
	defer func() { e.cuts.Store(&after) }()
	if top := page.LSN(e.topPage.Load()); top > lsn {
		return fail(fmt.Errorf("%w: a page with LSN %d was accepted", ErrCutRefused, top))
	}
	made := walstage.Cut{}
	err := e.log.TruncateAfter(ctx, lsn, func(c walstage.Cut) error {
		err := e.update(func(s *super.State) {
			s.Cuts = append(s.Cuts[:len(s.Cuts):len(s.Cuts)], super.Cut(c))
		})
		if err == nil {
			after = append(before[:len(before):len(before)], c)
			made = c
		}
		return err
	})
	if err == nil && made.To != 0 {
		err = e.recordCuts(ctx, []super.Cut{super.Cut(made)})
	}
	if err != nil {
		return e.logError("truncate after", lsn, err)
	}
	return nil
}

// recordCuts says in the log too what was cut off: a restore from an archive has no super of later than
// its backup. The cut holds without it; an open records again what super has, so it is missing at most
// in an archive whose engine never came back. A full log leaves it to the next open.
func (e *Engine) recordCuts(ctx context.Context, cuts []super.Cut) error {
	var end page.LSN
	for i := range cuts {
		b, err := json.Marshal(catalogRecord{Cut: &cuts[i]})
		if err == nil {
			_, end, err = e.log.Append(recordCut, b)
		}
		if errors.Is(err, walstage.ErrLogFull) {
			e.o.Logger.Warn("a cut of the log is in super, and not yet in the log, which is full", "from", cuts[i].From)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return e.log.WaitDurable(ctx, end)
}

// Status says what became of the record that starts at lsn: present, pending, never there, cut off, let
// go by a checkpoint, or was durable and is lost. The error says why it is lost, or why nobody can
// tell.
func (e *Engine) Status(ctx context.Context, lsn page.LSN) (Status, error) {
	if err := e.enter(false); err != nil {
		return walstage.StatusUnknown, &Error{Op: "status", LSN: lsn, Err: err}
	}
	defer e.gate.leave()
	ask := e.walDir.Status
	if e.log != nil {
		ask = e.log.Status
	}
	s, err := ask(ctx, lsn)
	if err != nil {
		err = e.logError("status", lsn, err)
	}
	return s, err
}

func (e *Engine) cutList() []walstage.Cut {
	if p := e.cuts.Load(); p != nil {
		return *p
	}
	return nil
}

// acceptLSN remembers the highest LSN of all pages: TruncateAfter looks at it after it has begun to
// refuse, so that cutOff is asked afterwards.
func (e *Engine) acceptLSN(top page.LSN) {
	for have := e.topPage.Load(); uint64(top) > have; have = e.topPage.Load() {
		if e.topPage.CompareAndSwap(have, uint64(top)) {
			break
		}
	}
}

// cutOff reports whether a page was made from a record that was cut off.
func cutOff(cuts []walstage.Cut, lsn page.LSN) bool {
	for _, c := range cuts {
		if lsn > c.From && lsn <= c.To {
			return true
		}
	}
	return false
}

// setCuts takes over what super says, and how high the LSNs of pages may be: known after an orderly
// close, else as high as the log if any file has LSNs of it.
func (e *Engine) setCuts(st *super.State, clean bool, last page.LSN) {
	list := logCuts(st)
	e.cuts.Store(&list)
	top := st.PageLSN
	for i := range st.Files {
		if !clean && !st.Files[i].ForeignLSN {
			top = max(top, last)
		}
	}
	e.topPage.Store(uint64(top))
}

// LogCuts are the cuts of the log as super has them. It is for tools, like Layout.
func LogCuts(st *super.State) []walstage.Cut { return logCuts(st) }

func logCuts(st *super.State) []walstage.Cut {
	var list []walstage.Cut
	for _, c := range st.Cuts {
		list = append(list, walstage.Cut(c))
	}
	return list
}

// logHolds reports whether a log that ends at end has a record that ends at lsn, or may have: none does
// beyond the end, or inside of a range that was cut off.
func logHolds(st *super.State, end, lsn page.LSN) bool {
	for _, c := range st.Cuts {
		if lsn > c.From && lsn < c.To {
			return false
		}
	}
	return lsn <= end
}

// forgetCuts drops the cuts of a part of the log that is gone.
func forgetCuts(s *super.State, oldest page.LSN) {
	var keep []super.Cut
	for _, c := range s.Cuts {
		if c.To > oldest {
			keep = append(keep, c)
		}
	}
	s.Cuts = keep
}

// scanLog scans the log. A corrupt one is given up from Options.RecoverTo on, if that is set and is a
// point it can be recovered to: then the cut is in st, and not yet in super.
func (e *Engine) scanLog(ctx context.Context, st *super.State, ev walstage.Evidence) (*walstage.Tail, error) {
	to := e.o.RecoverTo
	tail, err := e.walDir.Scan(ctx, ev)
	var bad *walstage.CorruptError
	switch {
	case to == 0:
		return tail, err
	case err == nil:
		for _, c := range st.Cuts {
			if c.Given != 0 && c.From == to {
				return tail, nil // it has been done
			}
		}
		return nil, fmt.Errorf("%w: %w: nothing needs to be given up", ErrOptions, walstage.ErrNotCorrupt)
	case !errors.As(err, &bad):
		return nil, err
	case to < st.Redo.LSN:
		return nil, errors.Join(err, fmt.Errorf("%w: the last checkpoint's redo is %d", walstage.ErrPoint, st.Redo.LSN))
	case len(st.Cuts) >= super.MaxCuts:
		return nil, errors.Join(err, fmt.Errorf("%w: %d cuts", super.ErrFull, len(st.Cuts)))
	}
	cut, cerr := e.walDir.CutAt(ctx, bad, ev.Start, to, ev.Known, st.Epoch-1)
	if cerr != nil {
		return nil, errors.Join(err, cerr)
	}
	e.o.Logger.Warn("the log is corrupt and is given up from the point that was named", "from", cut.From, "next", cut.To, "why", err)
	e.report.Faults = append(e.report.Faults, fmt.Sprintf("the log was given up from LSN %d on, as asked for; it goes on at %d. %v", cut.From, cut.To, err))
	st.Cuts = append(st.Cuts, super.Cut(cut))
	ev.Cuts = logCuts(st)
	return e.walDir.Scan(ctx, ev)
}

// persistCuts makes a cut durable before anything is erased for it.
func (e *Engine) persistCuts(st *super.State) error {
	if len(st.Cuts) == len(e.current().Cuts) {
		return nil
	}
	return e.update(func(s *super.State) { s.Cuts = append([]super.Cut(nil), st.Cuts...) })
}
