package hwprobe

import (
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// live runs rule 13's writes on a nameless scratch file in the same directory. A block device has
// no place for one, and is never written to.
func live(r *Report, path string, opts Options) *Live {
	dir := path
	switch r.File.Kind {
	case FileBlock:
		return &Live{Error: "a block device has no room for a scratch file: name a directory on it"}
	case FileRegular:
		dir = filepath.Dir(path)
	}
	maxUnit, ok := r.File.UnitMax.Get()
	if !ok || maxUnit == 0 {
		return &Live{Error: "this file has no atomic writes to try"}
	}
	if 2*maxUnit > maxLiveBytes {
		return &Live{Error: "the limit is too large to try beyond it"}
	}
	fd, err := scratch(dir)
	if err != nil {
		return &Live{Error: "no scratch file: " + err.Error()}
	}
	defer unix.Close(fd)
	if f := takesDirect(fd); !f.Or(false) {
		return &Live{Error: "no O_DIRECT on the scratch file"}
	}
	pages := opts.livePages()
	room := 2 * int(maxUnit)
	for _, p := range pages {
		room = max(room, 2*p)
	}
	buf, err := unix.Mmap(-1, 0, room, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return &Live{Error: "no memory: " + err.Error()}
	}
	defer unix.Munmap(buf)
	for i := range buf {
		buf[i] = byte(i)
	}
	if err := unix.Fallocate(fd, 0, 0, int64(room)); err != nil {
		return &Live{Error: "no room for the scratch file: " + err.Error()}
	}
	l := new(Live)
	beyond := atomicWrite(fd, buf[:2*maxUnit], 0)
	for _, p := range pages {
		l.Pages = append(l.Pages, LivePage{
			Page:    uint64(p),
			Aligned: atomicWrite(fd, buf[:p], int64(p)),
			Half:    atomicWrite(fd, buf[:p], int64(p/2)),
			Beyond:  beyond,
		})
	}
	return l
}

// atomicWrite is one RWF_ATOMIC write: the bytes written, or the errno's name.
func atomicWrite(fd int, b []byte, off int64) string {
	for {
		n, err := unix.Pwritev2(fd, [][]byte{b}, off, unix.RWF_ATOMIC)
		switch e, ok := err.(unix.Errno); {
		case err == nil:
			return strconv.Itoa(n)
		case e == unix.EINTR:
			continue
		case ok && unix.ErrnoName(e) != "":
			return unix.ErrnoName(e)
		}
		return err.Error()
	}
}

// livePages are the sizes that can be tried: powers of two that fit a sane buffer.
func (o Options) livePages() []int {
	return slices.DeleteFunc(slices.Clone(o.LivePages), func(p int) bool {
		return p < 512 || p > maxLiveBytes || !isPow2(uint64(p))
	})
}

// maxLiveBytes bounds one write of the live probe.
const maxLiveBytes = 16 << 20
