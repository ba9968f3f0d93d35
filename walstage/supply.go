package walstage

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/untorn/untorn/page"
)

// supply is the making of segments ahead of need. The supplier goroutine does all of its I/O, so
// that neither a switch nor a truncation stalls appends. Guarded by the log's mutex.
type supply struct {
	next    *segment // ready; not yet in the set of segments
	refused error    // why there is no next: out of space or out of MaxBytes; nil = being made
	spare   []*segment
	due     int64 // where the current segment has to be filled to for the next one to be gone on with
	awaited bool  // an append waits for the next segment
	keep    int   // spare segments worth keeping
	used    int   // switches since the last truncation
	freed   int   // truncations that gave up a segment
	kick    chan struct{}
}

// ask wakes the supplier.
func (s *supply) ask() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// awaitSegment waits until a next segment is there or is known not to come. A refused append asks
// for another try, so that a later one may find that space was freed.
func (l *Log) awaitSegment(kind uint8) error {
	l.supply.awaited = true // also by an append that is refused now, or waits for room on the disk
	err := l.supply.refused
	if err == nil {
		l.supply.ask()
		l.block()
		return nil
	}
	if kind == 0 {
		l.flow.why, l.flow.stuck = err, !noSpace(err) && l.beyond(leaveFull)
		l.gauge(true)
		if l.o.Full != FullReject {
			return l.awaitRoom(err) // the supplier goes on trying
		}
	}
	l.supply.refused = nil
	l.supply.ask()
	return l.refuse("append", err)
}

// switchSegment goes on in the next segment. What is left of the current one stays unused.
func (l *Log) switchSegment() {
	l.cur, l.off = l.supply.next, int64(l.o.Block)
	l.headroom = min(l.o.Headroom, l.cur.length/2)
	l.supply.next = nil
	l.supply.used++
	l.segs.mu.Lock()
	l.segs.list = append(l.segs.list, l.cur)
	l.segs.mu.Unlock()
	l.measure()
	l.supply.ask()
}

// TruncateBefore gives up every segment that lies wholly before lsn, which must be durable. The
// caller has made durable that nothing before lsn will be asked for. Files are recycled or removed
// in the background.
func (l *Log) TruncateBefore(lsn page.LSN) error {
	if lsn > l.Durable() {
		return &Error{Op: "truncate", File: l.o.Dir, LSN: lsn, Err: ErrLSNBeyondLog}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	if l.stage != running {
		return l.refuse("truncate", ErrClosed)
	}
	l.segs.mu.Lock()
	n := 0
	for n < len(l.segs.list) && l.segs.list[n] != l.cur && l.segs.list[n].end() <= lsn {
		n++
	}
	l.supply.spare = append(l.supply.spare, l.segs.list[:n]...)
	l.segs.list = append(l.segs.list[:0:0], l.segs.list[n:]...)
	l.stats.Oldest = l.segs.list[0].first
	l.segs.mu.Unlock()
	if n > 0 {
		// Keep about as many as were used between truncations: they will be needed again.
		l.supply.keep = max(2, l.supply.used+1)
		l.supply.used = 0
		l.supply.freed++
		l.supply.refused = nil
		l.measure()
		l.supply.ask()
		l.room.Broadcast()
	}
	return nil
}

// retryRoom is how often a segment is tried for again while appends wait: nobody tells when a disk
// has room, or a reader lets go of a segment.
const retryRoom = 50 * time.Millisecond

// supplier makes the next segment and removes spare ones nobody needs.
func (l *Log) supplier() {
	for {
		var retry <-chan time.Time
		if l.waitingForRoom() {
			retry = time.After(retryRoom)
		}
		select {
		case <-l.supply.kick:
		case <-retry:
		case <-l.stop:
			return
		}
		for l.supplyOne() {
		}
		l.tell()
	}
}

// waitingForRoom reports whether appends wait in a full log.
func (l *Log) waitingForRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.o.Full != FullReject && l.blocked > 0 && l.supply.refused != nil
}

