package untorn

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// sink writes a new file from its beginning to its end, through the page cache, in large writes. It
// is durable when finish returns.
type sink struct {
	ring ring.Ring
	file fsys.File
	buf  []byte
	n    int   // bytes of buf that wait
	off  int64 // of the file: where they go and what waits behind
}

const sinkBytes = 1 << 20

func newSink(r ring.Ring, f fsys.File) *sink {
	return &sink{ring: r, file: f, buf: aligned.Alloc(sinkBytes, 4096)}
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		k := copy(s.buf[s.n:], rest)
		s.n, s.off, rest = s.n+k, s.off+int64(k), rest[k:]
		if s.n == len(s.buf) {
			if err := s.empty(); err != nil {
				return len(p) - len(rest), err
			}
		}
	}
	return len(p), nil
}

func (s *sink) empty() error {
	if s.n == 0 {
		return nil
	}
	op := ring.Op{Kind: ring.Write, File: s.file, Off: s.off - int64(s.n), Buf: s.buf[:s.n]}
	s.n = 0
	return noSpace(s.ring.Do(&op))
}

// noSpace makes a full disk match ErrNoSpace, whoever found it.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errors.Join(ErrNoSpace, err)
	}
	return err
}

func (s *sink) zeros(n int64) error {
	z := make([]byte, min(n, 64<<10))
	for ; n > 0; n -= int64(len(z)) {
		z = z[:min(n, int64(len(z)))]
		if _, err := s.Write(z); err != nil {
			return err
		}
	}
	return nil
}

// writeAt overwrites something written before.
func (s *sink) writeAt(p []byte, off int64) error {
	if err := s.empty(); err != nil {
		return err
	}
	b := aligned.Alloc(len(p), 4096)
	copy(b, p)
	return s.ring.Do(&ring.Op{Kind: ring.Write, File: s.file, Off: off, Buf: b})
}

func (s *sink) finish() error {
	if err := s.empty(); err != nil {
		return err
	}
	return noSpace(s.ring.Do(&ring.Op{Kind: ring.Sync, File: s.file}))
}

func ignorePermission(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
