package hwprobe

import (
	"fmt"
	"slices"
	"strings"
)

// What a flush means on a stack.
const (
	FlushesOff      = "off"      // a durability hole: a volatile cache gets no flushes
	FlushesSent     = "sent"     // flushes are sent down to every drive
	FlushesNeedless = "needless" // every drive was read and has no volatile cache
	FlushesUnknown  = "unknown"  // something could not be read
)

// WriteCache is the write-cache verdict: what a flush is worth here.
type WriteCache struct {
	State   string       `json:"state"`
	Summary string       `json:"summary"`
	FUA     Fact[bool]   `json:"fua_native,omitzero"` // a FUA write reaches the drive as one
	Drives  []DriveCache `json:"drives,omitempty"`
	Holes   []string     `json:"holes,omitempty"`  // why flushes are off
	Unread  []string     `json:"unread,omitempty"` // what would have to be known to say more
}

// DriveCache is one leaf's cache: what the drive says, and what the kernel believes.
type DriveCache struct {
	Name     string       `json:"name"`
	Volatile Fact[bool]   `json:"volatile,omitzero"`
	Kernel   Fact[string] `json:"kernel,omitzero"`
}

// Off tells whether flushes have been turned off. The engine refuses such a stack by default, in
// every mode.
func (w WriteCache) Off() bool { return w.State == FlushesOff }

// WriteCache is the verdict on flushes. It is pure, as Decide is.
func (r *Report) WriteCache() WriteCache { return r.writeCache(r.stack()) }

func (r *Report) writeCache(st *stack) WriteCache {
	var w WriteCache
	r.mountFlushes(&w)
	if st.problem != "" {
		w.Unread = append(w.Unread, st.problem)
	}
	w.Unread = append(w.Unread, st.holes...)
	if fua, ok := st.device().queue().FUA.Get(); ok {
		w.FUA = Known(fua == 1, st.device().queue().FUA.From())
	}
	needless := len(st.leaves) > 0
	for _, leaf := range st.leaves {
		dc := DriveCache{Name: leaf.Name, Volatile: leaf.volatileCache(),
			Kernel: st.kernelQueue(leaf).WriteCache}
		w.Drives = append(w.Drives, dc)
		volatile, known := dc.Volatile.Get()
		needless = needless && known && !volatile
		st.judge(&w, leaf, volatile, known)
	}
	switch {
	case len(w.Holes) > 0:
		w.State, w.Summary = FlushesOff, strings.Join(w.Holes, "; ")
	case len(w.Unread) > 0 || len(st.leaves) == 0:
		w.State, w.Summary = FlushesUnknown, "not everything could be read: "+strings.Join(w.Unread, "; ")
	case needless:
		w.State, w.Summary = FlushesNeedless, "no drive here has a volatile cache: a "+
			"completed direct write is as durable as a flushed one"
	default:
		w.State, w.Summary = FlushesSent, "flushes are sent down to every drive"
	}
	return w
}

// volatileCache is what the drive itself says: VWC bit 0 only (0x4 and 0x6 mean there is none).
func (d *Device) volatileCache() Fact[bool] {
	if d.NVMe == nil {
		return Missing[bool]("only NVMe drives are asked", "")
	}
	vwc, ok := d.NVMe.Ctrl.VWC.Get()
	if !ok {
		return Missing[bool](d.ctrlMissing(), d.NVMe.Ctrl.From)
	}
	return Known(vwc&1 == 1, "Identify Controller VWC")
}

// judge looks at every queue from the top down to one leaf: the block layer drops a flush at the
// first that says "write through".
func (s *stack) judge(w *WriteCache, leaf *Device, volatile, known bool) {
	for _, d := range s.order {
		if d.Kind == KindPartition || d.Kind == KindNVMePath && d.Queue == nil || !s.reaches(d, leaf) {
			continue
		}
		wc, ok := d.queue().WriteCache.Get()
		switch {
		case !ok && known && !volatile:
		case !ok:
			w.add(&w.Unread, fmt.Sprintf("write_cache of %s: %s", d.Name, d.queue().WriteCache.Why()))
		case wc == "write back":
		case known && volatile:
			w.add(&w.Holes, fmt.Sprintf("%s has a volatile cache, but %s is set to %.20q "+
				"and gets no flushes", leaf.Name, d.Name, wc))
		case !known:
			w.add(&w.Unread, fmt.Sprintf("%s is %.20q, and whether %s has a volatile cache "+
				"could not be read", d.Name, wc, leaf.Name))
		}
	}
}

func (w *WriteCache) add(to *[]string, s string) {
	if !slices.Contains(*to, s) {
		*to = append(*to, s)
	}
}

// reaches tells whether leaf is d or beneath it. The stack has no cycle where it is called on one
// that passed rule 0; depth is bounded for those that did not.
func (s *stack) reaches(d, leaf *Device) bool {
	if d == leaf {
		return true
	}
	seen := map[string]bool{}
	todo := []string{d.Name}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[name] {
			continue
		}
		seen[name] = true
		if name == leaf.Name {
			return true
		}
		for _, o := range s.order {
			if o.Name == name {
				todo = append(todo, o.On...)
			}
		}
	}
	return false
}

// mountFlushes looks for barriers turned off. On XFS nobarrier has been a no-op since 4.10.
func (r *Report) mountFlushes(w *WriteCache) {
	fs, ok := r.fs().Get()
	if !ok || fs == "" || fs == "xfs" {
		return
	}
	if r.Mount == nil || !r.Mount.Super.Known() && !r.Mount.Options.Known() {
		w.Unread = append(w.Unread, "mount options")
		return
	}
	d := decision{r: r}
	for _, o := range []string{"barrier=0", "nobarrier", "barrier=none"} {
		if d.hasSuper(o) {
			w.Holes = append(w.Holes, fmt.Sprintf("%.20s is mounted with %s", fs, o))
		}
	}
}
