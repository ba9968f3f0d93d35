package hwprobe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Probe reads all there is to know about the file, directory or block device at path. Its error is
// for a path that cannot be looked at at all (missing, no permission to reach it, ctx done);
// whatever else could not be read is in the Report, each datum with the reason why.
//
// It writes nothing, save for the live probe on its own scratch file. In a directory it makes a
// nameless empty file to look at (see Options.NoProbeFile).
func Probe(ctx context.Context, path string, opts Options) (*Report, error) {
	opts = opts.withDefaults()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("hwprobe: %w", err)
	}
	real, err := filepath.Abs(path)
	if err == nil {
		real, err = filepath.EvalSymlinks(real)
	}
	if err != nil {
		return nil, fmt.Errorf("hwprobe: %w", err)
	}
	r := &Report{Schema: SchemaCapture, Path: path, Time: stamp(), Host: host()}
	s := source{root: opts.root}
	st := r.look(real, info, opts)
	if r.File.Kind != FileBlock && r.pages() {
		r.Mount = mountOf(s, real, st.mount)
	}
	dev := st.dev
	if major, _, ok := majorMinor(dev); ok && major == 0 && r.Mount != nil {
		dev = sourceDevice(r.Mount) // btrfs and others have no device of their own in statx
	}
	if dev != "" && r.pages() {
		c := collector{s: s, ask: kernel{}, r: r, seen: map[string]bool{}}
		r.Top = c.device(ctx, dev)
	}
	if opts.Live && r.pages() {
		r.Live = live(r, real, opts)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.normalise(); err != nil {
		return nil, fmt.Errorf("hwprobe: %w", err)
	}
	if !opts.Serials {
		r.mask()
	}
	return r, nil
}

// pages tells whether the path is something that has pages at all.
func (r *Report) pages() bool {
	return r.File.Kind == FileRegular || r.File.Kind == FileProbe || r.File.Kind == FileBlock ||
		r.File.Kind == FileDirectory
}

func host() Host {
	h := Host{OS: Known(runtime.GOOS, ""), Arch: Known(runtime.GOARCH, ""),
		Root: Known(os.Geteuid() == 0, "")}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		h.Kernel = Missing[string](err.Error(), "uname")
	} else {
		h.Kernel = Known(unix.ByteSliceToString(u.Release[:]), "uname")
	}
	return h
}

// seen is what look found that is not part of the capture.
type seen struct {
	dev   string // major:minor of the device the file is on, or is
	mount Fact[uint64]
}

// look fills File. It opens nothing but regular files, directories and block devices: opening a
// pipe could block, opening a tape could rewind it.
func (r *Report) look(path string, info fs.FileInfo, opts Options) seen {
	f := &r.File
	switch m := info.Mode(); {
	case m.IsRegular():
		f.Kind = FileRegular
		f.DirectOpens = opensDirect(path)
		return f.statx(unix.AT_FDCWD, path)
	case m.IsDir():
		return r.lookInside(path, opts)
	case m&os.ModeNamedPipe != 0:
		f.Kind = "pipe"
	case m&os.ModeSocket != 0:
		f.Kind = "socket"
	case m&os.ModeCharDevice != 0:
		f.Kind = "character device"
	case m&os.ModeDevice != 0:
		f.Kind = FileBlock
		f.DirectOpens = opensDirect(path)
		return f.statx(unix.AT_FDCWD, path)
	default:
		f.Kind = "special file"
	}
	return seen{}
}

// lookInside finds a file to look at in a directory: statx tells nothing about atomic writes on
// the directory itself. A nameless new one is best; else the first regular file there is.
func (r *Report) lookInside(dir string, opts Options) seen {
	f := &r.File
	why := errors.New("not allowed to make a probe file (NoProbeFile)")
	if !opts.NoProbeFile {
		var fd int
		if fd, why = scratch(dir); why == nil {
			defer unix.Close(fd)
			f.Kind, f.Subject = FileProbe, "an empty file made for this"
			st := f.statx(fd, "")
			f.DirectOpens = takesDirect(fd)
			return st
		}
	}
	here := new(File).statx(unix.AT_FDCWD, dir)
	for _, name := range someFiles(dir) {
		// A file mounted over a name in it (a container's /etc/hosts) is on another device.
		p := filepath.Join(dir, name)
		if there := new(File).statx(unix.AT_FDCWD, p); there != here || here.dev == "" {
			continue
		}
		f.Kind, f.Subject = FileProbe, name+" (a new file could not be made: "+why.Error()+")"
		f.DirectOpens = opensDirect(p)
		return f.statx(unix.AT_FDCWD, p)
	}
	f.Kind, f.Subject = FileDirectory, why.Error()
	return here
}

// someFiles are regular files in a directory, of a bounded number of names.
func someFiles(dir string) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	es, _ := d.ReadDir(256) // what was read before an error will do
	var names []string
	for _, e := range es {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names
}

// scratch makes a file without a name. File systems without O_TMPFILE get a named one, unlinked
// at once.
func scratch(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) &&
		!errors.Is(err, unix.EINVAL) {
		return fd, err
	}
	t, err := os.CreateTemp(dir, ".hwprobe-*")
	if err != nil {
		return -1, errors.New(reason(err))
	}
	defer t.Close()
	if err := os.Remove(t.Name()); err != nil {
		return -1, errors.New(reason(err))
	}
	return unix.FcntlInt(t.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// sourceDevice is the device a mount names, for file systems whose files are on an anonymous one.
func sourceDevice(m *Mount) string {
	src := m.Source.Or("")
	if !filepath.IsAbs(src) {
		return ""
	}
	var st unix.Stat_t
	if err := unix.Stat(src, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return ""
	}
	return devString(uint32(unix.Major(st.Rdev)), uint32(unix.Minor(st.Rdev)))
}

func devString(major, minor uint32) string { return fmt.Sprintf("%d:%d", major, minor) }

// kernel is the asker that asks the kernel.
type kernel struct{}

// under tells what a loop device's backing file is on. The path is as the kernel recorded it: in
// another mount namespace it may lead nowhere, or elsewhere.
func (kernel) under(file string) (Fact[string], string) {
	if len(file) > len(deleted) && file[len(file)-len(deleted):] == deleted {
		return Missing[string]("the backing file has been deleted", file), ""
	}
	var f File
	st := f.statx(unix.AT_FDCWD, file)
	m := mountOf(source{root: "/"}, file, st.mount)
	if major, _, ok := majorMinor(st.dev); ok && major == 0 {
		return m.FS, sourceDevice(m)
	}
	return m.FS, st.dev
}

const deleted = " (deleted)"
