// Package sim is a simulated disk behind ring.Ring and fsys.FS: an engine runs on it unchanged,
// with faults injected where a test wants them, and every state a power cut could leave can be
// made from a recorded run, opened and checked.
//
// # Fault model
//
// What the disk may do. Each line names what a recovery must survive.
//
//   - Cache. A write lands in a volatile cache when it completes, and reads see it. On the medium
//     it may land at any time from its submission on, in any order with other writes, or never,
//     until it is covered by a flush or was a DSync write. This holds for each physical block on
//     its own: a write tears between blocks, in any pattern, and a torn file need not be a prefix.
//   - Flush. A flush makes durable what of its own file had completed before the flush was
//     submitted, and nothing else (I1). Real drives flush more; Config.DeviceFlush does too. A
//     DSync write makes its own bytes durable, and nothing else.
//   - Concurrent writes of one block land in any order, and of several unflushed versions any may
//     be the one found, whichever was newest.
//   - Garbage. One block that was changing when the power went may hold neither its old nor its
//     new bytes. With Config.Physical above the sector size the whole physical block is lost
//     together, neighbours that nobody was writing included.
//   - Names and sizes. A creation, removal or rename is durable after SyncDir of its directory,
//     a size after a flush of its file. Until then each may or may not have happened, except that
//     changes of one name happen in order and a rename in one directory is one step. A flush of a
//     file says nothing about its name.
//   - Failed flush. What it should have covered stays readable from the cache, is clean, and no
//     later flush makes it durable: only writing it again does. A power cut finds it or not.
//   - Failed write. The block may hold anything of old and new, for ever, until it is rewritten.
//   - Kill. When only the process dies the cache survives. I/O it had submitted lands, does not,
//     lands in part, or lands later, when its successor is already running; until then the file
//     description it went through stays open, its flock included (I11).
//   - The drive itself: unreadable sectors, rot, writes that are reported and lost, writes and
//     reads that go to the wrong place, stalls, no space left, flushes that do nothing.
//
// What it may not do. An interrupted rewrite of identical bytes leaves them intact (I8 rests on
// it). A durable block changes only by being written, or by injected rot. A write with ring.Atomic
// that the disk accepted lands whole or not at all.
//
// # States
//
//	write   in flight --Complete--> cached --flush done--> durable     state.go: apply
//	                  \--failed---> lost    (until rewritten)          state.go: failWrite
//	        cached --flush failed-> lost                               state.go: failFlush
//	name    changed --SyncDir--> durable                               names.go: syncDir
//
// The live disk and the replay of a log run the same code (state.apply), so that what is explored
// is what happened. A Point is the disk at one instant, with its undecided Units; a Choice decides
// them all; Make builds a disk from a choice by sharing every chunk that does not differ.
//
// Runs are deterministic for a seed as far as the order of operations is. Under testing/synctest,
// give Config.Latency: virtual time then orders completions. Nothing here blocks except on
// channels, and nothing sleeps unless latencies or stalls are asked for.
package sim
