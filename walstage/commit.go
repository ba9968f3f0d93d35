package walstage

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// WaitDurable returns when the log is durable through lsn, and forces the commit if need be: with
// nothing in flight the caller writes the group itself. When ctx ends while others do the work it
// returns a *WaitError; a write the caller does itself is finished first.
func (l *Log) WaitDurable(ctx context.Context, lsn page.LSN) error {
	if l.Durable() >= lsn {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return &WaitError{LSN: lsn, MayBecomeDurable: true, Err: err}
	}
	l.mu.Lock()
	return l.await(ctx, lsn)
}

// await is WaitDurable with the mutex held, which it releases.
func (l *Log) await(ctx context.Context, lsn page.LSN) error {
	for {
		if l.Durable() >= lsn {
			l.mu.Unlock()
			return nil
		}
		if err := l.want(lsn); err != nil {
			l.mu.Unlock()
			return err
		}
		if l.awake > 0 {
			break
		}
		g := l.take()
		if g == nil {
			break
		}
		l.lead(g)
	}
	w := l.waiters.Get().(*waiter)
	g := l.groupOf(lsn)
	g.waiters = append(g.waiters, w)
	l.stats.Waits++
	l.kick()
	l.mu.Unlock()
	if ctx.Done() != nil {
		select {
		case <-w.ch:
		case <-ctx.Done():
			if l.forget(w, lsn) {
				return &WaitError{LSN: lsn, MayBecomeDurable: true, Err: ctx.Err()}
			}
			<-w.ch // the answer is on its way
		}
	} else {
		<-w.ch
	}
	err := w.err
	w.err = nil
	l.waiters.Put(w)
	return err
}

// want marks the group that makes lsn durable as wanted. The mutex is held.
func (l *Log) want(lsn page.LSN) error {
	if l.failed != nil {
		return l.failed
	}
	if end := l.End(); lsn > end {
		return l.refuse("wait", fmt.Errorf("%w: %d, it ends at %d", ErrLSNBeyondLog, lsn, end))
	}
	l.needs(lsn)
	if g := l.groupOf(lsn); g == l.open {
		g.wanted = true
	}
	return nil
}

// groupOf returns the group that holds an issued LSN which is not yet durable.
func (l *Log) groupOf(lsn page.LSN) *group {
	for _, g := range l.queue {
		if g.end >= lsn {
			return g
		}
	}
	return l.open
}

// forget takes a waiter that gave up out of its group. False means that it was woken already.
func (l *Log) forget(w *waiter, lsn page.LSN) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil || l.Durable() >= lsn {
		return false
	}
	g := l.groupOf(lsn)
	for i, x := range g.waiters {
		if x == w {
			last := len(g.waiters) - 1
			g.waiters[i] = g.waiters[last]
			g.waiters = g.waiters[:last]
			return true
		}
	}
	return false
}

// Force starts the commit of everything through lsn without waiting for it.
func (l *Log) Force(lsn page.LSN) error {
	if l.Durable() >= lsn {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Durable() >= lsn {
		return nil
	}
	if err := l.want(lsn); err != nil {
		return err
	}
	l.kick()
	return nil
}

// NotifyDurable forces the commit through lsn and sends once on ch, which needs room for it, when
// the log is durable that far or has failed: ask Durable which. It never blocks; without room the
// send is dropped. After an error nothing is sent.
func (l *Log) NotifyDurable(lsn page.LSN, ch chan<- struct{}) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Durable() >= lsn {
		notify(ch)
		return nil
	}
	if err := l.want(lsn); err != nil {
		return err
	}
	l.notes = append(l.notes, note{lsn, ch})
	l.kick()
	return nil
}

