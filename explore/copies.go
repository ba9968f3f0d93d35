package explore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
)

// A backup is judged like a crash state of its own: as old as what had been accepted when it began, no
// newer than what had begun when it ended, with every record up to its end.

// copied is what is known of one backup.
type copied struct {
	a           *act
	done        bool
	floor, ceil map[pageKey]uint64
	catalogs    []catalog // there were, while it was made
	checkpoints []checkpoint
	records     []record // nil: those there are now
	acked       untorn.LSN
	ackedBy     *act
}

// backup copies the running engine into a directory of its own.
func (c *client) backup() {
	w := c.w
	w.mu.Lock()
	hurt := len(w.hurt) > 0
	w.mu.Unlock()
	if hurt || w.backups >= maxBackups { // a damaged page fails a backup, by name
		return
	}
	w.backups++
	a := w.begin(c.no, actBackup)
	a.name = fmt.Sprintf("/copy-%d", a.id)
	w.disk.Mark(mark{a, begun})
	_, err := w.engine().Backup(w.ctx, a.name, untorn.BackupOptions{})
	w.end(a, err)
}

// maxBackups bounds those of a run: each is a directory's worth of writes.
const maxBackups = 2

// takeBackup follows a backup's marks.
func (x *expect) takeBackup(m mark) {
	switch m.p {
	case begun:
		c := &copied{a: m.a, floor: maps.Clone(x.floor), catalogs: slices.Clone(x.catalogs), checkpoints: slices.Clone(x.checkpoints),
			acked: x.acked, ackedBy: x.ackedBy}
		for k, v := range x.accepted {
			c.floor[k] = max(c.floor[k], v)
		}
		x.copies = append(x.copies, c)
	case done:
		for _, c := range x.copies {
			if c.a == m.a {
				c.done, c.ceil = true, maps.Clone(x.ceil)
			}
		}
	}
}

// alongside notes what changed while backups are made.
func (x *expect) alongside() {
	for _, c := range x.copies {
		if c.done {
			continue
		}
		if last := x.catalogs[len(x.catalogs)-1]; !maps.Equal(last, c.catalogs[len(c.catalogs)-1]) {
			c.catalogs = append(c.catalogs, last)
		}
		for _, p := range x.checkpoints {
			if !slices.Contains(c.checkpoints, p) {
				c.checkpoints = append(c.checkpoints, p)
			}
		}
	}
}

// ended fixes what backups of a session could see.
func (x *expect) ended() {
	for _, c := range x.copies {
		if c.records == nil {
			c.records = slices.Clone(x.records)
		}
		if c.ceil == nil {
			c.ceil = maps.Clone(x.ceil)
		}
	}
}

// of is what is expected of a copy, in terms of its original.
func (c *copied) of(x *expect) *expect {
	n := *x
	n.copies, n.records, n.bound, n.strict, n.newID, n.marker, n.cutting = nil, slices.Clone(c.records), 0, true, false, false, nil
	if c.records == nil {
		n.records = slices.Clone(x.records)
	}
	n.catalogs, n.checkpoints, n.acked, n.ackedBy = c.catalogs, c.checkpoints, c.acked, c.ackedBy
	n.floor, n.ceil = maps.Clone(c.floor), c.ceil
	if c.ceil == nil {
		n.ceil = x.ceil
	}
	n.floorBy = map[pageKey]*act{}
	for k := range n.floor {
		n.floorBy[k] = c.a
	}
	return &n
}

// caughtUp raises the floor by what the records through the copy's end say: a page copied early lacks
// later changes, and those are in the log to be replayed.
func (x *expect) caughtUp(s *observed) {
	if s == nil {
		return
	}
	for _, r := range x.records {
		for _, c := range r.changes {
			if k := (pageKey{c.uid, c.no}); r.end <= s.last {
				x.floor[k] = max(x.floor[k], c.version)
			}
		}
	}
}

// copies opens the backups of a crash state. One that was not finished may be refused, not be wrong. Now
// and then one is opened again, with an id of its own.
func (r *run) copies(ctx context.Context, pt *sim.Point, c sim.Choice, exp *expect, buf *buffers) {
	for _, cp := range exp.copies {
		d := pt.Make(c)
		in := func(o *untorn.Options) { o.Dir, o.WALDir, o.DWBDir, o.MustExist = cp.a.name, "", "", true }
		t := r.tryWith(ctx, d, buf, in)
		r.x.count(false, Copied)
		story := "power cut, then the backup of " + cp.a.String() + " was opened"
		if t.err != nil && !cp.done {
			t.leave(d, buf)
			continue
		}
		want := cp.of(exp)
		want.caughtUp(t.seen)
		cs := r.verdict(exp, t.judge(want, pass{}))
		if len(cs) == 0 && t.err == nil && (pt.Index+len(c.Name))%2 == 0 {
			cs = r.verdict(exp, r.renamed(ctx, d, &t, in, buf))
			story += ", closed, given a new id and opened again"
		}
		t.leave(d, buf)
		if len(cs) > 0 {
			r.report(cs, pt, c, story, exp, t.seen, nil)
			return
		}
	}
}

// renamed closes what was opened, gives it a new id and opens it again: it is the same but for the id.
func (r *run) renamed(ctx context.Context, d *sim.Disk, t *tried, in func(*untorn.Options), buf *buffers) []complaint {
	o := r.p.engineOn(d)
	in(&o)
	err := t.eng.Close(ctx)
	if err == nil {
		err = newIDPatiently(ctx, o)
	}
	if err != nil {
		return []complaint{{kind: Failed, text: fmt.Sprintf("close and new id: %v", err), page: -1}}
	}
	t2 := r.tryWith(ctx, d, buf, in)
	defer func() {
		if t2.eng != nil {
			_ = t2.eng.Close(ctx) // it was only looked at
		}
	}()
	if t2.err != nil {
		return []complaint{{kind: Refused, text: fmt.Sprintf("with its new id: %v", t2.err), page: -1}}
	}
	t2.seen.adoptFrom(t.seen)
	return t.seen.differs(t2.seen, nil)
}

// refusedBackup reports whether a backup may have failed: of a page that is damaged.
func refusedBackup(a *act, err error) bool {
	return a.kind == actBackup && (errors.Is(err, untorn.ErrPageDamaged) || errors.Is(err, untorn.ErrPageLost))
}
