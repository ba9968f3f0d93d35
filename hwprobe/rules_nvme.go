package hwprobe

import (
	"fmt"
	"strings"
)

// unit is the largest write a namespace promises whole across a power failure.
type unit struct {
	bytes  uint64
	fromNS bool   // the namespace's own promise, not the controller's
	why    string // contradictory, if not ""
}

// unit follows rule 11c: NSABP with a non-zero NAWUPF, else AWUPF. Both are 0's based block
// counts. It is meaningful only where 11a passed.
func (n *NVMe) unit() unit {
	if n == nil {
		return unit{}
	}
	lba := n.NS.LBA.Or(0)
	awun, awupf := n.Ctrl.AWUN.Or(0), n.Ctrl.AWUPF.Or(0)
	nawun, nawupf := n.NS.NAWUN.Or(0), n.NS.NAWUPF.Or(0)
	nabspf := n.NS.NABSPF.Or(0)
	own := n.NS.NSFEAT.Or(0)&nsfeatNSABP != 0 && nawupf > 0
	u := unit{bytes: (awupf + 1) * lba}
	if own {
		u = unit{bytes: (nawupf + 1) * lba, fromNS: true}
	}
	if nawun == 0 {
		nawun = awun // zero: as the controller
	}
	switch {
	case awupf > awun:
		u.why = fmt.Sprintf("AWUPF %d is above AWUN %d", awupf, awun)
	case own && nawupf < awupf:
		u.why = fmt.Sprintf("NAWUPF %d is below AWUPF %d", nawupf, awupf)
	case own && nawupf > nawun:
		u.why = fmt.Sprintf("NAWUPF %d is above NAWUN %d", nawupf, nawun)
	case own && nabspf > 0 && nabspf < nawupf:
		u.why = fmt.Sprintf("NABSPF %d is below NAWUPF %d", nabspf, nawupf)
	}
	return u
}

// boundary is NABSPF in bytes: 0 = none.
func (n *NVMe) boundary() uint64 {
	if n == nil {
		return 0
	}
	if b := n.NS.NABSPF.Or(0); b > 0 {
		return (b + 1) * n.NS.LBA.Or(0)
	}
	return 0
}

// emulated says why a namespace's numbers are no promise about a power failure, or "".
func (n *NVMe) emulated() string {
	transport, ok := n.Transport.Get()
	switch {
	case !ok:
		return "its transport could not be read: " + n.Transport.Why()
	case transport != "pcie":
		return fmt.Sprintf("transport is %.20s, not pcie: the other end made the number up", transport)
	}
	for _, f := range []Fact[string]{n.Ctrl.Model, n.Model} {
		m := strings.ToLower(f.Or(""))
		if m == "linux" {
			return "model Linux: the Linux target derives its number from a block size"
		}
		for _, word := range []string{"qemu", "spdk", "ceph", "vmware", "vbox", "virtualbox",
			"bhyve", "virtual"} {
			if strings.Contains(m, word) {
				return fmt.Sprintf("model %.40q is an emulation", f.Or(""))
			}
		}
	}
	for _, f := range []Fact[string]{n.Ctrl.SubNQN, n.SubsysNQN} {
		nqn := strings.ToLower(f.Or(""))
		for _, word := range []string{"org.qemu", "io.spdk", "org.nvmexpress:uuid:linux"} {
			if strings.Contains(nqn, word) {
				return "its subsystem name is an emulation's"
			}
		}
	}
	if n.Ctrl.VID.Or(0) == 0x1b36 { // Red Hat's, which only QEMU's emulated controller carries
		return "its PCI vendor is QEMU's"
	}
	return ""
}

func (d *Device) ctrlMissing() string {
	if d.NVMe == nil {
		return "not recorded"
	}
	if why := d.NVMe.Ctrl.Missing; why != "" {
		return why
	}
	return d.NVMe.Ctrl.VWC.Why()
}

// nvme walks the NVMe leaves with one question; it is not applicable without any.
func (d *decision) nvme(f func(leaf *Device) (Outcome, string)) (Outcome, string) {
	var details, unread []string
	n := 0
	for _, leaf := range d.st.leaves {
		if !leaf.isNVMe() {
			continue
		}
		n++
		out, detail := f(leaf)
		if out.decides() {
			return out, leaf.Name + ": " + detail
		}
		if out == Unread {
			unread = append(unread, "Identify of "+leaf.Name)
		}
		if detail != "" {
			details = append(details, leaf.Name+": "+detail)
		}
	}
	if n == 0 {
		return NotApplicable, ""
	}
	if len(unread) > 0 {
		return Unread, strings.Join(unread, "; ")
	}
	return Pass, strings.Join(details, "; ")
}

func ruleIdentifyRead(d *decision) (Outcome, string) {
	return d.nvme(func(leaf *Device) (Outcome, string) {
		claim := func(why string) (Outcome, string) {
			return SaysUnknown, fmt.Sprintf("the kernel claims %s, but Identify was not read: %s",
				factSize(d.st.kernelQueue(leaf).AtomicUnitMax), why)
		}
		n := leaf.NVMe
		switch {
		case n == nil:
			return claim("not recorded")
		case n.Ctrl.Missing != "":
			return claim(n.Ctrl.Missing)
		case n.NS.Missing != "":
			return claim(n.NS.Missing)
		}
		for _, f := range []struct {
			name string
			f    Fact[uint64]
		}{
			{"VWC", n.Ctrl.VWC}, {"AWUN", n.Ctrl.AWUN}, {"AWUPF", n.Ctrl.AWUPF},
			{"block size", n.NS.LBA}, {"NSFEAT", n.NS.NSFEAT}, {"NAWUN", n.NS.NAWUN},
			{"NAWUPF", n.NS.NAWUPF}, {"NABO", n.NS.NABO}, {"NABSPF", n.NS.NABSPF},
		} {
			if !f.f.Known() {
				return claim(f.name + " " + f.f.Why())
			}
		}
		return Pass, ""
	})
}

