package walstage

import (
	"context"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Policy says how much of what was accepted a power cut may take: what WaitCommit waits for, and
// what is made durable when nobody waits. WaitDurable, NotifyDurable and Force do not depend on it:
// a waiting page forces the log in every policy (I3).
type Policy uint8

// The policies.
const (
	// PolicySync: WaitCommit waits until the record is durable. What nobody waits for becomes durable
	// with what somebody does.
	PolicySync Policy = iota
	// PolicyAsync: WaitCommit returns at once. The log is flushed on its own, so that what is not
	// durable stays within LossBytes and LossTime; appends wait where they would exceed either.
	PolicyAsync
	// PolicyNever: WaitCommit returns at once and nothing is flushed until somebody needs it: groups
	// are written when they are full, and no bound holds. It shows what flushes cost, and is unsafe.
	PolicyNever
)

func (p Policy) String() string { return [...]string{"sync", "async", "never"}[min(p, 2)] }

// Bounds of PolicyAsync where Options have none.
const (
	DefaultLossBytes = 1 << 20
	DefaultLossTime  = 10 * time.Millisecond
)

// AtRisk is what a power cut would take now: records accepted and not durable.
type AtRisk struct {
	Bytes int64         // of records with their frames
	Age   time.Duration // since the oldest of them was accepted

	// The most there ever was since Start. MaxAge is an age at which something became durable.
	MaxBytes int64
	MaxAge   time.Duration
	// Late counts groups that became durable later than LossTime after their first record, because the
	// drive took that long. Meanwhile appends waited: the span of what could be lost did not grow.
	Late uint64
	// Waits counts appends that a bound held up.
	Waits uint64
}

// risk is the log's account of what is not durable. Guarded by the log's mutex.
type risk struct {
	AtRisk
	armed bool          // ager has a time to wait for
	kick  chan struct{} // wakes ager

	// PolicyNever: what was written and never flushed.
	soft      page.LSN  // the end of its last record
	softBytes int64     // part of Bytes
	softBorn  time.Time // when the oldest of it was accepted
	must      page.LSN  // somebody needs the log durable through here
	unflushed []*segment
}

// WaitCommit returns when a caller may be told that its record is committed, as the log's policy has
// it: at once, unless it is PolicySync.
func (l *Log) WaitCommit(ctx context.Context, lsn page.LSN) error {
	if l.o.Policy == PolicySync {
		return l.WaitDurable(ctx, lsn)
	}
	return l.o.Poison.Err()
}

// oldest is when the oldest record that is not durable was accepted.
func (l *Log) oldest() (born time.Time, any bool) {
	switch {
	case l.risk.softBytes > 0:
		return l.risk.softBorn, true
	case len(l.queue) > 0:
		return l.queue[0].born, true
	case l.open != nil:
		return l.open.born, true
	}
	return time.Time{}, false
}

// exceeds reports whether need more bytes would put more at risk than PolicyAsync allows. With
// nothing at risk nothing is refused: Append itself waits for a record that alone is too much.
func (l *Log) exceeds(need int) bool {
	if l.o.Policy != PolicyAsync || l.risk.Bytes == 0 || l.o.Mutants.Has(stages.AsyncUnbounded) {
		return false
	}
	if l.risk.Bytes+int64(need) > l.o.LossBytes {
		return true
	}
	born, _ := l.oldest()
	return time.Since(born) >= l.o.LossTime
}

// hurry has everything at risk written, and waits for some of it to be durable.
func (l *Log) hurry() {
	if l.open != nil {
		l.open.wanted = true
	}
	l.kick()
	l.risk.Waits++
	l.block()
}

// took counts what was put into the open group. In PolicyAsync the commit begins at half of a bound,
// so that appends seldom meet it.
func (l *Log) took(g *group, bytes int) {
	r := &l.risk
	r.Bytes += int64(bytes)
	r.MaxBytes = max(r.MaxBytes, r.Bytes)
	if l.o.Policy != PolicyAsync || l.o.Mutants.Has(stages.AsyncUnbounded) {
		return
	}
	switch {
	case g.wanted:
	case 2*r.Bytes >= l.o.LossBytes:
		g.wanted = true
		l.kick()
	case !r.armed:
		r.armed = true
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
}

// settleLarge waits for what alone is more than may be at risk: it counts as accepted only when it
// is durable.
func (l *Log) settleLarge(need int, end page.LSN) error {
	if l.o.Policy != PolicyAsync || int64(need) <= l.o.LossBytes {
		return nil
	}
	if err := l.WaitDurable(context.Background(), end); err != nil {
		return &WaitError{LSN: end, MayBecomeDurable: true, Err: err}
	}
	return nil
}

// ager begins the commit of what has been at risk for half of LossTime.
func (l *Log) ager() {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-l.risk.kick:
		case <-t.C:
		case <-l.stop:
			return
		}
		l.mu.Lock()
		g := l.open
		switch {
		case g == nil || g.wanted:
			l.risk.armed = false
		default:
			if d := l.o.LossTime/2 - time.Since(g.born); d > 0 {
				t.Reset(d)
				break
			}
			l.risk.armed = false
			g.wanted = true
			l.kick()
		}
		l.mu.Unlock()
	}
}

