package hwprobe

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func probe(t *testing.T, path string, o Options) *Report {
	t.Helper()
	r, err := Probe(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestProbeHere probes this very machine: whatever it is, the answer must be sound, the same from
// the capture, and the directory untouched.
func TestProbeHere(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "data")
	must(t, os.WriteFile(file, make([]byte, 8192), 0o600))
	for _, path := range []string{dir, file} {
		r := probe(t, path, Options{})
		if r.Host.Kernel.Or("") == "" || r.Mount == nil || !r.Mount.FS.Known() {
			t.Errorf("%s: kernel %q, mount %+v", path, r.Host.Kernel, r.Mount)
		}
		for _, p := range DefaultPages() {
			checkShape(t, path, r.Decide(p, Policy{}))
		}
		var b strings.Builder
		must(t, WriteCaptures(&b, []*Report{r}))
		again, err := ReadCaptures(strings.NewReader(b.String()))
		must(t, err)
		here := Evaluate([]*Report{r}, DefaultPages(), Policy{})
		there := Evaluate(again, DefaultPages(), Policy{})
		if here.Exit != there.Exit {
			t.Errorf("%s: exit %d here, %d from its own capture", path, here.Exit, there.Exit)
		}
	}
	es, err := os.ReadDir(dir)
	must(t, err)
	if len(es) != 1 {
		t.Errorf("probing left something behind: %v", es)
	}
}

func TestProbeBadPaths(t *testing.T) {
	dir := t.TempDir()
	_, err := Probe(context.Background(), filepath.Join(dir, "missing"), Options{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing path: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Probe(ctx, dir, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled probe: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	loop := filepath.Join(dir, "loop")
	must(t, os.Symlink("loop", loop))
	if _, err := Probe(context.Background(), loop, Options{}); err == nil {
		t.Error("a link to itself is probed")
	}
	for _, path := range []string{fifo, "/dev/null", "/proc/self/status", "/proc", "/sys", "/dev"} {
		r := probe(t, path, Options{Live: true, LivePages: []int{4096}})
		v := r.Decide(4096, Policy{TrustAWUPF: true, TrustEmulated: true})
		if v.Answer == Relaxed {
			t.Errorf("%s: relaxed", path)
		}
		checkShape(t, path, v)
	}
}

// TestProbeWithoutSysfs: a container may have neither /sys nor /proc/self/mountinfo.
func TestProbeWithoutSysfs(t *testing.T) {
	r := probe(t, t.TempDir(), Options{root: t.TempDir()})
	v := r.Decide(16384, Policy{TrustAWUPF: true, TrustEmulated: true})
	if v.Answer == Relaxed || r.Top != "" || r.Mount.FS.Known() {
		t.Errorf("%s by rule %s on %q, %s", v.Answer, v.Rule, r.Top, r.Mount.FS)
	}
}

func TestNoProbeFile(t *testing.T) {
	dir := t.TempDir()
	if r := probe(t, dir, Options{NoProbeFile: true}); r.File.Kind != FileDirectory {
		t.Errorf("an empty directory is looked at through a %s", r.File.Kind)
	}
	must(t, os.WriteFile(filepath.Join(dir, "there"), nil, 0o600))
	if r := probe(t, dir, Options{NoProbeFile: true}); r.File.Kind != FileProbe ||
		!strings.Contains(r.File.Subject, "there") {
		t.Errorf("looked at %q (%s)", r.File.Subject, r.File.Kind)
	}
}

func TestUnreadableDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o500))
	r := probe(t, dir, Options{})
	if v := r.Decide(16384, Policy{}); v.Answer != Unknown || v.Rule != "0" {
		t.Errorf("%s by rule %s", v.Answer, v.Rule)
	}
}

// TestMaskBitAlone: the mask bit comes with 0/0 on file systems without support, and an attribute
// the file system does not report in attributes_mask means nothing.
func TestMaskBitAlone(t *testing.T) {
	var f File
	f.fromStatx(&unix.Statx_t{Mask: unix.STATX_WRITE_ATOMIC, Attributes: unix.STATX_ATTR_WRITE_ATOMIC})
	if !f.ReportsAtomic.Or(false) || f.AtomicAttr.Or(true) || f.UnitMax.Or(1) != 0 ||
		f.DIOOffsetAlign.Known() {
		t.Errorf("%+v", f)
	}
	f = File{}
	f.fromStatx(&unix.Statx_t{})
	if f.ReportsAtomic.Or(true) || f.AtomicAttr.Known() || f.UnitMax.Known() {
		t.Errorf("without the mask bit: %+v", f)
	}
}

// TestOpenNode refuses what is not the device meant.
func TestOpenNode(t *testing.T) {
	f := filepath.Join(t.TempDir(), "nvme0n1")
	must(t, os.WriteFile(f, nil, 0o600))
	for _, node := range []string{f, f + "-missing"} {
		if _, err := openNode(node, "259:0"); err == nil {
			t.Errorf("%s is taken for a device", node)
		}
	}
	d := Device{Name: "nvme0n1", Dev: "259:0", NVMe: &NVMe{NSID: Known(uint64(1), "")}}
	kernel{}.identify(source{root: filepath.Dir(f)}, &d, "/nvme0n1")
	if d.NVMe.Ctrl.Missing == "" || d.NVMe.NS.Missing == "" || d.NVMe.Ctrl.VWC.Known() {
		t.Errorf("a plain file answered Identify: %+v", d.NVMe.Ctrl)
	}
}

func TestBlockDevices(t *testing.T) {
	s := tree(t, "sys/class/block/sda/size = 100", "sys/class/block/loop0/size = 0",
		"sys/class/block/cciss!c0d0/size = 5", "sys/class/block/nvme0c0n1/size = 9",
		"dev/sda = x", "dev/loop0 = x", "dev/cciss/c0d0 = x")
	got, err := blockDevices(s)
	must(t, err)
	if strings.Join(got, " ") != "/dev/cciss/c0d0 /dev/sda" {
		t.Errorf("listed %v", got)
	}
	if _, err := blockDevices(source{root: t.TempDir()}); err == nil {
		t.Error("no sysfs, no complaint")
	}
}
