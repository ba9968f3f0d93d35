//go:build linux || darwin

package fsys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/sys/unix"
)

// OS returns the operating system's file system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Mkdir(path string) error {
	err := retry(func() error { return unix.Mkdir(path, 0o700) })
	if !errors.Is(err, unix.EEXIST) {
		return pathError("mkdir", path, err)
	}
	e, serr := lstat("mkdir", path)
	switch {
	case serr != nil:
		return serr
	case e.Kind == Dir:
		return nil
	case e.Kind == Symlink:
		return pathError("mkdir", path, ErrSymlink)
	}
	return pathError("mkdir", path, err)
}

func (osFS) Rename(oldpath, newpath string) error {
	// rename(2) acts on a symlink itself, at both ends.
	return pathError("rename", oldpath+" -> "+newpath,
		retry(func() error { return unix.Rename(oldpath, newpath) }))
}

func (osFS) Remove(path string) error {
	err := retry(func() error { return unix.Unlink(path) })
	if err != nil {
		// Linux says EISDIR for a directory, POSIX and darwin say EPERM.
		if e, serr := lstat("remove", path); serr == nil && e.Kind == Dir {
			err = &named{ErrNotFile, err}
		}
	}
	return pathError("remove", path, err)
}

func (osFS) ReadDir(path string) ([]Entry, error) {
	fd, err := openDir(path)
	if err != nil {
		return nil, pathError("readdir", path, err)
	}
	d := os.NewFile(uintptr(fd), path)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	entries := make([]Entry, 0, len(names))
	for _, name := range names {
		e, err := lstat("readdir", filepath.Join(path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went away between the two calls
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func (osFS) Stat(path string) (Entry, error) { return lstat("stat", path) }

func (osFS) SyncDir(path string) error {
	fd, err := openDir(path)
	if err != nil {
		return pathError("syncdir", path, err)
	}
	err = flushDir(fd)
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return pathError("syncdir", path, err)
}

// openDir opens a directory to be read or flushed, refusing a symlink to one.
func openDir(path string) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	// Linux refuses a symlink with ENOTDIR here, because of O_DIRECTORY; darwin with ELOOP.
	if err != nil {
		if e, serr := lstat("open", path); serr == nil && e.Kind == Symlink {
			err = &named{ErrSymlink, err}
		}
	}
	return fd, err
}

// lstat describes what is at path itself. The name is the last element of path.
func lstat(op, path string) (Entry, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Lstat(path, &st) }); err != nil {
		return Entry{}, pathError(op, path, err)
	}
	return Entry{Name: filepath.Base(path), Size: st.Size, Kind: kindOf(uint32(st.Mode))}, nil
}

func kindOf(mode uint32) Kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return Regular
	case unix.S_IFDIR:
		return Dir
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFBLK:
		return Device
	}
	return Other
}
