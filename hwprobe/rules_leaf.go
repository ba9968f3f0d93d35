package hwprobe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// physicalAdapters are the host drivers behind which a SCSI disk is a disk. Everything else (RAID
// controllers, iSCSI, USB bridges, hypervisors, scsi_debug) answers for itself, and is unknown.
var physicalAdapters = []string{
	"ahci", "aic94xx", "hisi_sas", "hisi_sas_v2_hw", "hisi_sas_v3_hw", "isci", "lpfc", "mpi3mr",
	"mpt2sas", "mpt3sas", "mvsas", "pm80xx", "qla2xxx",
}

// virtualVendors are SCSI vendors and models of emulated disks, in lower case.
var virtualVendors = []string{
	"qemu", "vmware", "vbox", "virtual", "msft", "linux", "lio-org", "google", "amazon",
	"nutanix", "xen", "scsi_debug",
}

// virtual says why a SCSI disk's numbers are no promise, or "".
func (s *SCSI) virtual() string {
	adapter, ok := s.Adapter.Get()
	switch {
	case !ok:
		return "its adapter could not be read: " + s.Adapter.Why()
	case !slices.Contains(physicalAdapters, adapter):
		return fmt.Sprintf("adapter %.40q is virtual, a test device or not known", adapter)
	}
	vendor, okV := s.Vendor.Get()
	model, okM := s.Model.Get()
	if !okV || !okM {
		return "its vendor and model could not be read"
	}
	name := strings.ToLower(vendor + " " + model)
	for _, v := range virtualVendors {
		if strings.Contains(name, v) {
			return fmt.Sprintf("%.40q is an emulation", vendor+" "+model)
		}
	}
	return ""
}

// scsiUnit is the largest write the disk says it takes whole: 0 where it says none.
func (d *Device) scsiUnit() uint64 {
	if d.SCSI == nil {
		return 0
	}
	blocks, lba := d.SCSI.MaxAtomic.Or(0), d.queue().LogicalBlock.Or(0)
	if blocks > 1<<32 || lba > 1<<16 { // 32-bit field; nothing may overflow
		return 0
	}
	return blocks * lba
}

// ruleOtherLeaves is rule 12, and the end of the road for every leaf nobody can vouch for.
func ruleOtherLeaves(d *decision) (Outcome, string) {
	n := 0
	for _, leaf := range d.st.leaves {
		if leaf.isNVMe() {
			continue
		}
		n++
		if leaf.Kind != KindSCSI || leaf.SCSI == nil {
			return SaysUnknown, fmt.Sprintf("%s (%s): nothing says what it does at a power cut",
				leaf.Name, leaf.describe())
		}
		if z, ok := leaf.queue().Zoned.Get(); ok && z != "none" {
			return SaysUnknown, leaf.Name + " is zoned"
		}
		if why := leaf.SCSI.virtual(); why != "" {
			if !d.pol.TrustEmulated {
				return SaysUnknown, leaf.Name + ": " + why
			}
			d.accept("rule 12: " + leaf.Name + ": " + why)
		}
		if !leaf.SCSI.MaxAtomic.Known() {
			return SaysUnknown, fmt.Sprintf("%s: its Block Limits page was not read: %s",
				leaf.Name, leaf.SCSI.MaxAtomic.Why())
		}
		if u := leaf.scsiUnit(); d.p > u {
			return SaysRequired, fmt.Sprintf("%s itself promises only %s", leaf.Name, size(u))
		}
		lba := leaf.queue().LogicalBlock.Or(0)
		for _, m := range []Fact[uint64]{leaf.SCSI.AtomicAlignment, leaf.SCSI.AtomicGranularity} {
			if v := m.Or(0); v > 0 && (v > 1<<32 || d.p%(v*lba) != 0) {
				return SaysRequired, fmt.Sprintf("%s wants atomic writes in multiples of %d "+
					"blocks", leaf.Name, v)
			}
		}
	}
	if n == 0 {
		return NotApplicable, ""
	}
	return Pass, "a physical SCSI disk"
}

// ruleLive is rule 13: what the kernel really did with three writes to a scratch file.
func ruleLive(d *decision) (Outcome, string) {
	l := d.r.Live
	if l == nil {
		return NotApplicable, "not asked for"
	}
	if l.Error != "" {
		return Unread, "the live probe could not run: " + l.Error
	}
	for _, p := range l.Pages {
		if p.Page != d.p {
			continue
		}
		switch {
		case p.Aligned != strconv.FormatUint(d.p, 10):
			return SaysRequired, "live probe: an aligned page returned " + p.Aligned
		case p.Half != "EINVAL":
			return SaysRequired, "live probe: a misaligned page returned " + p.Half + ", not EINVAL"
		case p.Beyond != "EINVAL":
			return SaysRequired, "live probe: a write beyond the limit returned " + p.Beyond + ", not EINVAL"
		}
		return Pass, "aligned page written whole; misaligned and oversized ones refused"
	}
	return Unread, fmt.Sprintf("the live probe was not run for %s", size(d.p))
}
