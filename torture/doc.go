// Package torture kills an engine for real, again and again, and checks what the next open finds.
//
//	parent                                     child (the same binary, started again)
//	Run ──job──▶ stdin                         opens the directory, surveys it, then writes records
//	model ◀──events── pipe                     and pages, grows, checkpoints, makes and drops files
//	   │      SIGKILL ─────────────────────▶   at a random moment, the open included
//	   └─ opens the directory itself, surveys it; or lets the next child do so
//
// The child says on the pipe what it starts, before it starts it, and what was acknowledged, after.
// A pipe outlives its writer, so the parent knows every acknowledgement the child ever got. The
// contents of every record and page follow from its identity and the seed, so every byte is checked.
//
// # What is checked at every open
//
//   - The open succeeds, and no page is lost.
//   - Records: the log begins at the last checkpoint acknowledged or a later one started; records
//     follow each other without a gap; every byte and position is the one reported; everything
//     acknowledged is there; a batch is there as a whole or not at all.
//   - Pages (mode doublewrite): every page is whole; it is the newest version acknowledged as
//     protected or durable, or one whose write was started later; its LSN is the one it was written
//     with, and the log reaches that far (I3). What a survey has seen is never older again.
//   - Files: created, grown, renamed and removed as acknowledged.
//   - While it runs: a read gives the newest accepted image (I9).
//
// In modes detect and none a page that was being written when the child died may be damaged, and
// only such a page: that is counted, not held against the engine. In modes atomic and auto every
// third child writes through the doublewrite buffer instead, and takes over what the others left.
//
// Starve keeps children short of space, on a file system of its own that is filled and freed in
// turn, or of memory: then the kernel kills them. What is refused for lack of space must not have
// happened, and the engine goes on.
//
// Work and Judge are the same workload and the same model for those who watch from another host
// (package pull) or from a log of the disk (package powercut).
//
// What a SIGKILL cannot show is a missing flush: the kernel still has what the process wrote. That
// takes the simulator (untornctl explore) or a real power cut.
package torture
