package walstage

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// history is what a client knows: what it appended, and what was acknowledged.
type history struct {
	records []Record
	acked   page.LSN
	redo    page.LSN // of the last checkpoint
	claims  []Claim  // what super holds
}

// TestCrashes appends at random, cuts the power, kills the process or fails a flush at random, also
// in the middle of recovery, and checks after each open that every acknowledged record is replayed,
// in order, and that what follows is what was appended.
func TestCrashes(t *testing.T) {
	rounds := uint64(600)
	if testing.Short() || raceEnabled { // the race detector makes it slow, and adds no crashes
		rounds = 120
	}
	for seed := range rounds {
		crashRun(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func crashRun(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 77))
	d := newFakeDisk()
	if err := Create(bg, small(d), 1); err != nil {
		t.Fatal(err)
	}
	h := &history{}
	epoch := uint64(1)
	for range 6 {
		epoch++
		d.mu.Lock()
		if r.IntN(3) > 0 {
			d.cutAt = d.ops + 1 + r.IntN(60)
		}
		d.mu.Unlock()
		if r.IntN(3) == 0 {
			fail := r.IntN(40)
			d.setHook(func(op *ring.Op, _ string) error {
				d.mu.Lock()
				defer d.mu.Unlock()
				if op.Kind == ring.DataSync || op.Flags&ring.DSync != 0 {
					if fail--; fail == 0 {
						return errMedium
					}
				}
				return nil
			})
		}
		crashEpoch(t, r, d, h, epoch)
		if t.Failed() {
			return
		}
		d.mu.Lock()
		cut := d.cut
		d.mu.Unlock()
		if cut || r.IntN(2) == 0 {
			d = d.crash(r)
		} else {
			d = d.kill()
		}
	}
	epoch++
	crashEpoch(t, r, d, h, epoch)
}

// crashEpoch opens the log, checks it against the history, appends, and closes or dies.
func crashEpoch(t *testing.T, r *rand.Rand, d *fakeDisk, h *history, epoch uint64) {
	died := func(err error) bool {
		if err != nil && !errors.Is(err, errPower) && !errors.Is(err, errMedium) {
			t.Error(err)
		}
		return err != nil
	}
	o := small(d)
	o.Poison = stages.NewPoison()
	o.Commit = []Commit{CommitDSync, CommitFlush}[r.IntN(2)]
	dir, err := OpenDir(bg, o, false)
	if died(err) {
		return
	}
	defer dir.Close()
	if died(dir.Flush(bg)) {
		return
	}
	tail, err := dir.Scan(bg, Evidence{Start: h.redo, Known: h.claims})
	if died(err) {
		return
	}
	if tail.End < h.acked {
		t.Errorf("the log ends at %d, acknowledged was %d: %v", tail.Last, h.acked, tail.Reason)
		return
	}
	if died(dir.Repair(bg, tail)) {
		return
	}
	if !check(t, dir, h) {
		return
	}
	l, err := dir.Start(bg, epoch, tail)
	if died(err) {
		return
	}
	defer l.Close(bg)
	h.claims = append(h.claims, Claim{epoch, tail.End, "super"})
	l.mu.Lock()
	l.depth.target = 1 + r.IntN(3)
	l.mu.Unlock()
	for i := range r.IntN(60) {
		data := []byte(record(i, 1+r.IntN(6000)))
		s, e, err := l.Append(0, data)
		if died(err) {
			return
		}
		h.records = append(h.records, Record{Start: s, End: e, Epoch: epoch, Data: data})
		switch r.IntN(6) {
		case 0:
			if died(l.WaitDurable(bg, e)) {
				return
			}
			h.acked = e
		case 1, 2, 3:
			if died(l.Force(e)) {
				return
			}
		case 4:
			h.acked = max(h.acked, l.Durable())
			if r.IntN(3) == 0 {
				h.claims = append(h.claims, Claim{epoch, h.acked, "super"})
			}
			if r.IntN(4) == 0 && h.acked > h.redo {
				h.redo = h.acked
				if died(l.TruncateBefore(h.redo)) {
					return
				}
			}
		}
	}
	h.acked = max(h.acked, l.Durable())
	if r.IntN(3) == 0 && !died(l.Close(bg)) {
		h.acked = l.End()
	}
}

// check replays and compares. What was not acknowledged and is gone is forgotten.
func check(t *testing.T, dir *Dir, h *history) bool {
	var want []Record
	for _, r := range h.records {
		if r.Start >= h.redo {
			want = append(want, r)
		}
	}
	n := 0
	for r, err := range dir.Replay(bg, h.redo) {
		if err != nil {
			t.Error(err)
			return false
		}
		if n >= len(want) || r.Start != want[n].Start || r.Epoch != want[n].Epoch ||
			!bytes.Equal(r.Data, want[n].Data) {
			t.Errorf("record %d at %d is not what was appended", n, r.Start)
			return false
		}
		n++
	}
	if n < len(want) && want[n].End <= h.acked {
		t.Errorf("%d records; the next, at %d, had been acknowledged through %d", n, want[n].Start,
			h.acked)
		return false
	}
	h.records = h.records[:len(h.records)-(len(want)-n)]
	return true
}