func rulePhysical(d *decision) (Outcome, string) {
	return d.nvme(func(leaf *Device) (Outcome, string) {
		if leaf.NVMe == nil {
			return SaysUnknown, "nothing was read about it"
		}
		why := leaf.NVMe.emulated()
		if why == "" && leaf.NVMe.Ctrl.Model.Or(leaf.NVMe.Model.Or("")) == "" {
			why = "its model could not be read"
		}
		if why == "" {
			return Pass, ""
		}
		if d.pol.TrustEmulated {
			d.accept("rule 11b: " + leaf.Name + ": " + why)
			return Pass, "accepted by policy: " + why
		}
		return SaysUnknown, "the number is not a power-fail promise: " + why
	})
}

func ruleConsistent(d *decision) (Outcome, string) {
	return d.nvme(func(leaf *Device) (Outcome, string) {
		n := leaf.NVMe
		if n == nil || !n.NS.LBA.Known() {
			return Unread, ""
		}
		lba := n.NS.LBA.Or(0)
		if !isPow2(lba) || lba < 512 || lba > 1<<16 {
			return SaysUnknown, fmt.Sprintf("contradictory Identify: blocks of %d bytes", lba)
		}
		// 16-bit fields: larger values cannot come from a page, and would overflow.
		for _, f := range []Fact[uint64]{n.Ctrl.AWUN, n.Ctrl.AWUPF, n.NS.NAWUN, n.NS.NAWUPF,
			n.NS.NABO, n.NS.NABSPF, n.NS.NOIOB} {
			if f.Or(0) > 0xffff {
				return SaysUnknown, "contradictory Identify: a 16-bit field above 65535"
			}
		}
		// After a format the kernel may hold the old block size, or we an old page.
		if k, ok := d.st.kernelQueue(leaf).LogicalBlock.Get(); ok && k != lba {
			return SaysUnknown, fmt.Sprintf("contradictory Identify: blocks of %s, the "+
				"kernel has %s", size(lba), size(k))
		}
		if why := n.unit().why; why != "" {
			return SaysUnknown, "contradictory Identify: " + why
		}
		return Pass, ""
	})
}

func ruleNVMeBoundary(d *decision) (Outcome, string) {
	return d.nvme(func(leaf *Device) (Outcome, string) {
		n := leaf.NVMe
		if n == nil {
			return Unread, ""
		}
		lba := n.NS.LBA.Or(0)
		if nabo := n.NS.NABO.Or(0); nabo != 0 {
			return SaysRequired, fmt.Sprintf("its boundaries are shifted by %d blocks (NABO)", nabo)
		}
		b := n.boundary()
		if b > 0 && (b < n.unit().bytes || !isPow2(b) || b%d.p != 0) {
			return SaysRequired, fmt.Sprintf("its boundary every %s (NABSPF) cuts pages", size(b))
		}
		if io := n.NS.NOIOB.Or(0) * lba; d.p > 0 && io%d.p != 0 {
			return SaysRequired, fmt.Sprintf("its I/O boundary every %s (NOIOB) cuts pages", size(io))
		}
		return Pass, ""
	})
}

func ruleKernelLimit(d *decision) (Outcome, string) {
	return d.nvme(func(leaf *Device) (Outcome, string) {
		k, ok := d.st.kernelQueue(leaf).AtomicUnitMax.Get()
		u := leaf.NVMe.unit().bytes
		switch {
		case !ok:
			return Unread, "" // rule 9 says so already
		case u == 0:
			return Unread, ""
		case k > u:
			return SaysRequired, fmt.Sprintf("the kernel's limit of %s exceeds the %s the "+
				"drive says now", size(k), size(u))
		}
		return Pass, fmt.Sprintf("kernel %s, drive %s", size(k), size(u))
	})
}

func ruleDriveUnit(d *decision) (Outcome, string) {
	return d.nvme(func(leaf *Device) (Outcome, string) {
		u := leaf.NVMe.unit().bytes
		switch {
		case u == 0:
			return Unread, ""
		case d.p > u:
			return SaysRequired, fmt.Sprintf("the drive promises only %s", size(u))
		}
		return Pass, ""
	})
}

func ruleNamespacePromise(d *decision) (Outcome, string) {
	return d.nvme(func(leaf *Device) (Outcome, string) {
		u := leaf.NVMe.unit()
		switch {
		case u.bytes == 0:
			return Unread, ""
		case u.fromNS:
			return Pass, ""
		case d.pol.TrustAWUPF:
			d.accept("rule 11g: " + leaf.Name + " promises by AWUPF only")
			return Pass, "accepted by policy: AWUPF only"
		}
		return SaysUnknown, fmt.Sprintf("%s comes from the controller's AWUPF only, which "+
			"Linux 7.0 stopped trusting", size(u.bytes))
	})
}
