package walstage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

const segmentSuffix = ".wal"

func segmentName(seq uint64) string { return fmt.Sprintf("%016x%s", seq, segmentSuffix) }

// segmentSeq is the inverse of segmentName; anything but the canonical name is no segment.
func segmentSeq(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(hex, 16, 64)
	return seq, err == nil && seq != 0 && segmentName(seq) == name
}

// segment is one open segment file. seq is its name's; first, length and epoch are its header's and
// hold only when formatted is set: name and header agree.
type segment struct {
	file fsys.File
	name string
	seq  uint64
	size int64 // of the file

	formatted bool
	why       error // why it is not formatted
	first     page.LSN
	length    int64
	epoch     uint64

	// patch holds groups that came from elsewhere and are not on the disk yet, by offset.
	patch map[int64][]byte

	// Guarded by segments.mu.
	refs  int     // readers
	index []int64 // offsets of groups, indexStep or more apart, ascending
}

// indexStep is how far apart the entries of a segment's index are: what a ReadAt may have to walk.
const indexStep = 256 << 10

func (s *segment) end() page.LSN           { return s.first + page.LSN(s.length) }
func (s *segment) lsn(off int64) page.LSN  { return s.first + page.LSN(off) }
func (s *segment) off(lsn page.LSN) int64  { return int64(lsn - s.first) }
func (s *segment) holds(lsn page.LSN) bool { return s.first <= lsn && lsn < s.end() }

// readable is how far the file may be read. Of a segment without a header any byte may be evidence.
func (s *segment) readable() int64 {
	if !s.formatted {
		return s.size
	}
	return min(s.size, s.length)
}

func (s *segment) err(op string, off int64, err error) error {
	return &Error{Op: op, File: s.name, LSN: s.lsn(off), Err: err}
}

// segments is the set of a log's segment files, shared between the appender, the supplier of new
// segments and readers. A file is recycled or closed only while no reader holds it.
type segments struct {
	mu     sync.Mutex
	list   []*segment // ascending by seq
	closed bool       // the files are closed, or about to be
	unused sync.Cond  // signalled when a segment's last reader lets go

	running bool   // the log has started
	buffer  []byte // of a window, for the next one that reads through the log

	cuts atomic.Pointer[[]Cut] // what readers pass over
}

func newSegments(list []*segment) *segments {
	s := &segments{list: list}
	s.unused.L = &s.mu
	return s
}

// acquire returns the formatted segment that holds lsn, kept open until release, or nil.
func (s *segments) acquire(lsn page.LSN) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	for _, g := range s.list {
		if g.formatted && g.holds(lsn) {
			g.refs++
			return g
		}
	}
	return nil
}

// begin returns where the log begins, 0 if there is no segment.
func (s *segments) begin() page.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.list {
		if g.formatted {
			return g.first
		}
	}
	return 0
}

// missing says why acquire returned nil.
func (s *segments) missing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return ErrTruncated
}

func (s *segments) release(g *segment) {
	if g == nil {
		return
	}
	s.mu.Lock()
	if g.refs--; g.refs == 0 {
		s.unused.Broadcast()
	}
	s.mu.Unlock()
}

// note adds a group to its segment's index.
func (s *segments) note(g *segment, off int64) {
	s.mu.Lock()
	if n := len(g.index); n == 0 || off >= g.index[n-1]+indexStep {
		g.index = append(g.index, off)
	}
	s.mu.Unlock()
}

// rejoin adds the first whole group behind damage: readers begin there, nobody can walk to it.
func (s *segments) rejoin(g *segment, off int64) {
	s.mu.Lock()
	if n := len(g.index); n == 0 || off > g.index[n-1] {
		g.index = append(g.index, off)
	}
	s.mu.Unlock()
}

// near returns the last indexed group at or before off, or the first group's place.
func (s *segments) near(g *segment, off int64, block int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := int64(block)
	for _, o := range g.index {
		if o > off {
			break
		}
		at = o
	}
	return at
}

