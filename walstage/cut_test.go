package walstage

import (
	"errors"
	"fmt"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// rootOf is what super would hold for a test: the cuts that were made durable.
type rootOf struct{ cuts []Cut }

func (r *rootOf) persist(c Cut) error {
	r.cuts = append(r.cuts[:len(r.cuts):len(r.cuts)], c)
	return nil
}

// starts are the records of a log by their starts.
func starts(t testing.TB, r replayer, from page.LSN) []page.LSN {
	var list []page.LSN
	for _, x := range replayAll(t, r, from) {
		list = append(list, x.Start)
	}
	return list
}

func TestTruncateAfter(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	l := newLog(t, o)
	var recs []Record
	for i := range 40 { // more than one segment
		s, e := mustAppend(t, l, record(i, 3000))
		recs = append(recs, Record{Start: s, End: e})
		if i == 20 { // one of the engine's among them stays in force
			if _, _, err := l.Append(7, []byte("engine")); err != nil {
				t.Fatal(err)
			}
		}
	}
	highest := l.End()
	root := &rootOf{}
	if err := l.TruncateAfter(bg, recs[9].Start+5, root.persist); !errors.Is(err, ErrNoRecord) {
		t.Errorf("a point inside a record: %v", err)
	}
	if err := l.TruncateAfter(bg, highest+1, root.persist); !errors.Is(err, ErrLSNBeyondLog) {
		t.Errorf("a point beyond the log: %v", err)
	}
	no := errors.New("no")
	if err := l.TruncateAfter(bg, recs[9].End, func(Cut) error { return no }); !errors.Is(err, no) {
		t.Errorf("a cut that cannot be made durable: %v", err)
	}
	if got := len(replayAll(t, l, 0)); got != 41 || len(root.cuts) != 0 {
		t.Errorf("after refusals %d records and %d cuts", got, len(root.cuts))
	}
	if err := l.TruncateAfter(bg, recs[9].End, root.persist); err != nil {
		t.Fatal(err)
	}
	s, e := mustAppend(t, l, "after the cut")
	if s < highest {
		t.Errorf("a record starts at %d, %d had been issued", s, highest)
	}
	s2, _ := mustAppend(t, l, "not yet durable")
	mustWait(t, l, e)
	checkCut := func(name string, r replayer, status func(page.LSN) (Status, error)) {
		t.Helper()
		all := replayAll(t, r, 0)
		if len(all) < 12 || all[9].Start != recs[9].Start || all[10].Kind != 7 || all[11].Start != s {
			t.Errorf("%s: %d records, wrong ones", name, len(all))
		}
		for _, from := range []page.LSN{recs[10].Start, recs[30].Start, highest} {
			if got := starts(t, r, from); got[len(got)-1] < s {
				t.Errorf("%s: replay from %d ends with %v", name, from, got)
			}
		}
		if _, err := r.source().readAt(bg, recs[15].Start); !errors.Is(err, ErrCut) {
			t.Errorf("%s: reading a record that was cut off: %v", name, err)
		}
		for _, c := range []struct {
			lsn  page.LSN
			want Status
		}{
			{recs[0].Start, StatusPresent}, {recs[9].Start, StatusPresent}, {recs[10].Start, StatusCut},
			{recs[39].Start, StatusCut}, {s, StatusPresent}, {recs[3].Start + 1, StatusNever}, {1 << 40, StatusNever},
		} {
			if got, err := status(c.lsn); got != c.want || err != nil {
				t.Errorf("%s: status of %d is %v, %v, want %v", name, c.lsn, got, err, c.want)
			}
		}
	}
	live := func(lsn page.LSN) (Status, error) { return l.Status(bg, lsn) }
	checkCut("live", l, live)
	if got, _ := l.Status(bg, s2); l.Durable() <= s2 && got != StatusPending {
		t.Errorf("a record not yet durable is %v", got)
	}
	c := l.Cursor(0)
	for n := 0; ; n++ {
		r, ok, err := c.Next(bg)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			if n != 12 && n != 13 {
				t.Errorf("a follower saw %d records", n)
			}
			break
		}
		if r.Kind == 0 && r.Start > recs[9].Start && r.Start < s {
			t.Errorf("a follower saw the record at %d, which was cut off", r.Start)
		}
	}
	mustClose(t, l)
	dir, tail := scan(t, o, Evidence{Cuts: root.cuts, Known: []Claim{{2, e, "super"}}})
	checkCut("opened again", dir, func(lsn page.LSN) (Status, error) { return dir.Status(bg, lsn) })
	if err := dir.Repair(bg, tail); err != nil {
		t.Fatal(err)
	}
	l, err := dir.Start(bg, 3, tail)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(bg)
	checkCut("started again", l, live)
	if err := l.TruncateBefore(recs[30].Start); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Status(bg, recs[0].Start); got != StatusTruncated || err != nil {
		t.Errorf("what was let go is %v, %v", got, err)
	}
}

