package fsys

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// smallTmpfs mounts a file system with little room, where the rights allow it.
func smallTmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("untorn-test", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("cannot mount a small tmpfs:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestPreallocateOutOfSpaceKeepsTheSize(t *testing.T) {
	f := mustOpen(t, filepath.Join(smallTmpfs(t, "1m"), "f"), OpenFlags{Create: true})
	if err := f.Preallocate(0, 64<<10); err != nil {
		t.Fatal(err)
	}
	wantError(t, f.Preallocate(64<<10, 8<<20), f.Name(), ErrNoSpace, syscall.ENOSPC)
	if n, err := f.Size(); err != nil || n != 64<<10 {
		t.Fatal("size after a refused growth:", n, err)
	}
	o := f.(*file)
	err := o.writeZeros(int(o.Fd()), 64<<10, 8<<20)
	wantError(t, pathError("preallocate", o.path, err), o.path, ErrNoSpace)
}

func TestDirectIsRefusedWithAReason(t *testing.T) {
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) != nil || st.Type != unix.TMPFS_MAGIC {
		t.Skip("no tmpfs to try")
	}
	dir, err := os.MkdirTemp("/dev/shm", "untorn")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := mustOpen(t, filepath.Join(dir, "f"), OpenFlags{Create: true, Direct: true})
	direct, why := f.Direct()
	if direct { // tmpfs accepts O_DIRECT since Linux 6.6
		t.Skip("this kernel's tmpfs accepts O_DIRECT")
	}
	if why == nil || f.Align().Off != 1 {
		t.Fatal("refused without a reason, or aligned for nothing:", why, f.Align())
	}
}

func TestFindQueue(t *testing.T) {
	root := t.TempDir()
	disk := filepath.Join(root, "devices", "pci0", "nvme0n1")
	for _, d := range []string{filepath.Join(disk, "queue"), filepath.Join(disk, "nvme0n1p2"),
		filepath.Join(root, "dev", "block")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"physical_block_size": "4096\n",
		"logical_block_size": "512\n", "write_cache": "write back\n", "odd": "3000\n"} {
		if err := os.WriteFile(filepath.Join(disk, "queue", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"259:0": disk, "259:2": disk + "/nvme0n1p2"} {
		if err := os.Symlink(to, filepath.Join(root, "dev", "block", link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, minor := range []uint32{0, 2} { // the disk, and a partition of it
		q := findQueue(root, unix.Mkdev(259, minor))
		if q.number("physical_block_size") != 4096 || q.number("logical_block_size") != 512 ||
			q.text("write_cache") != "write back" {
			t.Errorf("259:%d: %q", minor, q)
		}
		if q.number("odd") != 0 || q.number("missing") != 0 {
			t.Error("a number that is no power of two counts as unknown")
		}
	}
	if q := findQueue(root, unix.Mkdev(0, 40)); q != "" || q.text("write_cache") != "" {
		t.Error("an anonymous device has no queue:", q)
	}
}

const table = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,nobarrier,errors=remount-ro
30 27 259:5 / /srv/a rw,noatime - xfs /dev/nvme1n1 rw,attr2,nobarrier,inode64
31 27 0:45 /@db /srv/a\040b rw - btrfs /dev/sdb rw,space_cache,subvol=/@db
32 27 259:5 /sub /srv/a/bind rw - xfs /dev/nvme1n1 rw,attr2
33 27 0:50 / /over rw - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w,volatile
`

func TestLongestMount(t *testing.T) {
	infos, err := mountinfo.GetMountsFromReader(strings.NewReader(table), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		major, minor int
		path         string
		point, off   string
	}{
		{259, 2, "/srv/other", "/", "ext4 is mounted with nobarrier"},
		{259, 5, "/srv/a/x/y", "/srv/a", ""},
		{259, 5, "/srv/a/bind/y", "/srv/a/bind", ""},
		{0, 99, "/srv/a b/db", "/srv/a b", ""}, // btrfs: st_dev is in no table
		{0, 50, "/over/x", "/over", "overlay is mounted with volatile"},
		{259, 2, "/srv/ab", "/", "ext4 is mounted with nobarrier"}, // not below /srv/a
	} {
		m := longest(infos, c.major, c.minor, c.path)
		if m == nil || m.Mountpoint != c.point {
			t.Errorf("%s: %+v, want %s", c.path, m, c.point)
			continue
		}
		if d := describe(m); d.FlushesOff != c.off {
			t.Errorf("%s: flushes off because %q, want %q", c.path, d.FlushesOff, c.off)
		}
	}
}

func TestFallbackAgreesWithStatx(t *testing.T) {
	f := mustOpen(t, filepath.Join(t.TempDir(), "f"), OpenFlags{Create: true, Direct: true}).(*file)
	_, off, known := dioAlign(int(f.Fd()))
	if !known || off == 0 {
		t.Skip("this kernel or file system does not say")
	}
	if err := f.Preallocate(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if n, certain := probeAlign(int(f.Fd())); !certain || n < off {
		t.Fatalf("probing says %d (%v), statx says %d", n, certain, off)
	}
}
