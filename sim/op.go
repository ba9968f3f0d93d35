package sim

import (
	"bytes"
	"io"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/untorn/untorn/ring"
)

// pending is one op between submission and completion.
type pending struct {
	op    *ring.Op
	f     *file
	id    uint64
	off   int64  // where it really goes
	data  []byte // of a write: what was in the buffers at submission, up to where it is cut short
	watch bool   // the buffers are to hold data until it completes
	fault Fault
	err   error         // refused at submission: nothing happened
	delay time.Duration // until completion
	done  func()        // completes it, for what is held

	cleared uint64 // Disk.cleared when the hooks were asked
}

// submit checks an op, takes it in, and says how it will end.
func (d *Disk) submit(op *ring.Op, regions [][]byte) *pending {
	p, hooks := d.take(op)
	for _, h := range hooks { // not under the lock: a hook may use the disk
		p.fault = p.fault.merge(h(op))
	}
	p.delay = p.fault.Stall
	if d.cfg.Latency != nil {
		p.delay += d.cfg.Latency(op)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Submitted++
	if d.off {
		p.err = ErrOff
		return p
	}
	d.tick()
	if p.err = d.check(p, regions); p.err != nil {
		return p
	}
	p.id, p.off = d.nextOp, d.misdirect(p)
	d.nextOp++
	d.noticeRaces(p)
	d.flight = append(d.flight, p)
	switch op.Kind {
	case ring.Write:
		d.submitWrite(p)
	case ring.DataSync, ring.Sync:
		p.fault.Lie = p.fault.Lie || d.cfg.FlushesLie
		if p.fault.Lie {
			d.record(d.entry(p, Note, ": a flush that did nothing"))
		} else {
			d.record(d.entry(p, FlushSubmit, ""))
		}
	}
	return p
}

// take returns a pending for an op, and the hooks.
func (d *Disk) take(op *ring.Op) (*pending, []func(*ring.Op) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var p *pending
	if n := len(d.spare); n > 0 {
		p, d.spare = d.spare[n-1], d.spare[:n-1]
	} else {
		p = new(pending)
	}
	p.op, p.watch, p.cleared = op, true, d.cleared
	return p, d.hooks
}

// misdirect says where an op really goes: astray, but never past the end of its file.
func (d *Disk) misdirect(p *pending) int64 {
	off, end := p.op.Off, d.st.nodes[p.f.node].cur.size-int64(p.op.Len())
	for _, to := range []int64{off + p.fault.Misdirect, off - p.fault.Misdirect} {
		if to >= 0 && to <= end {
			return to
		}
	}
	return off
}

// check refuses what a kernel would refuse.
func (d *Disk) check(p *pending, regions [][]byte) error {
	op := p.op
	f := d.files[op.File.Fd()]
	if other, ok := op.File.(*file); f == nil || ok && other != f { // also: of another disk
		return syscall.EBADF
	}
	p.f = f
	if op.Kind == ring.DataSync || op.Kind == ring.Sync {
		return nil
	}
	n := op.Len()
	switch {
	case op.Kind != ring.Read && op.Kind != ring.Write, op.Off < 0, len(op.Vec) > ring.MaxVec:
		return syscall.EINVAL
	case op.Kind == ring.Write && f.readOnly:
		return syscall.EBADF
	}
	a := f.Align()
	if op.Off%int64(a.Off) != 0 || n%a.Off != 0 {
		return syscall.EINVAL
	}
	for _, b := range pieces(op) {
		if len(b)%a.Off != 0 || len(b) > 0 && uintptr(unsafe.Pointer(&b[0]))%uintptr(a.Mem) != 0 {
			return syscall.EINVAL
		}
	}
	if op.Fixed != 0 && (op.Vec != nil || op.Fixed > len(regions) ||
		!inside(op.Buf, regions[op.Fixed-1])) {
		return syscall.EFAULT
	}
	if op.Kind == ring.Read {
		return nil
	}
	if op.Flags&ring.Atomic != 0 {
		switch {
		case d.cfg.Atomic == 0:
			return syscall.EOPNOTSUPP
		case !f.direct || n > d.cfg.Atomic || n&(n-1) != 0 || op.Off%int64(max(n, 1)) != 0:
			return syscall.EINVAL
		}
	}
	if !d.room(op.Off + int64(n) - d.st.nodes[f.node].cur.size) {
		return syscall.ENOSPC
	}
	return nil
}

func pieces(op *ring.Op) [][]byte {
	if op.Vec != nil {
		return op.Vec
	}
	return [][]byte{op.Buf}
}

// inside reports whether b lies in region.
func inside(b, region []byte) bool {
	if len(b) == 0 || len(region) == 0 {
		return len(b) == 0
	}
	at, from := uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&region[0]))
	return at >= from && at+uintptr(len(b)) <= from+uintptr(len(region))
}

func (d *Disk) submitWrite(p *pending) {
	p.data = d.bytesOf(p.op)
	if s := p.fault.Short; s > 0 && s < len(p.data) {
		d.stats.Resubmitted++
		if d.cfg.LinkedShortWrite {
			p.data, p.watch = p.data[:s:s], false
		}
	}
	switch {
	case p.fault.Lost:
		d.record(d.entry(p, Note, ": a write that was lost"))
		return
	case len(p.data) == 0:
		return
	}
	d.record(d.entry(p, WriteSubmit, ""))
}

// blank is what most writes of zeros are kept as: an engine zeroes more than it writes.
var blank [1 << 20]byte