// supplyOne does one step and reports whether there may be another.
func (l *Log) supplyOne() bool {
	l.mu.Lock()
	if l.failed != nil || l.stage == stopping {
		l.mu.Unlock()
		return false
	}
	s := &l.supply
	var old *segment
	drop := false
	switch {
	case s.next == nil:
		old = l.takeSpare()
		drop = old != nil && !(old.formatted && old.length == l.o.SegmentBytes &&
			old.size >= old.length)
	case len(s.spare) > s.keep:
		old, drop = l.takeSpare(), true
	}
	if old == nil && s.next != nil {
		l.mu.Unlock()
		return false
	}
	files := int64(l.segs.count() + len(s.spare) + 1)
	seq, first, freed := l.cur.seq+1, l.cur.end(), s.freed
	l.mu.Unlock()

	if drop {
		return l.finishSupply(nil, l.removeSegment(old), freed)
	}
	if old == nil && l.o.MaxBytes != 0 && files*l.o.SegmentBytes > l.o.MaxBytes {
		return l.finishSupply(nil, ErrLogFull, freed)
	}
	var made *segment
	var err error
	if old != nil {
		made, err = recycleSegment(&l.o, old, seq, first, l.epoch)
	} else {
		made, err = createSegment(context.Background(), &l.o, seq, first, l.epoch, l.pace)
	}
	if made != nil {
		l.mu.Lock()
		if old != nil {
			l.stats.Recycled++
		} else {
			l.stats.Created++
		}
		l.mu.Unlock()
	}
	return l.finishSupply(made, err, freed)
}

// pace holds the next segment back while done of its size bytes are zeroed, so that it is made twice
// as fast as the current one fills: made at once, every 64 MiB of log would be a burst of writes that
// the commits of that time wait behind. Nothing is held back once an append waits for the segment.
func (l *Log) pace(done, size int64) error {
	for {
		l.mu.Lock()
		room := l.cur.length - l.headroom
		due := int64(float64(room) / 2 * float64(done) / float64(size))
		if l.off >= due || l.supply.awaited {
			l.mu.Unlock()
			return nil
		}
		l.supply.due = due
		spare := l.spareIndex() >= 0
		l.mu.Unlock()
		if spare {
			return errSpare
		}
		l.tell() // of what the kick that began this segment may have been for, too
		select {
		case <-l.supply.kick:
		case <-l.stop:
			return ErrClosed
		}
	}
}

// errSpare ends the making of a segment when a truncation has left one to use again.
var errSpare = errors.New("a spare segment is there")

// finishSupply takes the outcome of a step. Out of space leaves the log healthy; anything else that
// fails is a failure on a durability path (I5). A refusal that a truncation since may have overtaken
// counts for nothing: freed is the number of those when the step began.
func (l *Log) finishSupply(made *segment, err error, freed int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.room.Broadcast()
	switch {
	case errors.Is(err, ErrClosed): // by pace, as is the next
	case errors.Is(err, errSpare):
		return true
	case err == nil && made != nil:
		l.supply.next, l.supply.refused = made, nil
		l.supply.awaited = false
		l.gauge(false)
		return true
	case err == nil:
		return true
	case freed != l.supply.freed && (errors.Is(err, ErrLogFull) || noSpace(err)):
		return true
	case errors.Is(err, ErrLogFull):
		l.supply.refused = err
	case noSpace(err):
		l.supply.refused = errors.Join(ErrLogFull, err)
	default:
		l.fail(err)
	}
	return false
}

// takeSpare takes the oldest spare segment that no reader holds.
func (l *Log) takeSpare() *segment {
	i := l.spareIndex()
	if i < 0 {
		return nil
	}
	s := l.supply.spare[i]
	l.supply.spare = append(l.supply.spare[:i:i], l.supply.spare[i+1:]...)
	return s
}

// spareIndex finds it. Nobody takes hold of a spare segment again.
func (l *Log) spareIndex() int {
	l.segs.mu.Lock()
	defer l.segs.mu.Unlock()
	return slices.IndexFunc(l.supply.spare, func(s *segment) bool { return s.refs == 0 })
}

func (s *segments) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

// removeSegment unlinks a file for good.
func (l *Log) removeSegment(s *segment) error {
	path := filepath.Join(l.o.Dir, s.name)
	if err := l.o.FS.Remove(path); err != nil {
		return errors.Join(&Error{Op: "remove", File: path, Err: err}, s.file.Close())
	}
	if err := s.file.Close(); err != nil {
		return &Error{Op: "close", File: path, Err: err}
	}
	if err := l.o.FS.SyncDir(l.o.Dir); err != nil {
		return &Error{Op: "flush directory", File: l.o.Dir, Err: err}
	}
	l.mu.Lock()
	l.stats.Removed++
	l.mu.Unlock()
	return nil
}
