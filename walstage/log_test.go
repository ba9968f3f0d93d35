package walstage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

var bg = context.Background()

// small are options that make many segments out of little data.
func small(d *fakeDisk) Options {
	return Options{FS: d, Ring: fakeRing{d}, Dir: "wal", EngineID: [16]byte{7}, Commit: CommitDSync,
		SegmentBytes: 64 << 10, MaxGroup: 16 << 10, LockWait: -1}
}

func newLog(t testing.TB, o Options) *Log {
	t.Helper()
	if err := Create(bg, o, 1); err != nil {
		t.Fatal(err)
	}
	return start(t, o, 2)
}

func mustAppend(t testing.TB, l *Log, rec string) (start, end page.LSN) {
	t.Helper()
	start, end, err := l.Append(0, []byte(rec))
	if err != nil {
		t.Fatal(err)
	}
	return start, end
}

func mustWait(t testing.TB, l *Log, lsn page.LSN) {
	t.Helper()
	if err := l.WaitDurable(bg, lsn); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(bg); err != nil {
		t.Fatal(err)
	}
}

type replayer interface {
	source() source
}

func replayAll(t testing.TB, r replayer, from page.LSN) []Record {
	t.Helper()
	var all []Record
	for rec, err := range r.source().replay(bg, from) {
		if err != nil {
			t.Fatal(err)
		}
		rec.Data = bytes.Clone(rec.Data)
		all = append(all, rec)
	}
	return all
}

// record returns the i-th record of a reproducible sequence.
func record(i, size int) string {
	return strings.Repeat(fmt.Sprintf("%08d.", i), size/9+1)[:size]
}

func TestAppendReplay(t *testing.T) {
	for _, method := range []Commit{CommitDSync, CommitFlush, CommitAuto} {
		t.Run(method.String(), func(t *testing.T) {
			d := newFakeDisk()
			o := small(d)
			o.Commit = method
			l := newLog(t, o)
			r := rand.New(rand.NewPCG(1, 2))
			var want []Record
			for i := range 400 {
				rec := record(i, 1+r.IntN(3000))
				s, e, err := l.Append(uint8(i%3), []byte(rec))
				if err != nil {
					t.Fatal(err)
				}
				if e-s != page.LSN(frameSize+len(rec)) || l.End() != e {
					t.Fatalf("record %d at [%d, %d), log ends at %d", i, s, e, l.End())
				}
				if len(want) > 0 && s < want[len(want)-1].End {
					t.Fatalf("record %d starts at %d, before the end of the last", i, s)
				}
				want = append(want, Record{s, e, 2, uint8(i % 3), []byte(rec)})
				if r.IntN(5) == 0 {
					mustWait(t, l, e)
					if l.Durable() < e {
						t.Fatalf("durable %d after waiting for %d", l.Durable(), e)
					}
				}
			}
			mustWait(t, l, l.End())
			compare(t, replayAll(t, l, 0), want)
			mustClose(t, l)

			dir, tail := scan(t, o, Evidence{Known: []Claim{{2, l.End(), "super"}}, Clean: true})
			if tail.Last != l.End() || tail.Epoch != 2 || !tail.Clean || tail.Records != 400 {
				t.Errorf("tail %+v, log ended at %d", tail, l.End())
			}
			compare(t, replayAll(t, dir, 0), want)
			for _, i := range []int{0, 1, 57, 200, 399} {
				compare(t, replayAll(t, dir, want[i].Start), want[i:])
				compare(t, replayAll(t, dir, want[i].End), want[i+1:])
				got, err := dir.ReadAt(bg, want[i].Start)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, []Record{got}, want[i:i+1])
			}
			if _, err := dir.ReadAt(bg, want[5].Start+1); !errors.Is(err, ErrNoRecord) {
				t.Errorf("ReadAt inside a record: %v", err)
			}
			if _, err := dir.ReadAt(bg, tail.End); !errors.Is(err, ErrLSNBeyondLog) {
				t.Errorf("ReadAt the end: %v", err)
			}
		})
	}
}

func compare(t testing.TB, got, want []Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Start != w.Start || g.End != w.End || g.Kind != w.Kind || g.Epoch != w.Epoch ||
			!bytes.Equal(g.Data, w.Data) {
			t.Fatalf("record %d is %d..%d kind %d epoch %d %.20q,\nwant %d..%d kind %d epoch %d %.20q",
				i, g.Start, g.End, g.Kind, g.Epoch, g.Data, w.Start, w.End, w.Kind, w.Epoch, w.Data)
		}
	}
}

func scan(t testing.TB, o Options, ev Evidence) (*Dir, *Tail) {
	t.Helper()
	d, err := OpenDir(bg, o, false)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := d.Scan(bg, ev)
	if err != nil {
		t.Fatal(err)
	}
	return d, tail
}

