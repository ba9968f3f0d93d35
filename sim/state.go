package sim

import (
	"bytes"
	"maps"
	"math"
	"slices"
)

type nodeID uint32

const rootID nodeID = 1

// state is all there is to a disk: contents, what of them is durable, what is on its way. It
// changes only by apply, so that replaying a log gives the same state again.
type state struct {
	unit        int64 // what tears: the larger of sector and physical block
	deviceFlush bool

	nodes   map[nodeID]*node
	next    nodeID
	stamp   uint64 // orders submissions and completions
	names   []nameOp
	flushes map[uint64]flush
	handles map[uintptr]handle
}

// node is a file or a directory.
type node struct {
	dir      bool
	cur, dur image    // what reads see; what a power cut cannot take
	pend     []*write // not durable, in order of submission
	sizes    []sizeOp // not durable, in order
	cdir     entries  // of a directory, current
	ddir     entries  // and durable
	bad      []span   // unreadable until rewritten
}

// write is one write that is not, or not everywhere, durable.
type write struct {
	op     uint64
	fd     uintptr
	off    int64
	data   []byte // never changes
	sub    uint64 // stamps; done is 0 in flight
	done   uint64
	dsync  bool
	atomic bool
	lost   bool   // failed, or left clean by a failed flush: no flush covers it
	live   []span // where it is still undecided
}

func (w *write) span() span { return span{w.off, w.off + int64(len(w.data))} }

// at returns the write's bytes of a span inside it.
func (w *write) at(s span) []byte { return w.data[s.off-w.off : s.end-w.off] }

// sizeOp is a change of size.
type sizeOp struct {
	stamp uint64
	size  int64
	grow  bool
	lost  bool
}

// flush is one in flight. It covers what had completed when it was submitted (I1).
type flush struct {
	node nodeID
	upTo uint64
	sync bool
}

// handle is one open file description.
type handle struct {
	node   nodeID
	lock   lockKind
	flight int  // writes in flight through it
	closed bool // goes away, lock included, when the last of them has landed
}

type lockKind uint8

const (
	unlocked lockKind = iota
	shared
	exclusive
)

func newState(unit int64, deviceFlush bool) *state {
	root := &node{dir: true, cdir: entries{}, ddir: entries{}}
	return &state{
		unit:        unit,
		deviceFlush: deviceFlush,
		nodes:       map[nodeID]*node{rootID: root},
		next:        rootID + 1,
		flushes:     map[uint64]flush{},
		handles:     map[uintptr]handle{},
	}
}

// fork copies a state. It only reads a state whose images are frozen (see image.fork).
func (s *state) fork() *state {
	f := *s
	f.names = slices.Clone(s.names)
	f.flushes = maps.Clone(s.flushes)
	f.handles = maps.Clone(s.handles)
	f.nodes = make(map[nodeID]*node, len(s.nodes))
	for id, n := range s.nodes {
		c := *n
		c.cur, c.dur = n.cur.fork(), n.dur.fork()
		c.pend = make([]*write, len(n.pend))
		for i, w := range n.pend {
			copied := *w
			c.pend[i] = &copied
		}
		c.sizes = slices.Clone(n.sizes)
		c.cdir, c.ddir = maps.Clone(n.cdir), maps.Clone(n.ddir)
		f.nodes[id] = &c
	}
	return &f
}

