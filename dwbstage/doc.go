// Package dwbstage keeps a second, flushed copy of every page that is about to be overwritten.
//
//	Write ──take──▶ open batch ──next──▶ sealed ──submitRegion──▶ in flight ──syncRegions──▶ handOn
//	        S0                    log durable (I3)     S1          reaped        flush    S2, to datastage
//	                              region free (I2)
//
// A region of the doublewrite file holds one batch: its header twice, the pages, and, where they fill
// the region, the header again. docs/format.md has the bytes; format.go encodes and decodes them.
//
// A small batch with nothing else on its way is made durable by its own write, which the caller that
// waits for it runs (stages.Step); any other batch by a write and a flush through the ring.
//
// Files: accept.go takes pages into batches, region.go writes and flushes them, read.go serves reads
// and barriers, move.go brings a file whose atomic writes were refused into the buffer, stage.go is
// the loop and what moves when.
//
// Invariants kept here:
//
//   - I1: a batch is handed on only when a flush submitted after all its writes were reaped has
//     completed, or when its own write carried DSYNC. (syncRegions, completed, handOn)
//   - I2: regions are used in ring order, and only when reclaim.Regions says so; F and W go into the
//     header at submission. (submitDoublewrite)
//   - I3: no batch is submitted, by either way, before the log is durable through every page of it;
//     the wait forces the log. (logHolds)
//   - I4: Protected is acknowledged at S2. (handOn)
//   - I5: after a failed write or flush nothing is submitted, acknowledged or handed on. (completed)
//   - I9: batches are handed on in sequence order; a newer write replaces a queued one; reads find the
//     newest accepted image. No region is submitted while a file moves: an older image of its pages
//     may still come back. (take, handOn, image, move)
package dwbstage