func TestAppendBatchIsOneGroup(t *testing.T) {
	d := newFakeDisk()
	l := newLog(t, small(d))
	mustAppend(t, l, record(0, 12000)) // nearly fills the group
	recs := [][]byte{[]byte(record(1, 3000)), []byte(record(2, 3000)), []byte(record(3, 1))}
	ends, err := l.AppendBatch(recs, nil)
	if err != nil || len(ends) != 3 {
		t.Fatal(ends, err)
	}
	mustClose(t, l)
	dir, _ := scan(t, small(d), Evidence{})
	all := replayAll(t, dir, 0)
	if len(all) != 4 {
		t.Fatalf("%d records", len(all))
	}
	for i, r := range all[1:] {
		if r.End != ends[i] {
			t.Errorf("record %d ends at %d, AppendBatch said %d", i, r.End, ends[i])
		}
	}
	if first := all[1].Start; first%4096 != groupHeaderSize {
		t.Errorf("the batch starts at %d: not a group of its own", first)
	}
	if all[3].End-all[1].Start != 3*frameSize+6001 {
		t.Error("the batch is not contiguous")
	}
}

func TestRefusals(t *testing.T) {
	l := newLog(t, small(newFakeDisk()))
	if _, _, err := l.Append(0, nil); !errors.Is(err, ErrEmpty) {
		t.Error(err)
	}
	if _, err := l.AppendBatch(nil, nil); !errors.Is(err, ErrEmpty) {
		t.Error(err)
	}
	if _, err := l.AppendBatch([][]byte{{1}, {}}, nil); !errors.Is(err, ErrEmpty) {
		t.Error(err)
	}
	if _, _, err := l.Append(0, make([]byte, l.MaxRecord()+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, _, err := l.Append(0, make([]byte, l.MaxRecord())); err != nil {
		t.Error(err)
	}
	if err := l.WaitDurable(bg, l.End()+1); !errors.Is(err, ErrLSNBeyondLog) {
		t.Error(err)
	}
	if err := l.Force(l.End() + 1); !errors.Is(err, ErrLSNBeyondLog) {
		t.Error(err)
	}
	if err := l.NotifyDurable(l.End()+1, nil); !errors.Is(err, ErrLSNBeyondLog) {
		t.Error(err)
	}
	if err := l.TruncateBefore(l.End() + 1); !errors.Is(err, ErrLSNBeyondLog) {
		t.Error(err)
	}
	mustClose(t, l)
	mustClose(t, l)
	if _, _, err := l.Append(0, []byte{1}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := l.WaitDurable(bg, l.End()); err != nil {
		t.Error(err)
	}
	if _, err := l.ReadAt(bg, 4096+groupHeaderSize); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestForceAndNotify(t *testing.T) {
	l := newLog(t, small(newFakeDisk()))
	_, end := mustAppend(t, l, "one")
	ch := make(chan struct{}, 1)
	if err := l.NotifyDurable(end, ch); err != nil {
		t.Fatal(err)
	}
	<-ch
	if l.Durable() < end {
		t.Error("told too early")
	}
	if err := l.NotifyDurable(end, ch); err != nil {
		t.Fatal(err)
	}
	<-ch // at once
	_, end = mustAppend(t, l, "two")
	if err := l.Force(end); err != nil {
		t.Fatal(err)
	}
	if err := l.NotifyDurable(end, ch); err != nil {
		t.Fatal(err)
	}
	<-ch
	mustClose(t, l)
}

// TestDurableInOrder keeps I3: with several groups in flight, a later one that completes first is
// not announced before the earlier one.
func TestDurableInOrder(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	l := newLog(t, o)
	l.mu.Lock()
	l.depth.target = 2
	l.mu.Unlock()
	started, release := make(chan string, 2), make(chan struct{})
	done := make(chan struct{})
	var once sync.Once
	d.setHook(func(op *ring.Op, _ string) error {
		if op.Kind == ring.Write && bytes.Contains(op.Buf[:200], []byte("first")) {
			started <- "first"
			<-release
		}
		if op.Kind == ring.Write && bytes.Contains(op.Buf[:200], []byte("second")) {
			defer once.Do(func() { close(done) })
			started <- "second"
		}
		return nil
	})
	_, a := mustAppend(t, l, "first")
	if err := l.Force(a); err != nil {
		t.Fatal(err)
	}
	<-started
	_, b := mustAppend(t, l, "second")
	wait := make(chan error)
	go func() { wait <- l.WaitDurable(bg, b) }()
	<-started
	<-done
	for { // until the log has taken note of the second write
		l.mu.Lock()
		n := l.writing
		durable := l.Durable()
		l.mu.Unlock()
		if durable >= a {
			t.Fatal("announced the second group before the first was written")
		}
		if n == 1 {
			break
		}
	}
	select {
	case err := <-wait:
		t.Fatalf("the waiter returned %v before the first group was written", err)
	default:
	}
	close(release)
	if err := <-wait; err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
}

// TestFlushAfterWrite keeps I3 for CommitFlush: the flush is submitted after the write's completion.
func TestFlushAfterWrite(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.Commit = CommitFlush
	l := newLog(t, o)
	_, end := mustAppend(t, l, "x")
	mustWait(t, l, end)
	d.mu.Lock()
	in := d.names["wal/"+segmentName(1)]
	if len(in.dirty) != 0 {
		t.Error("acknowledged with unflushed blocks")
	}
	d.mu.Unlock()
	mustClose(t, l)
}

// TestReplayFollows: a reader of a live log sees what becomes durable while it reads.
func TestReplayFollows(t *testing.T) {
	l := newLog(t, small(newFakeDisk()))
	_, end := mustAppend(t, l, record(0, 3000))
	mustWait(t, l, end)
	n := 0
	for r, err := range l.Replay(bg, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if string(r.Data) != record(n, 3000) {
			t.Fatalf("record %d is %.20q", n, r.Data)
		}
		if n++; n < 60 {
			_, end := mustAppend(t, l, record(n, 3000))
			mustWait(t, l, end)
		}
	}
	if n != 60 {
		t.Errorf("%d records", n)
	}
	mustClose(t, l)
}

func TestLocks(t *testing.T) {
	d := newFakeDisk()
	l := newLog(t, small(d))
	if _, err := OpenDir(bg, small(d), false); !errors.Is(err, fsys.ErrLocked) {
		t.Errorf("second opener: %v", err)
	}
	if _, err := OpenDir(bg, small(d), true); !errors.Is(err, fsys.ErrLocked) {
		t.Errorf("reader beside a writer: %v", err)
	}
	for i := range 20 {
		mustAppend(t, l, record(i, 4000))
	}
	mustWait(t, l, l.End())
	o := small(d).withDefaults()
	if _, err := openSegment(bg, &o, segmentName(2), false); !errors.Is(err, fsys.ErrLocked) {
		t.Errorf("a segment the log made itself: %v", err)
	}
	mustClose(t, l)
	a, err := OpenDir(bg, small(d), true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenDir(bg, small(d), true)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := a.Scan(bg, Evidence{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Repair(bg, tail); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}

// TestConcurrent is for the race detector: appenders, waiters with and without a context, readers,
// and a truncation that recycles segments under them.
func TestConcurrent(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	l := newLog(t, o)
	l.mu.Lock()
	l.depth.target = 3
	l.mu.Unlock()
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			for i := range 200 {
				s, e, err := l.Append(0, []byte(record(c*1000+i, 100+c*200)))
				if err != nil {
					t.Error(err)
					return
				}
				switch i % 4 {
				case 0:
					err = l.WaitDurable(ctx, e)
				case 1:
					err = l.WaitDurable(bg, e)
				case 2:
					err = l.Force(e)
				}
				if err == nil && i%48 == 1 {
					var r Record
					if r, err = l.ReadAt(bg, s); err == nil && string(r.Data) != record(c*1000+i, 100+c*200) {
						t.Errorf("ReadAt(%d) is %.20q", s, r.Data)
					}
					if errors.Is(err, ErrTruncated) {
						err = nil
					}
				}
				if err == nil && c == 0 && i%40 == 39 {
					err = l.TruncateBefore(l.Durable())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	s := l.Stats()
	mustClose(t, l)
	if s.Records != 1600 || s.Recycled == 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestStartFails: a log that could not be started lets go of every file, also of the segment that was
// made ready before: the next open finds none locked (I11).
func TestStartFails(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.Commit = CommitAuto
	l := newLog(t, o)
	_, end := mustAppend(t, l, "a record")
	mustWait(t, l, end)
	for made := false; !made; runtime.Gosched() {
		l.mu.Lock()
		made = l.supply.next != nil
		l.mu.Unlock()
	}
	mustClose(t, l)
	ended, cancel := context.WithCancel(bg)
	cancel()
	for _, ctx := range []context.Context{ended, bg} {
		dir, tail := scan(t, o, Evidence{Known: []Claim{{2, end, "super"}}, Clean: true})
		if err := dir.Repair(bg, tail); err != nil {
			t.Fatal(err)
		}
		if len(dir.segs.list) != 2 {
			t.Fatal("nothing was made ready")
		}
		l, err := dir.Start(ctx, 3, tail)
		if ctx == bg {
			if err != nil {
				t.Fatal(err)
			}
			mustClose(t, l)
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
