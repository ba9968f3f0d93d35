package hwprobe

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree lays out a sysfs of its own: "path = content", or "path -> link".
func tree(t *testing.T, lines ...string) source {
	t.Helper()
	root := t.TempDir()
	for _, l := range lines {
		if p, to, ok := strings.Cut(l, " -> "); ok {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, p)), 0o755))
			must(t, os.Symlink(to, filepath.Join(root, p)))
			continue
		}
		p, content, _ := strings.Cut(l, " = ")
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, p)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, p), []byte(content+"\n"), 0o644))
	}
	return source{root: root}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// silent is an asker whose every ioctl is refused.
type silent struct{ asked *[]string }

func (a silent) identify(_ source, d *Device, node string) {
	*a.asked = append(*a.asked, node)
	d.NVMe.Ctrl.Missing, d.NVMe.NS.Missing = "permission denied", "permission denied"
}
func (silent) dmTable(source, *Device) Fact[[]Segment] { return Missing[[]Segment]("EPERM", "") }
func (silent) under(string) (Fact[string], string)     { return Missing[string]("ENOENT", ""), "" }

func collect(t *testing.T, s source, dev string) (*Report, []string) {
	t.Helper()
	var asked []string
	r := &Report{Schema: SchemaCapture}
	c := collector{s: s, ask: silent{&asked}, r: r, seen: map[string]bool{}}
	r.Top = c.device(context.Background(), dev)
	must(t, r.normalise())
	return r, asked
}

func kinds(r *Report) string {
	var out []string
	for _, d := range r.stack().order {
		out = append(out, d.Name+" "+d.Kind)
	}
	return strings.Join(out, ", ")
}

var nvmeTree = []string{
	"sys/dev/block/259:1 -> ../../devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1",
	"sys/devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1/partition = 1",
	"sys/devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1/start = 2048",
	"sys/devices/pci/nvme/nvme0/nvme0n1/dev = 259:0",
	"sys/dev/block/259:0 -> ../../devices/pci/nvme/nvme0/nvme0n1",
	"sys/devices/pci/nvme/nvme0/nvme0n1/nsid = 1",
	"sys/devices/pci/nvme/nvme0/nvme0n1/queue/write_cache = write back",
	"sys/devices/pci/nvme/nvme0/nvme0n1/queue/atomic_write_unit_max_bytes = 16384",
	"sys/devices/pci/nvme/nvme0/nvme0n1/device -> ../../nvme0",
	"sys/devices/pci/nvme/nvme0/subsystem -> ../../../class/nvme",
	"sys/devices/pci/nvme/nvme0/model = Example Model            ",
	"sys/devices/pci/nvme/nvme0/transport = pcie",
}

func TestCollectNVMe(t *testing.T) {
	s := tree(t, nvmeTree...)
	r, asked := collect(t, s, "259:1")
	if got := kinds(r); got != "nvme0n1p1 partition, nvme0n1 nvme" {
		t.Fatalf("stack is %s", got)
	}
	if !slices.Equal(asked, []string{"/dev/nvme0n1"}) {
		t.Errorf("asked %v", asked)
	}
	d := r.stack().leaves[0]
	if d.NVMe.Model.Or("") != "Example Model" || d.NVMe.Controller != "nvme0" ||
		d.Queue.AtomicUnitMax.Or(0) != 16384 {
		t.Errorf("read %+v", d)
	}
	if d.Queue.FUA.Known() || d.Queue.FUA.Why() == "not recorded" ||
		!strings.HasSuffix(d.Queue.FUA.From(), "queue/fua") {
		t.Errorf("a missing file does not say so: %q from %q", d.Queue.FUA.Why(), d.Queue.FUA.From())
	}
}

func TestCollectMultipath(t *testing.T) {
	base := "sys/devices/virtual/nvme-subsystem/nvme-subsys3"
	s := tree(t,
		"sys/dev/block/259:7 -> ../../devices/virtual/nvme-subsystem/nvme-subsys3/nvme3n1",
		base+"/nvme3n1/nsid = 1",
		base+"/nvme3n1/queue/logical_block_size = 512",
		base+"/nvme3n1/device -> ../../nvme-subsys3",
		base+"/subsystem -> ../../../../class/nvme-subsystem",
		base+"/nvme0 -> ../../../pci/a/nvme0",
		base+"/nvme1 -> ../../../pci/b/nvme1",
		"sys/devices/pci/a/nvme0/transport = pcie",
		"sys/devices/pci/a/nvme0/nvme3c0n1/nsid = 1",
		"sys/devices/pci/a/nvme0/nvme3c0n2/nsid = 2",
		"sys/devices/pci/b/nvme1/transport = tcp",
		"sys/devices/pci/b/nvme1/nvme3c1n1/nsid = 1",
	)
	r, asked := collect(t, s, "259:7")
	if got := kinds(r); got != "nvme3n1 nvme-multipath, nvme3c0n1 nvme-path, nvme3c1n1 nvme-path" {
		t.Fatalf("stack is %s", got)
	}
	if !slices.Equal(asked, []string{"/dev/nvme0", "/dev/nvme1"}) {
		t.Errorf("of several paths each controller is asked, not %v", asked)
	}
	if tr := r.stack().leaves[1].NVMe.Transport.Or(""); tr != "tcp" {
		t.Errorf("transport %q", tr)
	}
}

