// Package untorn makes in-place page writes safe against torn writes.
//
// A database page (4 to 64 KiB) is bigger than what a drive writes atomically. An Engine keeps
// every page it overwrites in a doublewrite buffer until the overwrite is known to be on the
// medium, together with a write-ahead log whose rule it enforces, so that after a power cut every
// page is whole and none is older than what was acknowledged.
//
//	callers ──append──▶ walstage ──durable LSN──┐
//	   │                                        ▼ (I3)
//	   └──pages──▶ dwbstage ──flushed batch──▶ datastage ──▶ destination flush ──▶ reclaim ─┐
//	                  ▲──────────────────────────────────────────────── free regions ───────┘
//
// # The contract
//
//   - Append returns a record's position (LSN) at once; WaitDurable waits until it is on the medium.
//   - A page's LSN is the end of the last record that changed it. No copy of a page is written
//     anywhere before the log is durable through its LSN.
//   - WritePages returns when its Level holds for every page of the call: Durable (the default, the
//     destination has been flushed), Protected (a reopen finds this image or a newer one), Logged
//     (the records are there), Accepted (nothing). Pages are whole one by one; a call is not a
//     transaction.
//   - ReadPages sees the newest accepted image.
//   - After a failed write or flush nothing more is acknowledged (I5): every call gets the cause
//     (ErrPoisoned), and a reopen recovers.
//   - Open after a crash repairs torn pages, never guesses, and reports every page it touched. A page
//     of which no image may be trusted stops it, by name (ErrLost).
//
// What is not promised: atomicity across pages; anything on a stack whose flushes do nothing;
// detection of a drive that lies about them. docs/faults.md has the fault model, docs/design.md
// the invariants I1 to I11 that comments in this module name.
package untorn
