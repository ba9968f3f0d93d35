package hwprobe

import (
	"fmt"
	"slices"
	"strings"
)

// rule is one line of the table in doc.go.
type rule struct {
	id, title string
	eval      func(*decision) (Outcome, string)
}

// rules in order: the first that decides wins.
var rules = []rule{
	{"0", "there is a file or block device to speak of", ruleSubject},
	{"1", "the page is a power of two and not smaller than a logical block", rulePage},
	{"2", "the kernel and file system report atomic writes", ruleMask},
	{"3", "this file has atomic writes at all", ruleAttribute},
	{"4", "the page lies within this file's limits", ruleUnit},
	{"5", "O_DIRECT works here, aligned to the page", ruleDirect},
	{"6", "the file system is one that can be vouched for", ruleFS},
	{"7", "flushes are not turned off", ruleFlushes},
	{"8", "XFS beyond the device's limit: copy-on-write in software", ruleSoftware},
	{"9", "every device's limit and boundary fit the page", ruleDeviceLimit},
	{"10", "every layer starts, stripes and maps at multiples of the page", ruleLayers},
	{"11a", "NVMe: Identify was read from every drive", ruleIdentifyRead},
	{"11b", "NVMe: a physical drive, not an emulation or a fabric", rulePhysical},
	{"11c", "NVMe: Identify does not contradict itself", ruleConsistent},
	{"11d", "NVMe: boundaries fit the page", ruleNVMeBoundary},
	{"11e", "NVMe: the kernel's limit is within the drive's", ruleKernelLimit},
	{"11f", "NVMe: the page is within the drive's unit", ruleDriveUnit},
	{"11g", "NVMe: the namespace itself makes the promise", ruleNamespacePromise},
	{"12", "other drives: a physical SCSI disk", ruleOtherLeaves},
	{"13", "the live probe behaved as promised", ruleLive},
	{"14", "nothing is left open", ruleRest},
}

