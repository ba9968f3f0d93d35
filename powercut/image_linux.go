package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// image is the file system's partition as a power cut leaves it: a file in memory that is mounted,
// changed, and put back to what is durable.
type image struct {
	f    *os.File
	fs   string
	at   string   // mount point
	keep [][]byte // what is durable, by chunk; nil = zeros
	buf  []byte
}

// newImage begins with the partition before the recording.
func newImage(dir, base, fs string, id int) (*image, error) {
	from, err := os.Open(base)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	st, err := from.Stat()
	if err != nil {
		return nil, err
	}
	m := &image{fs: fs, at: filepath.Join(dir, fmt.Sprintf("mnt%d", id)), buf: make([]byte, 1<<20),
		keep: make([][]byte, (st.Size()+chunkSize-1)/chunkSize)}
	if err := os.Mkdir(m.at, 0o700); err != nil {
		return nil, err
	}
	if m.f, err = os.OpenFile(filepath.Join(dir, fmt.Sprintf("image%d", id)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	err = m.f.Truncate(st.Size())
	if err == nil {
		err = chunks(from, func(off int64, b []byte) error {
			_, err := m.WriteAt(b, off)
			return err
		})
	}
	if err != nil {
		m.f.Close()
		return nil, err
	}
	return m, nil
}

// close removes the file; the mount has been taken down.
func (m *image) close() error {
	return errors.Join(m.f.Close(), os.Remove(m.f.Name()), os.Remove(m.at))
}

// WriteAt changes what is durable.
func (m *image) WriteAt(b []byte, off int64) (int, error) {
	for done := 0; done < len(b); {
		c, in := (off+int64(done))/chunkSize, (off+int64(done))%chunkSize
		if m.keep[c] == nil {
			m.keep[c] = make([]byte, chunkSize)
		}
		done += copy(m.keep[c][in:], b[done:])
	}
	return m.f.WriteAt(b, off)
}

// restore puts the file back to what is durable. Only where the file has data can it differ, or where
// somebody made a hole.
func (m *image) restore() error {
	size := int64(len(m.keep)) * chunkSize
	seen := make([]bool, len(m.keep))
	fd := int(m.f.Fd())
	for at := int64(0); at < size; {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return err
		}
		to, err := unix.Seek(fd, from, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for c := from / chunkSize; c <= (to-1)/chunkSize; c++ {
			if !seen[c] {
				seen[c] = true
				if err := m.restoreChunk(c); err != nil {
					return err
				}
			}
		}
		at = to
	}
	for c := range m.keep {
		if m.keep[c] != nil && !seen[c] {
			if err := m.restoreChunk(int64(c)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *image) restoreChunk(c int64) error {
	b := m.buf[:chunkSize]
	n, err := m.f.ReadAt(b, c*chunkSize)
	if n == 0 {
		return err
	}
	b = b[:n]
	if m.keep[c] == nil {
		return unix.Fallocate(int(m.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, c*chunkSize, int64(n))
	}
	for i := 0; i < n; i += 4096 {
		end := min(i+4096, n)
		if w := m.keep[c][i:end]; !bytes.Equal(b[i:end], w) {
			if _, err := m.f.WriteAt(w, c*chunkSize+int64(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// mounted calls f with the file system mounted, and takes it down. A mount that fails is reported as
// errMount: a journal that cannot be replayed is no fault of the engine, and must not be.
func (m *image) mounted(f func(dir string) error) error {
	loop, err := m.loop()
	if err != nil {
		return err
	}
	defer loop.Close() // the mount holds it on; with the last user it is gone
	opts := ""
	if m.fs == "xfs" {
		opts = "nouuid" // several images at a time
	}
	if err := unix.Mount(loop.Name(), m.at, m.fs, unix.MS_NOATIME, opts); err != nil {
		return fmt.Errorf("%w: %w", errMount, err)
	}
	err = f(m.at)
	for range 100 {
		e := unix.Unmount(m.at, 0)
		if e == nil {
			return err
		}
		if e != unix.EBUSY {
			return errors.Join(err, e)
		}
		time.Sleep(20 * time.Millisecond) // a closed ring's last reference is dropped by the kernel's own thread
	}
	return errors.Join(err, fmt.Errorf("%s stays busy", m.at), unix.Unmount(m.at, unix.MNT_DETACH))
}

// loop attaches the file to a free loop device, which goes with its last user.
func (m *image) loop() (*os.File, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	for range 200 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("a free loop device: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		c := unix.LoopConfig{Fd: uint32(m.f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		_, _, e := unix.Syscall(unix.SYS_IOCTL, dev.Fd(), unix.LOOP_CONFIGURE, uintptr(unsafe.Pointer(&c)))
		if e == 0 {
			return dev, nil
		}
		dev.Close()
		if e != unix.EBUSY {
			return nil, fmt.Errorf("%s: %w", dev.Name(), e)
		}
	}
	return nil, errors.New("every loop device is taken by somebody else")
}

// canMount reports why images cannot be mounted here, or nil.
func canMount() error {
	if os.Geteuid() != 0 {
		return errors.New("not root: loop devices and mounts are needed")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return fmt.Errorf("no loop devices: %w", err)
	}
	return nil
}

// raw writes what a power cut may have landed: the file, not what is durable.
func (m *image) raw() rawImage { return rawImage{m.f} }

type rawImage struct{ *os.File }
