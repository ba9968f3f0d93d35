package walstage

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

func sampleCopy(block int) []byte {
	g := sampleGroup()
	g.payload = 100
	g.length = uint32(block)
	head := make([]byte, groupHeaderSize)
	g.encode(head)
	b := make([]byte, block)
	h := HeaderCopy{Number: 65, Durable: g.lsn + groupHeaderSize + 100, engine: g.id}
	h.encode(b, head)
	return b
}

func FuzzHeaderCopy(f *testing.F) {
	b := sampleCopy(4096)
	if _, err := decodeHeaderCopy(b); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:headersSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, mend := range []bool{false, true} {
			if mend && len(b) >= headersSize { // most inputs die at a checksum
				b = bytes.Clone(b)
				le.PutUint32(b[148:], crcOf(b[40:148]))
				le.PutUint32(b[152:], crcOf(b[:152]))
			}
			h, err := decodeHeaderCopy(b)
			if err != nil {
				continue
			}
			again, head := make([]byte, len(b)), make([]byte, groupHeaderSize)
			h.header.encode(head)
			h.encode(again, head)
			if !bytes.Equal(again, b) {
				t.Errorf("accepted bytes that mean %+v but are not its encoding", h)
			}
		}
	})
}

// ringed makes a log with a ring of headers on a simulated disk, whose last group is acknowledged and
// spoken of by nothing else, and returns the last record.
func ringed(t *testing.T, d *sim.Disk, with bool, commit Commit) (last Record) {
	t.Helper()
	o := simOptions(d, commit)
	if err := Create(bg, o, 1); err != nil {
		t.Fatal(err)
	}
	o.HeaderRing = with
	l := start(t, o, 2)
	for i := range 100 { // the ring wraps
		s, e := mustAppend(t, l, record(i, 900))
		mustWait(t, l, e)
		last = Record{Start: s, End: e}
	}
	name, off := l.cur.name, l.cur.off(last.Start)
	d2 := d // the process dies: what was durable stays
	_ = l.Close(bg)
	if err := d2.Corrupt("/wal/"+name, off+20, 1); err != nil {
		t.Fatal(err)
	}
	return last
}

// TestLastGroup: nothing in the log speaks of its last group. Without the ring its rot is a torn tail,
// which is why the ring is there; with it, it is corruption.
func TestLastGroup(t *testing.T) {
	for _, commit := range []Commit{CommitDSync, CommitFlush} {
		for _, with := range []bool{false, true} {
			d := sim.New(sim.Config{Seed: 1, Sector: 4096})
			last := ringed(t, d, with, commit)
			dir, err := OpenDir(bg, simOptions(d, commit), true)
			if err != nil {
				t.Fatal(err)
			}
			tail, err := dir.Scan(bg, Evidence{})
			var e *CorruptError
			switch {
			case !with && (err != nil || tail.Last >= last.Start):
				t.Errorf("%v: without a ring: %+v, %v", commit, tail, err)
			case with && (!errors.As(err, &e) || e.Evidence.LSN != last.End || e.Records != 1 ||
				!strings.Contains(e.Error(), "ring of headers")):
				t.Errorf("%v: with the ring: %v", commit, err)
			}
			if err := dir.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestHeaderRingCrashes: the ring makes no corruption of a power cut, wherever it comes, and loses
// nothing that was acknowledged.
func TestHeaderRingCrashes(t *testing.T) {
	x := sim.Explore{Exhaustive: 3, Items: 6, Samples: 6, Max: 8}
	seeds := uint64(2)
	if testing.Short() || raceEnabled {
		x.Max, seeds = 4, 1
	}
	states := 0
	for _, commit := range []Commit{CommitDSync, CommitFlush} {
		for seed := range seeds {
			states += crashEverywhere(t, recordWith(t, seed, func(d *sim.Disk) Options {
				o := simOptions(d, commit)
				o.HeaderRing = true
				return o
			}), x)
		}
	}
	t.Log(states, "states")
}

// TestHeaderRingFails: a copy that cannot be written or flushed poisons, and its group is not
// acknowledged (I5).
func TestHeaderRingFails(t *testing.T) {
	for _, commit := range []Commit{CommitDSync, CommitFlush} {
		d := newFakeDisk()
		o := small(d)
		o.HeaderRing, o.Commit = true, commit
		l := newLog(t, o)
		_, e := mustAppend(t, l, "fine")
		mustWait(t, l, e)
		d.setHook(func(op *ring.Op, name string) error {
			if name == headersName && (op.Kind == ring.DataSync || op.Flags&ring.DSync != 0) {
				return errMedium
			}
			return nil
		})
		_, end := mustAppend(t, l, "not acknowledged")
		if err := l.WaitDurable(bg, end); !errors.Is(err, errMedium) || l.Durable() != e {
			t.Errorf("%v: the wait said %v, durable is %d, was %d", commit, err, l.Durable(), e)
		}
		if err := l.Close(bg); !errors.Is(err, errMedium) {
			t.Errorf("%v: close said %v", commit, err)
		}
	}
}

// TestHeaderRingIsASecondOpinion: blocks that are damaged, foreign or cannot be read are no evidence,
// and no reason to refuse a log that is whole.
func TestHeaderRingIsASecondOpinion(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.HeaderRing = true
	l := newLog(t, o)
	var end = l.End()
	for i := range 10 {
		_, end = mustAppend(t, l, record(i, 50))
		mustWait(t, l, end)
	}
	mustClose(t, l)
	in := d.names["wal/"+headersName]
	in.data[3*4096+60] ^= 1
	foreign := sampleCopy(4096)
	copy(in.data[64%headerSlots*4096:], foreign)
	d.setHook(func(op *ring.Op, name string) error {
		if name == headersName && op.Kind == ring.Read && op.Off == 5*4096 {
			return errMedium
		}
		return nil
	})
	dir, tail := scan(t, o, Evidence{})
	defer dir.Close()
	if tail.Last != end || !errors.Is(tail.Fault, errMedium) || len(dir.headers.copies) != 7 || dir.headers.number != 10 {
		t.Errorf("%+v, %d copies, the newest is %d", tail, len(dir.headers.copies), dir.headers.number)
	}
}