func ruleSubject(d *decision) (Outcome, string) {
	if d.r.Error != "" {
		return SaysUnknown, "it could not be probed: " + d.r.Error
	}
	os, ok := d.r.Host.OS.Get()
	if !ok {
		return SaysUnknown, "the operating system it was taken on is not recorded"
	}
	if os != "linux" {
		return SaysUnknown, fmt.Sprintf("RWF_ATOMIC is Linux's; this was taken on %.20s", os)
	}
	switch d.r.File.Kind {
	case FileRegular, FileProbe, FileBlock:
	case FileDirectory:
		return SaysUnknown, "no file could be made or found in the directory to look at" +
			because(d.r.File.Subject)
	case "":
		return SaysUnknown, "what the path is was not recorded"
	default:
		return SaysUnknown, fmt.Sprintf("a %.40s holds no pages", d.r.File.Kind)
	}
	if d.st.problem != "" {
		return SaysUnknown, d.st.problem
	}
	return Pass, ""
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func rulePage(d *decision) (Outcome, string) {
	if d.asked < 1 || !isPow2(d.p) {
		return SaysRequired, fmt.Sprintf("%d is not a power of two", d.asked)
	}
	lba, all := d.st.lba()
	switch {
	case d.p < 512 || d.p < lba:
		return SaysRequired, fmt.Sprintf("%s is smaller than a logical block of %s", size(d.p),
			size(max(lba, 512)))
	case !all:
		return Unread, "logical block size of every device"
	}
	return Pass, fmt.Sprintf("logical block %s", size(lba))
}

func ruleMask(d *decision) (Outcome, string) {
	has, ok := d.r.File.ReportsAtomic.Get()
	switch {
	case !ok:
		return Unread, "statx: " + d.r.File.ReportsAtomic.Why()
	case !has && d.layerWithNone() != "":
		return SaysRequired, d.layerWithNone()
	case !has:
		return SaysRequired, fmt.Sprintf("this kernel (%s) or %s does not report atomic writes",
			d.r.Host.Kernel, d.fsName())
	}
	return Pass, "STATX_WRITE_ATOMIC is in the mask"
}

func ruleAttribute(d *decision) (Outcome, string) {
	attr, okA := d.r.File.AtomicAttr.Get()
	maxU, okM := d.r.File.UnitMax.Get()
	switch {
	case okA && !attr || okM && maxU == 0:
		return SaysRequired, d.whoReportsNone()
	case !okA:
		return Unread, "statx attribute: " + d.r.File.AtomicAttr.Why()
	case !okM:
		return Unread, "statx unit_max: " + d.r.File.UnitMax.Why()
	}
	return Pass, "STATX_ATTR_WRITE_ATOMIC is set"
}

func (d *decision) whoReportsNone() string {
	if s := d.layerWithNone(); s != "" {
		return s
	}
	return fmt.Sprintf("%s reports none for this file", d.fsName())
}

// layerWithNone names the lowest layer without atomic writes: those above it only pass that on.
func (d *decision) layerWithNone() string {
	promise := d.cloudPromise()
	order := d.st.order
	for i, dev := range order {
		if dev.Kind == KindLoop { // it passes nothing on, whatever lies beneath
			order = order[:i+1]
			break
		}
	}
	for _, dev := range slices.Backward(order) {
		if n, ok := dev.queue().AtomicUnitMax.Get(); ok && n == 0 {
			s := fmt.Sprintf("%s (%s) reports no atomic writes", dev.Name, dev.describe())
			if promise > 0 {
				s += fmt.Sprintf("; the platform promises %s, the kernel cannot enforce it", size(promise))
			}
			return s
		}
	}
	return ""
}

func (d *decision) fsName() string {
	fs, ok := d.r.fs().Get()
	switch {
	case !ok:
		return "its file system"
	case fs == "":
		return "the device"
	}
	return fs
}

func ruleUnit(d *decision) (Outcome, string) {
	lo, okL := d.r.File.UnitMin.Get()
	hi, okH := d.r.File.UnitMax.Get()
	switch {
	case okH && hi == 0:
		return SaysRequired, "this file allows none"
	case okH && d.p > hi || okL && d.p < lo:
		return SaysRequired, fmt.Sprintf("this file allows %s to %s", factSize(d.r.File.UnitMin),
			factSize(d.r.File.UnitMax))
	case !okL:
		return Unread, "statx unit_min: " + d.r.File.UnitMin.Why()
	case !okH:
		return Unread, "statx unit_max: " + d.r.File.UnitMax.Why()
	}
	return Pass, fmt.Sprintf("%s to %s", size(lo), size(hi))
}

func ruleDirect(d *decision) (Outcome, string) {
	f := &d.r.File
	if opens, ok := f.DirectOpens.Get(); ok && !opens {
		return SaysRequired, "O_DIRECT is refused here"
	}
	// data=journal: O_DIRECT silently goes through the page cache (ext4).
	if d.hasSuper("data=journal") {
		return SaysRequired, "data=journal sends O_DIRECT through the page cache"
	}
	align, ok := f.DIOOffsetAlign.Get()
	switch {
	case !ok:
		return Unread, "statx direct I/O alignment: " + f.DIOOffsetAlign.Why()
	case align == 0:
		return SaysRequired, "this file has no direct I/O"
	case d.p%align != 0:
		return SaysRequired, fmt.Sprintf("direct I/O wants multiples of %s", size(align))
	}
	return Pass, fmt.Sprintf("offsets in multiples of %s", size(align))
}

func ruleFS(d *decision) (Outcome, string) {
	fs, ok := d.r.fs().Get()
	switch {
	case !ok:
		return Unread, "file system: " + d.r.fs().Why()
	case fs == "":
		return Pass, "a raw device"
	case fs != "ext4" && fs != "xfs":
		return SaysRequired, fmt.Sprintf("cannot vouch for %.40s: only ext4, XFS and raw "+
			"devices have untorn writes", fs)
	}
	// A file on XFS's realtime device lies on another device than statx names, and an external log
	// on one that was not looked at: XFS's copy-on-write is as good as its log.
	if fs == "xfs" && d.hasSuper("rtdev=") {
		return Unread, "which of the two devices of an XFS with a realtime device holds the file"
	}
	if fs == "xfs" && d.hasSuper("logdev=") {
		return Unread, "the device of XFS's external log"
	}
	return Pass, fs
}

// hasSuper looks for an option (or, with a final "=", for any value of it) among both kinds.
func (d *decision) hasSuper(opt string) bool {
	if d.r.Mount == nil {
		return false
	}
	for _, list := range []string{d.r.Mount.Super.Or(""), d.r.Mount.Options.Or("")} {
		for o := range strings.SplitSeq(list, ",") {
			if o == opt || strings.HasSuffix(opt, "=") && strings.HasPrefix(o, opt) {
				return true
			}
		}
	}
	return false
}

func ruleFlushes(d *decision) (Outcome, string) {
	wc := d.r.writeCache(d.st)
	if len(wc.Holes) > 0 {
		return SaysRequired, "flushes are off: " + strings.Join(wc.Holes, "; ")
	}
	if len(wc.Unread) > 0 {
		return Unread, strings.Join(wc.Unread, "; ")
	}
	return Pass, wc.Summary
}

func ruleRest(d *decision) (Outcome, string) {
	for _, r := range d.results {
		if r.Outcome.decides() {
			return NotApplicable, "rule " + r.Rule + " decides"
		}
	}
	if u := firstUnread(d.results); u != nil {
		return SaysUnknown, fmt.Sprintf("rule %s could not be checked: %s", u.Rule, u.Detail)
	}
	if len(d.st.leaves) == 0 {
		return SaysUnknown, "no drive was found beneath it"
	}
	d.kind = Hardware
	return SaysRelaxed, d.relaxedBecause()
}

// relaxedBecause says what the promise rests on, drive by drive.
func (d *decision) relaxedBecause() string {
	var unit uint64
	boundary := "no boundary"
	for _, leaf := range d.st.leaves {
		var u uint64
		if leaf.isNVMe() {
			u = leaf.NVMe.unit().bytes
			if b := leaf.NVMe.boundary(); b > 0 {
				boundary = "boundary " + size(b)
			}
		} else {
			u = leaf.scsiUnit()
		}
		if unit == 0 || u < unit {
			unit = u
		}
	}
	return fmt.Sprintf("each %s page is one command within the drive's unit of %s, %s, "+
		"every start aligned",
		size(d.p), size(unit), boundary)
}
