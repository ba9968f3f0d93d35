package blocklog

import "io"

// Window is the part of the disk that is rebuilt, a partition for instance: bytes [Off, Off+Len).
type Window struct{ Off, Len int64 }

// clip returns what of e lies in the window, in bytes of the window, and how far into e it begins.
func (w Window) clip(e *Entry) (off, n, skip int64) {
	from, to := max(e.Off, w.Off), min(e.Off+e.Len, w.Off+w.Len)
	if to <= from {
		return 0, 0, 0
	}
	return from - w.Off, to - from, from - e.Off
}

// Write is one that no flush covers yet.
type Write struct {
	Entry    int
	Off, Len int64 // in the window
	// Certain: it has FUA, and landed when it completed.
	Certain bool
	// Whole: it is not to be torn.
	Whole bool
	zero  bool // a discard: what it leaves is zeros
	data  int64
}

// Replay goes through a log entry by entry. Medium is written in window coordinates and must have held
// what the disk did when the recording began.
type Replay struct {
	Log    *Log
	Window Window
	Medium io.WriterAt
	// Whole says which writes are atomic; nil: none.
	Whole func(e Entry) bool

	at      int
	pending []Write
	buf     []byte
}

// At is how many entries have been taken.
func (r *Replay) At() int { return r.at }

// Pending are the writes that may or may not have landed by now, in order. It is valid until the next
// Step.
func (r *Replay) Pending() []Write { return r.pending }

// Step takes the next entry. A flush lands what was pending on the medium.
func (r *Replay) Step() error {
	e := &r.Log.Entries[r.at]
	i := r.at
	r.at++
	if e.Flags&Flush != 0 { // before the data that a flush may carry
		for k := range r.pending {
			if err := r.Land(r.Medium, &r.pending[k], nil); err != nil {
				return err
			}
		}
		r.pending = r.pending[:0]
	}
	if !e.Writes() {
		return nil
	}
	off, n, skip := r.Window.clip(e)
	if n == 0 {
		return nil
	}
	r.pending = append(r.pending, Write{
		Entry: i, Off: off, Len: n, Certain: e.Flags&FUA != 0, zero: e.Flags&Discard != 0,
		Whole: r.Whole != nil && r.Whole(*e), data: e.data + skip,
	})
	return nil
}

// Land writes to m the sectors of w that take chooses; nil takes all.
func (r *Replay) Land(m io.WriterAt, w *Write, take func(sector int64) bool) error {
	if int64(cap(r.buf)) < w.Len {
		r.buf = make([]byte, w.Len)
	}
	b := r.buf[:w.Len]
	if w.zero {
		clear(b)
	} else if _, err := r.Log.r.ReadAt(b, w.data); err != nil {
		return err
	}
	if take == nil {
		_, err := m.WriteAt(b, w.Off)
		return err
	}
	for at := int64(0); at < w.Len; at += Tear {
		if !take(at / Tear) {
			continue
		}
		if _, err := m.WriteAt(b[at:min(at+Tear, w.Len)], w.Off+at); err != nil {
			return err
		}
	}
	return nil
}

// Tear is the smallest piece of a write that lands whole: a sector.
const Tear = 512
