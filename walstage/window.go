package walstage

import (
	"errors"
	"fmt"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// errShort is a file that ends before the bytes asked for. It is damage, not a failed read: a file
// can be cut by a crash that lost its size.
var errShort = fmt.Errorf("%w: the segment file ends here", errDamaged)

// readAhead is what a sequential reader fetches at once, in readPieces requests side by side: enough
// to keep a drive busy.
const (
	readAhead  = 2 << 20
	readPieces = 4
)

// window reads a segment through one growing, aligned buffer. Bytes handed out stay valid until the
// next call. It never reads more than it is asked for plus ahead, nor past the file's end.
type window struct {
	o     *Options
	alloc func(n, align int) []byte
	ahead int64
	// until, unless 0, is how far the log is durable: nothing behind it is read ahead, because a
	// live log is still going to write it.
	until page.LSN

	seg  *segment
	buf  []byte
	off  int64 // buf[:n] holds the segment's bytes [off, off+n)
	n    int64
	ops  [readPieces]ring.Op
	done chan *ring.Op
}

func newWindow(o *Options, ahead int64) *window {
	return &window{o: o, alloc: aligned.Alloc, ahead: ahead, done: make(chan *ring.Op, readPieces)}
}

// keptBuffer is the most that a running log keeps of it.
const keptBuffer = 256 << 10

// borrow lends a window the buffer of the last one that gave it back: an open reads through the log
// a few times.
func (s *segments) borrow(w *window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		w.alloc = w.o.Alloc
	}
	w.buf, s.buffer = s.buffer, nil
}

// giveBack takes a window's buffer, of which nothing is used any more.
func (s *segments) giveBack(w *window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(w.buf) > len(s.buffer) && (!s.running || len(w.buf) <= keptBuffer) {
		s.buffer = w.buf
	}
	w.seg, w.buf, w.n = nil, nil, 0
}

// run says that the open is over: its memory has an end, that of a running log has not.
func (s *segments) run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running = true; len(s.buffer) > keptBuffer {
		s.buffer = nil
	}
}

// bytes returns n bytes of s from off; both are multiples of the block.
func (w *window) bytes(s *segment, off, n int64) ([]byte, error) {
	if off < 0 || n <= 0 || off+n > s.readable() {
		return nil, errShort
	}
	if b := s.patch[off]; int64(len(b)) >= n {
		return b[:n], nil
	}
	if w.seg == s && off >= w.off && off+n <= w.off+w.n {
		return w.buf[off-w.off:][:n], nil
	}
	want := min(max(n, w.ahead), s.readable()-off)
	if w.until != 0 && w.until < s.end() {
		want = max(n, min(want, roundUp(s.off(w.until), int64(w.o.Block))-off))
	}
	w.slide(s, off, want)
	if err := w.read(w.n, want); err != nil && want > n {
		// Something ahead failed. Only what was asked for matters (I10).
		w.n = min(w.n, n)
		want = n
		err = w.read(w.n, n)
		if err != nil {
			w.n = 0
			return nil, err
		}
	} else if err != nil {
		w.n = 0
		return nil, err
	}
	w.n = want
	return w.buf[:n], nil
}

// slide makes room for want bytes from off and keeps what is there already.
func (w *window) slide(s *segment, off, want int64) {
	keep := []byte(nil)
	if w.seg == s && off >= w.off && off < w.off+w.n {
		keep = w.buf[off-w.off : w.n]
	}
	if int64(len(w.buf)) < want {
		grown := w.alloc(int(want), w.o.Block)
		copy(grown, keep)
		w.buf = grown
	} else {
		copy(w.buf, keep)
	}
	w.seg, w.off, w.n = s, off, min(int64(len(keep)), want)
}

// read fills buf[from:to] from the file.
func (w *window) read(from, to int64) error {
	b := int64(w.o.Block)
	piece := max(roundUp((to-from+readPieces-1)/readPieces, b), 32*b)
	sent := 0
	for at := from; at < to; at += piece {
		op := &w.ops[sent]
		*op = ring.Op{Kind: ring.Read, File: w.seg.file, Off: w.off + at,
			Buf: w.buf[at:min(at+piece, to)], Done: w.done}
		sent++
	}
	if sent == 1 {
		return readError(w.seg, w.o.Ring.Do(&w.ops[0]), w.ops[0].Off)
	}
	for i := range sent {
		w.o.Ring.Submit(&w.ops[i])
	}
	var first error
	for range sent {
		op := <-w.done
		if op.Err != nil && first == nil {
			first = readError(w.seg, op.Err, op.Off)
		}
	}
	return first
}

func readError(s *segment, err error, off int64) error {
	if err == nil {
		return nil
	}
	return s.err("read", off, err)
}

// isDamage tells damage, which may be a torn tail, from a failed read, which never is (I10).
func isDamage(err error) bool { return errors.Is(err, errDamaged) }
