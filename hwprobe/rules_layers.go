package hwprobe

import (
	"fmt"
	"slices"
	"strings"
)

// ruleSoftware is rule 8: XFS writes what the device cannot take whole to a new place and swaps it
// in by a logged transaction. That is as good as its flushes, so the drive's cache must be known.
func ruleSoftware(d *decision) (Outcome, string) {
	if fs, ok := d.r.fs().Get(); !ok || fs != "xfs" {
		return NotApplicable, ""
	}
	dev := d.st.device()
	hw, ok := dev.queue().AtomicUnitMax.Get()
	if !ok {
		return Unread, "the device's atomic write limit: " + dev.queue().AtomicUnitMax.Why()
	}
	// unit_max_opt (kernel 6.16) is what XFS itself hands to the hardware; 0 = no such limit.
	if opt := d.r.File.UnitMaxOpt.Or(0); opt > 0 {
		hw = min(hw, opt)
	}
	if d.p <= hw {
		return NotApplicable, fmt.Sprintf("the device takes up to %s itself", size(hw))
	}
	if u := firstUnread(d.results); u != nil {
		return SaysUnknown, fmt.Sprintf("rule %s could not be checked: %s", u.Rule, u.Detail)
	}
	if why := d.flushChainUnproven(); why != "" {
		return SaysUnknown, "XFS writes this page copy-on-write in software, but " + why
	}
	switch out, detail := ruleLive(d); {
	case out == Unread: // rules 9 to 12 are about the hardware: they must not answer for this
		return SaysUnknown, "XFS writes this page copy-on-write in software, but " + detail
	case out.decides():
		return out, detail
	}
	if d.pol.HardwareOnly {
		return SaysRequired, "XFS writes this page copy-on-write in software, and the " +
			"policy wants hardware"
	}
	d.kind = Software
	return SaysRelaxed, fmt.Sprintf("XFS writes each %s page copy-on-write in software (the "+
		"device itself takes %s), and flushes reach every drive",
		size(d.p), size(hw))
}

// flushChainUnproven says why a flush may not reach every drive, or "".
func (d *decision) flushChainUnproven() string {
	if len(d.st.holes) > 0 {
		return strings.Join(d.st.holes, "; ")
	}
	if len(d.st.leaves) == 0 {
		return "no drive was found beneath it"
	}
	for _, dev := range d.st.order {
		switch dev.Kind {
		case KindPartition, KindNVMeMultipath, KindNVMe, KindNVMePath:
		case KindLoop:
			return fmt.Sprintf("%s is a loop device: what a flush of it is worth depends on "+
				"the file beneath", dev.Name)
		case KindDM, KindMD:
			if ok, why := dev.mapsPages(); !ok {
				return why
			}
		default:
			return fmt.Sprintf("%s (%s) keeps its own counsel about its write cache", dev.Name,
				dev.describe())
		}
	}
	for _, leaf := range d.st.leaves {
		if leaf.NVMe == nil || !leaf.NVMe.Ctrl.VWC.Known() {
			return fmt.Sprintf("whether %s has a volatile cache could not be read: %s", leaf.Name,
				leaf.ctrlMissing())
		}
		if why := leaf.NVMe.emulated(); why != "" {
			if !d.pol.TrustEmulated {
				return fmt.Sprintf("%s: %s", leaf.Name, why)
			}
			d.accept("rule 8: " + leaf.Name + " is emulated")
		}
	}
	return ""
}

// ruleDeviceLimit is rule 9, for every queue from the device down: a lower one that allows less
// than the upper contradicts it, and the lower is right.
func ruleDeviceLimit(d *decision) (Outcome, string) {
	var unread []string
	for _, dev := range d.st.order {
		if dev.Kind == KindPartition {
			continue
		}
		q := dev.queue()
		if dev.Kind == KindNVMePath && dev.Queue == nil {
			continue // a path's limits are its head's; rule 11 reads the drive itself
		}
		limit, ok := q.AtomicUnitMax.Get()
		switch {
		case ok && limit == 0:
			return SaysRequired, dev.Name + " takes no write whole"
		case ok && limit < d.p:
			return SaysRequired, fmt.Sprintf("%s takes only %s whole", dev.Name, size(limit))
		case !ok:
			unread = append(unread, fmt.Sprintf("atomic write limit of %s: %s", dev.Name,
				q.AtomicUnitMax.Why()))
		}
		b, ok := q.AtomicBoundary.Get()
		switch {
		case ok && b > 0 && (b < d.p || b%d.p != 0):
			return SaysRequired, fmt.Sprintf("%s has a boundary every %s, which cuts pages",
				dev.Name, size(b))
		case !ok:
			unread = append(unread, fmt.Sprintf("atomic write boundary of %s: %s", dev.Name,
				q.AtomicBoundary.Why()))
		}
	}
	if len(d.st.order) == 0 {
		unread = append(unread, d.st.holes...)
	}
	if len(unread) > 0 {
		return Unread, strings.Join(unread, "; ")
	}
	return Pass, fmt.Sprintf("device limit %s", factSize(d.st.device().queue().AtomicUnitMax))
}

// ruleLayers is rule 10. Each start is checked by itself: misaligned starts that happen to add up
// to an aligned one are refused as well.
func ruleLayers(d *decision) (Outcome, string) {
	unread := slices.Clone(d.st.holes)
	for _, dev := range d.st.order {
		bad, miss := d.layer(dev)
		if bad != "" {
			return SaysRequired, bad
		}
		if miss != "" {
			unread = append(unread, miss)
		}
	}
	if len(unread) > 0 {
		return Unread, strings.Join(unread, "; ")
	}
	return Pass, ""
}