func notify(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// hasWork reports whether take would return a group.
func (l *Log) hasWork() bool {
	return l.failed == nil && l.stage != stopping && l.writing < l.depth.target &&
		(l.sent < len(l.queue) || l.open != nil && l.open.wanted)
}

// take returns the next group to write, sealing the open one if somebody waits for it and nothing
// is before it. Groups are taken in order.
func (l *Log) take() *group {
	if !l.hasWork() {
		return nil
	}
	if l.sent == len(l.queue) {
		l.seal()
	}
	g := l.queue[l.sent]
	l.sent++
	l.writing++
	return g
}

// kick wakes a worker if there is work that nobody is awake for.
func (l *Log) kick() {
	if l.awake < l.depth.target && l.hasWork() {
		l.awake++
		l.work.Signal()
	}
}

// lead writes a group in the caller's goroutine. The mutex is held on entry and return.
func (l *Log) lead(g *group) {
	l.stats.Led++
	l.mu.Unlock()
	took, err := g.write(&l.o, l.method)
	l.mu.Lock()
	woken := l.complete(g, took, err, nil)
	l.kick()
	if len(woken) > 0 {
		l.mu.Unlock()
		wake(woken)
		l.mu.Lock()
	}
}

// worker writes groups as long as somebody waits, then parks.
func (l *Log) worker() {
	var woken []*waiter
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.stage != stopping {
		g := l.take()
		if g == nil {
			l.awake--
			l.work.Wait() // whoever signals counts us awake again
			continue
		}
		l.kick() // with more depth, another worker takes the next one
		l.mu.Unlock()
		took, err := g.write(&l.o, l.method)
		l.mu.Lock()
		woken = l.complete(g, took, err, woken[:0])
		if len(woken) > 0 {
			l.mu.Unlock()
			wake(woken)
			l.mu.Lock()
			l.gather(len(woken), took)
		}
	}
}

// gather lets the callers just woken run before the next group is sealed: what they append and wait
// for next then goes into that group and not into the one after it. It goes on only while they
// come. There is no timer: on a machine with nothing else to run it takes as long as they do. Where
// other goroutines keep the processors busy it would cost more than it brings, so it ends after
// twice the time of a write, and is left out for a while.
func (l *Log) gather(woken int, write time.Duration) {
	if l.busy > 0 {
		l.busy--
		return
	}
	begin := time.Now()
	for came := 0; woken > 1; {
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
		n := 0
		if l.open != nil {
			n = len(l.open.waiters)
		}
		switch {
		case time.Since(begin) > 2*write:
			l.busy = gatherPause
			return
		case n == came || n >= woken || l.writing > 0 || l.sent < len(l.queue):
			return
		}
		came = n
	}
}

// gatherPause is the number of groups that are not waited for after a wait that was too long.
const gatherPause = 8

func wake(waiters []*waiter) {
	for i, w := range waiters {
		waiters[i] = nil
		w.ch <- struct{}{}
	}
}

// complete takes back a group whose write has ended and announces what is durable by now: the
// groups before the first that is still being written (I3). It appends to woken the waiters to
// wake once the mutex is released.
func (l *Log) complete(g *group, took time.Duration, err error, woken []*waiter) []*waiter {
	l.writing--
	if l.stage == stopping {
		l.room.Broadcast()
	}
	if err == nil {
		err = l.o.Poison.Err()
	}
	if err != nil {
		l.fail(err)
	}
	if l.failed != nil {
		return woken
	}
	g.written = true
	if g.size > 0 {
		l.stats.Groups++
		l.stats.GroupBytes += uint64(g.size)
		l.stats.Busy += took
		stages.Nanos(&l.groupNanos, took)
		stages.Count(&l.groupRecords, int(g.records))
		l.depth.observe(g.size, took)
		if l.method == commitLater {
			l.wrote(g.seg)
		}
	}
	return l.acknowledge(woken)
}

// acknowledge announces the groups before the first that is still being written. What else it takes
// is done first, without the mutex and by one goroutine at a time, which then announces what was
// written meanwhile.
func (l *Log) acknowledge(woken []*waiter) []*waiter {
	for l.failed == nil && !l.proving {
		n := 0
		for n < l.sent && l.queue[n].written {
			n++
		}
		if n == 0 {
			return woken
		}
		soft, err := l.prove(l.queue[n-1])
		if err != nil {
			l.fail(err)
		}
		if l.failed != nil {
			return woken
		}
		woken = l.release(n, soft, woken)
	}
	return woken
}

// prove does what a group that has been written still lacks to be acknowledged. soft means that
// nobody needs it: it stays as it is.
func (l *Log) prove(last *group) (soft bool, err error) {
	switch {
	case l.method == commitLater && l.risk.must <= l.Durable():
		return true, nil
	case l.method != commitLater && l.headers == nil:
		return false, nil
	}
	l.proving = true
	if l.method == commitLater {
		err = l.flushWritten()
	} else {
		l.mu.Unlock()
		err = l.headers.put(&l.o, l.method, last)
		l.mu.Lock()
	}
	l.proving = false
	if l.stage == stopping {
		l.room.Broadcast()
	}
	return false, err
}

// release takes the first n groups out of the queue: durable, or soft.
func (l *Log) release(n int, soft bool, woken []*waiter) []*waiter {
	now := time.Now()
	if !soft {
		l.harden(now)
	}
	for _, d := range l.queue[:n] {
		if d.size > 0 {
			l.segs.note(d.seg, d.off)
		}
		if soft {
			l.soften(d)
		} else {
			l.durable.Store(uint64(d.end))
			l.safe(d, now)
		}
		woken = append(woken, d.waiters...)
		clear(d.waiters)
		d.waiters = d.waiters[:0]
		l.free = append(l.free, d)
	}
	l.queue = l.queue[:copy(l.queue, l.queue[n:])]
	l.sent -= n
	if l.blocked > 0 {
		l.room.Broadcast()
	}
	if len(l.notes) > 0 {
		l.sendNotes()
	}
	return woken
}

func (l *Log) sendNotes() {
	keep := l.notes[:0]
	for _, n := range l.notes {
		if l.failed != nil || n.lsn <= l.Durable() {
			notify(n.ch)
		} else {
			keep = append(keep, n)
		}
	}
	l.notes = keep
}

// fail sets the poison and gives every waiter its cause (I5). Nothing is acknowledged afterwards.
func (l *Log) fail(cause error) {
	l.o.Poison.Set(cause)
	if l.failed != nil {
		return
	}
	l.failed = l.o.Poison.Err()
	groups := l.queue
	if l.open != nil {
		groups = append(groups[:len(groups):len(groups)], l.open)
	}
	for _, g := range groups {
		for _, w := range g.waiters {
			w.err = l.failed
			w.ch <- struct{}{}
		}
		g.waiters = g.waiters[:0]
	}
	l.sendNotes()
	l.room.Broadcast()
}

// watchPoison passes on a failure that happened elsewhere in the engine.
func (l *Log) watchPoison() {
	select {
	case <-l.o.Poison.C():
		l.mu.Lock()
		l.fail(l.o.Poison.Err())
		l.mu.Unlock()
	case <-l.stop:
	}
}
