package explore

import (
	"errors"
	"slices"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/walstage"
)

// A cut takes the records behind an LSN out of the log, as a Raft log does with its tail. A crash on the
// way leaves the log whole or cut; what was cut off never comes back (I10).

// cut appends a few records and cuts the log somewhere in them. Pages that others write meanwhile may
// refuse it.
func (c *client) cut() {
	w := c.w
	if _, ok := c.append(nil); !ok {
		return
	}
	w.mu.Lock()
	var at []untorn.LSN // ends of records that no page and no redo is beyond
	for _, l := range w.ends {
		if l >= max(w.top, w.redo) {
			at = append(at, l)
		}
	}
	w.mu.Unlock()
	if len(at) < 2 {
		return
	}
	slices.Sort(at)
	a := w.begin(c.no, actCut)
	a.lsn = at[c.rng.IntN(len(at)-1)]
	w.disk.Mark(mark{a, begun})
	err := w.engine().TruncateAfter(w.ctx, a.lsn)
	if errors.Is(err, untorn.ErrCutRefused) { // somebody has written a page since, or there are many cuts
		a.err, a.refused = err, true
		w.disk.Mark(mark{a, failed})
		return
	}
	if err == nil {
		a.end = w.survivors(a.lsn)
	}
	if w.end(a, err) {
		w.mu.Lock()
		w.ends = slices.DeleteFunc(w.ends, func(l untorn.LSN) bool { return l > a.lsn && l < a.end })
		w.mu.Unlock()
	}
}

// survivors is the LSN from which on records appended beside a cut are behind it and stay.
func (w *world) survivors(from untorn.LSN) untorn.LSN {
	w.mu.Lock()
	starts := slices.Clone(w.starts)
	w.mu.Unlock()
	slices.Sort(starts)
	end := w.engine().EndLSN()
	for _, s := range starts {
		if s < from {
			continue
		}
		// A cut is known without reading: a record that cannot be read is none that it took.
		if st, err := w.engine().Status(w.ctx, s); st != walstage.StatusCut && !errors.Is(err, untorn.ErrClosed) {
			return s
		}
	}
	return end
}

// takeCut follows a cut's marks. While it is under way the log may be whole, or cut behind any record
// appended by then.
func (x *expect) takeCut(m mark) {
	switch m.p {
	case begun:
		x.cutting, x.mustGo = m.a, untorn.LSN(0)
		for _, r := range x.records {
			x.mustGo = max(x.mustGo, r.end)
		}
	case done:
		x.cutting = nil
		x.cuts = append(x.cuts, m.a)
		x.records = x.without(m.a.lsn, m.a.end)
	case failed:
		if m.a.refused {
			x.cutting = nil
		}
	}
}

// cutOff reports whether a record that starts at an LSN is gone.
func (x *expect) cutOff(start untorn.LSN) bool {
	for _, a := range x.cuts {
		if start >= a.lsn && start < a.end {
			return true
		}
	}
	return false
}

// without is the log without the records that end behind from and start before to.
func (x *expect) without(from, to untorn.LSN) (left []record) {
	for _, r := range x.records {
		if r.end > from && r.start < to {
			if x.gone == nil {
				x.gone = map[uint64]bool{}
			}
			x.gone[r.id] = true
			continue
		}
		left = append(left, r)
	}
	return left
}

// logs are the logs that may be found: one, but with a cut under way.
func (x *expect) logs() [][]record {
	all := [][]record{x.records}
	if x.cutting == nil {
		return all
	}
	from := x.cutting.lsn
	for _, last := range x.records { // the last one that goes
		if last.end <= from || last.end < x.mustGo {
			continue
		}
		var left []record
		for _, r := range x.records {
			if r.end <= from || r.end > last.end {
				left = append(left, r)
			}
		}
		all = append(all, left)
	}
	return all
}