func TestCollectStacks(t *testing.T) {
	lines := append(slices.Clone(nvmeTree),
		"sys/dev/block/253:0 -> ../../devices/virtual/block/dm-0",
		"sys/devices/virtual/block/dm-0/dm/uuid = LVM-x",
		"sys/devices/virtual/block/dm-0/slaves/md0 -> ../../md0",
		"sys/devices/virtual/block/md0/dev = 9:0",
		"sys/dev/block/9:0 -> ../../devices/virtual/block/md0",
		"sys/devices/virtual/block/md0/md/level = raid1",
		"sys/devices/virtual/block/md0/md/dev-nvme0n1p1/offset = 2048",
		"sys/devices/virtual/block/md0/slaves/nvme0n1p1 -> ../../../../pci/nvme/nvme0/nvme0n1/nvme0n1p1",
		"sys/devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1/dev = 259:1",
		"sys/dev/block/8:0 -> ../../devices/pci/host3/target/3:0:0:0/block/sda",
		"sys/devices/pci/host3/target/3:0:0:0/block/sda/device -> ../../../3:0:0:0",
		"sys/devices/pci/host3/target/3:0:0:0/subsystem -> ../../../../../bus/scsi",
		"sys/devices/pci/host3/scsi_host/host3/proc_name = scsi_debug",
		"sys/devices/pci/host3/target/3:0:0:0/vendor = Linux   ",
		"sys/devices/pci/host3/target/3:0:0:0/vpd_pgb0 = "+vpdB0(32),
	)
	s := tree(t, lines...)
	r, _ := collect(t, s, "253:0")
	if got := kinds(r); got != "dm-0 dm, md0 md, nvme0n1p1 partition, nvme0n1 nvme" {
		t.Errorf("stack is %s", got)
	}
	if m := r.stack().order[1].MD; m.Level.Or("") != "raid1" || len(m.Members) != 1 ||
		m.Members[0].Offset.Or(0) != 2048 {
		t.Errorf("md is %+v", m)
	}
	r, _ = collect(t, s, "8:0")
	if d := r.stack().leaves[0]; d.SCSI == nil || d.SCSI.Adapter.Or("") != "scsi_debug" ||
		d.SCSI.MaxAtomic.Or(0) != 32 {
		t.Errorf("scsi is %+v", d.SCSI)
	}
}

func vpdB0(blocks uint32) string {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b[44:], blocks)
	return string(b)
}

// TestUnreadMembersAreNotLeftOut: a member or path that sysfs names and does not show must not
// make the stack look complete without it.
func TestUnreadMembersAreNotLeftOut(t *testing.T) {
	lines := append(slices.Clone(nvmeTree),
		"sys/dev/block/9:0 -> ../../devices/virtual/block/md0",
		"sys/devices/virtual/block/md0/md/level = raid1",
		"sys/devices/virtual/block/md0/slaves/nvme0n1 -> ../../../../pci/nvme/nvme0/nvme0n1",
		"sys/devices/virtual/block/md0/slaves/sdz -> ../../../../pci/nowhere/sdz",
	)
	r, _ := collect(t, tree(t, lines...), "9:0")
	if p := r.stack().problem; !strings.Contains(p, "sdz") {
		t.Errorf("stack %s, problem %q", kinds(r), p)
	}
	base := "sys/devices/virtual/nvme-subsystem/nvme-subsys3"
	lines = []string{
		"sys/dev/block/259:7 -> ../../devices/virtual/nvme-subsystem/nvme-subsys3/nvme3n1",
		base + "/nvme3n1/nsid = 1",
		base + "/nvme3n1/device -> ../../nvme-subsys3",
		base + "/subsystem -> ../../../../class/nvme-subsystem",
		base + "/nvme0 -> ../../../pci/a/nvme0",
		"sys/devices/pci/a/nvme0/nvme3c0n1/nsid = 1",
	}
	for _, bad := range []string{
		base + "/nvme1 -> ../../../pci/gone/nvme1",
		"sys/devices/pci/a/nvme0/nvme3c1n1/size = 1",
	} {
		r, _ = collect(t, tree(t, append(slices.Clone(lines), bad)...), "259:7")
		if r.stack().problem == "" {
			t.Errorf("%s: the stack looks complete: %s", bad, kinds(r))
		}
	}
}

