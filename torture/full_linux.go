package torture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// smallDisk is a file system of its own, in an image beside the directory it is mounted on. It can
// be filled to the last block without harm to anybody else.
type smallDisk struct {
	image, at string
	dir       string // for the engine, in it
	keep      bool
}

const (
	smallBytes = 384 << 20 // mkfs.xfs wants 300 MiB
	// smallNeeds is what has to be free where the image lies: it is sparse, but may grow to its size.
	smallNeeds = 4 * smallBytes
)

// newSmallDisk makes a file system ("ext4" or "xfs") in an image beside dir and mounts it on dir,
// which has to be empty.
func newSmallDisk(fs, dir string, keep bool) (d *smallDisk, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("mounting a file system of its own needs root")
	}
	mkfs := []string{"mkfs." + fs, "-q"}
	switch fs {
	case "ext4":
		mkfs = append(mkfs, "-F", "-m", "0") // nothing reserved: full is full
	case "xfs":
		mkfs = append(mkfs, "-f")
	default:
		return nil, fmt.Errorf("no file system %q (ext4, xfs)", fs)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, err
	}
	if free := st.Bavail * uint64(st.Bsize); free < smallNeeds {
		return nil, fmt.Errorf("%d MiB are free where the image would lie, %d are wanted", free>>20, smallNeeds>>20)
	}
	d = &smallDisk{image: filepath.Clean(dir) + ".image", at: dir, dir: filepath.Join(dir, "engine"), keep: keep}
	f, err := os.OpenFile(d.image, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(smallBytes), f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(d.image))
	}
	if err := command(append(mkfs, d.image)...); err != nil {
		return nil, errors.Join(err, os.Remove(d.image))
	}
	if err := command("mount", "-o", "loop", d.image, dir); err != nil {
		return nil, errors.Join(err, os.Remove(d.image))
	}
	return d, nil
}

// command runs a tool, also one that is not on a user's PATH.
func command(args ...string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		var serr error
		if path, serr = exec.LookPath("/usr/sbin/" + args[0]); serr != nil {
			return err
		}
	}
	if out, err := exec.Command(path, args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %.300s", args[0], err, out)
	}
	return nil
}

func (d *smallDisk) filler() string { return filepath.Join(d.at, "filler") }

// fill takes all but free bytes of the file system.
func (d *smallDisk) fill(free uint64) error {
	f, err := os.OpenFile(d.filler(), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(0)
	for {
		var st unix.Statfs_t
		if err := unix.Statfs(d.at, &st); err != nil {
			return err
		}
		n := int64(st.Bavail)*int64(st.Bsize) - int64(free)
		if n <= 0 {
			return nil
		}
		// The last blocks may be the file system's own: take what there is, in smaller steps.
		for n >= st.Bsize {
			err := unix.Fallocate(int(f.Fd()), 0, size, n)
			if err == nil {
				size += n
				break
			}
			if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("filling %s: %w", d.at, err)
			}
			n /= 2
		}
		if n < st.Bsize {
			return nil
		}
	}
}

// release gives the space back.
func (d *smallDisk) release() error {
	if err := os.Remove(d.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// close unmounts and, unless it is to be kept, removes the image.
func (d *smallDisk) close() error {
	if d == nil {
		return nil
	}
	err := errors.Join(d.release(), command("umount", d.at))
	if err == nil && !d.keep {
		err = os.Remove(d.image)
	}
	return err
}
