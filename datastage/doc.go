// Package datastage writes pages in place and flushes their files.
//
//	batch at S2 ──▶ waiting ──submit──▶ submitted ──reap──▶ written ──flush──▶ safe (S4) ──▶ reclaim
//	                   │                                      (S3)
//	                   ├── superseded by a newer write of the page that arrives first
//	                   └── refused (an atomic write): waiting again, held until its page comes through
//	                       the doublewrite buffer and supersedes it (stages.Refusal, refuse.go)
//
// Invariants kept here:
//
//   - I1: a batch arrives only after its doublewrite was flushed, so nothing is checked again.
//   - I2: a page is safe when a flush of its file that was submitted after its write was reaped has
//     completed. Each file has its own flush; at most one is in flight per file.
//   - I4: Durable is acknowledged there and nowhere else.
//   - I9: at most one destination write of a page is in flight, none while a read of it is, and
//     reads find the newest accepted image.
//
// Flushes are grouped: a file is flushed when somebody needs it (an acknowledgement, regions
// running out, a barrier, or time) and the oldest batch that needs it is wholly written.
package datastage
