package walstage

import (
	"context"
	"errors"
	"io"

	"github.com/untorn/untorn/page"
)

// Finished is a segment, as a rule one to which nothing is added any more, kept open until Release.
type Finished struct {
	Name   string
	Engine [16]byte
	Block  int
	Seq    uint64
	First  page.LSN // of its first byte
	End    page.LSN // of the byte after its last: where the next one begins
	Epoch  uint64   // at creation

	o    *Options
	segs *segments
	seg  *segment
}

// Finished returns the first segment that ends behind lsn, if all of it is durable and the log goes
// on in another one; nil otherwise. An lsn before the log's beginning is ErrTruncated.
func (l *Log) Finished(lsn page.LSN) (*Finished, error) {
	if c := l.segs.erased(lsn); c != nil {
		lsn = c.To // the log was given up, and goes on there
	}
	f, err := l.Segment(lsn)
	if errors.Is(err, ErrTruncated) && lsn >= l.Oldest() {
		return nil, nil // not yet begun
	}
	if err == nil && l.Durable() <= f.End { // a record behind its end proves that all of it is durable
		f.Release()
		return nil, nil
	}
	return f, err
}

// Bytes is how long it is, header included.
func (f *Finished) Bytes() int64 { return f.seg.length }

// Copy hands the segment's bytes to w, from its header on, through upTo at least.
func (f *Finished) Copy(ctx context.Context, upTo page.LSN, w io.Writer) error {
	n := f.seg.length
	if upTo < f.End {
		n = roundUp(f.seg.off(upTo), int64(f.Block))
	}
	return copySegment(ctx, f.o, f.seg, n, w)
}

// Segment returns the segment that holds lsn, finished or not, for a copy of what is durable.
func (l *Log) Segment(lsn page.LSN) (*Finished, error) { return l.source().segment(lsn) }

// Segment returns the segment that holds lsn.
func (d *Dir) Segment(lsn page.LSN) (*Finished, error) { return d.source().segment(lsn) }

func (s source) segment(lsn page.LSN) (*Finished, error) {
	seg := s.segs.acquire(lsn)
	if seg == nil {
		return nil, s.fail("read segment", lsn, s.segs.missing())
	}
	return &Finished{Name: seg.name, Engine: s.o.EngineID, Block: s.o.Block, Seq: seg.seq, First: seg.first,
		End: seg.end(), Epoch: seg.epoch, o: s.o, segs: s.segs, seg: seg}, nil
}

// copySegment hands the first n bytes of a segment to w; n is a multiple of the block.
func copySegment(ctx context.Context, o *Options, s *segment, n int64, w io.Writer) error {
	win := newWindow(o, 0)
	for off := int64(0); off < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := win.bytes(s, off, min(readAhead, n-off))
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// Release lets go of the file: it may be recycled once it is truncated.
func (f *Finished) Release() {
	f.segs.release(f.seg)
	f.seg = nil
}

// Oldest is where the log begins.
func (l *Log) Oldest() page.LSN { return l.segs.begin() }

// WhenDurable sends once on ch, which needs room for it, when the log is durable through lsn or has
// failed. Unlike NotifyDurable it forces nothing, and lsn may lie beyond the log's end. Forget takes
// it back.
func (l *Log) WhenDurable(lsn page.LSN, ch chan<- struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Durable() >= lsn || l.failed != nil || l.stage == stopping {
		notify(ch)
		return
	}
	l.notes = append(l.notes, note{lsn, ch})
}

// Forget drops every notification on ch that has not been sent.
func (l *Log) Forget(ch chan<- struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := l.notes[:0]
	for _, n := range l.notes {
		if n.ch != ch {
			keep = append(keep, n)
		}
	}
	clear(l.notes[len(keep):])
	l.notes = keep
}