// apply makes one logged event happen.
func (s *state) apply(e *Entry) {
	s.stamp++
	n := s.nodes[e.node]
	switch e.Kind {
	case WriteSubmit:
		s.submitWrite(n, e)
	case WriteDone:
		s.finishWrite(n, e)
	case WriteFail:
		s.failWrite(n, e)
	case FlushSubmit:
		s.flushes[e.Op] = flush{e.node, s.stamp, e.sync}
	case FlushDone:
		s.finishFlush(e)
	case FlushFail:
		s.failFlush(e)
	case SizeSet:
		s.setSize(n, e.Off)
	case Create, Mkdir, Rename, Remove, SyncDir, SyncDirFail:
		s.applyName(e)
	case Open:
		s.handles[e.fd] = handle{node: e.node}
	case Lock:
		h := s.handles[e.fd]
		h.lock = shared
		if e.sync {
			h.lock = exclusive
		}
		s.handles[e.fd] = h
	case Close:
		h := s.handles[e.fd]
		h.closed = true
		s.putHandle(e.fd, h)
	case Rot:
		n.rot(e.Off, e.data)
	case Unreadable:
		n.bad = append(slices.Clip(n.bad), span{e.Off, e.Off + int64(e.Len)})
	}
}

func (s *state) putHandle(fd uintptr, h handle) {
	if h.closed && h.flight == 0 {
		delete(s.handles, fd)
		return
	}
	s.handles[fd] = h
}

func (s *state) submitWrite(n *node, e *Entry) {
	w := &write{op: e.Op, fd: e.fd, off: e.Off, data: e.data, sub: s.stamp,
		dsync: e.dsync, atomic: e.atomic}
	w.live = []span{w.span()}
	n.pend = append(n.pend, w)
	h := s.handles[e.fd]
	h.flight++
	s.handles[e.fd] = h
}

// complete finds a write in flight and takes it out of flight.
func (s *state) complete(n *node, e *Entry) *write {
	i := slices.IndexFunc(n.pend, func(w *write) bool { return w.op == e.Op && w.done == 0 })
	w := n.pend[i]
	w.done = s.stamp
	if h, ok := s.handles[w.fd]; ok {
		h.flight--
		s.putHandle(w.fd, h)
	}
	return w
}

func (s *state) finishWrite(n *node, e *Entry) {
	w := s.complete(n, e)
	n.land(w.span(), w.data)
	if end := w.span().end; end > n.cur.size {
		n.cur.size = end
		n.sizes = append(n.sizes, sizeOp{stamp: s.stamp, size: end, grow: true})
	}
	if w.dsync {
		n.makeDurable([]*write{w}, w.done, false)
	}
}

// failWrite leaves the first e.Len bytes readable and the whole undecided.
func (s *state) failWrite(n *node, e *Entry) {
	w := s.complete(n, e)
	w.lost = true
	if sp := (span{w.off, w.off + int64(e.Len)}); e.Len > 0 && sp.end <= n.cur.size {
		n.land(sp, w.data[:e.Len])
	}
}

// land puts bytes into the cache, which also heals unreadable sectors.
func (n *node) land(sp span, p []byte) {
	n.cur.putAt(p, sp.off) // of a recorded write, which never changes
	n.bad = subtract(n.bad, sp)
}

// rot flips bits everywhere: the sector is wrong however it is read, and when what the cache holds of it
// is flushed. Only what is still in flight will heal it.
func (n *node) rot(off int64, mask []byte) {
	for i, w := range n.pend {
		from, to := max(off, w.off), min(off+int64(len(mask)), w.span().end)
		if w.done == 0 || from >= to {
			continue
		}
		x := *w // states share it, and the log its bytes
		x.data = bytes.Clone(w.data)
		for at := from; at < to; at++ {
			x.data[at-w.off] ^= mask[at-off]
		}
		n.pend = slices.Clone(n.pend)
		n.pend[i] = &x
	}
	for _, m := range []*image{&n.cur, &n.dur} {
		b := make([]byte, len(mask))
		m.readAt(b, off)
		for i := range b {
			b[i] ^= mask[i]
		}
		m.writeAt(b, off)
	}
}

func (s *state) setSize(n *node, size int64) {
	grow := size >= n.cur.size
	if !grow {
		n.cur.zeroFrom(size)
	}
	n.cur.size = size
	n.sizes = append(n.sizes, sizeOp{stamp: s.stamp, size: size, grow: grow})
}