// TestCollectHostileSysfs: links that lead in a circle, files that are folders, nothing at all.
func TestCollectHostileSysfs(t *testing.T) {
	s := tree(t,
		"sys/dev/block/253:0 -> ../../devices/dm-0",
		"sys/dev/block/253:1 -> ../../devices/dm-1",
		"sys/dev/block/1:1 -> 1:1",
		"sys/devices/dm-0/dm/name = a",
		"sys/devices/dm-0/dev = 253:0",
		"sys/devices/dm-0/slaves/dm-1 -> ../../dm-1",
		"sys/devices/dm-1/dm/name = b",
		"sys/devices/dm-1/dev = 253:1",
		"sys/devices/dm-1/slaves/dm-0 -> ../../dm-0",
		"sys/devices/dm-0/queue/write_cache/oops = 1",
		"sys/devices/dm-0/queue/fua = "+strings.Repeat("x", maxSysfsBytes+10),
		"sys/devices/dm-0/size = -1",
	)
	r, _ := collect(t, s, "253:0")
	if p := r.stack().problem; !strings.Contains(p, "cycle") {
		t.Errorf("a cycle is not seen: %q", p)
	}
	d := r.Devices[0]
	if d.Sectors.Known() || d.Queue.WriteCache.Known() || d.Queue.FUA.Known() {
		t.Errorf("garbage is taken for data: %+v", d.Queue)
	}
	for _, dev := range []string{"1:1", "9:9", "", "../..", "x"} {
		if r, _ := collect(t, s, dev); r.Top != "" {
			t.Errorf("device %q is %q", dev, r.Top)
		}
	}
}

func TestMountinfo(t *testing.T) {
	s := tree(t, "proc/self/mountinfo = "+strings.Join([]string{
		`22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard`,
		`36 22 98:0 / /mnt/a\040b rw,noatime master:1 shared:2 - xfs /dev/sda1 rw,attr2`,
		`37 22 98:1 / /mnt ro - ext4 /dev/sdb1 rw,barrier=0`,
		`38 22 98:2 / /mnt rw - ext4 /dev/sdc1 rw`,
		`garbage`, `1 2 3 - `, ` - `,
	}, "\n"))
	none := Missing[uint64]("", "")
	for _, x := range []struct {
		path string
		id   Fact[uint64]
		want string
	}{
		{"/srv/x", none, "/dev/vda"},
		{"/mnt/a b/c", none, "/dev/sda1"},
		{"/mnt/abc", none, "/dev/sdc1"}, // the last mounted is on top
		{"/mntx", none, "/dev/vda"},
		{"/anything", Known(uint64(37), ""), "/dev/sdb1"},
	} {
		if m := mountOf(s, x.path, x.id); m.Source.Or("") != x.want {
			t.Errorf("%s is on %s, want %s", x.path, m.Source, x.want)
		}
	}
	if m := mountOf(source{root: t.TempDir()}, "/", none); m.FS.Known() ||
		m.FS.Why() == "not recorded" {
		t.Errorf("without mountinfo: %+v", m.FS)
	}
}

// dmAnswer is one target as DM_TABLE_STATUS lays it out.
func dmAnswer(target, params string) []byte {
	b := make([]byte, dmSpecSize)
	binary.NativeEndian.PutUint64(b[8:], 1<<20)
	copy(b[24:40], target)
	return append(b, params+"\x00"...)
}

func TestDMTargets(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	for _, x := range []struct {
		target, params string
		chunk          uint64
		want           []Extent
	}{
		{"linear", "259:1 2048", 0, []Extent{{"259:1", 2048}}},
		{"striped", "2 128 259:1 0 259:5 4096", 128, []Extent{{"259:1", 0}, {"259:5", 4096}}},
		{"crypt", "aes-xts-plain64 " + key + " 0 259:1 32768 1 allow_discards", 0, []Extent{{"259:1", 32768}}},
		{"mirror", "core 2 1024 nosync 2 8:1 0 8:17 2048 1 handle_errors", 0, []Extent{{"8:1", 0}, {"8:17", 2048}}},
		{"multipath", "0 0 2 1 service-time 0 1 2 8:0 1 1", 0, nil},
		{"thin", "253:2 1", 0, nil},
		{"linear", "259:1", 0, nil},
		{"linear", "259:1 -5", 0, nil},
		{"mirror", "core 255", 0, nil},
		{"crypt", "", 0, nil},
	} {
		segs, err := parseTargets(dmAnswer(x.target, x.params), 0, 1)
		if err != nil || len(segs) != 1 {
			t.Fatalf("%s: %v", x.target, err)
		}
		if s := segs[0]; s.Target != x.target || s.Length != 1<<20 || s.Chunk != x.chunk ||
			!slices.Equal(s.Parts, x.want) {
			t.Errorf("%s %q: %+v", x.target, x.params, s)
		}
	}
}
