package walstage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// fakeDisk is a small disk in memory, with what the tests of this package need to be sure of: which
// blocks are durable and which only cached, directory changes that are not yet flushed, faults on a
// chosen operation, and a power cut after a chosen one.
type fakeDisk struct {
	mu    sync.Mutex
	names map[string]*inode // the directory as the process sees it
	// undone are the directory changes not yet durable, oldest first, and medium is the directory
	// without them.
	medium map[string]*inode
	undone []map[string]*inode // the directory after each change
	free   int64               // bytes left for Preallocate

	ops     int
	cutAt   int // power goes with this operation in flight; 0 = never
	cut     bool
	hook    func(op *ring.Op, name string) error // before each op, without the lock
	failFS  func(what, name string) error
	flushes int
}

type inode struct {
	data, medium []byte // as read now; as on the medium
	dirty        map[int64]bool
	lost         map[int64]bool // a failed flush left them readable and clean
	locks        int            // -1 = exclusive
}

const fakeBlock = 4096

var errPower = errors.New("the power is gone")

func newFakeDisk() *fakeDisk {
	return &fakeDisk{names: map[string]*inode{}, medium: map[string]*inode{}, free: 1 << 40}
}

// crash returns what a power cut leaves: each unflushed block old or new, one of them garbled, the
// directory after any prefix of its unflushed changes.
func (d *fakeDisk) crash(r *rand.Rand) *fakeDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = true
	n := newFakeDisk()
	names := d.medium
	if k := r.IntN(len(d.undone) + 1); k > 0 {
		names = d.undone[k-1]
	}
	garble := r.IntN(4) == 0
	for name, old := range names {
		in := &inode{data: slices.Clone(old.medium), dirty: map[int64]bool{}, lost: map[int64]bool{}}
		if len(old.data) > len(in.data) && r.IntN(2) == 0 {
			in.data = append(in.data, make([]byte, len(old.data)-len(in.data))...)
		}
		in.medium = slices.Clone(in.data)
		style := r.IntN(3)
		blocks := slices.Sorted(maps.Keys(old.dirty))
		blocks = append(blocks, slices.Sorted(maps.Keys(old.lost))...)
		for _, b := range blocks {
			if style == 0 || style == 1 && r.IntN(2) == 0 || b+fakeBlock > int64(len(in.data)) {
				continue
			}
			copy(in.data[b:], old.data[b:b+fakeBlock])
			if changing := !bytes.Equal(in.medium[b:b+fakeBlock], in.data[b:b+fakeBlock]); changing &&
				garble && r.IntN(4) == 0 {
				garble = false
				// A rewrite of identical bytes leaves them intact (DESIGN, I8): only this one does not.
				for i := range 512 {
					in.data[b+int64(i)] = byte(r.Uint32())
				}
			}
		}
		in.medium = slices.Clone(in.data)
		n.names[name] = in
	}
	n.medium = maps.Clone(n.names)
	return n
}

// kill returns the disk as a new process sees it: the cache survives, locks do not.
func (d *fakeDisk) kill() *fakeDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, in := range d.names {
		in.locks = 0
	}
	d.hook, d.failFS = nil, nil
	return d
}

func (d *fakeDisk) setHook(hook func(op *ring.Op, name string) error) {
	d.mu.Lock()
	d.hook = hook
	d.mu.Unlock()
}

func (d *fakeDisk) changed() { d.undone = append(d.undone, maps.Clone(d.names)) }

func (d *fakeDisk) fault(what, name string) error {
	if d.cut {
		return errPower
	}
	if d.failFS != nil {
		return d.failFS(what, name)
	}
	return nil
}

// The file system.

func (d *fakeDisk) Mkdir(string) error { return nil }

func (d *fakeDisk) Open(p string, f fsys.OpenFlags) (fsys.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fault("open", p); err != nil {
		return nil, err
	}
	in := d.names[p]
	if f.Create {
		if in != nil {
			return nil, fs.ErrExist
		}
		in = &inode{dirty: map[int64]bool{}, lost: map[int64]bool{}}
		d.names[p] = in
		d.changed()
	}
	if in == nil {
		return nil, fs.ErrNotExist
	}
	return &fakeFile{d: d, in: in, name: path.Base(p)}, nil
}

func (d *fakeDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fault("rename", from); err != nil {
		return err
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	d.changed()
	return nil
}

func (d *fakeDisk) Remove(p string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fault("remove", p); err != nil {
		return err
	}
	d.free += int64(len(d.names[p].data))
	delete(d.names, p)
	d.changed()
	return nil
}

func (d *fakeDisk) ReadDir(p string) ([]fsys.Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []fsys.Entry
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if rest, ok := strings.CutPrefix(name, p+"/"); ok {
			list = append(list, fsys.Entry{Name: rest, Size: int64(len(d.names[name].data))})
		}
	}
	return list, nil
}

func (d *fakeDisk) Stat(string) (fsys.Entry, error) { return fsys.Entry{}, fs.ErrNotExist }

func (d *fakeDisk) SyncDir(p string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fault("syncdir", p); err != nil {
		return err
	}
	d.medium, d.undone = maps.Clone(d.names), nil
	return nil
}

