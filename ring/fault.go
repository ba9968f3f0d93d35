package ring

import (
	"io"
	"sync"
)

// Faulty is a Ring that fails ops of another one, for tests of what is above. Ops it leaves alone
// run as if it were not there.
type Faulty struct {
	inner Ring
	fail  func(*Op) error
	gate  gate
	once  sync.Once
	err   error // of Close

	mu     sync.Mutex
	shorts []short
	wg     sync.WaitGroup // ops being done in two parts
}

type short struct {
	n     int
	match func(*Op) bool
}

// NewFaulty wraps inner. fail is asked about each op before it is submitted, from the goroutine of
// Submit or Do, several at a time; nil leaves all alone. An op it has an error for is not executed:
// it comes back with that error in an *Error. Closing the Faulty closes inner.
func NewFaulty(inner Ring, fail func(*Op) error) *Faulty {
	if fail == nil {
		fail = func(*Op) error { return nil }
	}
	return &Faulty{inner: inner, fail: fail, gate: newGate()}
}

// ShortOnce makes the next read or write that match accepts short: n bytes of it are transferred in
// a request of their own, and then the whole again, as a backend does it after the kernel's short
// count (for a vectored op: the pieces wholly within n). An Atomic write ends in
// io.ErrShortWrite after its n bytes. If fail has an error for the same op, it fails with that
// after n bytes: a torn write.
func (f *Faulty) ShortOnce(n int, match func(*Op) bool) {
	f.mu.Lock()
	f.shorts = append(f.shorts, short{n, match})
	f.mu.Unlock()
}

// verdict decides about op: how many bytes of it to do first, and how it ends after that.
func (f *Faulty) verdict(op *Op) (n int, err error) {
	err = f.fail(op)
	if op.Kind == Read || op.Kind == Write {
		f.mu.Lock()
		for i, s := range f.shorts {
			if s.match(op) {
				n = min(s.n, op.Len())
				f.shorts = append(f.shorts[:i], f.shorts[i+1:]...)
				break
			}
		}
		f.mu.Unlock()
	}
	if n > 0 && err == nil && op.Flags&Atomic != 0 && n < op.Len() {
		err = io.ErrShortWrite
	}
	if err != nil {
		err = opError(op, err)
	}
	return n, err
}

// Submit implements Ring.
func (f *Faulty) Submit(ops ...*Op) {
	if !f.gate.enter() {
		refuse(ops)
		return
	}
	defer f.gate.leave()
	from := 0
	for i, op := range ops {
		n, err := f.verdict(op)
		if n == 0 && err == nil {
			continue
		}
		f.inner.Submit(ops[from:i]...)
		from = i + 1
		if n == 0 {
			op.Err = err
			op.Done <- op
			continue
		}
		f.wg.Go(func() {
			f.inParts(op, n, err)
			op.Done <- op
		})
	}
	f.inner.Submit(ops[from:]...)
}

// Do implements Ring.
func (f *Faulty) Do(op *Op) error {
	if !f.gate.enter() {
		op.Err = ErrClosed
		return ErrClosed
	}
	defer f.gate.leave()
	n, err := f.verdict(op)
	switch {
	case n > 0:
		f.inParts(op, n, err)
		return op.Err
	case err != nil:
		op.Err = err
		return err
	}
	return f.inner.Do(op)
}

// inParts does the first n bytes of op and then, unless it is to end in err, the whole.
func (f *Faulty) inParts(op *Op, n int, err error) {
	part := Op{Kind: op.Kind, File: op.File, Off: op.Off, Fixed: op.Fixed, Flags: op.Flags &^ Atomic}
	if op.Vec == nil {
		part.Buf = op.Buf[:n]
	}
	for _, b := range op.Vec {
		if n -= len(b); n < 0 {
			break
		}
		part.Vec = append(part.Vec, b)
	}
	if op.Err = f.inner.Do(&part); op.Err != nil {
		return
	}
	if op.Err = err; err == nil {
		op.Err = f.inner.Do(op)
	}
}

// Register implements Ring.
func (f *Faulty) Register(mem []byte) (int, error) { return f.inner.Register(mem) }

// Info implements Ring.
func (f *Faulty) Info() Info {
	in := f.inner.Info()
	in.Reason += ", with faults injected"
	return in
}

// Stats implements StatsRing. A ring that does not count has the zero Stats.
func (f *Faulty) Stats() Stats {
	if s, ok := f.inner.(StatsRing); ok {
		return s.Stats()
	}
	return Stats{}
}

// Close implements Ring.
func (f *Faulty) Close() error {
	f.once.Do(func() {
		f.gate.close(func() {}) // a Submit that waits inside gets on as ops complete
		f.wg.Wait()
		f.err = f.inner.Close()
	})
	return f.err
}
