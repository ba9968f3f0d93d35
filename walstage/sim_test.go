package walstage

import (
	"errors"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/sim"
)

// known is what the client of a simulated log knew at one moment.
type known struct {
	acked page.LSN
	redo  page.LSN
	claim Claim // what super held
}

// simRun is a recorded run on a simulated disk.
type simRun struct {
	log     *sim.Log
	records []Record
	end     page.LSN
}

func simOptions(d *sim.Disk, commit Commit) Options {
	return Options{FS: d.FS(), Ring: d.Ring(), Dir: "/wal", EngineID: [16]byte{7}, Commit: commit,
		SegmentBytes: 64 << 10, MaxGroup: 16 << 10}
}

// recordRun appends through two switches of segments and a truncation, with up to three groups in
// flight, and marks in the recording what it was told.
func recordRun(t *testing.T, seed uint64, commit Commit) *simRun {
	return recordWith(t, seed, func(d *sim.Disk) Options { return simOptions(d, commit) })
}

func recordWith(t *testing.T, seed uint64, options func(*sim.Disk) Options) *simRun {
	d := sim.New(sim.Config{Seed: seed, Sector: 4096})
	o := options(d)
	if err := Create(bg, o, 1); err != nil {
		t.Fatal(err)
	}
	run := &simRun{}
	d.Record()
	l := start(t, o, 2)
	k := known{acked: l.End(), claim: Claim{2, l.End(), "super"}}
	d.Mark(k)
	var end page.LSN
	for i := range 30 {
		l.mu.Lock()
		l.depth.target = 1 + i%3
		l.mu.Unlock()
		data := []byte(record(i, 100+i*377%9000))
		s, e, err := l.Append(0, data)
		if err != nil {
			t.Fatal(err)
		}
		run.records = append(run.records, Record{Start: s, End: e, Epoch: 2, Data: data})
		end = e
		if err := l.Force(e); err != nil {
			t.Fatal(err)
		}
		if i%4 == 3 {
			mustWait(t, l, e)
			k.acked = e
			if i%8 == 7 {
				k.claim.LSN = e
			}
			if i == 23 {
				k.redo = e
			}
			d.Mark(k)
			if i == 23 {
				if err := l.TruncateBefore(e); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	mustClose(t, l)
	k.acked = end
	d.Mark(k)
	run.log, run.end = d.Log(), end
	return run
}

// at returns what was known at a crash point.
func (run *simRun) at(i int) (k known, ok bool) {
	for _, m := range run.log.Marks(i) {
		k, ok = m.(known), true
	}
	return k, ok
}

// recover opens a crashed disk as the engine does and checks what comes back. It returns the log,
// started in a new epoch.
func (run *simRun) recover(t *testing.T, d *sim.Disk, k known, epoch uint64) *Log {
	t.Helper()
	dir, tail, err := openSim(d, k)
	if err != nil {
		t.Error(err)
		return nil
	}
	n := 0
	for ; run.records[n].Start < k.redo; n++ {
	}
	for r, err := range dir.Replay(bg, k.redo) {
		if err != nil {
			t.Error(err)
			return nil
		}
		if n >= len(run.records) || r.Start != run.records[n].Start ||
			string(r.Data) != string(run.records[n].Data) {
			t.Errorf("record %d at %d is not what was appended", n, r.Start)
			return nil
		}
		n++
	}
	if n < len(run.records) && run.records[n].End <= k.acked {
		t.Errorf("acknowledged through %d, but record %d at %d is gone (%v)", k.acked, n,
			run.records[n].Start, tail.Reason)
		return nil
	}
	l, err := dir.Start(bg, epoch, tail)
	if err != nil {
		t.Error(err)
		return nil
	}
	return l
}

func openSim(d *sim.Disk, k known) (*Dir, *Tail, error) {
	dir, err := OpenDir(bg, simOptions(d, CommitDSync), false)
	if err != nil {
		return nil, nil, err
	}
	if err := dir.Flush(bg); err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	tail, err := dir.Scan(bg, Evidence{Start: k.redo, Known: []Claim{k.claim}})
	if err == nil {
		err = dir.Repair(bg, tail)
	}
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	return dir, tail, nil
}

// goOn appends to a recovered log, cuts the power again, and sees that old and new are there: that
// what the repair left really was durable (I8).
func (run *simRun) goOn(t *testing.T, d *sim.Disk, l *Log, k known) {
	t.Helper()
	s, e, err := l.Append(0, []byte("after"))
	if err == nil {
		err = l.WaitDurable(bg, e)
	}
	if err != nil {
		t.Error(err)
		return
	}
	again := d.Crash()
	d.PowerOff()
	_ = l.Close(bg) // on a machine that is off
	dir, _, err := openSim(again, k)
	if err != nil {
		t.Error("after the second crash:", err)
		return
	}
	defer dir.Close()
	if r, err := dir.ReadAt(bg, s); err != nil || string(r.Data) != "after" {
		t.Errorf("after the second crash: record at %d: %q, %v", s, r.Data, err)
	}
}

// TestEveryCrash cuts the power of a recorded run wherever it matters, in many of the ways it can,
// recovers each disk, and goes on.
func TestEveryCrash(t *testing.T) {
	x := sim.Explore{Exhaustive: 3, Items: 6, Samples: 6, Max: 24}
	if testing.Short() {
		x.Max = 4
	}
	for _, commit := range []Commit{CommitDSync, CommitFlush} {
		t.Run(commit.String(), func(t *testing.T) {
			states := 0
			seeds := uint64(6)
			if raceEnabled {
				seeds = 1
			}
			for seed := range seeds {
				states += crashEverywhere(t, recordRun(t, seed, commit), x)
			}
			t.Log(states, "states")
		})
	}
}

func crashEverywhere(t *testing.T, run *simRun, x sim.Explore) (states int) {
	for at, p := range run.log.Points(run.log.Cuts()) {
		k, ok := run.at(at)
		if !ok {
			continue
		}
		for choice, d := range p.States(x) {
			states++
			if l := run.recover(t, d, k, 3); l != nil {
				run.goOn(t, d, l, k)
			}
			if t.Failed() {
				t.Fatalf("cut at %d of %d, %s", at, run.log.Len(), p.Describe(choice))
			}
		}
	}
	return states
}

// TestEveryKill kills the process of a recorded run instead: what it had in flight may land when the
// next one already runs (I11), and what it had written may be no more than cached (I8).
func TestEveryKill(t *testing.T) {
	x := sim.Explore{Exhaustive: 1, Items: 3, Samples: 3, Max: 12}
	if testing.Short() {
		x.Max = 3
	}
	run := recordRun(t, 2, CommitFlush)
	states := 0
	for at, p := range run.log.Points(run.log.KillPoints()) {
		k, ok := run.at(at)
		if !ok {
			continue
		}
		for choice, d := range p.Kills(x) {
			states++
			if l := run.recover(t, d, k, 3); l != nil {
				run.goOn(t, d, l, k)
			}
			if t.Failed() {
				t.Fatalf("killed at %d of %d, %v", at, run.log.Len(), choice)
			}
		}
	}
	t.Log(states, "states")
}

// TestCrashInRecovery records recoveries and cuts the power in them.
func TestCrashInRecovery(t *testing.T) {
	x := sim.Explore{Exhaustive: 2, Items: 4, Samples: 4, Max: 6}
	run := recordRun(t, 3, CommitFlush)
	cuts, states := run.log.Cuts(), 0
	for at, p := range run.log.Points(cuts) {
		k, ok := run.at(at)
		if !ok || at%2 != 0 {
			continue
		}
		for choice, d := range p.States(sim.Explore{Exhaustive: -1, Samples: 2, Items: 2, Max: 4}) {
			d.Record()
			l := run.recover(t, d, k, 3)
			if l == nil {
				t.Fatal(choice)
			}
			recovery := d.Log()
			d.PowerOff()
			_ = l.Close(bg)
			for at2, p2 := range recovery.Points(recovery.Cuts()) {
				for choice2, d2 := range p2.States(x) {
					states++
					if l := run.recover(t, d2, k, 4); l != nil {
						run.goOn(t, d2, l, k)
					}
					if t.Failed() {
						t.Fatalf("cut at %d, %s; recovery cut at %d, %s", at, p.Describe(choice), at2,
							p2.Describe(choice2))
					}
				}
			}
		}
	}
	t.Log(states, "states")
}
