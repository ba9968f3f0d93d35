package hwprobe

import (
	"fmt"
	"strconv"
	"strings"
)

// kernelAtLeast compares "6.18.44-..." with major.minor; a kernel that was not read is old.
func (r *Report) kernelAtLeast(major, minor int) bool {
	s := r.Host.Kernel.Or("")
	a, rest, _ := strings.Cut(s, ".")
	n := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
	if n >= 0 {
		rest = rest[:n]
	}
	ma, err1 := strconv.Atoi(a)
	mi, err2 := strconv.Atoi(rest)
	return err1 == nil && err2 == nil && (ma > major || ma == major && mi >= minor)
}

// nextSteps is what would change the answer; empty when it is relaxed, or nothing would.
func nextSteps(d *decision, v Verdict) []string {
	if v.Answer == Relaxed {
		return nil
	}
	var out []string
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	fs := d.r.fs().Or("")
	switch v.Rule {
	case "0":
		if d.r.File.Kind == FileDirectory {
			add("name a file in it, or run as a user who may create one")
		}
	case "1":
		add("use a page of 4, 8, 16, 32 or 64 KiB")
	case "2", "3", "4":
		d.nextLimit(add, fs)
	case "5":
		if d.hasSuper("data=journal") {
			add("mount without data=journal")
		} else {
			add("use a file system with direct I/O, and a page that is a multiple of its alignment")
		}
	case "6":
		add("put the directory on ext4 or XFS, or use a block device")
	case "7":
		if strings.Contains(v.Reason, "mounted with") {
			add("mount with barriers (the default)")
		}
		if strings.Contains(v.Reason, "write through") {
			add(`write "write back" to queue/write_cache of the device named`)
		}
	case "9":
		d.nextLimit(add, fs)
	case "10":
		d.nextLayers(add, v)
	case "11a":
		add("run as root or in group disk, in a place where /dev has the device")
	case "11b", "12":
		add("nothing on this machine: ask whoever runs the storage what it promises at a power cut")
	case "11c":
		add("read again after a controller reset; if it stays so, report it to the drive's maker")
	case "11e":
		add("reset the controller (nvme reset) or reboot, so that the kernel reads the limit again")
	case "11g":
		add("a drive whose namespace sets NSABP and NAWUPF; or, if its data sheet promises " +
			"AWUPF, the AWUPF override (-trust-awupf)")
	case "13":
		add("report it: the kernel advertised what it did not do")
	}
	if v.Answer == Unknown && len(out) == 0 {
		if root, ok := d.r.Host.Root.Get(); ok && !root {
			add("run as root or in group disk")
		}
	}
	return out
}

// nextLimit helps where a limit is missing or too small: who has to change depends on the layer.
func (d *decision) nextLimit(add func(string, ...any), fs string) {
	hw := d.st.device().queue().AtomicUnitMax.Or(0)
	reflink := "XFS with reflink (the default), kernel 6.16 or newer, writes pages " +
		"copy-on-write in software; " +
		"that can be vouched for on NVMe drives whose cache can be read"
	switch {
	case !d.r.kernelAtLeast(6, 11):
		add("kernel 6.11 or newer for devices, 6.13 for ext4 and XFS, 6.16 for more than one block")
	case fs != "" && !d.r.kernelAtLeast(6, 13):
		add("kernel 6.13 or newer (ext4, XFS)")
	case fs != "" && !d.r.kernelAtLeast(6, 16):
		add("kernel 6.16 or newer (ext4 bigalloc, XFS multi-block)")
	}
	switch {
	case fs == "ext4" && hw >= d.p:
		add("mkfs.ext4 -O bigalloc -C %d: one cluster a page", max(d.p, 8192))
	case fs == "xfs" && hw >= d.p:
		add("on XFS a page of several blocks needs reflink, or a large enough block size")
	case fs == "xfs":
		add("mkfs.xfs -m reflink=1, kernel 6.16 or newer: copy-on-write in software")
	case hw < d.p && (fs == "ext4" || fs == ""):
		add("a drive whose namespace promises the page whole (NSABP, NAWUPF), with nothing " +
			"above it that hides that")
		if leaf := d.awupfOnly(); leaf != "" {
			add("%s states AWUPF only: Linux 7.0 and newer ignore it", leaf)
		}
		if fs == "ext4" {
			add("%s", reflink)
		}
	case fs != "ext4" && fs != "xfs" && fs != "":
		add("put the directory on ext4 or XFS, or use a block device")
	}
}

// awupfOnly names a drive whose AWUPF covers the page while its namespace promises nothing.
func (d *decision) awupfOnly() string {
	for _, leaf := range d.st.leaves {
		if leaf.NVMe == nil {
			continue
		}
		if u := leaf.NVMe.unit(); !u.fromNS && u.why == "" && u.bytes >= d.p {
			return leaf.Name
		}
	}
	return ""
}

func (d *decision) nextLayers(add func(string, ...any), v Verdict) {
	switch {
	case v.Answer == Unknown:
		add("run as root, which can read device-mapper tables")
	case strings.Contains(v.Reason, "partition"):
		add("align the partition to %s (1 MiB, as every current tool does, serves all sizes)", size(d.p))
	case strings.Contains(v.Reason, "stripes") || strings.Contains(v.Reason, "chunks"):
		add("a stripe or chunk size that is a multiple of %s", size(d.p))
	case strings.Contains(v.Reason, "starts at sector"):
		add("align the volume's data to %s (pvcreate --dataalignment, mdadm --data-offset)", size(d.p))
	default:
		add("linear, striped, mirror, crypt or multipath device mapper, or RAID 0, 1 or 10, " +
			"in place of that layer")
	}
}
