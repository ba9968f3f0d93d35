package explore

import (
	"fmt"
	"slices"

	"github.com/untorn/untorn"
)

// catalog creates, grows, renames or removes a file: client 0's, so that at most one change is
// under way.
func (c *client) catalog() {
	w := c.w
	w.mu.Lock()
	var own []*workFile
	for _, f := range w.files {
		if !f.shared {
			own = append(own, f)
		}
	}
	w.mu.Unlock()
	r := c.rng.IntN(10)
	switch {
	case len(own) == 0 || len(own) < 3 && r < 3:
		c.create(false, 1+uint64(c.rng.IntN(4)))
	case r < 6:
		c.grow(own[c.rng.IntN(len(own))])
	case r < 8:
		c.rename(own[c.rng.IntN(len(own))])
	default:
		c.remove(own[c.rng.IntN(len(own))])
	}
}

func (c *client) create(shared bool, pages uint64) {
	w := c.w
	a := w.begin(c.no, actCreate)
	w.mu.Lock()
	w.uids++
	a.uid, a.pages = w.uids, pages
	a.name = w.freeName(c)
	a.mode = w.p.mode
	if len(w.p.modes) > 0 && c.rng.IntN(3) == 0 {
		a.mode = w.p.modes[c.rng.IntN(len(w.p.modes))]
	}
	a.foreign = w.p.foreign && c.rng.IntN(2) == 0
	w.mu.Unlock()
	w.disk.Mark(mark{a, begun})
	f, err := w.engine().OpenFile(c.w.ctx, a.name, untorn.FileOptions{
		Create: true, PageSize: w.p.pageSize, Pages: pages, Mode: a.mode, ForeignLSN: a.foreign, SmallPages: w.p.shared() > 1,
	})
	if w.end(a, err) {
		w.mu.Lock()
		w.files = append(w.files, &workFile{a.uid, a.name, pages, f, shared, a.mode, a.foreign})
		w.mu.Unlock()
	}
}

// freeName prefers names that were used before. The names are long: super then takes more than one
// sector, and can tear.
func (w *world) freeName(c *client) string {
	for {
		name := fmt.Sprintf("file-%c-of-the-explorer", 'a'+c.rng.IntN(6))
		if !slices.ContainsFunc(w.files, func(f *workFile) bool { return f.name == name }) {
			return name
		}
	}
}

func (c *client) grow(f *workFile) {
	w := c.w
	a := w.begin(c.no, actGrow)
	a.uid, a.name, a.pages = f.uid, f.name, f.pages+1+uint64(c.rng.IntN(3))
	w.disk.Mark(mark{a, begun})
	if w.end(a, f.f.Grow(c.w.ctx, a.pages)) {
		w.mu.Lock()
		f.pages = a.pages
		w.mu.Unlock()
	}
}

func (c *client) rename(f *workFile) {
	w := c.w
	a := w.begin(c.no, actRename)
	w.mu.Lock()
	a.uid, a.name, a.to = f.uid, f.name, w.freeName(c)
	w.mu.Unlock()
	w.disk.Mark(mark{a, begun})
	if w.end(a, w.engine().Rename(c.w.ctx, a.name, a.to)) {
		w.mu.Lock()
		f.name = a.to
		w.mu.Unlock()
	}
}

// remove takes the file out of everybody's sight first: nobody may write to it meanwhile.
func (c *client) remove(f *workFile) {
	w := c.w
	a := w.begin(c.no, actRemove)
	a.uid, a.name = f.uid, f.name
	w.mu.Lock()
	w.files = slices.DeleteFunc(w.files, func(x *workFile) bool { return x == f })
	w.mu.Unlock()
	w.disk.Mark(mark{a, begun})
	if !w.end(a, w.engine().Remove(c.w.ctx, a.name)) && a.refused {
		w.mu.Lock()
		w.files = append(w.files, f) // it is still there
		w.mu.Unlock()
	}
}

// checkpoint claims that everything below redo has been passed on: where no page depends on replay
// any LSN will do.
func (c *client) checkpoint() {
	w := c.w
	a := w.begin(c.no, actCheckpoint)
	w.mu.Lock()
	w.recs++
	a.payload = w.recs
	a.redo = w.redo
	if n := len(w.ends); n > 0 {
		a.redo = max(a.redo, w.ends[max(0, n-1-c.rng.IntN(6))])
	}
	a.redo = w.claimable(a.redo)
	n := 16 + c.rng.IntN(1200)
	w.mu.Unlock()
	w.disk.Mark(mark{a, begun})
	if w.end(a, w.engine().Checkpoint(c.w.ctx, a.redo, payload(a.payload, n))) {
		w.mu.Lock()
		w.redo = a.redo
		w.mu.Unlock()
	}
}
