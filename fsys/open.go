//go:build linux || darwin

package fsys

import (
	"errors"
	"io/fs"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// noFd is what a closed file holds in place of a descriptor.
const noFd = -1

// file is one open file description of the operating system.
type file struct {
	fd     atomic.Int64 // noFd once closed
	path   string
	device bool
	direct bool
	why    error                 // why I/O is not direct although it was asked for
	align  atomic.Pointer[Align] // once it is certain
}

func (osFS) Open(path string, f OpenFlags) (File, error) {
	device, err := refuse(path, f)
	if err != nil {
		return nil, err
	}
	flags := unix.O_RDWR
	if f.ReadOnly {
		flags = unix.O_RDONLY
	}
	switch {
	case f.Create:
		flags |= unix.O_CREAT | unix.O_EXCL
	case device:
		flags |= unix.O_EXCL // the device is mounted or taken: EBUSY
	}
	// O_NONBLOCK keeps a FIFO that appeared since refuse looked from hanging the open. O_DIRECT
	// comes later: open(O_CREAT|O_DIRECT) refused with EINVAL may leave the file behind.
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	var fd int
	err = retry(func() error {
		fd, err = unix.Open(path, flags, 0o600)
		return err
	})
	if err != nil {
		return nil, openError(path, err)
	}
	o := &file{path: path, device: device}
	o.fd.Store(int64(fd))
	if err := o.finishOpen(f); err != nil {
		_ = unix.Close(fd) // nothing was written through it
		return nil, pathError("open", path, err)
	}
	return o, nil
}

// refuse turns away what must not even be opened: opening some devices has effects.
func refuse(path string, f OpenFlags) (device bool, err error) {
	e, err := lstat("open", path)
	if err != nil {
		if f.Create && errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	switch {
	case e.Kind == Symlink:
		return false, pathError("open", path, ErrSymlink)
	case f.Create:
		return false, pathError("open", path, unix.EEXIST)
	case e.Kind == Device && f.Device:
		return true, nil
	case e.Kind == Regular:
		return false, nil
	}
	return false, pathError("open", path, ErrNotFile)
}

// finishOpen checks that what was opened is what refuse saw, and settles the status flags.
func (o *file) finishOpen(f OpenFlags) error {
	fd := int(o.fd.Load())
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return err
	}
	want := Regular
	if o.device {
		want = Device
	}
	if kindOf(uint32(st.Mode)) != want {
		return ErrNotFile
	}
	// io_uring would answer EAGAIN in place of waiting if O_NONBLOCK stayed.
	if err := setFlags(fd, 0, unix.O_NONBLOCK); err != nil {
		return err
	}
	if f.Direct {
		o.why = goDirect(fd)
		o.direct = o.why == nil
	}
	return nil
}

func setFlags(fd int, set, clear int) error {
	old, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, old&^clear|set)
	return err
}

func openError(path string, err error) error {
	if errors.Is(err, unix.ELOOP) {
		if e, serr := lstat("open", path); serr == nil && e.Kind == Symlink {
			err = &named{ErrSymlink, err}
		}
	}
	return pathError("open", path, err)
}
