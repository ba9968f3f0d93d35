// Rivals runs the workloads of untornbench on what a reader would otherwise link: etcd's wal,
// raft-wal, pebble, tidwall/wal, bbolt, SQLite, and two programs written by hand for one disk. It is
// a module of its own so that none of them is a dependency of untorn.
//
// Rules of the comparison:
//
//   - Everybody acknowledges only what a device flush has made durable. The table shows how many
//     flushes the block device was asked for per acknowledgement, where the kernel counts them.
//   - Everybody is set up at its best: preallocated or recycled logs, group commit by a wrapper
//     (queue.go) where the library takes one writer at a time, no checkpoint or compaction that a
//     log alone would not need. untorn's log is recycled by its checkpoints, so it takes them.
//   - All run in one process, on one directory's file system, in turns: round by round, in an order
//     that rotates, so that a noisy machine treats all alike. A figure is the median of the rounds.
//
// What is not equal: bbolt, pebble and SQLite are databases and do more than keep pages.
package main
