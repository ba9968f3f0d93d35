package hwprobe

import (
	"fmt"
	"slices"
)

// maxDepth bounds the walk down a stack: real ones are a handful deep.
const maxDepth = 32

// stack is the part of Report.Devices that the file stands on.
type stack struct {
	top    *Device
	order  []*Device // every device once, from the top down
	leaves []*Device
	// problem says why the stack cannot be a real one (a cycle, a device that is not listed).
	problem string
	// holes name what could not be read of the stack's shape: below them may be anything.
	holes []string
}

type walker struct {
	byName map[string]*Device
	state  map[string]int // 0 unseen, 1 on the way down, 2 done
	s      *stack
}

// stack walks from Top down. It is called on captures of any origin: the walk ends on cycles,
// missing devices and absurd depth, and says so.
func (r *Report) stack() *stack {
	s := new(stack)
	if r.Top == "" {
		s.holes = append(s.holes, "no block device beneath it could be found")
		return s
	}
	w := walker{byName: make(map[string]*Device, len(r.Devices)), state: map[string]int{}, s: s}
	for i := range r.Devices {
		w.byName[r.Devices[i].Name] = &r.Devices[i]
	}
	s.top = w.byName[r.Top]
	w.down(r.Top, 0)
	return s
}

func (w *walker) down(name string, depth int) {
	switch {
	case w.s.problem != "" || w.state[name] == 2:
		return
	case w.state[name] == 1:
		w.s.problem = fmt.Sprintf("the stack has a cycle at %s", name)
		return
	case depth > maxDepth:
		w.s.problem = fmt.Sprintf("the stack is more than %d devices deep", maxDepth)
		return
	}
	d := w.byName[name]
	if d == nil {
		w.s.problem = fmt.Sprintf("device %s is in the stack but nothing was read about it", name)
		return
	}
	w.state[name] = 1
	w.s.order = append(w.s.order, d)
	for _, below := range d.On {
		w.down(below, depth+1)
	}
	w.state[name] = 2
	switch {
	case d.standsOnOthers() && len(d.On) == 0:
		w.s.holes = append(w.s.holes, fmt.Sprintf("what %s stands on could not be read", name))
	case !d.standsOnOthers() && len(d.On) > 0:
		w.s.problem = fmt.Sprintf("%s is a %s, which cannot stand on other devices", name, d.Kind)
	case len(d.On) == 0:
		w.s.leaves = append(w.s.leaves, d)
	}
}

func (d *Device) standsOnOthers() bool {
	switch d.Kind {
	case KindPartition, KindDM, KindMD, KindLoop, KindBcache, KindNVMeMultipath:
		return true
	}
	return false
}

func (d *Device) isNVMe() bool { return d.Kind == KindNVMe || d.Kind == KindNVMePath }

// device is the device whose queue limits the file system sees: the top one, or for a partition
// the disk it is on.
func (s *stack) device() *Device {
	for _, d := range s.order {
		if d.Kind != KindPartition {
			return d
		}
	}
	return nil
}

// queue never returns nil: of a queue that was not read every datum is missing.
func (d *Device) queue() *Queue {
	if d == nil || d.Queue == nil {
		return &Queue{}
	}
	return d.Queue
}

// kernelQueue is the queue the kernel's limits for a leaf are read from: its own or, for a path
// without one, that of the multipath device it belongs to.
func (s *stack) kernelQueue(leaf *Device) *Queue {
	if leaf.Queue != nil || leaf.Kind != KindNVMePath {
		return leaf.queue()
	}
	for _, d := range s.order {
		if d.Kind == KindNVMeMultipath && slices.Contains(d.On, leaf.Name) {
			return d.queue()
		}
	}
	return leaf.queue()
}

// fs is the file system's name: known to be "" for a raw device.
func (r *Report) fs() Fact[string] {
	switch {
	case r.File.Kind == FileBlock:
		return Known("", "")
	case r.Mount == nil:
		return Missing[string]("its mount was not found", "/proc/self/mountinfo")
	}
	return r.Mount.FS
}

// lba is the largest logical block of the stack, and whether every queue in it was read.
func (s *stack) lba() (uint64, bool) {
	var lba uint64
	all := len(s.order) > 0
	for _, d := range s.order {
		if d.Kind == KindPartition || d.Kind == KindNVMePath && d.Queue == nil {
			continue // they use the queue of the disk, or of the multipath device
		}
		b, ok := d.queue().LogicalBlock.Get()
		if !ok && d.NVMe != nil {
			b, ok = d.NVMe.NS.LBA.Get()
		}
		all = all && ok
		lba = max(lba, b)
	}
	return lba, all
}
