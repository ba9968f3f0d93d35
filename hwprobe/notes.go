package hwprobe

import (
	"fmt"
	"strings"
)

// describe names a device's kind as a person would: "NVMe, Kioxia ...", "partition".
func (d *Device) describe() string {
	switch d.Kind {
	case KindNVMe, KindNVMePath:
		if d.NVMe != nil {
			parts := []string{"NVMe"}
			if t := d.NVMe.Transport.Or(""); t != "" {
				parts[0] = "NVMe over " + t
			}
			if m := d.NVMe.Ctrl.Model.Or(d.NVMe.Model.Or("")); m != "" {
				parts = append(parts, m)
			}
			return strings.Join(parts, ", ")
		}
		return "NVMe"
	case KindNVMeMultipath:
		return fmt.Sprintf("NVMe multipath, %d paths", len(d.On))
	case KindSCSI:
		if d.SCSI != nil {
			return strings.Join(strings.Fields("SCSI "+d.SCSI.Vendor.Or("")+" "+d.SCSI.Model.Or("")), " ")
		}
		return "SCSI"
	case KindDM:
		if d.DM != nil {
			if t := d.DM.Table.Or(nil); len(t) > 0 {
				return "device mapper " + t[0].Target
			}
			if kind, _, ok := strings.Cut(d.DM.UUID.Or(""), "-"); ok && kind != "" {
				return "device mapper, " + kind
			}
		}
		return "device mapper"
	case KindMD:
		if d.MD != nil {
			return "software RAID " + d.MD.Level.Or("of unknown level")
		}
		return "software RAID"
	case KindLoop:
		return "loop device"
	case KindVirtio:
		return "virtio disk"
	}
	if drv := d.Driver.Or(""); drv != "" {
		return drv
	}
	if d.Kind == KindOther {
		return "a device of unknown kind"
	}
	return d.Kind
}

// cloudPromise is what a platform promises whole for a naturally aligned page, in bytes, where its
// field can be read: Amazon's NTWPU (0's based blocks), meaningful on Amazon's models only. Linux
// does not read it, so RWF_ATOMIC cannot enforce it unless NAWUPF agrees. 0 = none, or not all.
func (d *decision) cloudPromise() uint64 {
	var least uint64
	for _, leaf := range d.st.leaves {
		n := leaf.NVMe
		if n == nil || !n.amazon() {
			return 0
		}
		u, lba := n.NS.NTWPU.Or(0), n.NS.LBA.Or(0)
		if u == 0 || u > 0xffff || lba > 1<<16 {
			return 0
		}
		if v := (u + 1) * lba; least == 0 || v < least {
			least = v
		}
	}
	return least
}

func (n *NVMe) model() string { return n.Ctrl.Model.Or(n.Model.Or("")) }

func (n *NVMe) amazon() bool {
	m := n.model()
	return m == "Amazon Elastic Block Store" || m == "Amazon EC2 NVMe Instance Storage"
}

// Notes are the lines a person should read beside the verdicts: mount options that matter, kinds
// of device with ways of their own, what could not be read, and what nobody can read from here.
func (r *Report) Notes() []string {
	st := r.stack()
	var out []string
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	r.mountNotes(add)
	for _, d := range st.order {
		d.notes(add)
	}
	for _, h := range st.holes {
		add("not seen: %s", h)
	}
	if root, ok := r.Host.Root.Get(); ok && !root {
		add("not seen: run without root; Identify needs root or group disk, device-mapper " +
			"tables need root")
	}
	add("cannot be seen from here: caches of a hypervisor or controller, and a drive that " +
		"lies about any of this")
	return out
}

