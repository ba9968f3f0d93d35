package datastage

import (
	"fmt"
	"time"

	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// flushFile submits a flush of st if it is needed and worth it now, and reports whether written
// pages stay behind with nobody asking for a flush.
//
// I2: the flush covers exactly the pages reaped before this line; they move to covered.
func (s *Stage) flushFile(st *file) (idle bool) {
	asked := st.syncs != nil
	switch {
	case st.flushing || st.written == nil && !asked:
		return false
	case !asked && st.waited == 0 && !st.press:
		return true
	case !asked && !st.whole:
		return false // the oldest batch is still being written; its last page brings us back
	}
	if st.whole { // else a flush for somebody else came between: what was pressed for is still to come
		st.whole, st.press, st.pressed = false, false, st.press
	}
	st.syncing, st.syncs = st.syncs, nil
	st.flushing, st.flushBegun = true, time.Now()
	st.covered, st.written = st.written, nil
	s.begun++
	st.flushPages = 0
	for e := st.covered; e != nil; e = e.Next {
		st.flushPages++
		e.State = stages.Covered
		st.forget(e)
	}
	if s.cfg.Mutants.Has(stages.SyncFileRange) {
		// Advisory writeback: the drive is told nothing.
		s.flushed(st, nil)
		return false
	}
	s.group = append(s.group[:0], &st.flush)
	s.handOver()
	return false
}

// flushed: what the flush covered is at S4 (I2).
func (s *Stage) flushed(st *file, err error) {
	st.flushing = false
	if err != nil && s.cfg.Mutants.Has(stages.RetryFsync) {
		err = s.cfg.Ring.Do(&ring.Op{Kind: ring.DataSync, File: st.f.IO})
	}
	if err != nil {
		// Never retried: after EIO the kernel has marked the pages clean (I5).
		s.fail(fmt.Errorf("flush of %s: %w", st.f.Called(), err))
		return
	}
	if s.dead || s.cfg.Poison.Err() != nil {
		return
	}
	s.meter.Flush(time.Since(st.flushBegun), st.flushPages)
	e, before := st.covered, s.returned
	st.covered = nil
	for e != nil {
		next := e.Next
		s.safe(e)
		e = next
	}
	// dwbstage presses again when a batch comes back, and not before: a whole batch may still need
	// pages of a newer one, which superseded its own.
	st.press = st.press || st.pressed && s.returned == before && st.unflushed > 0
	st.pressed = false
	for st.syncing != nil {
		q := st.syncing
		st.syncing = q.Next
		q.Call.Complete(1)
	}
	if st.written != nil {
		st.since = time.Now()
	}
}

// safe: e is at S4, and with it everything it superseded.
func (s *Stage) safe(e *stages.Entry) {
	e.State = stages.Safe
	e.Ack(stages.Durable)
	// A newer write of the page may have become safe first, with this same flush.
	if p := s.index.Get(e.Page); p != nil && p.newest == e {
		p.newest = nil
		s.settle(p)
	}
	// batchSafe may give an entry's memory away: take each link before it.
	o, b := e.Older, e.Batch
	for o != nil {
		next := o.Next
		s.batchSafe(o.Batch)
		o = next
	}
	s.batchSafe(b)
}

func (s *Stage) batchSafe(b *stages.Batch) {
	if b.Unsafe--; b.Unsafe > 0 {
		return
	}
	now, n := time.Now(), time.Duration(len(b.Entries))
	s.meter.Service(now.Sub(b.Since), len(b.Entries))
	s.meter.Spend(&stages.PageTime{stages.InPlace: n * b.Reaped.Sub(b.Sent), stages.InFlush: n * now.Sub(b.Reaped)})
	s.returned++
	s.cfg.Out <- b
}

// needAll makes every file with writes on their way flush as soon as a batch is whole.
func (s *Stage) needAll() {
	for _, st := range s.used {
		if st.unflushed > 0 {
			st.press = true
		}
	}
}

// needIdle flushes what has been lying written for long enough with nobody asking.
func (s *Stage) needIdle() {
	for _, st := range s.used {
		if st.written != nil && time.Since(st.since) >= s.cfg.Idle {
			st.press = true
		}
	}
}

// barrier waits for the newest write of every page in flight: older ones are safe no later.
func (s *Stage) barrier(b *stages.Barrier) {
	if s.dead {
		b.Call.Fail(s.cfg.Poison.Err())
		b.Call.Complete(1)
		return
	}
	s.index.Each(func(p *place) {
		e := p.newest
		if e == nil || b.File != nil && e.File != b.File {
			return
		}
		if !e.Waited() && e.State != stages.Covered {
			s.file(e.File).waited++
		}
		b.Call.Add(1)
		e.Wait(&stages.Waiter{Call: b.Call})
	})
	b.Call.Complete(1)
}
