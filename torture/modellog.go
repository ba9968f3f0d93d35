package torture

import "slices"

// recModel is one record that was appended.
type recModel struct {
	id         version // round, place in its batch
	start, end uint64  // 0: not reported before the kill
}

// logModel is what the parent knows of the log: records first, first+1, ...
type logModel struct {
	first uint64
	recs  []recModel
	acked uint64   // records below it are durable
	base  uint64   // of the last checkpoint acknowledged
	bases []uint64 // of those started since

	pageLSN uint64 // the highest LSN of a page that was acknowledged
	end     uint64 // of the log, as last seen

	at   uint64 // the survey's cursor
	lost bool   // the survey went wrong already: do not report what follows from it
}

func (l *logModel) rec(seq uint64) *recModel {
	if seq < l.first || seq-l.first >= uint64(len(l.recs)) {
		return nil
	}
	return &l.recs[seq-l.first]
}

func (m *model) applyLog(e *event) {
	l := &m.log
	switch e.kind {
	case evRecord:
		if next := l.first + uint64(len(l.recs)); e.page != next {
			m.violate("the harness is broken: record %d was started after %d", e.page, next)
			return
		}
		l.recs = append(l.recs, recModel{id: e.version})
	case evRecordAt:
		if r := l.rec(e.page); r != nil {
			r.start, r.end = e.a, e.b
		}
	case evRecordNot:
		m.tally.refused++
		if l.rec(e.page) != nil {
			l.recs = l.recs[:e.page-l.first]
		}
	case evRecordAck:
		m.tally.recordAcks++
		l.acked = max(l.acked, e.page+1)
	case evCkpt:
		l.bases = append(l.bases, e.a)
	case evCkptAck:
		l.base = e.a
		l.bases = slices.DeleteFunc(l.bases, func(b uint64) bool { return b <= e.a })
	case evSeenBase:
		l.at, l.lost = e.a, false
		if e.a != l.base && !slices.Contains(l.bases, e.a) {
			m.violate("the checkpoint found names record %d; the last one acknowledged names %d, started since: %v",
				e.a, l.base, l.bases)
			l.lost = true
		}
		l.base, l.bases = e.a, nil // it is in super: it will not go back
	case evSeenRecord:
		m.seenRecord(e)
	case evSeenEnd:
		m.seenEnd(e)
	}
}

func (m *model) seenRecord(e *event) {
	l := &m.log
	m.tally.recordsSeen++
	if l.lost {
		return
	}
	r := l.rec(e.page)
	if r == nil && e.page == l.first+uint64(len(l.recs)) && m.untold(e.version) {
		l.recs = append(l.recs, recModel{id: e.version})
		r = l.rec(e.page)
	}
	switch {
	case e.page != l.at:
		m.violate("record %d follows record %d in the log", e.page, int64(l.at)-1)
		l.lost = true
	case r == nil:
		m.violate("record %d is in the log; its append was never started", e.page)
		l.lost = true
	case r.id != e.version:
		m.violate("record %d is of round %d, the one appended last under this number of round %d",
			e.page, e.version>>32, r.id>>32)
	case r.start != 0 && r.start != e.a, r.end != 0 && r.end != e.b:
		m.violate("record %d lies at LSN %d to %d; it was appended at %d to %d", e.page, e.a, e.b,
			r.start, r.end)
	default:
		r.start, r.end = e.a, e.b
	}
	l.at = e.page + 1
}

func (m *model) seenEnd(e *event) {
	l := &m.log
	if !l.lost {
		if e.a != l.at {
			m.violate("the log ends before record %d, the last one found was %d", e.a,
				int64(l.at)-1)
		}
		if e.a < l.acked {
			m.violate("the log ends before record %d; everything through record %d had been acknowledged as durable",
				e.a, l.acked-1)
		}
		if r := l.rec(e.a - 1); r != nil && e.a > l.base {
			if at, of := uint16(r.id>>16), uint16(r.id); at+1 != of {
				m.violate("the log ends with record %d, which is number %d of a batch of %d: a batch came back in part",
					e.a-1, at+1, of)
			}
		}
		if e.b < l.pageLSN {
			m.violate("the log ends at LSN %d; a page with LSN %d had been acknowledged (I3)", e.b,
				l.pageLSN)
		}
	}
	l.resolve(e.a)
	l.end = e.b
}

// resolve: this is what the log holds, and it will never hold less.
func (l *logModel) resolve(next uint64) {
	if have := l.first + uint64(len(l.recs)); next < have && next >= l.first {
		l.recs = l.recs[:next-l.first]
	} else if next > have || next < l.first { // only after a violation
		l.first, l.recs = next, nil
	}
	if n := l.base; n > l.first && n-l.first <= uint64(len(l.recs)) {
		l.recs = slices.Delete(l.recs, 0, int(n-l.first))
		l.first = n
	}
	l.acked, l.pageLSN = next, 0
}