// safe counts a group that became durable.
func (l *Log) safe(g *group, now time.Time) {
	r := &l.risk
	r.Bytes -= int64(g.fill - groupHeaderSize)
	l.aged(now.Sub(g.born))
}

func (l *Log) aged(age time.Duration) {
	l.risk.MaxAge = max(l.risk.MaxAge, age)
	if l.o.Policy == PolicyAsync && age > l.o.LossTime {
		l.risk.Late++
	}
}

// atRisk is the account as it stands.
func (l *Log) atRisk() AtRisk {
	a := l.risk.AtRisk
	if born, ok := l.oldest(); ok && a.Bytes > 0 {
		a.Age = time.Since(born)
		a.MaxAge = max(a.MaxAge, a.Age)
	}
	return a
}

// soften lets go of a group that was written, is not flushed, and nobody needs durable yet.
func (l *Log) soften(g *group) {
	r := &l.risk
	if r.softBytes == 0 {
		r.softBorn = g.born
	}
	r.softBytes += int64(g.fill - groupHeaderSize)
	r.soft = g.end
}

// harden counts what had been written before a flush that has completed.
func (l *Log) harden(now time.Time) {
	r := &l.risk
	if r.softBytes == 0 {
		return
	}
	r.Bytes -= r.softBytes
	r.softBytes = 0
	l.aged(now.Sub(r.softBorn))
}

// needs notes that somebody waits for lsn. In PolicyNever it may have been written long ago, in a
// group that is gone: then an empty one, which only flushes, takes its place.
func (l *Log) needs(lsn page.LSN) {
	if l.o.Policy != PolicyNever {
		return
	}
	l.risk.must = max(l.risk.must, lsn)
	if lsn <= l.risk.soft && len(l.queue) == 0 && l.open == nil {
		g := l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
		g.reset(l.cur, l.off, groupHeaderSize)
		g.end, g.born = l.risk.soft, l.risk.softBorn
		l.queue = append(l.queue, g)
	}
}

// flushWritten flushes every segment that was written to: what had completed before it (I3).
func (l *Log) flushWritten() error {
	list := l.risk.unflushed
	l.risk.unflushed = nil
	l.mu.Unlock()
	defer l.mu.Lock()
	for _, s := range list {
		if err := s.flush(&l.o, ring.DataSync); err != nil {
			return err
		}
	}
	return nil
}

// wrote notes a segment that a group was written to without a flush.
func (l *Log) wrote(s *segment) {
	for _, u := range l.risk.unflushed {
		if u == s {
			return
		}
	}
	l.risk.unflushed = append(l.risk.unflushed, s)
}
