package hwprobe

import (
	"fmt"
	"strings"
)

// tree draws the stack from the file down to the drives, with each layer's limits.
func (p *printer) tree(r *Report) {
	f := &r.File
	what := f.Kind
	if f.Subject != "" {
		what += ": " + f.Subject
	}
	p.f("  %s\n", what)
	p.f("     atomic %s; direct I/O %s\n", f.limits(), f.direct())
	pad := "  "
	if m := r.Mount; m != nil {
		p.f("%s└─ %s, mounted on %s from %s (%s)\n", pad, m.FS, m.Point, m.Source, m.options())
		pad += "   "
	}
	st := r.stack()
	if st.problem != "" {
		p.f("%s└─ %s\n", pad, st.problem)
		return
	}
	if st.top != nil {
		p.branch(r, st.top, pad, "└─ ", "   ", map[string]bool{})
	}
	for _, h := range st.holes {
		p.f("%s└─ ? %s\n", pad, h)
	}
}

// branch draws one device and what it stands on; one reached twice is drawn once.
func (p *printer) branch(r *Report, d *Device, pad, joint, bar string, drawn map[string]bool) {
	p.f("%s%s%s  %s%s\n", pad, joint, d.Name, d.describe(), d.extent())
	if drawn[d.Name] {
		return
	}
	drawn[d.Name] = true
	for _, line := range d.facts() {
		p.f("%s%s   %s\n", pad, bar, line)
	}
	for i, name := range d.On {
		j, b := "├─ ", "│  "
		if i == len(d.On)-1 {
			j, b = "└─ ", "   "
		}
		for k := range r.Devices {
			if r.Devices[k].Name == name {
				p.branch(r, &r.Devices[k], pad+bar, j, b, drawn)
			}
		}
	}
}

func (f *File) limits() string {
	if has, ok := f.ReportsAtomic.Get(); ok && !has {
		return "not reported"
	}
	if m, ok := f.UnitMax.Get(); ok && m == 0 {
		return "none"
	}
	s := fmt.Sprintf("%s to %s", factSize(f.UnitMin), factSize(f.UnitMax))
	if opt := f.UnitMaxOpt.Or(0); opt > 0 {
		s += fmt.Sprintf(" (in hardware to %s)", size(opt))
	}
	return s
}

func (f *File) direct() string {
	a, ok := f.DIOOffsetAlign.Get()
	switch {
	case !ok:
		return "alignment not reported"
	case a == 0:
		return "not possible"
	}
	return "in multiples of " + size(a)
}

func (m *Mount) options() string {
	own, super := m.Options.Or("?"), m.Super.Or("")
	for o := range strings.SplitSeq(super, ",") {
		if o != "" && o != "rw" && !strings.Contains(","+own+",", ","+o+",") {
			own += "," + o
		}
	}
	return own
}

// extent is where a device begins on the one beneath.
func (d *Device) extent() string {
	switch {
	case d.Partition != nil:
		return fmt.Sprintf(", starts at sector %s", d.Partition.Start)
	case d.DM != nil:
		var out []string
		for _, seg := range d.DM.Table.Or(nil) {
			for _, e := range seg.Parts {
				out = append(out, fmt.Sprintf("%s at sector %d", e.Dev, e.Offset))
			}
			if len(out) > 4 {
				out = append(out[:4], "...")
				break
			}
		}
		if len(out) > 0 {
			return ", " + strings.Join(out, ", ")
		}
	case d.MD != nil && d.MD.Chunk.Or(0) > 0:
		return ", chunks of " + factSize(d.MD.Chunk)
	case d.Loop != nil:
		return fmt.Sprintf(", on %s (%s)", d.Loop.Backing, d.Loop.FS)
	}
	return ""
}

// facts are the lines under a device: the kernel's limits, then the drive's own.
func (d *Device) facts() []string {
	var out []string
	if q := d.Queue; q != nil {
		out = append(out, fmt.Sprintf("kernel: atomic %s, boundary %s; block %s; cache %q, FUA %s",
			limit(q.AtomicUnitMax), limit(q.AtomicBoundary), factSize(q.LogicalBlock), q.WriteCache, q.FUA))
	}
	if n := d.NVMe; n != nil {
		if why := n.Ctrl.Missing + n.NS.Missing; why != "" {
			return append(out, "drive: Identify not read: "+why)
		}
		nsabp := uint64(0)
		if n.NS.NSFEAT.Or(0)&nsfeatNSABP != 0 {
			nsabp = 1
		}
		u := n.unit()
		whole := "promises " + size(u.bytes)
		if u.why != "" {
			whole = "contradicts itself: " + u.why
		} else if u.bytes == 0 {
			whole = "promise not readable"
		}
		out = append(out, fmt.Sprintf("drive: %s (NSABP %d, NAWUPF %s, AWUPF %s, NABSPF %s, "+
			"NABO %s, block %s); VWC %s",
			whole, nsabp, n.NS.NAWUPF, n.Ctrl.AWUPF, n.NS.NABSPF, n.NS.NABO, factSize(n.NS.LBA),
			vwc(n.Ctrl.VWC)))
	}
	if s := d.SCSI; s != nil {
		out = append(out, fmt.Sprintf("drive: atomic %s blocks, adapter %s, cache type %q",
			s.MaxAtomic, s.Adapter, s.CacheType))
	}
	return out
}

func limit(f Fact[uint64]) string {
	if n, ok := f.Get(); ok && n == 0 {
		return "none"
	}
	return factSize(f)
}

func vwc(f Fact[uint64]) string {
	if n, ok := f.Get(); ok {
		return fmt.Sprintf("%#x", n)
	}
	return "?"
}
