package fsys

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// goDirect asks the kernel not to keep this description's data in its cache. That is the nearest
// darwin has to O_DIRECT; it demands no alignment.
func goDirect(fd int) (why error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_NOCACHE, 1); err != nil {
		return fmt.Errorf("F_NOCACHE refused: %w", err)
	}
	return nil
}

// Align asks for page-aligned transfers when the cache is bypassed: others are accepted, but go
// through the cache after all.
func (o *file) Align() Align {
	if !o.direct {
		return buffered.settle()
	}
	n := unix.Getpagesize()
	return Align{Mem: n, Off: n}.settle()
}

// allocate reserves space past the end of the file, in one piece if there is one, then grows the
// size: F_PREALLOCATE alone does not.
func allocate(fd int, off, n, was int64) error {
	end := off + n
	if end <= was {
		return nil
	}
	st := unix.Fstore_t{
		Flags:   unix.F_ALLOCATECONTIG,
		Posmode: unix.F_PEOFPOSMODE,
		Length:  end - was,
	}
	err := retry(func() error { return unix.FcntlFstore(uintptr(fd), unix.F_PREALLOCATE, &st) })
	if err != nil {
		st.Flags = unix.F_ALLOCATEALL
		err = retry(func() error { return unix.FcntlFstore(uintptr(fd), unix.F_PREALLOCATE, &st) })
	}
	if errors.Is(err, unix.ENOTSUP) {
		return unix.EOPNOTSUPP
	}
	if err != nil {
		return err
	}
	return ftruncate(fd, end)
}

// deviceSize is not needed on a development platform: refuse.
func deviceSize(int) (int64, error) { return 0, ErrNotFile }

// flushDir flushes through the drive's cache where the file system can (fsync does not).
func flushDir(fd int) error {
	err := retry(func() error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_FULLFSYNC, 0)
		return err
	})
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) {
		return retry(func() error { return unix.Fsync(fd) })
	}
	return err
}

func (osFS) Mount(path string) (Mount, error) {
	e, err := lstat("mount", path)
	if err != nil {
		return Mount{}, err
	}
	if e.Kind == Symlink {
		return Mount{}, pathError("mount", path, ErrSymlink)
	}
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &st) }); err != nil {
		return Mount{}, pathError("mount", path, err)
	}
	m := Mount{
		Type:   unix.ByteSliceToString(st.Fstypename[:]),
		Point:  unix.ByteSliceToString(st.Mntonname[:]),
		Source: unix.ByteSliceToString(st.Mntfromname[:]),
		Device: fmt.Sprintf("%d:%d", st.Fsid.Val[0], st.Fsid.Val[1]),
	}
	for _, f := range []struct {
		bit  uint32
		name string
	}{{unix.MNT_RDONLY, "ro"}, {unix.MNT_SYNCHRONOUS, "sync"}, {unix.MNT_ASYNC, "async"}} {
		if st.Flags&f.bit != 0 {
			m.Options = append(m.Options, f.name)
		}
	}
	m.FlushesOff = FlushesOff(m.Type, m.Options)
	return m, nil
}