// cutKnown is a mark of a simulated run with cuts.
type cutKnown struct {
	known
	cuts   []Cut
	maybe  *Cut // being made durable
	doomed int  // records [kept, doomed) are cut by now, or by maybe
	kept   int
}

// TestCrashInTruncateAfter cuts the power at every operation of an append, cut, append run: the log is
// whole or cut, as super says, and never anything else.
func TestCrashInTruncateAfter(t *testing.T) {
	d := sim.New(sim.Config{Seed: 4, Sector: 4096})
	o := simOptions(d, CommitFlush)
	if err := Create(bg, o, 1); err != nil {
		t.Fatal(err)
	}
	d.Record()
	l := start(t, o, 2)
	k := cutKnown{}
	k.claim = Claim{2, l.End(), "super"}
	d.Mark(k)
	var recs []Record
	put := func(n int) {
		for range n {
			data := record(len(recs), 2500)
			s, e := mustAppend(t, l, data)
			recs = append(recs, Record{Start: s, End: e, Data: []byte(data)})
		}
	}
	for round := range 2 {
		put(20)
		k.kept, k.doomed = len(recs)-12, len(recs)
		err := l.TruncateAfter(bg, recs[k.kept-1].End, func(c Cut) error {
			during := k
			during.maybe = &c
			d.Mark(during) // super is being written: either
			k.cuts = append(k.cuts[:len(k.cuts):len(k.cuts)], c)
			d.Mark(k)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs[:k.kept:k.kept], recs[k.doomed:]...)
		k.kept, k.doomed = len(recs), len(recs)
		put(3)
		mustWait(t, l, l.End())
		k.acked = l.End()
		d.Mark(k)
		_ = round
	}
	final := len(recs)
	mustClose(t, l)
	log := d.Log()
	x := sim.Explore{Exhaustive: 2, Items: 4, Samples: 4, Max: 8}
	states := 0
	for at, p := range log.Points(log.Cuts()) {
		var k cutKnown
		seen := false
		for _, m := range log.Marks(at) {
			k, seen = m.(cutKnown), true
		}
		if !seen {
			continue
		}
		for choice, disk := range p.States(x) {
			roots := [][]Cut{k.cuts}
			if k.maybe != nil {
				roots = append(roots, append(k.cuts[:len(k.cuts):len(k.cuts)], *k.maybe))
			}
			for _, cuts := range roots {
				states++
				if err := afterCut(disk, k, cuts, recs[:final]); err != nil {
					t.Fatalf("cut at %d of %d, %s, %d cuts: %v", at, log.Len(), p.Describe(choice), len(cuts), err)
				}
				disk = p.Make(choice)
			}
		}
	}
	t.Log(states, "states")
}

// afterCut opens a crashed disk with what super says and checks the records: none that is cut, all that
// were acknowledged and are not.
func afterCut(d *sim.Disk, k cutKnown, cuts []Cut, recs []Record) error {
	dir, err := OpenDir(bg, simOptions(d, CommitDSync), false)
	if err != nil {
		return err
	}
	defer dir.Close()
	tail, err := dir.Scan(bg, Evidence{Known: []Claim{k.claim}, Cuts: cuts})
	if err == nil {
		err = dir.Repair(bg, tail)
	}
	if err != nil {
		return err
	}
	there := map[page.LSN]bool{}
	var last page.LSN
	for r, err := range dir.Replay(bg, 0) {
		if err != nil {
			return err
		}
		if r.Start < last {
			return fmt.Errorf("record at %d after %d", r.Start, last)
		}
		last = r.Start
		there[r.Start] = true
		for _, c := range cuts {
			if r.Start >= c.From && r.Start < c.To {
				return fmt.Errorf("record at %d is back, it was cut off", r.Start)
			}
		}
	}
	for _, r := range recs {
		if r.End <= k.acked && !there[r.Start] {
			return fmt.Errorf("record at %d is gone, acknowledged through %d", r.Start, k.acked)
		}
	}
	l, err := dir.Start(bg, 3, tail)
	if err != nil {
		return err
	}
	defer l.Close(bg)
	s, e, err := l.Append(0, []byte("after"))
	if err == nil {
		err = l.WaitDurable(bg, e)
	}
	if err != nil {
		return err
	}
	for _, c := range cuts {
		if s < c.To {
			return fmt.Errorf("a new record at %d, LSNs were issued through %d", s, c.To)
		}
	}
	r, err := l.ReadAt(bg, s)
	if err == nil && string(r.Data) != "after" {
		err = fmt.Errorf("read %q", r.Data)
	}
	return err
}

// corruptLog makes a log over several segments, durable throughout, and damages group bad of it.
func corruptLog(t *testing.T, d *sim.Disk, bad int) (recs []Record, claim Claim) {
	t.Helper()
	o := simOptions(d, CommitDSync)
	if err := Create(bg, o, 1); err != nil {
		t.Fatal(err)
	}
	l := start(t, o, 2)
	for i := range 40 {
		data := record(i, 5000)
		s, e := mustAppend(t, l, data)
		mustWait(t, l, e)
		recs = append(recs, Record{Start: s, End: e, Data: []byte(data)})
	}
	mustClose(t, l)
	r := recs[bad]
	for _, s := range l.segs.list {
		if s.holds(r.Start) {
			if err := d.Corrupt("/wal/"+s.name, s.off(r.Start)+100, 0x10); err != nil {
				t.Fatal(err)
			}
		}
	}
	return recs, Claim{2, l.End(), "super"}
}

// TestVerdict: it names the damage, the evidence, and what is intact on both sides.
func TestVerdict(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1, Sector: 4096})
	recs, claim := corruptLog(t, d, 17)
	dir, err := OpenDir(bg, simOptions(d, CommitDSync), true)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	_, err = dir.Scan(bg, Evidence{Known: []Claim{claim}})
	var e *CorruptError
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if e.Good != recs[16].End || e.Evidence.LSN != claim.LSN || e.IntactGroups != 22 || e.IntactRecords != 22 ||
		e.IntactThrough != recs[39].End || e.IntactAfter >= recs[18].Start || e.IntactAfter < recs[17].End ||
		e.LSN > recs[17].Start || e.LSN < recs[16].End {
		t.Errorf("the verdict is %+v: %v", e, e)
	}
}

