// Package pull tests a drive, a virtual machine or a whole host by really cutting its power: what the
// engine acknowledges is told to a second host while it runs, and after the crash the directory is
// held against what that host was told.
//
//	the machine that will die                        the listener, on another machine
//	Run: torture.Work ──frames──▶ TCP ──▶ Listen ──▶ told file, flushed
//	      ▲                                  │
//	      └────── confirmed through seq ◀────┘
//	power cut, reboot
//	Verify: told file ──▶ torture.Judge ◀── survey of the opened (recovered) directory
//
// # What is told, and when
//
// The events of package torture. An acknowledgement is told after the engine gave it, so whatever the
// told file holds had been promised before the power went. What may take away what was promised (a
// checkpoint, a removal, a renaming) is told and confirmed before it begins. The beginning of an
// append or of a page write is told, but not waited for: an image or a record of the last round that
// nobody announced proves itself by its contents, which follow from a seed that only the workload has.
//
// The workload stops while the listener has not confirmed window frames (back-pressure), and for good
// when the connection is lost: a run without a witness would prove nothing.
//
// # Frames, on the wire and in the told file
//
//	 0  magic "UPLG"    4 bytes
//	 4  kind            1: hello, welcome, begin, events, end, confirm, beat
//	 5  flags           1: bit 0 = to be confirmed at once
//	 6  0               2
//	 8  session         8
//	16  sequence        8: 0, 1, 2, ... of a session's begin, events and end
//	24  payload bytes   4
//	28  CRC-32C         4: of bytes 0 to 27 and the payload
//	32  payload            JSON, or events
//
// Integers are little endian. The told file is the frames begin, events and end of one session (one
// round) after the other; a session without an end was killed. A frame cut off by the end of the file
// is what a listener leaves that died itself; anything else that is not a frame is damage.
package pull
