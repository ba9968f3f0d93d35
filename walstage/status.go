package walstage

import (
	"context"
	"errors"

	"github.com/untorn/untorn/page"
)

// Status is what became of the record that starts at an LSN.
type Status uint8

// The answers of Log.Status.
const (
	StatusUnknown   Status = iota // it cannot be read: the error says why
	StatusPresent                 // it is there, durable
	StatusPending                 // the log was issued through here, but is not durable so far
	StatusNever                   // no record ever started there, or none that became durable
	StatusCut                     // TruncateAfter took it
	StatusTruncated               // the log was let go through here: a checkpoint no longer needs it
	StatusLost                    // it was durable and is lost
)

func (s Status) String() string {
	return [...]string{"unknown", "present", "pending", "never there", "cut off", "let go",
		"was durable and is lost"}[min(s, StatusLost)]
}

// Status says what became of the record that starts at lsn. A failed read is an error and
// StatusUnknown; damage where the log had been durable is StatusLost, with a CorruptError.
func (l *Log) Status(ctx context.Context, lsn page.LSN) (Status, error) {
	switch {
	case lsn >= l.End():
		return StatusNever, nil
	case lsn >= l.Durable():
		return StatusPending, nil
	}
	return l.source().status(ctx, lsn)
}

// Status is Log.Status of a directory that was scanned.
func (d *Dir) Status(ctx context.Context, lsn page.LSN) (Status, error) {
	if d.tail == nil {
		return StatusUnknown, &Error{Op: "status", File: d.o.Dir, LSN: lsn, Err: ErrOrder}
	}
	if lsn >= d.tail.Last {
		return StatusNever, nil
	}
	return d.source().status(ctx, lsn)
}

func (s source) status(ctx context.Context, lsn page.LSN) (Status, error) {
	if c := s.segs.void(lsn, 0); c != nil {
		switch {
		case c.Given == 0:
			return StatusCut, nil
		case lsn < c.Given:
			return StatusLost, nil
		}
		return StatusNever, nil
	}
	if lsn < s.segs.begin() {
		return StatusTruncated, nil
	}
	_, err := s.readAt(ctx, lsn)
	switch {
	case err == nil:
		return StatusPresent, nil
	case errors.Is(err, ErrNoRecord):
		return StatusNever, nil
	case errors.Is(err, ErrTruncated):
		return StatusTruncated, nil
	case isDamage(err):
		e := &CorruptError{Dir: s.o.Dir, LSN: lsn, Cause: err,
			Evidence: Claim{LSN: s.limit(), Source: "the open log"}}
		return StatusLost, e
	}
	return StatusUnknown, err
}