func TestCutAt(t *testing.T) {
	for _, c := range []struct {
		name string
		to   func(recs []Record) page.LSN
		keep int // records; -1 = refused
	}{
		{"the last record before the damage", func(r []Record) page.LSN { return r[16].End }, 17},
		{"an earlier one", func(r []Record) page.LSN { return r[10].End }, 11},
		{"in another segment", func(r []Record) page.LSN { return r[2].End }, 3},
		{"inside of a record", func(r []Record) page.LSN { return r[10].End - 3 }, -1},
		{"behind the damage", func(r []Record) page.LSN { return r[30].End }, -1},
		{"the beginning", func(r []Record) page.LSN { return 0 }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := sim.New(sim.Config{Seed: 1, Sector: 4096})
			recs, claim := corruptLog(t, d, 17)
			recoverToPoint(t, d, recs, claim, 0, c.to(recs), c.keep)
		})
	}
}

// TestCutAtTheStart: what is needed begins in the middle of a group, and that one is damaged. All of it
// is given up: the log goes on behind it.
func TestCutAtTheStart(t *testing.T) {
	for name, hit := range map[string]page.LSN{"before the start": 0, "behind it": 1} {
		t.Run(name, func(t *testing.T) {
			d := sim.New(sim.Config{Seed: 1, Sector: 4096})
			o := simOptions(d, CommitDSync)
			if err := Create(bg, o, 1); err != nil {
				t.Fatal(err)
			}
			l := start(t, o, 2)
			var recs []Record
			for i := range 12 {
				data := record(i, 3000)
				s, e := mustAppend(t, l, data)
				if i%3 == 2 { // three to a group
					mustWait(t, l, e)
				}
				recs = append(recs, Record{Start: s, End: e, Data: []byte(data)})
			}
			mustClose(t, l)
			from := recs[3].End // in the second group
			if err := d.Corrupt("/wal/"+l.segs.list[0].name, l.segs.list[0].off(recs[3+hit].Start)+100, 0x10); err != nil {
				t.Fatal(err)
			}
			recoverToPoint(t, d, recs, Claim{2, l.End(), "super"}, from, from, 0)
		})
	}
}

