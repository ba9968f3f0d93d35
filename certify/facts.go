package certify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/untorn/untorn/hwprobe"
)

// facts collects what Compare compares. What is named here has a weight in weights.
type facts struct {
	list  []Fact
	where string
	layer int
}

func (l *facts) put(what, value string) {
	l.list = append(l.list, Fact{Where: l.where, Layer: l.layer, What: what, Value: value})
}

// miss says why what was not read.
func (l *facts) miss(what, why string) {
	l.list = append(l.list, Fact{Where: l.where, Layer: l.layer, What: what, Missing: why})
}

// of adds a datum of hwprobe's, or why it is missing. What nobody recorded is left out: it is of
// another kind of device.
func of[T any](l *facts, what string, f hwprobe.Fact[T]) {
	switch {
	case f.IsZero():
	case f.Known():
		l.put(what, f.String())
	default:
		l.miss(what, f.Why())
	}
}

// placeFacts are the facts of one place. r has its serial numbers: they become identities, salted.
func placeFacts(role string, r *hwprobe.Report, page int, salt string) []Fact {
	l := &facts{where: role}
	l.put("path", r.Path)
	f := &r.File
	of(l, "direct I/O opens", f.DirectOpens)
	of(l, "direct I/O memory alignment", f.DIOMemAlign)
	of(l, "direct I/O offset alignment", f.DIOOffsetAlign)
	of(l, "atomic write unit, least", f.UnitMin)
	of(l, "atomic write unit, most", f.UnitMax)
	of(l, "atomic write unit, most in hardware", f.UnitMaxOpt)
	if m := r.Mount; m != nil {
		of(l, "file system", m.FS)
		of(l, "mount source", m.Source)
		of(l, "mount point", m.Point)
		matter, other := mountOptions(m)
		l.put("mount options that matter", matter)
		l.put("other mount options", other)
	}
	w := r.WriteCache()
	l.put("flushes", w.State)
	v := r.Decide(page, hwprobe.Policy{})
	l.put(fmt.Sprintf("atomic writes of %d bytes", page), strings.TrimSpace(string(v.Answer)+" "+v.Kind))
	layers := order(r)
	var kinds []string
	for _, d := range layers {
		kinds = append(kinds, d.Kind)
	}
	l.put("stack", strings.Join(kinds, " > "))
	for i, d := range layers {
		l.layer = i + 1
		l.device(d, salt)
	}
	return l.list
}

// order is every device once, from the top down. A capture may have cycles.
func order(r *hwprobe.Report) []*hwprobe.Device {
	var out []*hwprobe.Device
	todo := []string{r.Top}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		i := slices.IndexFunc(r.Devices, func(d hwprobe.Device) bool { return d.Name == name })
		if i < 0 || slices.Contains(out, &r.Devices[i]) {
			continue
		}
		out = append(out, &r.Devices[i])
		todo = append(todo, r.Devices[i].On...)
	}
	return out
}

func (l *facts) device(d *hwprobe.Device, salt string) {
	l.put("device name", d.Name)
	of(l, "driver", d.Driver)
	of(l, "size in sectors", d.Sectors)
	if q := d.Queue; q != nil {
		of(l, "logical block", q.LogicalBlock)
		of(l, "physical block", q.PhysicalBlock)
		of(l, "kernel's write cache setting", q.WriteCache)
		of(l, "FUA", q.FUA)
		of(l, "queue's atomic unit", q.AtomicUnitMax)
		of(l, "queue's atomic boundary", q.AtomicBoundary)
		of(l, "zoned", q.Zoned)
	}
	if p := d.Partition; p != nil {
		of(l, "partition start", p.Start)
	}
	if m := d.DM; m != nil {
		if t, ok := m.Table.Get(); ok {
			b, _ := json.Marshal(t) // plain numbers and names: it does not fail
			l.put("device-mapper table", string(b))
		} else {
			of(l, "device-mapper table", m.Table)
		}
	}
	if m := d.MD; m != nil {
		of(l, "RAID level", m.Level)
		of(l, "RAID chunk", m.Chunk)
		of(l, "RAID members missing", m.Degrade)
	}
	if p := d.Loop; p != nil {
		of(l, "loop file", p.Backing)
		of(l, "loop file's file system", p.FS)
	}
	if n := d.NVMe; n != nil {
		l.nvme(n, salt)
	}
	if s := d.SCSI; s != nil {
		of(l, "vendor", s.Vendor)
		of(l, "model", s.Model)
		of(l, "firmware", s.Revision)
		of(l, "cache type", s.CacheType)
		of(l, "SCSI atomic blocks", s.MaxAtomic)
	}
}

func (l *facts) nvme(n *hwprobe.NVMe, salt string) {
	of(l, "transport", n.Transport)
	of(l, "model", n.Model)
	of(l, "firmware", n.Firmware)
	if s, ok := n.Serial.Get(); ok {
		l.put("identity", identity(salt, s, n.NSID.String()))
	} else {
		of(l, "identity", n.Serial)
	}
	if n.Ctrl.Missing != "" {
		l.miss("volatile write cache (VWC)", n.Ctrl.Missing)
	} else {
		of(l, "volatile write cache (VWC)", n.Ctrl.VWC)
		of(l, "AWUPF", n.Ctrl.AWUPF)
	}
	if n.NS.Missing != "" {
		l.miss("NAWUPF", n.NS.Missing)
	} else {
		of(l, "NSFEAT", n.NS.NSFEAT)
		of(l, "NAWUPF", n.NS.NAWUPF)
		of(l, "NABSPF", n.NS.NABSPF)
		of(l, "NABO", n.NS.NABO)
		of(l, "formatted block", n.NS.LBA)
	}
}

// identity tells one drive from another without naming it.
func identity(salt string, parts ...string) string {
	sum := sha256.Sum256([]byte(salt + "\x00" + strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// mattering are mount options, with or without a value, that durability or tearing depends on.
var mattering = []string{
	"barrier", "nobarrier", "data", "sync", "dirsync", "wsync", "async", "journal_async_commit",
	"journal_checksum", "nodatacow", "datacow", "dax", "max_atomic_write", "logdev", "rtdev", "ro", "rw",
	"noload", "norecovery", "commit", "nodelalloc", "discard", "flushoncommit", "hard", "soft", "errors",
}

// mountOptions parts the options in force by whether they matter; each half is sorted.
func mountOptions(m *hwprobe.Mount) (matter, other string) {
	var a, b []string
	all := m.Options.Or("") + "," + m.Super.Or("")
	for o := range strings.SplitSeq(all, ",") {
		name, _, _ := strings.Cut(o, "=")
		switch {
		case o == "", slices.Contains(a, o), slices.Contains(b, o):
		case slices.Contains(mattering, name):
			a = append(a, o)
		default:
			b = append(b, o)
		}
	}
	slices.Sort(a)
	slices.Sort(b)
	return strings.Join(a, ","), strings.Join(b, ",")
}
