package hwprobe

import (
	"context"
	"encoding/binary"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// asker does what sysfs cannot: ioctls on device nodes. Tests put another in its place.
type asker interface {
	// identify fills Ctrl and NS of a namespace, through the block node named (or, for a path of a
	// multipath device, its controller's), or says in them why not.
	identify(s source, d *Device, node string)
	// dmTable reads a device-mapper table.
	dmTable(s source, d *Device) Fact[[]Segment]
	// under finds the file system and device of a loop device's backing file.
	under(file string) (fs Fact[string], dev string)
}

// collector reads a stack of devices from the top down into a Report.
type collector struct {
	s    source
	ask  asker
	r    *Report
	seen map[string]bool
}

// device reads the device with this major:minor, and all beneath it, and returns its name, or ""
// where sysfs does not know it.
func (c *collector) device(ctx context.Context, dev string) string {
	if _, _, ok := majorMinor(dev); !ok {
		return ""
	}
	link := "/sys/dev/block/" + dev
	dir, err := c.s.real(link)
	if err != nil {
		return ""
	}
	name := path.Base(dir)
	if c.seen[name] || len(c.r.Devices) >= maxDevices || ctx.Err() != nil {
		return name
	}
	c.seen[name] = true
	i := len(c.r.Devices)
	c.r.Devices = append(c.r.Devices, Device{})
	d := c.read(ctx, dir, name, dev)
	c.r.Devices[i] = d
	return name
}

func (c *collector) read(ctx context.Context, dir, name, dev string) Device {
	d := Device{Name: name, Dev: dev, Sectors: c.s.num(dir + "/size")}
	// What sysfs names but does not show stays in the list: the walk then finds nothing was read
	// about it. Left out, it would be a drive nobody asked.
	below := func(devs ...beneath) {
		for _, b := range devs {
			n := c.device(ctx, b.dev)
			if n == "" {
				n = b.name
			}
			if n != "" && !slices.Contains(d.On, n) {
				d.On = append(d.On, n)
			}
		}
	}
	if c.s.exists(dir + "/partition") {
		d.Kind = KindPartition
		d.Partition = &Partition{Start: c.s.num(dir + "/start")}
		below(beneath{path.Base(path.Dir(dir)), c.devOf(path.Dir(dir))})
		return d
	}
	d.Queue = c.queue(dir + "/queue")
	d.Kind, d.Driver = c.kind(dir, name)
	switch d.Kind {
	case KindDM:
		d.DM = &DM{Name: c.s.text(dir + "/dm/name"), UUID: c.s.text(dir + "/dm/uuid")}
		d.DM.Table = c.ask.dmTable(c.s, &d)
		below(c.slaves(dir)...)
		c.nameParts(&d)
	case KindMD:
		d.MD = c.md(dir)
		below(c.slaves(dir)...)
	case KindBcache:
		below(c.slaves(dir)...)
	case KindLoop:
		d.Loop = &Loop{Backing: c.s.text(dir + "/loop/backing_file"),
			Offset: c.s.num(dir + "/loop/offset"),
			Direct: c.s.num(dir + "/loop/dio")}
		if file, ok := d.Loop.Backing.Get(); ok {
			fs, under := c.ask.under(c.s.path(file))
			d.Loop.FS = fs
			below(beneath{"", under})
		}
	case KindNVMe:
		c.nvme(&d, dir)
	case KindNVMeMultipath:
		c.multipath(&d, dir)
	case KindSCSI:
		d.SCSI = c.scsi(dir)
	}
	return d
}

// kind tells what a whole device is by what sysfs shows of it; names are only a last resort.
func (c *collector) kind(dir, name string) (string, Fact[string]) {
	driver := Missing[string]("no driver link", dir+"/device/driver")
	if drv, ok := c.s.link(dir + "/device/driver"); ok {
		driver = Known(drv, dir+"/device/driver")
	}
	for _, k := range []struct{ sub, kind string }{
		{"dm", KindDM}, {"md", KindMD}, {"loop", KindLoop}, {"bcache", KindBcache},
	} {
		if c.s.exists(dir + "/" + k.sub) {
			return k.kind, driver
		}
	}
	sub, _ := c.s.link(dir + "/device/subsystem")
	switch {
	case sub == "nvme-subsystem":
		return KindNVMeMultipath, driver
	case sub == "nvme":
		return KindNVMe, driver
	case sub == "scsi":
		return KindSCSI, driver
	case sub == "virtio":
		return KindVirtio, driver
	case sub == "nd":
		return KindPMem, driver
	}
	if driver.Known() {
		return KindOther, driver
	}
	for _, p := range []string{"zram", "nbd", "ram", "nullb", "ublkb", "rbd", "drbd", "mmcblk",
		"xvd", "zd"} {
		rest, ok := strings.CutPrefix(name, p)
		if ok && strings.Trim(rest, "0123456789") == "" {
			return KindOther, Known(p, "its name")
		}
	}
	return KindOther, driver
}

func (c *collector) queue(q string) *Queue {
	return &Queue{
		LogicalBlock:   c.s.num(q + "/logical_block_size"),
		PhysicalBlock:  c.s.num(q + "/physical_block_size"),
		WriteCache:     c.s.text(q + "/write_cache"),
		FUA:            c.s.num(q + "/fua"),
		AtomicUnitMin:  c.s.num(q + "/atomic_write_unit_min_bytes"),
		AtomicUnitMax:  c.s.num(q + "/atomic_write_unit_max_bytes"),
		AtomicMax:      c.s.num(q + "/atomic_write_max_bytes"),
		AtomicBoundary: c.s.num(q + "/atomic_write_boundary_bytes"),
		ChunkSectors:   c.s.num(q + "/chunk_sectors"),
		MaxHWSectorsKB: c.s.num(q + "/max_hw_sectors_kb"),
		Rotational:     c.s.num(q + "/rotational"),
		DAX:            c.s.num(q + "/dax"),
		Zoned:          c.s.text(q + "/zoned"),
	}
}

func (c *collector) devOf(dir string) string { return c.s.text(dir + "/dev").Or("") }

// beneath is a device another stands on, as sysfs names it there.
type beneath struct{ name, dev string }

func (c *collector) slaves(dir string) []beneath {
	var out []beneath
	for _, n := range c.s.list(dir + "/slaves") {
		out = append(out, beneath{n, c.devOf(dir + "/slaves/" + n)})
	}
	return out
}

// nameParts turns the major:minor of a table into names people know.
func (c *collector) nameParts(d *Device) {
	for _, seg := range d.DM.Table.Or(nil) {
		for i, p := range seg.Parts {
			for _, o := range c.r.Devices {
				if o.Dev == p.Dev && o.Name != "" {
					seg.Parts[i].Dev = o.Name
				}
			}
		}
	}
}

func (c *collector) md(dir string) *MD {
	m := &MD{Level: c.s.text(dir + "/md/level"), Chunk: c.s.num(dir + "/md/chunk_size"),
		Degrade: c.s.num(dir + "/md/degraded")}
	for _, e := range c.s.list(dir + "/md") {
		if !strings.HasPrefix(e, "dev-") {
			continue
		}
		// The folder is called after the member, with / as !; its block link leads to it.
		name := strings.TrimPrefix(e, "dev-")
		if t, ok := c.s.link(dir + "/md/" + e + "/block"); ok {
			name = t
		}
		m.Members = append(m.Members, MDMember{Name: name, Offset: c.s.num(dir + "/md/" + e + "/offset")})
	}
	return m
}

// nvme reads a namespace with a block node of its own.
func (c *collector) nvme(d *Device, dir string) {
	ctrl, err := c.s.real(dir + "/device")
	if err != nil {
		ctrl = dir + "/device"
	}
	d.NVMe = c.controller(ctrl)
	d.NVMe.NSID = c.s.num(dir + "/nsid")
	c.ask.identify(c.s, d, "/dev/"+d.Name)
}

// Names the kernel gives: a controller, and one controller's node of a shared namespace.
var (
	controllerName = regexp.MustCompile(`^nvme[0-9]+$`)
	pathName       = regexp.MustCompile(`^nvme[0-9]+c[0-9]+n[0-9]+$`)
)

func (c *collector) controller(ctrl string) *NVMe {
	return &NVMe{
		Controller: path.Base(ctrl),
		Transport:  c.s.text(ctrl + "/transport"),
		Model:      c.s.text(ctrl + "/model"),
		Firmware:   c.s.text(ctrl + "/firmware_rev"),
		Serial:     c.s.text(ctrl + "/serial"),
		SubsysNQN:  c.s.text(ctrl + "/subsysnqn"),
	}
}

// multipath reads every path to a namespace. The X of nvmeXnY is the subsystem's number there, so
// paths are found by walking sysfs: each controller of the subsystem holds its path nodes.
func (c *collector) multipath(d *Device, dir string) {
	subsys, err := c.s.real(dir + "/device")
	if err != nil {
		return
	}
	nsid, ok := c.s.num(dir + "/nsid").Get()
	if !ok {
		return
	}
	type found struct{ dir, ctrl string }
	var paths []found
	for _, cn := range c.s.list(subsys) {
		if !controllerName.MatchString(cn) {
			continue
		}
		ctrl, err := c.s.real(subsys + "/" + cn)
		if err != nil {
			d.On = append(d.On, cn) // a way to the namespace of which nothing can be read
			continue
		}
		for _, pn := range c.s.list(ctrl) {
			if !pathName.MatchString(pn) {
				continue
			}
			switch n, ok := c.s.num(ctrl + "/" + pn + "/nsid").Get(); {
			case !ok:
				d.On = append(d.On, pn)
			case n == nsid:
				paths = append(paths, found{ctrl + "/" + pn, ctrl})
			}
		}
	}
	for _, p := range paths {
		name := path.Base(p.dir)
		if name == d.Name || slices.Contains(d.On, name) {
			continue
		}
		pd := Device{Name: name, Kind: KindNVMePath, NVMe: c.controller(p.ctrl)}
		if c.s.exists(p.dir + "/queue") {
			pd.Queue = c.queue(p.dir + "/queue")
		}
		pd.NVMe.NSID = Known(nsid, p.dir+"/nsid")
		// A single path is what the head's node leads to; of several, each is asked by itself.
		node := "/dev/" + pd.NVMe.Controller
		if len(paths) == 1 {
			node = "/dev/" + d.Name
		}
		c.ask.identify(c.s, &pd, node)
		if !c.seen[name] {
			c.seen[name] = true
			c.r.Devices = append(c.r.Devices, pd)
		}
		d.On = append(d.On, name)
	}
}

// scsi reads what the sd driver shows, and the Block Limits VPD page (B0h) from sysfs.
func (c *collector) scsi(dir string) *SCSI {
	dev := dir + "/device"
	s := &SCSI{Vendor: c.s.text(dev + "/vendor"), Model: c.s.text(dev + "/model"),
		Revision: c.s.text(dev + "/rev")}
	s.Adapter = c.adapter(dev)
	for _, e := range c.s.list(dev + "/scsi_disk") {
		s.CacheType = c.s.text(dev + "/scsi_disk/" + e + "/cache_type")
	}
	vpd := dev + "/vpd_pgb0"
	b, err := c.s.bytes(vpd)
	if err != nil || len(b) < 64 {
		why := fmt.Sprintf("page has %d bytes, without atomic write fields", len(b))
		if err != nil {
			why = reason(err)
		}
		s.MaxAtomic = Missing[uint64](why, vpd)
		return s
	}
	be := func(o int) Fact[uint64] { return Known(uint64(binary.BigEndian.Uint32(b[o:])), vpd) }
	s.MaxAtomic, s.AtomicAlignment, s.AtomicGranularity = be(44), be(48), be(52)
	return s
}

// adapter is the host driver: the proc_name of the scsi_host above the device.
func (c *collector) adapter(dev string) Fact[string] {
	full, err := c.s.real(dev)
	if err != nil {
		return Missing[string](reason(err), dev)
	}
	for p := full; p != "/" && p != "."; p = path.Dir(p) {
		if b := path.Base(p); strings.HasPrefix(b, "host") {
			return c.s.text(p + "/scsi_host/" + b + "/proc_name")
		}
	}
	return Missing[string]("no SCSI host above it", full)
}
