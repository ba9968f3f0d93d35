package explore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/walstage"
)

// giveUp opens a state whose log is corrupt with Options.RecoverTo: exactly the records through that
// point are there, new ones lie above every LSN there was, and what was given up never comes back.
func (r *run) giveUp(ctx context.Context, pt *sim.Point, c sim.Choice, exp *expect, seen *observed, m *medium,
	ds []damage, hit hits, let pass, bad *walstage.CorruptError, story string, buf *buffers) {
	point := bad.Good
	if point < seen.checkpoint.redo || point == 0 {
		return
	}
	if pt.Index%2 == 0 { // or earlier
		for i, x := range exp.records {
			last := i+1 == len(exp.records) || exp.records[i+1].batch != x.batch // nobody names a point in a batch
			if last && x.end > seen.checkpoint.redo && x.end <= bad.Good {
				point = x.end
				break
			}
		}
	}
	d := pt.Make(c)
	for _, x := range ds {
		_ = x.do(d) // it worked the first time
	}
	story += fmt.Sprintf("; the log was given up from LSN %d on", point)
	t := r.tryWith(ctx, d, buf, func(o *untorn.Options) { o.RecoverTo, o.AcceptLoss = point, true })
	r.x.count(false, RecoveredTo)
	let.tail, let.ahead, let.proven = true, true, point
	let.damaged, let.olderOf = maps.Clone(let.damaged), maps.Clone(let.olderOf)
	m.allowImages(&let, func(n pageName) pageKey { return seen.key(n) }, seen)
	if r.p.trouble == diskFull && errors.Is(t.err, untorn.ErrNoSpace) { // it needs a segment more
		t.leave(d, buf)
		return
	}
	if t.err == nil {
		hit.ofRevived(&let, exp, seen, t.seen)
	}
	cs := t.judge(exp, let)
	switch again := (*walstage.CorruptError)(nil); {
	case len(cs) > 0:
	case t.err == nil:
		cs = through(seen, t.seen, point)
	case errors.As(t.err, &again) && !let.unread:
		cs = []complaint{{kind: Refused, text: fmt.Sprintf("the log was to be given up from LSN %d on, which the verdict allows: %v", point, t.err), page: -1}}
	}
	if len(cs) > 0 || t.err != nil {
		t.leave(d, buf)
		if len(cs) > 0 {
			r.report(cs, pt, c, story, exp, t.seen, nil)
		}
		return
	}
	const id = 1 << 33
	start, end, err := t.eng.AppendSync(ctx, payload(id, 100))
	after := d.Crash()
	t.leave(d, buf)
	top := max(seen.last, exp.acked) // what lay behind it may be issued again, as after any crash
	switch {
	case err != nil:
		cs = []complaint{{kind: Failed, text: fmt.Sprintf("append after the log was given up: %v", err), page: -1}}
	case start < top:
		cs = []complaint{{kind: LostRec, text: fmt.Sprintf("a new record begins at LSN %d; LSN %d had been durable", start, top), page: -1}}
	}
	t2 := r.try(ctx, after, buf)
	switch later := let.later(); {
	case len(cs) > 0:
	case t2.err != nil && !later.refuse:
		cs = []complaint{{kind: Refused, text: fmt.Sprintf("a log that was given up from a point on, opened again: %v", t2.err), page: -1}}
	case t2.err == nil:
		t.seen.records = append(slices.Clone(t.seen.records), record{id: id, end: end})
		t2.seen.adoptFrom(t.seen)
		if cs = t.seen.differs(t2.seen, nil); len(cs) == 0 {
			cs = through(t.seen, t2.seen, end)
		}
	}
	t2.leave(after, buf)
	if len(cs) > 0 {
		r.report(cs, pt, c, story+", a record appended, and the power cut again", exp, t2.seen, nil)
	}
}

// ofRevived excuses pages that were hit in files whose removal was given up with the log.
func (h hits) ofRevived(let *pass, exp *expect, before, now *observed) {
	c := exp.match(now)
	for n := range h.pages {
		for name, f := range now.files {
			if f.id == n.file && before.key(n).uid == 0 {
				let.damaged[pageKey{c[name].uid, n.no}] = true
			}
		}
	}
}

// through compares what is there with the records that end at or before a point, as far back as both
// begin: an older super has an older redo.
func through(before, now *observed, point untorn.LSN) []complaint {
	redo := max(before.checkpoint.redo, now.checkpoint.redo)
	from := func(rs []record) []record {
		return slices.DeleteFunc(slices.Clone(rs), func(r record) bool { return r.end <= redo })
	}
	have := from(now.records)
	want := slices.DeleteFunc(from(before.records), func(r record) bool { return r.end > point })
	same := slices.EqualFunc(want, have, func(a, b record) bool { return a.id == b.id && a.end == b.end })
	if same {
		return nil
	}
	return []complaint{{kind: LostRec, text: fmt.Sprintf("recovered to LSN %d the log has %d records, ending at LSN %d; it had %d until there, ending at LSN %d",
		point, len(have), lastEnd(have), len(want), lastEnd(want)), page: -1}}
}

func lastEnd(rs []record) uint64 { return before(rs, len(rs)) }

// key is a page by the workload's name for it.
func (s *observed) key(n pageName) pageKey {
	for _, f := range s.files {
		if f.id == n.file {
			return pageKey{f.uid, n.no}
		}
	}
	return pageKey{0, n.no}
}

// adoptFrom gives the files the uids they had in another open, and applies the records to the pages.
func (s *observed) adoptFrom(o *observed) {
	for name, f := range s.files {
		if x := o.files[name]; x != nil {
			f.uid = x.uid
		}
	}
	s.replayed()
}
