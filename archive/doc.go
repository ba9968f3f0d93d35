// Package archive keeps finished segments of an engine's log in a directory, and makes an engine's
// directory from a backup and what was archived since, up to an LSN.
//
// # Layout
//
//	ARCHIVE/
//	  NNNNNNNNNNNNNNNN.wal        a finished segment, byte for byte, under its name in the log
//	  NNNNNNNNNNNNNNNN.wal.part   the last segment of a directory that was closed, as far as it went
//	  *.tmp                       on its way; left behind by a crash, it is nothing
//
// Directories have mode 0700, files 0600. A segment is written under another name, flushed, read back
// and checked, and only then gets its name: what has it is whole. It is never written again: another
// segment of that name (a second engine with one archive, or a restored directory that kept its id) is
// refused with ErrConflict.
//
// # What is checked
//
// Archiving and restoring check of every segment the header, the engine id, every group's checksums,
// its place and the chain of groups; and between segments that the next one's first group follows the
// last group of the one before. The chain convicts a segment that lost groups at its end: nothing in
// the segment itself can.
package archive