// layer says what is wrong with one device, or what of it could not be read.
func (d *decision) layer(dev *Device) (bad, missing string) {
	align := []uint64{d.p}
	if b := dev.queue().AtomicBoundary.Or(0); b > 0 {
		align = append(align, b)
	}
	if b := d.st.device().queue().AtomicBoundary.Or(0); b > 0 {
		align = append(align, b)
	}
	off := func(what string, sector uint64) string {
		for _, a := range align {
			if !sectorsAligned(sector, a) {
				return fmt.Sprintf("%s starts at sector %d, not at a multiple of %s", what, sector, size(a))
			}
		}
		return ""
	}
	switch dev.Kind {
	case KindPartition:
		if dev.Partition == nil || !dev.Partition.Start.Known() {
			return "", "start of partition " + dev.Name
		}
		return off("partition "+dev.Name, dev.Partition.Start.Or(0)), ""
	case KindDM:
		return d.dmLayer(dev, off)
	case KindMD:
		return d.mdLayer(dev, off)
	case KindLoop, KindBcache:
		return fmt.Sprintf("%s is a %s device, which does not pass atomic writes on", dev.Name,
			dev.Kind), ""
	}
	// A drive with a preferred boundary (NOIOB) or zones: a write across it may be split.
	if c := dev.queue().ChunkSectors.Or(0); c > 0 && !sectorsAligned(c, d.p) {
		return fmt.Sprintf("%s splits writes every %d sectors, not a multiple of %s", dev.Name, c,
			size(d.p)), ""
	}
	return "", ""
}

func (d *decision) dmLayer(dev *Device, off func(string, uint64) string) (bad, missing string) {
	if ok, why := dev.mapsPages(); !ok {
		if dev.DM == nil || !dev.DM.Table.Known() {
			return "", why
		}
		return why, ""
	}
	for _, seg := range dev.DM.Table.Or(nil) {
		if s := off("a segment of "+dev.Name, seg.Start); s != "" {
			return s, ""
		}
		if seg.Target == "multipath" {
			continue // maps the whole of each path
		}
		if len(seg.Parts) == 0 {
			return "", fmt.Sprintf("where the %s of %s lies", seg.Target, dev.Name)
		}
		for _, p := range seg.Parts {
			if !slices.Contains(dev.On, p.Dev) {
				return "", fmt.Sprintf("%s, which %s maps to", p.Dev, dev.Name)
			}
			if s := off(dev.Name+" on "+p.Dev, p.Offset); s != "" {
				return s, ""
			}
		}
		if seg.Target == "striped" && (seg.Chunk == 0 || !sectorsAligned(seg.Chunk, d.p)) {
			return fmt.Sprintf("%s stripes every %d sectors, not a multiple of %s", dev.Name,
				seg.Chunk, size(d.p)), ""
		}
	}
	return "", ""
}

func (d *decision) mdLayer(dev *Device, off func(string, uint64) string) (bad, missing string) {
	if ok, why := dev.mapsPages(); !ok {
		if dev.MD == nil || !dev.MD.Level.Known() {
			return "", why
		}
		return why, ""
	}
	if level := dev.MD.Level.Or(""); level == "raid0" || level == "raid10" {
		c, ok := dev.MD.Chunk.Get()
		if !ok {
			return "", "chunk size of " + dev.Name
		}
		if c == 0 || c%d.p != 0 {
			return fmt.Sprintf("%s has chunks of %s, not a multiple of %s", dev.Name, size(c), size(d.p)), ""
		}
	}
	known := map[string]bool{}
	for _, m := range dev.MD.Members {
		o, ok := m.Offset.Get()
		if !ok {
			return "", fmt.Sprintf("data offset of %s on %s", dev.Name, m.Name)
		}
		if s := off(dev.Name+" on "+m.Name, o); s != "" {
			return s, ""
		}
		known[m.Name] = true
	}
	for _, name := range dev.On {
		if !known[name] {
			return "", fmt.Sprintf("data offset of %s on %s", dev.Name, name)
		}
	}
	return "", ""
}

// mapsPages tells whether a dm or md device is of a kind that hands an aligned page on whole:
// those that stack atomic limits (md 6.13, dm 6.14) and crypt and multipath, which map one to one.
func (d *Device) mapsPages() (bool, string) {
	switch {
	case d.Kind == KindMD:
		if d.MD == nil || !d.MD.Level.Known() {
			return false, "RAID level of " + d.Name
		}
		switch level := d.MD.Level.Or(""); level {
		case "raid0", "raid1", "raid10":
			return true, ""
		default:
			return false, fmt.Sprintf("%s is %.20s, which can tear a page", d.Name, level)
		}
	case d.DM == nil || !d.DM.Table.Known():
		why := "not recorded"
		if d.DM != nil {
			why = d.DM.Table.Why()
		}
		return false, fmt.Sprintf("device-mapper table of %s: %s", d.Name, why)
	}
	table := d.DM.Table.Or(nil)
	if len(table) == 0 {
		return false, d.Name + " has an empty device-mapper table"
	}
	for _, seg := range table {
		switch seg.Target {
		case "linear", "striped", "mirror", "crypt", "multipath":
		default:
			return false, fmt.Sprintf("%s is a device-mapper %.20s, which does not pass "+
				"atomic writes on", d.Name, seg.Target)
		}
	}
	return true, ""
}