// openSegment opens and locks one segment file and reads nothing.
func openSegment(ctx context.Context, o *Options, name string, readOnly bool) (*segment, error) {
	seq, _ := segmentSeq(name)
	path := filepath.Join(o.Dir, name)
	fail := func(op string, err error) error { return &Error{Op: op, File: path, Err: err} }
	f, err := o.FS.Open(path, fsys.OpenFlags{ReadOnly: readOnly, Direct: !o.Buffered})
	if err != nil {
		return nil, fail("open", err)
	}
	if err := lockFile(ctx, f, !readOnly, o.LockWait); err != nil && !o.Mutants.Has(stages.ZombieWrites) {
		return nil, errors.Join(fail("lock", err), f.Close())
	}
	if b := f.Align().Block; b > o.Block && !o.Mutants.Has(stages.SubBlockGroup) {
		return nil, errors.Join(fail("open", fmt.Errorf("%w: %d, not %d", ErrBlock, b, o.Block)),
			f.Close())
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(fail("size", err), f.Close())
	}
	return &segment{file: f, name: name, seq: seq, size: size &^ int64(o.Block-1)}, nil
}

// lockFile retries for as long as a killed process's queued I/O may keep the file busy (I11).
func lockFile(ctx context.Context, f fsys.File, exclusive bool, wait time.Duration) error {
	var retry *time.Ticker
	for deadline := time.Now().Add(wait); ; {
		err := f.Lock(exclusive)
		if err == nil || !errors.Is(err, fsys.ErrLocked) || wait < 0 || time.Now().After(deadline) {
			return err
		}
		if retry == nil {
			retry = time.NewTicker(5 * time.Millisecond)
			defer retry.Stop()
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-retry.C:
		}
	}
}

// readHeader reads a segment's header. A header that is bad or disagrees with the name leaves the
// segment unformatted, with the reason in why; a failed read is an error.
func (s *segment) readHeader(o *Options, buf []byte) error {
	if s.size < int64(o.Block) {
		s.why = damaged("the file has %d bytes", s.size)
		return nil
	}
	op := ring.Op{Kind: ring.Read, File: s.file, Buf: buf[:o.Block]}
	if err := o.Ring.Do(&op); err != nil {
		return &Error{Op: "read segment header", File: s.name, Err: err}
	}
	h, err := decodeSegmentHeader(op.Buf)
	switch {
	case errors.Is(err, ErrVersion):
		return &Error{Op: "read segment header", File: s.name, Err: err}
	case err != nil:
		s.why = err
	case h.id != o.EngineID:
		return &Error{Op: "read segment header", File: s.name, Err: ErrForeign}
	case h.seq != s.seq:
		s.why = damaged("the name says segment %d, the header %d", s.seq, h.seq)
	case int(h.block) != max(o.Block, minBlock):
		return &Error{Op: "read segment header", File: s.name,
			Err: fmt.Errorf("%w: it was made with a block of %d, not %d", ErrBlock, h.block, o.Block)}
	default:
		s.formatted = true
		s.first, s.length, s.epoch = h.first, int64(h.length), h.epoch
	}
	return nil
}

// writeHeader makes s a formatted, empty segment: the header is durable when it returns. What it
// claims about the file (its length) has to be durable before.
func (s *segment) writeHeader(o *Options, buf []byte, first page.LSN, length int64,
	epoch uint64) error {
	h := segmentHeader{id: o.EngineID, block: uint32(max(o.Block, minBlock)), length: uint64(length), seq: s.seq,
		epoch: epoch, first: first}
	h.encode(buf[:o.Block])
	op := ring.Op{Kind: ring.Write, File: s.file, Buf: buf[:o.Block]}
	if err := o.Ring.Do(&op); err != nil {
		return &Error{Op: "write segment header", File: s.name, Err: err}
	}
	if err := s.flush(o, ring.Sync); err != nil {
		return err
	}
	s.first, s.length, s.epoch, s.formatted = first, length, epoch, true
	return nil
}

func (s *segment) flush(o *Options, kind ring.Kind) error {
	op := ring.Op{Kind: kind, File: s.file}
	if err := o.Ring.Do(&op); err != nil {
		return &Error{Op: "flush", File: s.name, Err: err}
	}
	return nil
}

