package super

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Copies is how many there are, Zone the bytes each has for itself: far enough apart that one
// damaged spot of a drive does not take two.
const (
	Copies = 4
	Zone   = 64 << 10
)

// FileBytes is the length of the file.
const FileBytes = Copies * Zone

// ErrTooFew is an engine directory with fewer than two valid copies of super.
var ErrTooFew = errors.New("fewer than two valid copies of super")

// ErrDisagree is two copies of one sequence with different contents.
var ErrDisagree = errors.New("copies of super with one sequence disagree")

// Store reads and writes the copies. Methods may not be called at the same time; the engine holds
// a mutex around them. They block on I/O.
type Store struct {
	ring    ring.Ring
	file    ring.File
	alloc   func(n, align int) []byte
	buf     []byte
	back    []byte         // what was written, read back; as long as it had to be so far
	seq     [Copies]uint64 // 0: invalid
	raw     [Copies][]byte // what Read found in the valid ones, without the zeros behind it
	zeros   [Copies]int    // from here on a zone is known to be zero on the medium; 0: not known
	align   int
	failed  error // of a Write: nobody knows what the copies hold
	mutants stages.Mutant
}

// NewStore works on an open, locked file of FileBytes. Its buffers come from alloc, zeroed.
func NewStore(r ring.Ring, f ring.File, alloc func(n, align int) []byte, align int, mutants stages.Mutant) *Store {
	align = max(align, 4096)
	return &Store{
		ring: r, file: f, alloc: alloc, buf: alloc(Zone, align), align: align, mutants: mutants,
	}
}

// CopyFault is what is wrong with one copy.
type CopyFault struct {
	Copy int
	Err  error
}

// Read returns the newest state, and what is wrong with the copies that are not valid. The caller
// has flushed the file before: what a read returns is no proof of durability (I8).
func (s *Store) Read(ctx context.Context) (*State, []CopyFault, error) {
	var best *State
	var bestSeq uint64
	var faults []CopyFault
	raw := map[uint64][]byte{}
	valid := 0
	var version error
	for i := range Copies {
		s.seq[i], s.raw[i], s.zeros[i] = 0, nil, 0
		op := ring.Op{Kind: ring.Read, File: s.file, Off: int64(i) * Zone, Buf: s.buf}
		if err := s.ring.Do(&op); err != nil {
			faults = append(faults, CopyFault{i, err})
			continue
		}
		st, seq, err := decode(s.buf)
		if err != nil {
			if errors.Is(err, ErrVersion) {
				version = err
			}
			faults = append(faults, CopyFault{i, err})
			continue
		}
		found := s.buf[:le.Uint32(s.buf[lengthAt:])] // what is behind it is zero: decode has looked
		if o, ok := raw[seq]; ok && !bytes.Equal(o, found) {
			return nil, faults, fmt.Errorf("%w: sequence %d, copy %d", ErrDisagree, seq, i)
		} else if !ok {
			raw[seq] = bytes.Clone(found)
		}
		s.seq[i], s.raw[i] = seq, raw[seq]
		valid++
		if seq > bestSeq {
			best, bestSeq = st, seq
		}
	}
	if valid < 2 {
		err := fmt.Errorf("%w: %d of %d", ErrTooFew, valid, Copies)
		for _, f := range faults {
			err = fmt.Errorf("%w; copy %d: %w", err, f.Copy, f.Err)
		}
		return best, faults, errors.Join(err, version)
	}
	return best, faults, ctx.Err()
}

// Rewrite writes the valid copies that Read found in place, byte for byte, and flushes them: what was
// read may be known to the page cache alone, after a flush that failed, and the pair that Write
// overwrites first may be the only one on the medium (I8). To be called between Read and Write.
func (s *Store) Rewrite() error {
	for i := range Copies {
		if s.seq[i] == 0 {
			continue
		}
		clear(s.buf[copy(s.buf, s.raw[i]):])
		op := ring.Op{Kind: ring.Write, File: s.file, Off: int64(i) * Zone, Buf: s.buf}
		if err := s.ring.Do(&op); err != nil {
			return err
		}
	}
	if err := s.Flush(); err != nil {
		return err
	}
	for i := range Copies {
		if s.seq[i] != 0 {
			s.zeros[i] = len(s.raw[i]) // and not before: they were only read
			s.raw[i] = nil
		}
	}
	return nil
}

// Write makes st the newest state and durable. On an error nothing is known of the copies: the
// engine must not go on, and the Store refuses to (I5).
func (s *Store) Write(st *State) error {
	if s.failed != nil {
		return s.failed
	}
	var last uint64
	order := []int{0, 1, 2, 3}
	for _, q := range s.seq {
		last = max(last, q)
	}
	sort.SliceStable(order, func(i, j int) bool { return s.seq[order[i]] < s.seq[order[j]] })
	b, err := encode(st, last+1, Zone)
	if err != nil {
		return err
	}
	copy(s.buf, b)
	clear(s.buf[len(b):])
	pairs := [][]int{order[:2], order[2:]}
	if s.mutants.Has(stages.SuperAllAtOnce) {
		pairs = [][]int{order}
	}
	for _, pair := range pairs {
		if err := s.writePair(pair, last+1, len(b)); err != nil {
			s.failed = fmt.Errorf("super, sequence %d: %w", last+1, err)
			return s.failed
		}
	}
	return nil
}

// writePair writes the n bytes in buf to some copies, and as many of the zeros behind them as the
// zone is not known to have.
func (s *Store) writePair(pair []int, seq uint64, n int) error {
	var size [Copies]int
	for _, i := range pair {
		size[i] = Zone
		if s.zeros[i] > 0 {
			size[i] = (max(s.zeros[i], n) + s.align - 1) / s.align * s.align
		}
		s.seq[i], s.zeros[i] = 0, 0
		op := ring.Op{Kind: ring.Write, File: s.file, Off: int64(i) * Zone, Buf: s.buf[:size[i]]}
		if err := s.ring.Do(&op); err != nil {
			return err
		}
	}
	if err := s.Flush(); err != nil {
		return err
	}
	for _, i := range pair {
		if len(s.back) < size[i] {
			s.back = s.alloc(size[i], s.align)
		}
		op := ring.Op{Kind: ring.Read, File: s.file, Off: int64(i) * Zone, Buf: s.back[:size[i]]}
		if err := s.ring.Do(&op); err != nil {
			return err
		}
		if !bytes.Equal(s.back[:size[i]], s.buf[:size[i]]) {
			return fmt.Errorf("copy %d reads back differently from what was written", i)
		}
		s.seq[i], s.zeros[i] = seq, n
	}
	return nil
}

// Flush makes what has been written so far durable.
func (s *Store) Flush() error {
	return s.ring.Do(&ring.Op{Kind: ring.DataSync, File: s.file})
}

// Valid is the number of copies known to be valid.
func (s *Store) Valid() int {
	n := 0
	for _, q := range s.seq {
		if q != 0 {
			n++
		}
	}
	return n
}
