package sim

import (
	"io/fs"
	"syscall"

	"github.com/untorn/untorn/fsys"
)

// file is one open file description of a simulated file.
type file struct {
	d        *Disk
	node     nodeID
	name     string // as it was opened by
	path     string // cleaned
	fd       uintptr
	readOnly bool
	direct   bool
	why      error
}

func (f *file) Fd() uintptr           { return f.fd }
func (f *file) Name() string          { return f.name }
func (f *file) Direct() (bool, error) { return f.direct, f.why }

func (f *file) Align() fsys.Align {
	a := fsys.Align{Mem: 1, Off: 1, Physical: f.d.cfg.Physical}
	if f.direct {
		a.Mem, a.Off = f.d.cfg.MemAlign, f.d.cfg.Sector
	}
	a.Block = max(4096, a.Off, a.Physical)
	return a
}

// begin locks the disk and finds the file, unless it is closed.
func (f *file) begin(op string) (*node, error) {
	if err := f.d.begin(op, f.name); err != nil {
		return nil, err
	}
	if f.d.files[f.fd] != f {
		f.d.mu.Unlock()
		return nil, pathError(op, f.name, fs.ErrClosed)
	}
	return f.d.st.nodes[f.node], nil
}

func (f *file) Size() (int64, error) {
	n, err := f.begin("size")
	if err != nil {
		return 0, err
	}
	defer f.d.mu.Unlock()
	return n.cur.size, nil
}

func (f *file) Preallocate(off, n int64) error {
	if off < 0 || n < 0 || off+n < off {
		return pathError("preallocate", f.name, syscall.EINVAL)
	}
	return f.resize("preallocate", func(size int64) int64 {
		if n == 0 {
			return size
		}
		return max(size, off+n)
	})
}

func (f *file) Truncate(size int64) error {
	if size < 0 {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	return f.resize("truncate", func(int64) int64 { return size })
}

func (f *file) resize(op string, to func(size int64) int64) error {
	n, err := f.begin(op)
	if err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	size := to(n.cur.size)
	switch {
	case f.readOnly:
		return pathError(op, f.name, syscall.EBADF)
	case size == n.cur.size:
		return nil
	case !f.d.room(size - n.cur.size):
		return pathError(op, f.name, fsys.ErrNoSpace)
	}
	f.d.record(Entry{Kind: SizeSet, File: f.path, Off: size, node: f.node})
	return nil
}

// room reports whether files may grow by n bytes.
func (d *Disk) room(n int64) bool {
	return n <= 0 || d.cfg.Capacity == 0 || d.st.used()+n <= d.cfg.Capacity
}

// Lock is flock: between descriptions, also of one process. A description of a killed process
// counts until the I/O queued on it has landed (I11).
func (f *file) Lock(excl bool) error {
	if _, err := f.begin("lock"); err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	for fd, h := range f.d.st.handles {
		if fd != f.fd && h.node == f.node && (h.lock == exclusive || excl && h.lock == shared) {
			return pathError("lock", f.name, fsys.ErrLocked)
		}
	}
	f.d.record(Entry{Kind: Lock, File: f.path, node: f.node, fd: f.fd, sync: excl})
	return nil
}

func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.files[f.fd] != f {
		return nil
	}
	delete(f.d.files, f.fd)
	f.d.record(Entry{Kind: Close, File: f.path, node: f.node, fd: f.fd})
	return nil
}