func (d *fakeDisk) Mount(string) (fsys.Mount, error) { return fsys.Mount{}, nil }

type fakeFile struct {
	d      *fakeDisk
	in     *inode
	name   string
	lock   int
	closed bool
}

func (f *fakeFile) Fd() uintptr           { return 0 }
func (f *fakeFile) Name() string          { return f.name }
func (f *fakeFile) Direct() (bool, error) { return true, nil }
func (f *fakeFile) Align() fsys.Align {
	return fsys.Align{Mem: 4096, Off: 4096, Physical: 4096, Block: fakeBlock}
}

func (f *fakeFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.in.data)), nil
}

func (f *fakeFile) Preallocate(off, n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.fault("preallocate", f.name); err != nil {
		return err
	}
	if f.d.free < n {
		return fmt.Errorf("preallocate: %w", fsys.ErrNoSpace)
	}
	if more := off + n - int64(len(f.in.data)); more > 0 {
		f.d.free -= more
		f.in.data = append(f.in.data, make([]byte, more)...)
	}
	return nil
}

func (f *fakeFile) Truncate(size int64) error { return errors.New("not used") }

func (f *fakeFile) Lock(exclusive bool) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	switch {
	case exclusive && f.in.locks == 0:
		f.in.locks, f.lock = -1, -1
	case !exclusive && f.in.locks >= 0:
		f.in.locks++
		f.lock = 1
	default:
		return fsys.ErrLocked
	}
	return nil
}

func (f *fakeFile) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	f.in.locks -= f.lock
	return nil
}

// The ring.

func (d *fakeDisk) Submit(ops ...*ring.Op) {
	for _, op := range ops {
		op.Err = d.Do(op)
		op.Done <- op
	}
}

func (d *fakeDisk) Register([]byte) (int, error) { return 0, errors.New("no") }
func (d *fakeDisk) Info() ring.Info              { return ring.Info{Backend: "fake"} }

// Do runs an op. What it does to the disk it does in one step, at its end.
func (d *fakeDisk) Do(op *ring.Op) error {
	f := op.File.(*fakeFile)
	d.mu.Lock()
	hook := d.hook
	d.mu.Unlock()
	var err error
	if hook != nil {
		err = hook(op, f.name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	op.Err = d.do(f, op, err)
	return op.Err
}

func (d *fakeDisk) do(f *fakeFile, op *ring.Op, fault error) error {
	if d.cut {
		return errPower
	}
	if f.closed {
		return fs.ErrClosed
	}
	if op.Kind != ring.Read {
		if d.ops++; d.ops == d.cutAt {
			d.cut = true
		}
	}
	in := f.in
	switch op.Kind {
	case ring.Read:
		if fault != nil {
			return &ring.Error{Kind: op.Kind, File: f.name, Off: op.Off, Len: op.Len(), Err: fault}
		}
		if op.Off+int64(len(op.Buf)) > int64(len(in.data)) {
			return io.ErrUnexpectedEOF
		}
		copy(op.Buf, in.data[op.Off:])
	case ring.Write:
		if op.Off%fakeBlock != 0 || len(op.Buf)%fakeBlock != 0 {
			panic("misaligned write")
		}
		if op.Off+int64(len(op.Buf)) > int64(len(in.data)) {
			panic("write past the end of a preallocated file")
		}
		for b := int64(0); b < int64(len(op.Buf)); b += fakeBlock {
			if fault != nil && b > 0 {
				break // a failed write may have changed something
			}
			copy(in.data[op.Off+b:], op.Buf[b:b+fakeBlock])
			in.dirty[op.Off+b] = true
			delete(in.lost, op.Off+b)
		}
		if op.Flags&ring.DSync != 0 && fault == nil && !d.cut {
			d.mu.Unlock() // in flight: the power may go for several writes at once
			runtime.Gosched()
			d.mu.Lock()
			for b := int64(0); b < int64(len(op.Buf)) && !d.cut; b += fakeBlock {
				d.settle(in, op.Off+b)
			}
		}
	case ring.DataSync, ring.Sync:
		d.flushes++
		for b := range in.dirty {
			switch {
			case d.cut:
			case fault != nil:
				in.lost[b] = true
				delete(in.dirty, b)
			default:
				d.settle(in, b)
			}
		}
		if !d.cut && fault == nil && len(in.medium) < len(in.data) {
			in.medium = append(in.medium, make([]byte, len(in.data)-len(in.medium))...)
		}
	}
	if d.cut {
		return errPower
	}
	if fault != nil {
		return &ring.Error{Kind: op.Kind, File: f.name, Off: op.Off, Len: op.Len(), Err: fault}
	}
	return nil
}

func (d *fakeDisk) settle(in *inode, b int64) {
	if len(in.medium) < len(in.data) {
		in.medium = append(in.medium, make([]byte, len(in.data)-len(in.medium))...)
	}
	copy(in.medium[b:b+fakeBlock], in.data[b:])
	delete(in.dirty, b)
}

// fakeRing is the disk as a ring: both have a Close or Info of their own.
type fakeRing struct{ *fakeDisk }

func (fakeRing) Close() error { return nil }
