// Package blocklog reads what a disk was told, and makes the states a power cut could have left.
//
// The format is that of Linux' dm-log-writes, which qemu's blklogwrites also writes. Everything is
// little endian; a block is sectorsize bytes, at least 512; entries follow each other, first the
// entry's block, then its data:
//
//	block 0    magic 8 (0x6a736677736872) | version 8 (1) | entries 8 | sectorsize 4
//	entry      sector 8 | sectors 8 | flags 8 | data_len 8 | a mark's text
//	data       sectors blocks: of a write only
//
// flags: 1 flush, 2 FUA, 4 discard, 8 mark, 16 metadata. Sectors count from the disk's start, in
// blocks of sectorsize.
//
// # Order, and what is durable
//
// dm-log-writes logs a write when a flush that covers it completes (or at once with FUA), in the
// order of completion. qemu logs a write when it has completed, and a flush when that has. So in
// qemu's, everything that had completed before a flush was submitted stands before it. What completed
// while the flush ran does too, and counts as durable too early: states are missed then, and none is
// invented. In dm-log-writes' log of two flushes at a time the later one can come first, and what it took
// along with it: that invents states. With what the disk itself took, in its order, Compare tells and
// Reorder mends it.
//
// A flush makes durable everything before it. After it, and before the next, any subset of the writes
// may have reached the medium, each of them whole or in any part of its sectors; those with FUA have.
// They land in the order of the log, so the newest of what landed is what a sector holds.
//
// qemu's emulated NVMe drive drops FUA before it gets here: record a virtio-blk disk, which has no
// FUA and is sent a flush instead, or use dm-log-writes in the guest.
//
// The log does not know which writes were atomic (RWF_ATOMIC): whoever replays it says which are not
// to be torn.
package blocklog
