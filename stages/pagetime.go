package stages

import (
	"sync/atomic"
	"time"
)

// Cause is why accepted pages cannot go on to the drive.
type Cause uint8

// The causes. Memory is none of them: callers wait for it before a page is accepted
// (aligned.Stats.WaitTime).
const (
	// ForLog: the log is not durable through the pages' LSN (I3).
	ForLog Cause = iota
	// ForFlush: as many doublewrite batches are not flushed as may be.
	ForFlush
	// ForSlots: no doublewrite region is free; what is in them has not been flushed in place (I2).
	ForSlots
	// ForDestination: pages that need no doublewrite, behind as many of them as may be on their way.
	ForDestination
	Causes
)

// Where is a part of a page's way from WritePages to S4.
type Where uint8

// The parts. The first ones are waits in S0, in the order of their causes: Where(c) is right.
const (
	HeldForLog Where = iota
	HeldForFlush
	HeldForSlots
	HeldForDestination
	InQueue       // S0, held by nothing else: in the first inbox and in the open batch
	InDoublewrite // the batch is written and flushed: S1 to S2
	InPlace       // until it is written in place: S2 to S3
	InFlush       // until it is flushed in place: S3 to S4
	Wheres
)

func (w Where) String() string {
	return [...]string{
		"log", "doublewrite flush", "doublewrite slots", "destination", "queue",
		"doublewrite", "write in place", "flush in place",
	}[w]
}

// PageTime is how long pages were where, summed over the pages: over the number of pages it is what
// one of them spends there, over the time that passed it is how many are there at a time.
type PageTime [Wheres]time.Duration

// Holds tells how long each cause has held a stage up. Its owner is the stage, which alone calls
// Now; others may Read. The zero value is held by nothing.
type Holds struct {
	running atomic.Int64 // since when, in ns of the stage's clock, times 8, plus 1 + the cause; 0 = not held
	total   [Causes]atomic.Int64
}

// HeldTime is the reading of a Holds at one moment.
type HeldTime [Causes]int64

// Now says what holds the stage up from now on; held is false if nothing does. It reports whether
// that is news.
func (h *Holds) Now(now int64, c Cause, held bool) bool {
	var next int64
	if held {
		next = int64(c) + 1
	}
	was := h.running.Load()
	if was&7 == next {
		return false
	}
	if was != 0 {
		h.total[was&7-1].Add(max(0, now-was>>3))
	}
	if held {
		next += now << 3
	}
	h.running.Store(next)
	return held
}

// Read is how long each cause has held the stage up until now. A reader beside the owner may see a
// hold that just ended twice or not at all.
func (h *Holds) Read(now int64) HeldTime {
	var t HeldTime
	for i := range t {
		t[i] = h.total[i].Load()
	}
	if r := h.running.Load(); r != 0 {
		t[r&7-1] += max(0, now-r>>3)
	}
	return t
}

// Arrivals is when pages came, in sums: what they have waited since, and for what, takes no more
// than the two sums.
type Arrivals struct {
	pages int64
	at    int64
	held  HeldTime
}

// Add notes pages that came at now, when held was read.
func (a *Arrivals) Add(pages int, now int64, held HeldTime) {
	n := int64(pages)
	a.pages += n
	a.at += n * now
	for i, h := range held {
		a.held[i] += n * h
	}
}

// Since splits what the pages have waited until now by cause, the rest being InQueue, and adds
// it to t.
func (a *Arrivals) Since(now int64, held HeldTime, t *PageTime) {
	left := max(0, a.pages*now-a.at)
	for i, h := range held {
		d := min(left, max(0, a.pages*h-a.held[i]))
		t[i] += time.Duration(d)
		left -= d
	}
	t[InQueue] += time.Duration(left)
}
