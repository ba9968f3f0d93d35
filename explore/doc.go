// Package explore looks for schedules that lose data. It runs the real engine on a simulated disk,
// makes the states that a power cut, a killed process or a failed flush may leave at every point of
// what was recorded, opens each, and holds what recovery returns against what had been acknowledged.
//
// # One run
//
//	seed ─▶ profile ─▶ engine on sim, driven ─▶ log of device operations and marks
//	                                                │
//	            ┌───────────────────────────────────┴──────────────┐
//	            ▼ every point, sampled choices                      ▼ sampled
//	        power cut ──open──▶ observed ──judge──▶ Violation     kill, damage
//	                      │
//	                      └─ sampled: crash in that recovery and in work after it, open again (I8)
//
// A workload of a few clients appends records, writes pages at all levels with several writes of one
// page under way, reads, syncs, takes checkpoints, creates, grows, renames and removes files, closes
// and opens again. Nothing that reaches the disk completes by itself: the driver holds it, waits
// until every goroutine is at rest and then lets one thing happen, picked by the seed. So a schedule
// is the seed's, unless there is a clock in it: a Violation carries a fingerprint of its log,
// and a replay says when it got another one.
//
// # What is judged
//
//   - every record acknowledged is there, records come in order without gaps, a batch whole or not
//     at all, none that was cut off comes back (I10)
//   - every page is one version, whole, not older than acknowledged at its level, not newer than
//     the log (I3), and none that recovery gave up comes back later (I7)
//   - files are those of the last acknowledged change of the catalogue, or of one more if it was
//     under way; the same for the checkpoint's redo LSN and payload
//   - no healthy crash state is refused
//   - recovery cut off anywhere and run again returns the same (I8)
//   - with damage done to the medium: what the bytes that are left excuse, and nothing else, never
//     silently (Options.Corrupt; medium.go, corrupt.go)
//   - with faults of the drive: what the fault explains is counted as the drive's (Options.Soak;
//     rates.go), everything else is a complaint
//
// Modes without protection are judged like the others: detect and none are expected to be convicted,
// and what they are convicted of says whether the tear was noticed.
package explore
