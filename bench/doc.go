// Package bench measures what protecting pages costs on a drive, and how far from the drive's own
// limit that is. Command untornbench is a thin layer over it.
//
// # What is measured
//
// Run drives one way of protecting pages (a Mode) with clients that fill pages, write them in
// batches and wait for an acknowledgement. Compare runs every mode interleaved, so that all of them
// see the same disk. WAL does the same for the log. Limit asks the drive what it can do, through
// the engine's own ring and nothing else of the engine, and works out the bounds.
//
// # Rules kept here
//
//   - Contents are real. Every 512 bytes of a page carry page number, place and version, and all of
//     it is compared on the way back: a run with Verify reads every page twice, once through the
//     engine that wrote it and once after closing and opening again.
//   - A page has one writer: clients own disjoint ranges, so the version a page must have at the
//     end is known exactly. A batch holds no page twice, so nothing is saved by merging.
//   - The clock starts when a client wants to write, before it gets memory, and in an open loop
//     when the schedule wanted it to (no coordinated omission).
//   - Every figure stands beside a bound measured in the same invocation, in the same directory,
//     before and after it. A disk that changes meanwhile shows as spread, not as efficiency.
//   - The loop of a client neither allocates nor locks: one histogram a client, merged at the end.
//   - Warm-up is excluded, and an interrupted run keeps what it has.
//
// # Modes
//
//	doublewrite   the engine: batch to the doublewrite file, flush, in place, flush
//	detect        the engine without the second copy: a torn page is found, not repaired
//	atomic, auto  the engine with RWF_ATOMIC where that is proven safe
//	none          neither copy nor checks on reads: the floor
//	naive         page by page: copy, flush, in place, flush; nothing shared between callers
//	naive-batch   a batch at a time through the page cache, one flush a step
//
// The last two are baselines written here, over the same ring and file layer: what one writes in an
// afternoon. They make the copies but nothing recovers from them.
package bench
