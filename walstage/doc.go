// Package walstage is the write-ahead log: records go in, become durable in groups, and come back
// in order after a crash. It owns the log directory and decides where the log ends.
//
// # Life
//
//	Create ──▶ OpenDir ──▶ Flush ──▶ Scan ──▶ Repair ──▶ Start ──▶ Append, WaitDurable ──▶ Close
//	           locks       I8        I10      I8        new epoch
//
// The steps are separate because the engine locks every file of a directory before it reads any
// evidence (I11), and because where the log ends is decided with evidence from outside it (I10).
//
// # Positions
//
// An LSN is a byte position in the log stream. Segments follow each other without gaps: segment
// n+1 begins at first(n) + length(n), and byte o of a segment file has LSN first + o. Headers,
// padding and the unused end of a segment count. The stream begins with the header of segment 1 at
// LSN 0, so that no record has LSN 0. A record's start is the position of its frame, its end is the
// position after its last byte; a page's LSN is the end of the last record that changed it.
//
// # Layout
//
// All fields are little endian, all checksums CRC-32C. B is the protocol block.
//
//	segment file NNNNNNNNNNNNNNNN.wal (the sequence, 16 hex digits)
//	┌─────────────┬────────────────────────────┬─────────┬─────┬──────────────────────────┐
//	│ header, B   │ group, k*B                 │ group   │ ... │ zeros or an older life   │
//	└─────────────┴────────────────────────────┴─────────┴─────┴──────────────────────────┘
//
//	segment header                           group header
//	offset size field                        offset size field
//	     0    4 magic "unWS"                      0    4 magic "unWG"
//	     4    2 version, 1                        4    2 version, 1
//	     6    2 header bytes, 72                  6    2 header bytes, 112
//	     8   16 engine id                         8   16 engine id
//	    24    4 protocol block                   24    8 epoch
//	    28    4 zero                             32    8 segment sequence
//	    32    8 segment length                   40    8 offset in the segment
//	    40    8 segment sequence, >= 1           48    8 LSN of the group's first byte
//	    48    8 epoch at creation                56    4 payload bytes, >= 9
//	    56    8 first LSN                        60    4 group bytes, a multiple of B
//	    64    4 CRC of bytes 0..63               64    4 records, >= 1
//	    68    4 zero                             68    4 CRC of the payload
//	    72      zeros up to B                    72    4 header CRC of the group before (the chain)
//	                                             76    4 zero
//	record frame                                 80    8 durable LSN when the group was sealed (I10)
//	offset size field                            88    8 DWB watermark: epoch (I7)
//	     0    4 data bytes, >= 1                 96    8 DWB watermark: number (I7)
//	     4    1 kind: 0 = user, else engine     104    4 zero
//	     5    3 zero                            108    4 CRC of bytes 0..107
//	     8      data                            112      payload: frames; then zeros up to the end
//
// A group lies in one segment, on whole protocol blocks that hold nothing else, and is written once:
// nothing acknowledged ever shares a block with something written later. A reader checks every
// byte: what no CRC covers has to be zero. The chain makes a segment switch exact: when no group
// follows in a segment, the next segment's first group is the successor if its chain says so.
//
// A recycled segment keeps the groups of its older life. Their sequence is not the new one's, so
// they are no groups. Until its new header is written the file's name and header disagree, and the
// segment counts as empty.
//
// A second file, headers, may hold copies of the last group headers (headers.go).
//
// # Invariants kept here
//
//   - I3 (the log's half): Durable moves only over groups whose write has completed and, with
//     CommitFlush, for which a flush submitted after that completion has itself completed; and only
//     over an unbroken prefix. (complete)
//   - I5: the first failed write or flush sets the poison with its cause; nothing is acknowledged
//     after it and no flush is repeated. Running out of space while a segment is made is not a
//     failure: appends that need the segment are refused with ErrLogFull. (complete, supply)
//   - I7: every group header carries the doublewrite watermark given to SetWatermark. (seal)
//   - I8: Repair rewrites the groups beyond the evidence byte for byte, zeroes the discarded tail,
//     and flushes both before Start appends. (Repair)
//   - I10: a bad group is the torn tail unless something says it had been durable. (judge) What says
//     so of the last group of all is the ring of headers, if there is one. (headerRing)
//   - I11: every segment file is locked on the description that does its I/O, before it is read or
//     first written. (OpenDir, makeSegment)
//
// # A group's states, and who moves it
//
//	free ─openGroup─▶ open ─seal─▶ sealed ─take─▶ writing ─complete─▶ written ─complete─▶ free
//	                                                                  (durable, in order)
//
// A caller that waits with nothing in flight writes the group itself; when others wait meanwhile, a
// worker of the stage carries on group after group until nobody waits. There is no timer.
//
// # A segment's states
//
//	absent ─makeSegment─▶ next ─switchSegment─▶ current ─switchSegment─▶ live ─TruncateBefore─▶ spare
//	                        ▲──────────────────────recycle─────────────────────────────────────┘
package walstage
