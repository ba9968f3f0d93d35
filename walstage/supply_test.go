package walstage

import (
	"errors"
	"runtime"
	"testing"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// fill appends until the log refuses, and returns the number of records and the refusal.
func fill(l *Log, kind uint8, size int) (n int, err error) {
	for ; ; n++ {
		_, end, err := l.Append(kind, []byte(record(n, size)))
		if err == nil {
			err = l.WaitDurable(bg, end)
		}
		if err != nil {
			return n, err
		}
	}
}

// TestLogFull: a log at MaxBytes refuses the user, still takes the engine's records, and goes on
// after a truncation.
func TestLogFull(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.MaxBytes = 3 * o.SegmentBytes
	l := newLog(t, o)
	n, err := fill(l, 0, 3000)
	if !errors.Is(err, ErrLogFull) || errors.Is(err, fsys.ErrNoSpace) || n < 40 {
		t.Fatal(n, err)
	}
	if len(d.names) != 3 {
		t.Errorf("%d files", len(d.names))
	}
	if _, err := l.AppendBatch([][]byte{make([]byte, 9000)}, nil); !errors.Is(err, ErrLogFull) {
		t.Error(err)
	}
	m, err := fill(l, 1, 3000)
	if !errors.Is(err, ErrLogFull) || m < 4 {
		t.Errorf("the headroom held %d engine records: %v", m, err)
	}
	if err := l.TruncateBefore(l.Durable()); err != nil {
		t.Fatal(err)
	}
	if n, err = fill(l, 0, 3000); !errors.Is(err, ErrLogFull) || n < 20 {
		t.Fatal(n, err)
	}
	s := l.Stats()
	if s.Recycled == 0 || l.o.Poison.Err() != nil {
		t.Errorf("%+v, poison %v", s, l.o.Poison.Err())
	}
	mustClose(t, l)
}

// TestNoSpace: a full disk while a segment is made refuses what needs it, leaves no half-made file,
// and is over when there is room again.
func TestNoSpace(t *testing.T) {
	for _, where := range []string{"preallocate", "zero"} {
		t.Run(where, func(t *testing.T) {
			d := newFakeDisk()
			l := newLog(t, small(d))
			d.mu.Lock()
			room := d.free
			d.mu.Unlock()
			set := func(full bool) {
				d.mu.Lock()
				defer d.mu.Unlock()
				switch {
				case !full:
					d.free, d.hook = room, nil
				case where == "preallocate":
					d.free = 0
				default:
					d.hook = func(op *ring.Op, _ string) error {
						if op.Kind == ring.Write && len(op.Buf) == 64<<10 {
							return fsys.ErrNoSpace
						}
						return nil
					}
				}
			}
			set(true)
			_, err := fill(l, 0, 3000)
			if !errors.Is(err, ErrLogFull) || !errors.Is(err, fsys.ErrNoSpace) {
				t.Fatal(err)
			}
			if m, err := fill(l, 1, 3000); m < 4 || !errors.Is(err, ErrLogFull) {
				t.Errorf("the headroom held %d engine records: %v", m, err)
			}
			if l.o.Poison.Err() != nil {
				t.Error("poisoned by a full disk:", l.o.Poison.Err())
			}
			set(false)
			for { // one more refusal starts the next attempt
				_, end, err := l.Append(0, []byte("room again"))
				if err == nil {
					mustWait(t, l, end)
					break
				}
				if !errors.Is(err, ErrLogFull) {
					t.Fatal(err)
				}
			}
			mustClose(t, l)
			scan(t, small(d), Evidence{Known: []Claim{{2, l.End(), "super"}}})
		})
	}
}

// TestSupplyFailure: any other failure while a segment is made is a failure on a durability path.
func TestSupplyFailure(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	if err := Create(bg, o, 1); err != nil {
		t.Fatal(err)
	}
	d.setHook(func(op *ring.Op, name string) error {
		if op.Kind == ring.Sync && name != segmentName(1) {
			return errMedium
		}
		return nil
	})
	l := start(t, o, 2)
	<-l.o.Poison.C()
	if err := l.o.Poison.Err(); !errors.Is(err, errMedium) {
		t.Error(err)
	}
	if err := l.Close(bg); !errors.Is(err, errMedium) {
		t.Error(err)
	}
}

// TestRecycledSegment: a segment's older life does not come back, and a reader that is in a
// truncated segment keeps its file.
func TestRecycledSegment(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	l := newLog(t, o)
	var ends []page.LSN
	for i := range 100 {
		_, end := mustAppend(t, l, record(i, 3000))
		mustWait(t, l, end)
		ends = append(ends, end)
	}
	i := 0
	err := l.source().walk(bg, 0, 4096, func(r Record) bool { // nothing is read ahead
		if i == 2 {
			if err := l.TruncateBefore(ends[99]); err != nil {
				t.Fatal(err)
			}
			for n := l.Stats().Recycled; l.Stats().Recycled < n+4; {
				_, end := mustAppend(t, l, record(i, 3000))
				mustWait(t, l, end)
			}
		}
		if string(r.Data) != record(i, 3000) {
			t.Errorf("record %d is %.20q", i, r.Data)
		}
		i++
		return i < 8 // all in the first segment
	})
	if err != nil || i != 8 {
		t.Fatal(i, err)
	}
	if _, err := l.ReadAt(bg, ends[3]); !errors.Is(err, ErrTruncated) {
		t.Error("reading what was truncated:", err)
	}
	from := ends[99]
	want := replayAll(t, l, from)
	end := l.End()
	mustClose(t, l)
	dir, tail := scan(t, o, Evidence{Start: from})
	if tail.Last != end {
		t.Errorf("the log ends at %d, ended at %d (%v)", tail.Last, end, tail.Reason)
	}
	compare(t, replayAll(t, dir, from), want)
}

// TestTruncateAtSegmentEnd: a log that fills its segment to the last byte keeps it until there is
// another, whatever is truncated.
func TestTruncateAtSegmentEnd(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	l := newLog(t, o)
	for _, blocks := range []int{4, 4, 4, 3} {
		mustAppend(t, l, record(blocks, blocks*4096-groupHeaderSize-frameSize))
	}
	mustWait(t, l, l.End())
	at := l.Durable()
	if at != page.LSN(o.SegmentBytes) {
		t.Fatalf("the segment is filled through %d", at)
	}
	if err := l.TruncateBefore(at); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	_, tail := scan(t, o, Evidence{Start: at, Known: []Claim{{2, at, "super"}}})
	if tail.End != at && tail.End != at+4096 { // the next segment may have been made
		t.Errorf("%+v", tail)
	}
}

// TestTruncateKeepsTheCurrentSegment: a log that was truncated at its very end can be opened again.
func TestTruncateKeepsTheCurrentSegment(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	l := newLog(t, o)
	for i := range 30 {
		mustAppend(t, l, record(i, 3000))
	}
	mustWait(t, l, l.End())
	at := l.Durable()
	if err := l.TruncateBefore(at); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	dir, tail := scan(t, o, Evidence{Start: at, Known: []Claim{{2, at, "super"}}, Clean: true})
	if tail.Last != at || !tail.Clean {
		t.Errorf("%+v", tail)
	}
	if err := dir.Repair(bg, tail); err != nil {
		t.Fatal(err)
	}
	l, err := dir.Start(bg, 3, tail)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, "on")
	mustClose(t, l)
}