// isBlank reports whether p is known to be zeros: a part of blank.
func isBlank(p []byte) bool { return inside(p, blank[:]) }

// bytesOf returns what an op writes, for good.
func (d *Disk) bytesOf(op *ring.Op) []byte {
	n := op.Len()
	switch {
	case op.Vec != nil:
	case n <= len(blank) && bytes.Equal(op.Buf, blank[:n]):
		return blank[:n:n]
	case bytes.Equal(op.Buf, d.written): // copies of one thing
		return d.written
	}
	d.written = bytes.Join(pieces(op), nil)
	return d.written
}

func (d *Disk) entry(p *pending, kind EventKind, note string) Entry {
	e := Entry{Kind: kind, Op: p.id, File: p.f.path, Off: p.off, Len: len(p.data),
		Note: note, node: p.f.node, fd: p.f.fd, sync: p.op.Kind == ring.Sync}
	if p.op.Kind == ring.Write {
		e.data = p.data
		e.dsync = p.op.Flags&ring.DSync != 0 && !d.cfg.FlushesLie
		e.atomic = p.op.Flags&ring.Atomic != 0
	}
	return e
}

// noticeRaces looks for ops in flight that touch the same bytes (I9).
func (d *Disk) noticeRaces(p *pending) {
	if p.op.Kind != ring.Read && p.op.Kind != ring.Write {
		return
	}
	mine := span{p.off, p.off + int64(p.op.Len())}
	for _, q := range d.flight {
		if q.f.node != p.f.node || q.op.Kind > ring.Write ||
			p.op.Kind == ring.Read && q.op.Kind == ring.Read {
			continue
		}
		if !mine.overlaps(span{q.off, q.off + int64(q.op.Len())}) {
			continue
		}
		what := "read races write"
		if p.op.Kind == q.op.Kind {
			what = "write races write"
		}
		d.problem(what, p)
	}
}

// maxProblems keeps a broken workload from filling the memory with its mistakes.
const maxProblems = 1000

func (d *Disk) problem(what string, p *pending) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems,
			Problem{What: what, File: p.f.path, Off: p.off, Len: p.op.Len()})
	}
}

// complete ends an op and returns its outcome. p is not to be used afterwards.
func (d *Disk) complete(p *pending) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Completed++
	if i := slices.Index(d.flight, p); i >= 0 {
		d.flight = slices.Delete(d.flight, i, i+1)
	}
	err := d.outcome(p)
	if err != nil && err != io.ErrUnexpectedEOF {
		err = &ring.Error{Kind: p.op.Kind, File: p.op.File.Name(), Off: p.op.Off, Len: p.op.Len(), Err: err}
	}
	*p = pending{} // nobody has it any more
	d.spare = append(d.spare, p)
	return err
}

func (d *Disk) outcome(p *pending) error {
	err := p.err
	switch {
	case err != nil:
	case d.off:
		err = ErrOff
	case p.op.Kind == ring.Write:
		err = d.completeWrite(p)
	case p.op.Kind == ring.Read:
		err = d.completeRead(p)
	default:
		err = d.completeFlush(p)
	}
	return err
}

func (d *Disk) completeWrite(p *pending) error {
	if p.watch && !same(p.op, p.data) {
		d.problem("buffer changed in flight", p)
	}
	e := d.entry(p, WriteDone, "")
	e.data = nil // the submission has it
	if p.fault.Err != nil {
		e.Kind, e.Len = WriteFail, min(p.fault.Land, len(p.data))
	}
	if !p.fault.Lost && len(p.data) > 0 {
		d.record(e)
	}
	if p.fault.Err == nil {
		d.stats.BytesWritten += uint64(p.op.Len())
	}
	return p.fault.Err
}

// same reports whether an op's buffers still hold data.
func same(op *ring.Op, data []byte) bool {
	for _, b := range pieces(op) {
		if len(data) < len(b) || !bytes.Equal(b, data[:len(b)]) {
			return false
		}
		data = data[len(b):]
	}
	return len(data) == 0
}

func (d *Disk) completeFlush(p *pending) error {
	switch {
	case p.fault.Lie:
	case p.fault.Err != nil:
		d.record(d.entry(p, FlushFail, ""))
	default:
		d.record(d.entry(p, FlushDone, ""))
	}
	if p.fault.Err == nil {
		d.stats.Flushes++
	}
	return p.fault.Err
}

func (d *Disk) completeRead(p *pending) error {
	if p.fault.Err != nil {
		return p.fault.Err
	}
	n := d.st.nodes[p.f.node]
	want := span{p.off, p.off + int64(p.op.Len())}
	if p.fault.Rot && want.off < min(want.end, n.cur.size) {
		at := want.off + d.rng.Int64N(min(want.end, n.cur.size)-want.off)
		d.record(Entry{Kind: Rot, File: p.f.path, node: p.f.node, Off: at, Len: 1,
			data: []byte{1 << d.rng.IntN(8)}})
	}
	for _, bad := range n.bad {
		if bad.overlaps(want) {
			return syscall.EIO
		}
	}
	off := p.off
	for _, b := range pieces(p.op) {
		got := max(0, min(int64(len(b)), n.cur.size-off))
		n.cur.readAt(b[:got], off)
		d.stats.BytesRead += uint64(got)
		if got < int64(len(b)) {
			return io.ErrUnexpectedEOF
		}
		off += got
	}
	return nil
}