// zero writes zeros over [from, to) and does not flush.
func (s *segment) zero(o *Options, zeros []byte, from, to int64) error {
	for from < to {
		n := min(to-from, int64(len(zeros)))
		op := ring.Op{Kind: ring.Write, File: s.file, Off: from, Buf: zeros[:n]}
		if err := o.Ring.Do(&op); err != nil {
			return &Error{Op: "zero", File: s.name, LSN: page.LSN(from), Err: err}
		}
		from += n
	}
	return nil
}

// createSegment makes a new segment file: locked before its first write (I11), preallocated and
// zeroed, so that a data flush later carries no metadata, and durable together with its directory
// entry when it returns. pace, unless nil, is asked before each piece that is zeroed; its error ends it.
// When there is no space, or pace has ended it, nothing is left behind.
func createSegment(ctx context.Context, o *Options, seq uint64, first page.LSN, epoch uint64,
	pace func(done, size int64) error) (_ *segment, err error) {
	s := &segment{name: segmentName(seq), seq: seq, size: o.SegmentBytes}
	path := filepath.Join(o.Dir, s.name)
	fail := func(op string, err error) error { return &Error{Op: op, File: path, Err: err} }
	f, err := o.FS.Open(path, fsys.OpenFlags{Create: true, Direct: !o.Buffered})
	if err != nil {
		return nil, fail("create", err)
	}
	s.file = f
	defer func() {
		if err == nil {
			return
		}
		err = errors.Join(err, f.Close())
		if noSpace(err) || errors.Is(err, ErrClosed) || errors.Is(err, errSpare) {
			err = errors.Join(err, o.FS.Remove(path))
		}
	}()
	if err := lockFile(ctx, f, true, o.LockWait); err != nil {
		return nil, fail("lock", err)
	}
	if b := f.Align().Block; b > o.Block && !o.Mutants.Has(stages.SubBlockGroup) {
		return nil, fail("create", fmt.Errorf("%w: %d, not %d", ErrBlock, b, o.Block))
	}
	if err := f.Preallocate(0, o.SegmentBytes); err != nil {
		return nil, fail("preallocate", err)
	}
	zeros := aligned.Zeros(int(min(zeroChunk, s.size)), o.Block)
	for done := int64(0); done < s.size; done += zeroChunk {
		if pace != nil {
			if err := pace(done, s.size); err != nil {
				return nil, fail("zero", err)
			}
		}
		if err := s.zero(o, zeros, done, min(done+zeroChunk, s.size)); err != nil {
			return nil, err
		}
	}
	if err := s.flush(o, ring.Sync); err != nil {
		return nil, err
	}
	if err := s.writeHeader(o, aligned.Alloc(o.Block, o.Block), first, o.SegmentBytes, epoch); err != nil {
		return nil, err
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return nil, fail("flush directory of", err)
	}
	return s, nil
}

// recycleSegment gives an old segment file a new life under a new name. Until the new header is
// durable, name and header disagree and the file counts as empty. When it fails the file is closed, and
// when there is no space it is removed: the next attempt may need its name (I5).
func recycleSegment(o *Options, old *segment, seq uint64, first page.LSN,
	epoch uint64) (_ *segment, err error) {
	s := &segment{file: old.file, name: segmentName(seq), seq: seq, size: old.size}
	from, to := filepath.Join(o.Dir, old.name), filepath.Join(o.Dir, s.name)
	path := from
	defer func() {
		if err == nil {
			return
		}
		err = errors.Join(err, s.file.Close())
		if noSpace(err) {
			err = errors.Join(err, o.FS.Remove(path))
		}
	}()
	if err := o.FS.Rename(from, to); err != nil {
		return nil, &Error{Op: "rename", File: from, Err: err}
	}
	path = to
	buf := aligned.Alloc(o.Block, o.Block)
	if err := s.writeHeader(o, buf, first, old.length, epoch); err != nil {
		return nil, err
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return nil, &Error{Op: "flush directory of", File: to, Err: err}
	}
	return s, nil
}

const zeroChunk = 256 << 10

// noSpace tells a full disk or quota from a failure (I5).
func noSpace(err error) bool {
	return errors.Is(err, fsys.ErrNoSpace) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EDQUOT)
}
