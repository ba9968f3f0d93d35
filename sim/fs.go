package sim

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/untorn/untorn/fsys"
)

// simFS is the file-system side of a Disk.
type simFS struct{ d *Disk }

// begin starts an operation: the machine must be on, writes of a killed process may land, and a
// hook may refuse. It locks the disk only when it returns nil.
func (d *Disk) begin(op, name string) error {
	d.mu.Lock()
	hooks := d.fsHooks
	d.mu.Unlock()
	for _, h := range hooks { // not under the lock: a hook may use the disk
		if err := h(op, name); err != nil {
			if op == "syncdir" {
				d.failSyncDir(name)
			}
			return pathError(op, name, err)
		}
	}
	d.mu.Lock()
	if d.off {
		d.mu.Unlock()
		return pathError(op, name, ErrOff)
	}
	d.tick()
	return nil
}

func (d *Disk) failSyncDir(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if id, n, err := d.st.lookup(name); err == nil && n.dir {
		d.record(Entry{Kind: SyncDirFail, File: clean(name), node: id})
	}
}

func (f simFS) Mkdir(name string) error {
	d := f.d
	if err := d.begin("mkdir", name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if _, n, err := d.st.lookup(name); err == nil {
		if n.dir {
			return nil
		}
		return pathError("mkdir", name, fs.ErrExist)
	}
	dir, base, err := d.st.parent(name)
	if err != nil {
		return pathError("mkdir", name, err)
	}
	id := d.st.next
	d.record(Entry{Kind: Mkdir, File: clean(name), node: id, changes: []change{{dir, base, id}}})
	return nil
}

func (f simFS) Open(name string, o fsys.OpenFlags) (fsys.File, error) {
	d := f.d
	if err := d.begin("open", name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	id, n, err := d.st.lookup(name)
	switch {
	case err == nil && o.Create:
		return nil, pathError("open", name, fs.ErrExist)
	case err == nil && n.dir:
		return nil, pathError("open", name, fsys.ErrNotFile)
	case err != nil && !o.Create:
		return nil, pathError("open", name, err)
	case o.Create:
		dir, base, err := d.st.parent(name)
		if err != nil {
			return nil, pathError("open", name, err)
		}
		id = d.st.next
		d.record(Entry{Kind: Create, File: clean(name), node: id,
			changes: []change{{dir, base, id}}})
	}
	opened := &file{d: d, node: id, name: name, path: clean(name), fd: d.nextFd, readOnly: o.ReadOnly}
	d.nextFd++
	switch {
	case o.Direct && d.cfg.NoDirect:
		opened.why = syscall.EINVAL
	case o.Direct:
		opened.direct = true
	}
	d.files[opened.fd] = opened
	d.record(Entry{Kind: Open, File: clean(name), node: id, fd: opened.fd})
	return opened, nil
}

func (f simFS) Rename(oldname, newname string) error {
	d := f.d
	if err := d.begin("rename", oldname); err != nil {
		return err
	}
	defer d.mu.Unlock()
	id, n, err := d.st.lookup(oldname)
	var from, to nodeID
	var fromName, toName string
	if err == nil {
		from, fromName, err = d.st.parent(oldname)
	}
	if err == nil {
		to, toName, err = d.st.parent(newname)
	}
	if err != nil {
		return pathError("rename", oldname+" -> "+newname, err)
	}
	over, target, err := d.st.lookup(newname)
	switch {
	case err == nil && over == id:
		return nil
	case err == nil && (target.dir || n.dir):
		return pathError("rename", oldname+" -> "+newname, fs.ErrExist)
	}
	d.record(Entry{Kind: Rename, File: clean(oldname), Note: " -> " + clean(newname),
		changes: []change{{from, fromName, 0}, {to, toName, id}}})
	return nil
}

func (f simFS) Remove(name string) error {
	d := f.d
	if err := d.begin("remove", name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if _, err := d.regular("remove", name); err != nil {
		return err
	}
	dir, base, err := d.st.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	d.record(Entry{Kind: Remove, File: clean(name), changes: []change{{dir, base, 0}}})
	return nil
}

func (f simFS) ReadDir(name string) ([]fsys.Entry, error) {
	d := f.d
	if err := d.begin("readdir", name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	_, n, err := d.st.lookup(name)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	list := make([]fsys.Entry, 0, len(n.cdir))
	for base, id := range n.cdir {
		list = append(list, d.st.nodes[id].entry(base))
	}
	slices.SortFunc(list, func(a, b fsys.Entry) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (n *node) entry(name string) fsys.Entry {
	if n.dir {
		return fsys.Entry{Name: name, Kind: fsys.Dir}
	}
	return fsys.Entry{Name: name, Size: n.cur.size, Kind: fsys.Regular}
}

func (f simFS) Stat(name string) (fsys.Entry, error) {
	d := f.d
	if err := d.begin("stat", name); err != nil {
		return fsys.Entry{}, err
	}
	defer d.mu.Unlock()
	_, n, err := d.st.lookup(name)
	if err != nil {
		return fsys.Entry{}, pathError("stat", name, err)
	}
	return n.entry(path.Base(clean(name))), nil
}

func (f simFS) SyncDir(name string) error {
	d := f.d
	if err := d.begin("syncdir", name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	id, n, err := d.st.lookup(name)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError("syncdir", name, err)
	}
	if d.cfg.FlushesLie {
		d.record(Entry{Kind: Note, File: clean(name), Note: ": a flush that did nothing"})
		return nil
	}
	d.record(Entry{Kind: SyncDir, File: clean(name), node: id})
	return nil
}

func (f simFS) Mount(name string) (fsys.Mount, error) {
	d := f.d
	if err := d.begin("mount", name); err != nil {
		return fsys.Mount{}, err
	}
	defer d.mu.Unlock()
	if _, _, err := d.st.lookup(name); err != nil {
		return fsys.Mount{}, pathError("mount", name, err)
	}
	m := d.cfg.Mount
	m.Options = slices.Clone(m.Options)
	return m, nil
}
