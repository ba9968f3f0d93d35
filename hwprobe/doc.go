// Package hwprobe answers one question with its reasons: on this path, for this page size, may
// doublewrite be relaxed? A wrong yes destroys data. So nothing is a yes that is not proven,
// missing data is never taken for harmless, and "unknown" keeps doublewrite.
//
//	r, err := hwprobe.Probe(ctx, "/srv/data/file", hwprobe.Options{})
//	v := r.Decide(16384, hwprobe.Policy{})
//	if v.Relaxed() { ... every write with RWF_ATOMIC ... }
//	if r.WriteCache().Off() { ... refuse: a flush is worth nothing here ... }
//
// Probe reads (statx, mountinfo, sysfs, NVMe Identify, device-mapper tables) and fills a Report;
// Decide, WriteCache and Notes are pure functions of it. A Report is also a capture: written with
// WriteCaptures and read with ReadCaptures it says the same on any machine. Every datum is a Fact,
// which keeps where it came from and why it is missing.
//
// # Contract
//
//   - Probe writes nothing, except for the live probe (Options.Live) on its own nameless scratch
//     file. In a directory it makes a nameless empty file to look at, because the kernel says
//     nothing about atomic writes on the directory itself. A path that is a file or a device is
//     only looked at, so probing again (at a checkpoint, say) is cheap: a few dozen small reads.
//   - Probe fails only where the path cannot be looked at at all. Anything else that cannot be read
//     is in the Report, with the reason.
//   - Relaxed holds for a writer whose every page write carries RWF_ATOMIC, at the size decided on,
//     to the file or directory probed: the kernel then refuses what it would have to split. For
//     other writers Verdict.Writers says what is promised by whom; it never says relaxed.
//   - Probe again after a format, reset, firmware update, remount or new kernel.
//   - Not promised: anything about a drive that lies, or about caches of hypervisors and
//     controllers that claim to be none.
//
// # Rules
//
// P is the page size. In order; the first that decides is the verdict, and every outcome is listed
// in Verdict.Rules. A rule that lacks a datum is "unread": it decides nothing, but no rule after it
// may say relaxed; if nothing decides before rule 14 the answer is unknown, named after the first
// unread rule. Sources: NVM Command Set (Identify fields), Linux block layer and statx(2),
// SBC-4 (Block Limits).
//
//	#    condition                                                      verdict
//	0    not Linux, not a file or device, probe failed, cyclic stack    unknown
//	1    P not a power of two, or smaller than a logical block          required
//	2    STATX_WRITE_ATOMIC not in the mask                             required
//	3    attribute bit clear, or unit_max 0                             required
//	4    P outside [unit_min, unit_max]                                 required
//	5    no O_DIRECT (data=journal too), or misaligned to it            required
//	6    not ext4, XFS or a raw device                                  required
//	7    barriers off; or "write through" above a drive with VWC bit 0  required
//	8    XFS, P above the device's unit_max                             relaxed, software, if every
//	     leaf's VWC was read, 1-7 hold, and the live probe, if asked    drive is a real NVMe; else
//	     for, agrees                                                    unknown
//	9    a device's unit_max < P, or its boundary cuts pages            required
//	10   a start, stripe or chunk not a multiple of P; a layer that     required
//	     does not pass atomic writes on
//	11   NVMe, every leaf and every multipath path:
//	11a  Identify not read, or not a page a drive would send            unknown
//	11b  not pcie; an emulation by model, subsystem name or vendor      unknown (Policy.TrustEmulated)
//	11c  Identify contradicts itself, or the kernel's block size        unknown
//	11d  NABO, NABSPF or NOIOB cut pages                                required
//	11e  the kernel's limit exceeds what the drive says now             required
//	11f  P exceeds what the drive says                                  required
//	11g  the number is the controller's AWUPF only                      unknown (Policy.TrustAWUPF)
//	12   not NVMe: anything but a disk behind a known SCSI adapter      unknown (Policy.TrustEmulated)
//	     that reports atomic writes in its Block Limits page;
//	     P beyond what it reports                                       required
//	13   the live probe saw anything but: P aligned written whole,      required; could not run:
//	     P at P/2 EINVAL, 2 x unit_max EINVAL                           unread
//	14   nothing left open                                              relaxed, hardware
//
// # Files
//
//	fact.go      one datum with its origin         source.go   reading /sys and /proc
//	capture.go   Report, its JSON and its bounds   devices.go  the stack from sysfs
//	identify.go  Identify pages                    mount.go    mountinfo
//	stack.go     walking a Report's stack          dm.go       device-mapper tables
//	verdict.go   Decide                            mask.go     blanking serial numbers
//	rules*.go    the table above                   probe_*.go  Probe; *_linux.go the system calls
//	cache.go     what a flush is worth             render.go, tree.go, document.go  output
//	writers.go, next.go, notes.go                  what it means for others, what would change it
package hwprobe
