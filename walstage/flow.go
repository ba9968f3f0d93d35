package walstage

import (
	"time"

	"github.com/untorn/untorn/page"
)

// Full says what happens to the user's appends when the log may not grow: it is at MaxBytes, or the
// disk is full. The engine's own records never wait: a checkpoint must be able to empty the log.
type Full uint8

// The values of Full.
const (
	// FullReject refuses appends with ErrLogFull.
	FullReject Full = iota
	// FullBlock lets them wait until a truncation, or room on the disk, ends it. Whoever calls for
	// the checkpoint must not be the one who waits.
	FullBlock
	// FullThrottle slows appends down from three quarters of MaxBytes on, the more the fuller the
	// log is, and lets them wait when it is full.
	FullThrottle
)

func (f Full) String() string { return [...]string{"reject", "block", "throttle"}[min(f, 2)] }

// Pressure is how near a log is to the most it may occupy.
type Pressure uint8

// The values of Pressure.
const (
	PressureNone Pressure = iota
	PressureHigh          // beyond three quarters; with FullThrottle appends are slowed down
	PressureFull          // the user's appends wait or are refused
)

func (p Pressure) String() string { return [...]string{"none", "high", "full"}[min(p, 2)] }

// Marks of the pressure, in sixteenths of what the user may fill. Each level is left well below where
// it is entered, so that a log at the edge does not go back and forth with every segment.
const (
	enterHigh = 12
	leaveHigh = 10
	leaveFull = 14
)

// maxPause is how long FullThrottle delays one append in a log that is all but full.
const maxPause = 10 * time.Millisecond

// judgePressure is the pressure of a log that was under pressure was, holds used bytes and may hold
// limit. refused: it has just refused, or would have to.
func judgePressure(was Pressure, used, limit int64, refused bool) Pressure {
	x := func(n int64) int64 { return limit / 16 * n }
	switch {
	case refused:
		return PressureFull
	case limit <= 0:
		return PressureNone
	case was == PressureFull && used > x(leaveFull):
		return PressureFull
	case used >= x(enterHigh), was != PressureNone && used > x(leaveHigh):
		return PressureHigh
	}
	return PressureNone
}

// pauseAt is the delay of one append in a throttled log.
func pauseAt(used, limit int64) time.Duration {
	from := limit / 16 * enterHigh
	if limit <= 0 || used <= from {
		return 0
	}
	return time.Duration(float64(maxPause) * min(1, float64(used-from)/float64(limit-from)))
}

// Event is a change of the log's pressure.
type Event struct {
	Pressure Pressure
	Used     int64 // bytes from the beginning of the log to where the next group goes
	Limit    int64 // what the user may fill of MaxBytes, 0 = the disk is the bound
	Oldest   page.LSN
	Err      error // why a segment could not be made, if that is why
}

// flow is the log's pressure as it stands. Guarded by the log's mutex.
type flow struct {
	limit  int64
	before int64 // bytes of the live segments before the current one
	now    Pressure
	told   Pressure // by Event
	why    error    // why a segment could not be made
	stuck  bool     // full by MaxBytes: appends do not even try until a truncation
	waits  uint64   // appends that waited because the log was full
	pauses uint64   // appends that were slowed down
	open   bool     // Unblock was called: nobody waits any more
}

// limitOf is what users may fill of a log of at most max bytes: whole segments, without the headroom.
func limitOf(max, segment, headroom int64) int64 {
	if max == 0 {
		return 0
	}
	return max/segment*segment - headroom
}

// gauge brings the pressure up to date. The mutex is held.
func (l *Log) gauge(refused bool) {
	f := &l.flow
	if f.limit == 0 && f.now == PressureNone && !refused {
		return
	}
	used := f.before + l.off
	// A full disk is full until a segment could be made, however little the log holds.
	refused = refused || f.now == PressureFull && !f.stuck && l.supply.next == nil
	f.now = judgePressure(f.now, used, f.limit, refused)
	if f.now != PressureFull {
		f.why, f.stuck = nil, false
	}
	pause := time.Duration(0)
	if l.o.Full == FullThrottle && f.now != PressureNone {
		pause = pauseAt(used, f.limit)
	}
	l.pause.Store(int64(pause))
	if f.now != f.told {
		l.supply.ask() // its goroutine tells
	}
}

// beyond reports whether the log holds more than n sixteenths of what the user may fill.
func (l *Log) beyond(n int64) bool {
	return l.flow.limit != 0 && l.flow.before+l.off > l.flow.limit/16*n
}

// measure counts what lies before the current segment, after the set of segments has changed.
func (l *Log) measure() {
	l.flow.before = 0
	l.segs.mu.Lock()
	for _, s := range l.segs.list {
		if s != l.cur {
			l.flow.before += s.length
		}
	}
	l.segs.mu.Unlock()
	l.gauge(false)
}

// tell passes a change of pressure to Options.Event.
func (l *Log) tell() {
	l.mu.Lock()
	f := &l.flow
	changed := f.now != f.told
	f.told = f.now
	e := Event{f.now, f.before + l.off, f.limit, l.stats.Oldest, f.why}
	l.mu.Unlock()
	if changed && l.o.Event != nil {
		l.o.Event(e)
	}
}

// slow delays an append of a throttled log.
func (l *Log) slow() {
	d := time.Duration(l.pause.Load())
	if d == 0 {
		return
	}
	l.mu.Lock()
	l.flow.pauses++
	l.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.stop:
	}
}

// Unblock ends the waiting of appends in a full log, now and later: they are refused. To be called
// before Close waits for them.
func (l *Log) Unblock() {
	l.mu.Lock()
	l.flow.open = true
	l.room.Broadcast()
	l.mu.Unlock()
}

// awaitRoom is what an append of the user does in a full log. The mutex is held.
func (l *Log) awaitRoom(cause error) error {
	switch {
	case l.flow.open:
		return l.refuse("append", ErrClosed)
	case l.o.Full == FullReject:
		return l.refuse("append", cause)
	}
	l.flow.waits++
	l.block()
	return nil
}