// TestCutAtUnreadable: the damage is a group that cannot be read. A log that is given up from there on
// does not ask for it again: what it writes there heals the drive.
func TestCutAtUnreadable(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1, Sector: 4096})
	recs, claim := corruptLog(t, d, 17)
	dir, _ := scan(t, simOptions(d, CommitDSync), Evidence{Start: recs[20].Start}) // behind the damage
	for _, s := range dir.segs.list {
		if s.holds(recs[17].Start) {
			if err := d.FailReads("/wal/"+s.name, s.off(recs[17].Start)&^4095, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	recoverToPoint(t, d, recs, claim, 0, recs[16].End, 17)
}

// point makes the cut that a recovery to a point needs.
func point(dir *Dir, claim Claim, start, to page.LSN) (Cut, error) {
	_, err := dir.Scan(bg, Evidence{Start: start, Known: []Claim{claim}})
	var e *CorruptError
	if !errors.As(err, &e) {
		return Cut{}, fmt.Errorf("no corruption: %w", err)
	}
	return dir.CutAt(bg, e, start, to, []Claim{claim}, 2)
}

func recoverToPoint(t *testing.T, d *sim.Disk, recs []Record, claim Claim, start, to page.LSN, keep int) {
	dir, err := OpenDir(bg, simOptions(d, CommitDSync), false)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cut, err := point(dir, claim, start, to)
	if keep < 0 {
		if !errors.Is(err, ErrPoint) && !errors.Is(err, ErrNoRecord) {
			t.Errorf("the point was taken: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if last := recs[len(recs)-1].End; cut.To <= last {
		t.Errorf("the log goes on at %d, LSNs were issued through %d", cut.To, last)
	}
	// Every operation of the repair, and of what follows, may be the last.
	d.Record()
	cuts := []Cut{cut}
	if err := pointHolds(dir, claim, start, cuts, recs[:keep], 3); err != nil {
		t.Fatal(err)
	}
	log := d.Log()
	states := 0
	for at, p := range log.Points(log.Cuts()) {
		for choice, disk := range p.States(sim.Explore{Exhaustive: 2, Items: 3, Samples: 3, Max: 5}) {
			states++
			again, err := OpenDir(bg, simOptions(disk, CommitDSync), false)
			if err == nil {
				err = errors.Join(pointHolds(again, claim, start, cuts, recs[:keep], 4), again.Close())
			}
			if err != nil {
				t.Fatalf("cut at %d of %d, %s: %v", at, log.Len(), p.Describe(choice), err)
			}
		}
	}
	t.Log(states, "states")
}

// pointHolds opens a log that was given up from a point on, and goes on with it.
func pointHolds(dir *Dir, claim Claim, start page.LSN, cuts []Cut, want []Record, epoch uint64) error {
	tail, err := dir.Scan(bg, Evidence{Start: start, Known: []Claim{claim}, Cuts: cuts})
	if err == nil {
		err = dir.Repair(bg, tail)
	}
	if err != nil {
		return err
	}
	l, err := dir.Start(bg, epoch, tail)
	if err != nil {
		return err
	}
	defer l.Close(bg)
	n := 0
	for r, err := range l.Replay(bg, start) {
		if err != nil {
			return err
		}
		if r.Start >= cuts[0].To {
			continue // of a life after the cut
		}
		if n >= len(want) || r.Start != want[n].Start || string(r.Data) != string(want[n].Data) {
			return fmt.Errorf("record %d at %d is not one of those kept", n, r.Start)
		}
		n++
	}
	if n != len(want) {
		return fmt.Errorf("%d records of %d", n, len(want))
	}
	var last page.LSN
	for i := range 20 { // into another segment
		s, e, err := l.Append(0, []byte(record(i, 6000)))
		if err == nil {
			err = l.WaitDurable(bg, e)
		}
		if err != nil {
			return err
		}
		if s < cuts[0].To {
			return fmt.Errorf("a new record at %d, below %d", s, cuts[0].To)
		}
		last = s
	}
	if r, err := l.ReadAt(bg, last); err != nil || r.Start != last {
		return fmt.Errorf("reading what was appended: %w", err)
	}
	for lsn, want := range map[page.LSN]Status{cuts[0].From: StatusLost, claim.LSN + 1: StatusNever, last: StatusPresent} {
		if got, err := l.Status(bg, lsn); got != want || err != nil {
			return fmt.Errorf("status of %d is %v, %w, want %v", lsn, got, err, want)
		}
	}
	return nil
}

// TestTruncateAfterFails: a write or flush that fails on the way poisons, and nothing is cut (I5).
func TestTruncateAfterFails(t *testing.T) {
	d := newFakeDisk()
	l := newLog(t, small(d))
	_, keep := mustAppend(t, l, "keep")
	mustAppend(t, l, "cut")
	d.setHook(func(op *ring.Op, _ string) error {
		if op.Kind == ring.Write {
			return errMedium
		}
		return nil
	})
	root := &rootOf{}
	if err := l.TruncateAfter(bg, keep, root.persist); !errors.Is(err, errMedium) || len(root.cuts) != 0 {
		t.Errorf("got %v, %d cuts", err, len(root.cuts))
	}
	if err := l.TruncateAfter(bg, keep, root.persist); !errors.Is(err, errMedium) {
		t.Errorf("again: %v", err)
	}
	_ = l.Close(bg)
}