func (s *state) finishFlush(e *Entry) {
	f := s.flushes[e.Op]
	delete(s.flushes, e.Op)
	s.covered(f, func(n *node) {
		var covered []*write
		for _, w := range n.pend {
			if w.covered(f.upTo) {
				covered = append(covered, w)
			}
		}
		n.makeDurable(covered, f.upTo, f.sync)
	})
}

// failFlush keeps what it should have covered readable, and out of the reach of later flushes (I5).
func (s *state) failFlush(e *Entry) {
	f := s.flushes[e.Op]
	delete(s.flushes, e.Op)
	s.covered(f, func(n *node) {
		for _, w := range n.pend {
			w.lost = w.lost || w.covered(f.upTo)
		}
		for i := range n.sizes {
			n.sizes[i].lost = n.sizes[i].lost || n.sizes[i].stamp <= f.upTo
		}
	})
}

// covered visits the files a flush is about.
func (s *state) covered(f flush, visit func(*node)) {
	if !s.deviceFlush {
		if n := s.nodes[f.node]; n != nil {
			visit(n)
		}
		return
	}
	for _, n := range s.nodes {
		visit(n)
	}
}

// covered reports whether a flush submitted at upTo may make w durable.
func (w *write) covered(upTo uint64) bool { return w.done != 0 && w.done <= upTo && !w.lost }

// settle makes writes durable: the newest bytes go to the medium, and older versions that had
// completed before, lost ones too, can no longer come back over them. Versions still in flight can.
func (n *node) settle(ws []*write) {
	if len(ws) == 0 {
		return
	}
	slices.SortFunc(ws, func(a, b *write) int { return int(int64(a.done - b.done)) })
	for _, w := range ws {
		for _, sp := range w.live {
			n.dur.putAt(w.at(sp), sp.off)
		}
	}
	bulk := len(ws) > 1
	for _, w := range ws {
		cut := w.live
		w.live = nil
		for _, v := range n.pend {
			// In a flush all that completed before is in ws, except what was lost.
			if v.done == 0 || v.done > w.done || bulk && !v.lost {
				continue
			}
			for _, sp := range cut {
				v.live = subtract(v.live, sp)
			}
		}
	}
	n.pend = slices.DeleteFunc(n.pend, func(w *write) bool { return len(w.live) == 0 })
}

// makeDurable makes writes and size changes up to a stamp durable, in their order: a truncation takes
// what was written before it, not what was written after. Without sync (fdatasync, DSync) a size
// change that is not needed to read data back, a shrink after the last growth, stays undecided.
func (n *node) makeDurable(ws []*write, upTo uint64, sync bool) {
	last := -1
	for i, o := range n.sizes {
		if o.stamp <= upTo && !o.lost && (o.grow || sync) {
			last = i
		}
	}
	for i, o := range n.sizes[:last+1] {
		if !o.grow {
			var before, after []*write
			for _, w := range ws {
				if w.done <= o.stamp {
					before = append(before, w)
				} else {
					after = append(after, w)
				}
			}
			n.settle(before)
			ws = after
		}
		n.dur.applySizes(n.sizes[i : i+1])
		if !o.grow {
			n.cutPending(o)
		}
	}
	if last >= 0 {
		n.sizes = slices.Clone(n.sizes[last+1:])
	}
	n.settle(ws)
}

// cutPending forgets what was written past a truncation before it, covered by a flush or lost: the
// file system has given the blocks away.
func (n *node) cutPending(o sizeOp) {
	for _, w := range n.pend {
		if w.done != 0 && w.done <= o.stamp {
			w.live = subtract(w.live, span{o.size, math.MaxInt64})
		}
	}
	n.pend = slices.DeleteFunc(n.pend, func(w *write) bool { return len(w.live) == 0 })
}

// applySizes makes size changes happen to an image, in order.
func (m *image) applySizes(ops []sizeOp) {
	for _, o := range ops {
		if !o.grow {
			m.zeroFrom(o.size)
		}
		m.size = o.size
	}
}