func (r *Report) mountNotes(add func(string, ...any)) {
	if r.Mount == nil {
		return
	}
	d := decision{r: r}
	fs := r.Mount.FS.Or("")
	for _, n := range []struct{ fs, opt, text string }{
		{"ext4", "barrier=0", "barrier=0: ext4 sends no flushes; nothing is durable at a power cut"},
		{"ext4", "nobarrier", "nobarrier: ext4 sends no flushes; nothing is durable at a power cut"},
		{"xfs", "nobarrier", "nobarrier: a no-op on XFS since kernel 4.10"},
		{"ext4", "data=journal", "data=journal: O_DIRECT silently goes through the page cache"},
		{"ext4", "data=writeback", "data=writeback: after a crash a grown file may show old disk contents"},
		{"btrfs", "nodatacow", "nodatacow: pages are overwritten in place, unprotected"},
		{"btrfs", "nobarrier", "nobarrier: btrfs sends no flushes; nothing is durable at a power cut"},
		{"", "sync", "sync: every write is flushed; an explicit flush adds nothing"},
		{"", "dax=always", "dax=always: writes are stores into memory; any of them can tear"},
		{"", "ro", "ro: mounted read-only"},
	} {
		if (n.fs == "" || n.fs == fs) && d.hasSuper(n.opt) {
			add("mount: %s", n.text)
		}
	}
	switch fs {
	case "zfs", "btrfs", "bcachefs":
		add("file system: %s writes copy-on-write and has no RWF_ATOMIC; it is judged by "+
			"itself for plain writers below", fs)
	case "nfs", "nfs4", "cifs", "smb3", "ceph", "fuse", "9p", "virtiofs", "glusterfs", "lustre":
		add("file system: %s: what a flush and a torn write mean is decided at the other end", fs)
	case "tmpfs", "ramfs":
		add("file system: %s is memory: nothing survives a power cut", fs)
	case "overlay":
		add("file system: overlay: name a path on the file system beneath (a volume) to learn more")
	}
}

func (d *Device) notes(add func(string, ...any)) {
	if n := d.NVMe; n != nil {
		m := n.model()
		switch {
		case m == "Amazon EC2 NVMe Instance Storage", m == "nvme_card",
			strings.HasPrefix(m, "Microsoft NVMe Direct Disk"):
			add("%s: an ephemeral instance disk: its contents end with the instance", d.Name)
		case m == "Amazon Elastic Block Store", m == "nvme_card-pd",
			strings.HasPrefix(m, "MSFT NVMe Accelerator"):
			add("%s: a network volume: expect flush latency of a network, and keep several "+
				"writes in flight", d.Name)
		}
		if t := n.Transport.Or("pcie"); t != "pcie" {
			add("%s: NVMe over %.20s: a network volume", d.Name, t)
		}
		if vwc, ok := n.Ctrl.VWC.Get(); ok && vwc&1 == 0 && vwc != 0 {
			add("%s: VWC is %#x: bit 0 is clear, so there is no volatile cache", d.Name, vwc)
		}
		if awun, ok := n.Ctrl.AWUN.Get(); ok && awun > 0 && n.Ctrl.AWUPF.Or(1) == 0 {
			add("%s: AWUN %d keeps commands apart from each other; AWUPF 0 says a power cut "+
				"tears anything above one block", d.Name, awun)
		}
	}
	if z := d.queue().Zoned.Or("none"); z != "none" {
		add("%s: zoned (%.20s): pages cannot be written in place in its sequential zones", d.Name, z)
	}
	switch d.Kind {
	case KindPMem:
		add("%s: persistent memory: a store of 8 bytes is whole, a sector is only with a "+
			"BTT; no RWF_ATOMIC", d.Name)
	case KindLoop:
		if d.Loop != nil {
			add("%s: a loop device on %s: a flush becomes an fsync of that file", d.Name, d.Loop.Backing)
		}
	case KindVirtio:
		add("%s: a virtual disk: a flush reaches the hypervisor; what it does with it "+
			"cannot be seen", d.Name)
	case KindBcache:
		add("%s: bcache: two devices decide what a write means", d.Name)
	case KindMD:
		if d.MD != nil {
			switch l := d.MD.Level.Or(""); l {
			case "raid4", "raid5", "raid6":
				add("%s: %s: a power cut can leave stripe and parity apart (the write hole)", d.Name, l)
			case "raid1", "raid10":
				add("%s: %s: after a power cut mirrors may differ until the resync has run", d.Name, l)
			}
			if n := d.MD.Degrade.Or(0); n > 0 {
				add("%s: degraded by %d", d.Name, n)
			}
		}
	}
}
