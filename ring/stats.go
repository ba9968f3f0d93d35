package ring

import "sync/atomic"

// StatsRing is a Ring that counts. Every backend of this package is one.
type StatsRing interface {
	Ring
	Stats() Stats
}

// counters is the live form of Stats.
type counters struct {
	submitted, completed, enters, resubmitted atomic.Uint64
	bytesRead, bytesWritten, flushes          atomic.Uint64
}

// tally collects what a batch of completions adds, to touch the shared counters once.
type tally struct {
	completed, bytesRead, bytesWritten, flushes uint64
}

func (t *tally) add(op *Op) {
	t.completed++
	if op.Err != nil {
		return
	}
	switch op.Kind {
	case Read:
		t.bytesRead += uint64(op.t.length)
	case Write:
		t.bytesWritten += uint64(op.t.length)
	default:
		t.flushes++
	}
}

func (c *counters) add(t *tally) {
	c.completed.Add(t.completed)
	if t.bytesRead > 0 {
		c.bytesRead.Add(t.bytesRead)
	}
	if t.bytesWritten > 0 {
		c.bytesWritten.Add(t.bytesWritten)
	}
	if t.flushes > 0 {
		c.flushes.Add(t.flushes)
	}
}

func (c *counters) snapshot() Stats {
	return Stats{
		Submitted:    c.submitted.Load(),
		Completed:    c.completed.Load(),
		Enters:       c.enters.Load(),
		Resubmitted:  c.resubmitted.Load(),
		BytesRead:    c.bytesRead.Load(),
		BytesWritten: c.bytesWritten.Load(),
		Flushes:      c.flushes.Load(),
	}
}

// plus adds the counts of a helper backend to those of its owner.
func (s Stats) plus(t Stats) Stats {
	s.Submitted += t.Submitted
	s.Completed += t.Completed
	s.Enters += t.Enters
	s.Resubmitted += t.Resubmitted
	s.BytesRead += t.BytesRead
	s.BytesWritten += t.BytesWritten
	s.Flushes += t.Flushes
	return s
}