// TestRefusalOvertaken: a refusal that was decided before a truncation and arrives after it refuses
// nobody.
func TestRefusalOvertaken(t *testing.T) {
	o := small(newFakeDisk())
	o.MaxBytes = 3 * o.SegmentBytes
	l := newLog(t, o)
	if _, err := fill(l, 0, 3000); !errors.Is(err, ErrLogFull) {
		t.Fatal(err)
	}
	l.mu.Lock()
	freed := l.supply.freed // as the supplier saw it when it found no room
	l.mu.Unlock()
	if err := l.TruncateBefore(l.Durable()); err != nil {
		t.Fatal(err)
	}
	if again := l.finishSupply(nil, ErrLogFull, freed); !again {
		t.Error("the supplier does not try again")
	}
	if _, _, err := l.Append(0, []byte("room")); err != nil {
		t.Errorf("after the truncation: %v", err)
	}
	mustClose(t, l)
}

// TestNoSpaceToRecycle: a disk that is full when an old segment gets its new name and header, as one that
// never overwrites can be, is over when there is room again, and what was begun is in no one's way.
func TestNoSpaceToRecycle(t *testing.T) {
	for _, where := range []string{"rename", "write", "flush"} {
		t.Run(where, func(t *testing.T) {
			d := newFakeDisk()
			l := newLog(t, small(d))
			for l.cur.seq < 2 {
				_, end := mustAppend(t, l, record(0, 3000))
				mustWait(t, l, end)
			}
			for made := false; !made; { // so that the first one is recycled as the fourth
				l.mu.Lock()
				made = l.supply.next != nil
				l.mu.Unlock()
				runtime.Gosched()
			}
			room := d.free
			d.mu.Lock()
			d.free = 0
			d.failFS = func(what, name string) error {
				if d.free == 0 && where == "rename" && what == "rename" {
					return fsys.ErrNoSpace
				}
				return nil
			}
			d.hook = func(op *ring.Op, name string) error {
				d.mu.Lock()
				defer d.mu.Unlock()
				kind := map[string]ring.Kind{"write": ring.Write, "flush": ring.Sync}
				if k, ok := kind[where]; ok && d.free == 0 && name == segmentName(1) && op.Kind == k {
					return fsys.ErrNoSpace
				}
				return nil
			}
			d.mu.Unlock()
			if err := l.TruncateBefore(l.Durable()); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := fill(l, 0, 3000); !errors.Is(err, ErrLogFull) || !errors.Is(err, fsys.ErrNoSpace) {
					t.Fatal(err)
				}
			}
			d.mu.Lock()
			d.free = room
			d.mu.Unlock()
			for l.cur.seq < 5 {
				_, end, err := l.Append(0, []byte(record(0, 3000)))
				if err == nil {
					err = l.WaitDurable(bg, end)
				}
				if err != nil && !errors.Is(err, ErrLogFull) {
					t.Fatal(err)
				}
			}
			mustClose(t, l)
			if d.names["wal/"+segmentName(1)] != nil {
				t.Error("the old segment is still there")
			}
			scan(t, small(d), Evidence{Start: l.Durable()})
		})
	}
}
