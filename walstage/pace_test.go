package walstage

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn/ring"
)

// pieces is how many zeroChunks the segments of these tests have.
const pieces = 8

// paced starts a log and returns how many pieces of the segment behind its first are zeroed.
func paced(t *testing.T, headroom int64) (*Log, *fakeDisk, func() int) {
	d := newFakeDisk()
	o := small(d)
	o.SegmentBytes, o.MaxGroup, o.Headroom = pieces*zeroChunk, pieces*zeroChunk/2, headroom
	if err := Create(bg, o, 1); err != nil {
		t.Fatal(err)
	}
	n := 0
	d.setHook(func(op *ring.Op, name string) error {
		if op.Kind == ring.Write && len(op.Buf) == zeroChunk {
			n++
		}
		return nil
	})
	return start(t, o, 2), d, func() int {
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		return n
	}
}

// TestNextSegmentIsPaced: the next segment is made as the current one fills, twice as fast, and no
// burst of zeros stands in the way of the commits.
func TestNextSegmentIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, zeroed := paced(t, 64<<10)
		for {
			want := min(pieces, 1+int(2*pieces*l.off/(l.cur.length-l.headroom)))
			if n := zeroed(); n != want {
				t.Fatalf("%d of %d bytes used: %d pieces zeroed, want %d", l.off, l.cur.length, n, want)
			}
			if l.off > l.cur.length/2 {
				break
			}
			_, end := mustAppend(t, l, record(0, 30<<10))
			mustWait(t, l, end)
		}
		if l.supply.next == nil || l.supply.due != math.MaxInt64 {
			t.Errorf("half of the segment is used: next %v, due at %d", l.supply.next, l.supply.due)
		}
		mustClose(t, l)
	})
}

// TestAwaitedSegmentIsNotPaced: an append that may not go on before there is a next segment gets it,
// however little of the current one is used.
func TestAwaitedSegmentIsNotPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, zeroed := paced(t, pieces*zeroChunk/2)
		if n := zeroed(); n != 1 {
			t.Fatalf("%d pieces zeroed", n)
		}
		_, end := mustAppend(t, l, record(0, pieces*zeroChunk/2-200))
		mustWait(t, l, end)
		if n := zeroed(); n != pieces || l.supply.next == nil {
			t.Errorf("%d pieces zeroed, next %v", n, l.supply.next)
		}
		mustClose(t, l)
	})
}

// TestCloseWhileSegmentIsMade: Close does not finish a segment nobody has used, and leaves nothing of
// it behind.
func TestCloseWhileSegmentIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d, zeroed := paced(t, 64<<10)
		zeroed()
		mustClose(t, l)
		if n := zeroed(); n != 1 || len(d.names) != 1 {
			t.Errorf("%d pieces zeroed, %d files", n, len(d.names))
		}
	})
}

// TestSpareEndsPacing: a truncation while the next segment is being made has its segments used again
// and removed at once, in a log that nobody appends to any more.
func TestSpareEndsPacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d, zeroed := paced(t, 64<<10)
		for l.cur.seq < 3 {
			_, end := mustAppend(t, l, record(0, 30<<10))
			mustWait(t, l, end)
		}
		before := zeroed()
		if l.supply.next != nil {
			t.Fatal("the next segment is there already")
		}
		if err := l.TruncateBefore(l.Durable()); err != nil {
			t.Fatal(err)
		}
		if n := zeroed(); n != before || l.supply.next == nil || len(d.names) != 3 {
			t.Errorf("%d pieces zeroed after %d, next %v, %d files", n, before, l.supply.next, len(d.names))
		}
		if s := l.Stats(); s.Recycled != 1 || s.Created != 2 {
			t.Errorf("%d recycled, %d created", s.Recycled, s.Created)
		}
		mustClose(t, l)
	})
}

// TestPressureIsToldWhilePacing: who is to take a checkpoint hears of it now.
func TestPressureIsToldWhilePacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, zeroed := paced(t, 64<<10)
		zeroed()
		l.mu.Lock()
		l.flow.limit = 16 * 4096
		told := 0
		l.o.Event = func(e Event) { told++ }
		l.mu.Unlock()
		for range 4 {
			_, end := mustAppend(t, l, record(0, 14<<10))
			mustWait(t, l, end)
		}
		if n := zeroed(); n != 1 || told == 0 {
			t.Errorf("told %d times, %d pieces zeroed", told, n)
		}
		mustClose(t, l)
	})
}

// TestWaitingForRoomIsNotPaced: an append that waits because the disk was full gets its segment when
// there is room again, however little of the current one is used.
func TestWaitingForRoomIsNotPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		o := small(d)
		o.SegmentBytes, o.MaxGroup, o.Headroom = pieces*zeroChunk, pieces*zeroChunk/2, pieces*zeroChunk/2
		o.Full = FullBlock
		if err := Create(bg, o, 1); err != nil {
			t.Fatal(err)
		}
		room := d.free
		d.free = 0
		l := start(t, o, 2)
		synctest.Wait() // a segment was refused before anybody needed it
		appended := make(chan error, 1)
		go func() {
			_, _, err := l.Append(0, []byte(record(0, pieces*zeroChunk/2-200)))
			appended <- err
		}()
		synctest.Wait()
		d.mu.Lock()
		d.free = room
		d.mu.Unlock()
		select {
		case err := <-appended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the append still waits")
			l.Unblock()
			<-appended
		}
		mustClose(t, l)
	})
}

// TestPressureIsToldBeforePacing: a change of the pressure while the one before was being told is told
// too, though a switch meanwhile means that the next segment is being made.
func TestPressureIsToldBeforePacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, zeroed := paced(t, 64<<10)
		for zeroed() < pieces {
			_, end := mustAppend(t, l, record(0, 30<<10))
			mustWait(t, l, end)
		}
		begun, end := make(chan Pressure), make(chan bool)
		l.mu.Lock()
		l.o.Event = func(e Event) {
			begun <- e.Pressure
			<-end
		}
		l.flow.limit = 16 * 4096
		l.gauge(false)
		l.mu.Unlock()
		if p := <-begun; p != PressureHigh {
			t.Fatal(p)
		}
		l.mu.Lock()
		l.flow.limit = 1 << 40
		l.mu.Unlock()
		for l.cur.seq < 2 {
			_, end := mustAppend(t, l, record(0, 30<<10))
			mustWait(t, l, end)
		}
		end <- true
		synctest.Wait()
		select {
		case p := <-begun:
			if p != PressureNone {
				t.Error(p)
			}
			end <- true
		default:
			t.Errorf("pressure %v, told was %v", l.flow.now, l.flow.told)
			l.o.Event = nil
		}
		mustClose(t, l)
	})
}
