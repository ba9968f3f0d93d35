package walstage

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// TestRepairRewrites keeps I8: a group that a failed flush left readable in the cache but not on the
// medium is written again before anything is appended behind it.
func TestRepairRewrites(t *testing.T) {
	f := newForge(t)
	a := f.add(1, 1, 0)
	b := f.add(1, 2, 0)
	in := f.file(1)
	copy(in.medium[a.off:], in.data[a.off:a.off+a.size])
	in.lost[b.off], in.lost[b.off+4096] = true, true

	d, tail := scan(t, f.o, Evidence{Known: []Claim{{1, b.lsn, "super"}}})
	if tail.Beyond != 1 || tail.End != b.lsn+page.LSN(b.size) {
		t.Fatalf("%+v", tail)
	}
	if err := d.Repair(bg, tail); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(in.medium[b.off:b.off+b.size], in.data[b.off:b.off+b.size]) {
		t.Error("the group was not made durable")
	}
	if len(in.lost) != 0 || len(in.dirty) != 0 {
		t.Errorf("unflushed after the repair: %v %v", in.lost, in.dirty)
	}
}

// TestRepairZeroes keeps I8: what is discarded is gone from the medium, in this segment and the
// next, before anything is appended.
func TestRepairZeroes(t *testing.T) {
	f := newForge(t)
	a := f.add(1, 1, 0)
	b := f.add(1, 2, 0)
	f.add(1, 1, 0)
	f.next(1)
	f.add(1, 1, 0)
	f.harm(b, 4096, 100, false)
	in := f.file(1)
	copy(in.medium, in.data)
	in.data = in.data[:40960] // and the file was cut
	d, tail := scan(t, f.o, Evidence{})
	if err := d.Repair(bg, tail); err != nil {
		t.Fatal(err)
	}
	if len(in.data) != 64<<10 || !allZero(in.medium[a.off+a.size:]) || !allZero(in.data[b.off:]) {
		t.Error("the tail is still there")
	}
	if len(f.d.medium) != 1 {
		t.Errorf("the next segment is still there: %v", f.d.medium)
	}
	if err := d.Repair(bg, tail); err != nil {
		t.Fatal("again:", err)
	}
	l, err := d.Start(bg, 2, tail)
	if err != nil {
		t.Fatal(err)
	}
	_, end := mustAppend(t, l, "new")
	mustWait(t, l, end)
	if got := replayAll(t, l, 0); len(got) != 2 || string(got[1].Data) != "new" {
		t.Errorf("%d records", len(got))
	}
	mustClose(t, l)
}

// TestRepairCrash cuts the power at every write and flush of a repair and repairs again: the result
// is always the same log.
func TestRepairCrash(t *testing.T) {
	for cut := 1; ; cut++ {
		f := newForge(t)
		f.add(1, 1, 0)
		b := f.add(1, 2, 0)
		f.add(1, 1, b.lsn)
		g := f.add(1, 1, b.lsn)
		f.next(1)
		f.add(1, 1, b.lsn)
		f.harm(g, 100, 1, false)
		for _, in := range f.d.names {
			in.medium = slices.Clone(in.data)
		}
		f.d.medium = f.d.names
		d, tail := scan(t, f.o, Evidence{})
		want := tail.End
		f.d.mu.Lock()
		f.d.cutAt = f.d.ops + cut
		f.d.mu.Unlock()
		err := d.Repair(bg, tail)
		if err == nil {
			if cut < 4 {
				t.Fatal("a repair of three steps at most")
			}
			return
		}
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		o := small(f.d.crash(rand.New(rand.NewPCG(uint64(cut), 1))))
		d, tail = scan(t, o, Evidence{})
		if tail.End != want || tail.Groups != 3 {
			t.Fatalf("cut at %d: the log ends at %d with %d groups, want %d", cut, tail.End, tail.Groups,
				want)
		}
		if err := d.Repair(bg, tail); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRepairCrashKeepsTornGroupTorn: a group of which only zeros are missing does not become whole when
// the power goes while the tail is zeroed (I8).
func TestRepairCrashKeepsTornGroupTorn(t *testing.T) {
	for cut := 1; ; cut++ {
		for seed := range uint64(40) {
			f := newForge(t)
			f.add(1, 1, 0)
			h := groupHeader{id: f.o.EngineID, epoch: 1, seq: f.seg, off: uint64(f.off), lsn: f.first + page.LSN(f.off), prev: f.chain}
			_, b := whole(h, string(make([]byte, 6000)))
			in := f.file(1)
			copy(in.data[f.off:], b)
			in.data[f.off+5000] = 1 // of what was there before; the second block never arrived
			in.medium = slices.Clone(in.data)
			f.d.medium = f.d.names
			d, tail := scan(t, f.o, Evidence{})
			want := tail.End
			f.d.mu.Lock()
			f.d.cutAt = f.d.ops + cut
			f.d.mu.Unlock()
			if err := d.Repair(bg, tail); err == nil {
				if cut < 5 {
					t.Fatal("a repair of four steps at most")
				}
				return
			} else if !errors.Is(err, errPower) {
				t.Fatal(err)
			}
			if _, tail = scan(t, small(f.d.crash(rand.New(rand.NewPCG(uint64(cut), seed)))), Evidence{}); tail.End != want {
				t.Fatalf("cut at %d, seed %d: the log ends at %d, want %d", cut, seed, tail.End, want)
			}
		}
	}
}

// TestOrderOfSteps: nothing is appended to a log that was not scanned and repaired.
func TestOrderOfSteps(t *testing.T) {
	d := newFakeDisk()
	mustClose(t, newLog(t, small(d)))
	dir, err := OpenDir(bg, small(d), false)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := dir.Repair(bg, &Tail{}); !errors.Is(err, ErrOrder) {
		t.Error(err)
	}
	tail, err := dir.Scan(bg, Evidence{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Start(bg, 9, tail); !errors.Is(err, ErrOrder) {
		t.Error("started without repair:", err)
	}
	if err := dir.Repair(bg, tail); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Start(bg, tail.Epoch, tail); !errors.Is(err, ErrOrder) {
		t.Error("started in an old epoch:", err)
	}
}

// TestFlushFails: a failed flush fails the open and is not tried again (I5).
func TestFlushFails(t *testing.T) {
	d := newFakeDisk()
	mustClose(t, newLog(t, small(d)))
	dir, err := OpenDir(bg, small(d), false)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	n := 0
	d.setHook(func(op *ring.Op, _ string) error {
		if op.Kind == ring.Sync {
			n++
			return errMedium
		}
		return nil
	})
	if err := dir.Flush(bg); !errors.Is(err, errMedium) || n != 1 {
		t.Error(n, err)
	}
}
