package untorn

import (
	"context"
	"errors"
	"iter"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Append adds a record to the log and returns its positions at once: it is durable only when
// WaitDurable(end) returns. The record is copied. A page the record changes gets end as its LSN.
func (e *Engine) Append(rec []byte) (start, end page.LSN, err error) {
	if err := e.enter(true); err != nil {
		return 0, 0, &Error{Op: "append", Err: err}
	}
	defer e.gate.leave()
	start, end, err = e.log.Append(0, rec)
	if err != nil {
		return 0, 0, e.logError("append", 0, err)
	}
	e.movedOn()
	e.ckpt.grown(end)
	return start, end, nil
}

// AppendBatch adds records that become durable together or not at all, and appends their ends to
// ends, which it returns.
func (e *Engine) AppendBatch(recs [][]byte, ends []page.LSN) ([]page.LSN, error) {
	if err := e.enter(true); err != nil {
		return ends, &Error{Op: "append", Err: err}
	}
	defer e.gate.leave()
	ends, err := e.log.AppendBatch(recs, ends)
	if err != nil {
		return ends, e.logError("append", 0, err)
	}
	e.movedOn()
	e.ckpt.grown(ends[len(ends)-1])
	return ends, nil
}

// AppendSync is Append, and returns when the record is durable, whatever the commit policy: start and
// end are valid also when waiting failed, and the error says whether the record may become durable.
func (e *Engine) AppendSync(ctx context.Context, rec []byte) (start, end page.LSN, err error) {
	if err := e.enter(true); err != nil {
		return 0, 0, &Error{Op: "append", Err: err}
	}
	defer e.gate.leave()
	start, end, err = e.log.AppendSync(ctx, rec)
	if end == 0 {
		return 0, 0, e.logError("append", 0, err)
	}
	e.movedOn()
	e.ckpt.grown(end)
	if err != nil {
		return start, end, e.logError("wait", end, err)
	}
	return start, end, nil
}

// Commit returns when the caller may tell others that the record ending at lsn is committed, as
// Options.Policy has it: with sync when it is durable, else at once. For one call it is overridden by
// WaitDurable, which always waits, or by not calling either.
func (e *Engine) Commit(ctx context.Context, lsn page.LSN) error {
	if err := e.enter(true); err != nil {
		return &Error{Op: "commit", LSN: lsn, Err: err}
	}
	defer e.gate.leave()
	if err := e.log.WaitCommit(ctx, lsn); err != nil {
		return e.logError("commit", lsn, err)
	}
	return nil
}

// WaitDurable waits until the log is durable through lsn. An lsn that was never issued is
// ErrLSNBeyondLog.
func (e *Engine) WaitDurable(ctx context.Context, lsn page.LSN) error {
	if err := e.enter(true); err != nil {
		return &Error{Op: "wait", LSN: lsn, Err: err}
	}
	defer e.gate.leave()
	if err := e.log.WaitDurable(ctx, lsn); err != nil {
		return e.logError("wait", lsn, err)
	}
	return nil
}

// logError gives an error of the log this package's shape.
func (e *Engine) logError(op string, lsn page.LSN, err error) error {
	x := &Error{Op: op, LSN: lsn, Err: err}
	var w *walstage.WaitError
	if errors.As(err, &w) {
		x.MayBecomeDurable = w.MayBecomeDurable
	}
	if p := e.poison.Err(); p != nil {
		x.Err = poisoned(err)
	}
	if errors.Is(err, walstage.ErrClosed) {
		x.Err = ErrClosed
	}
	return x
}

// DurableLSN is how far the log is durable; EndLSN is the highest LSN issued.
func (e *Engine) DurableLSN() page.LSN {
	if e.log == nil {
		return page.LSN(e.report.Log.End)
	}
	return e.log.Durable()
}

// EndLSN is the highest LSN issued.
func (e *Engine) EndLSN() page.LSN {
	if e.log == nil {
		return page.LSN(e.report.Log.End)
	}
	return e.log.End()
}

// Replay yields the caller's records from the last checkpoint's redo LSN on, in order. A record is
// to be skipped for a page whose LSN is at or beyond the record's end. Data is valid until the next
// step. After an unclean open, reaching the end (or appending, or a checkpoint) tells the engine
// that this recovery is over.
func (e *Engine) Replay(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := e.enter(false); err != nil {
			yield(Record{}, &Error{Op: "replay", Err: err})
			return
		}
		defer e.gate.leave()
		src := e.walDir.Replay
		if e.log != nil {
			src = e.log.Replay
		}
		var told page.LSN
		for r, err := range src(ctx, e.current().Redo.LSN) {
			if err != nil {
				yield(Record{}, e.logError("replay", r.Start, err))
				return
			}
			if r.Kind != 0 {
				continue
			}
			if err := e.replaying(r.Start, &told); err != nil {
				yield(Record{}, err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		e.movedOn()
	}
}

// replayStep is how much of the log may pass between two notes in super of how far a replay came.
const replayStep = 1 << 20

// replaying notes, once a recovery before this one has died, how far the replay has come: the
// error that ends the loop names the place.
func (e *Engine) replaying(lsn page.LSN, told *page.LSN) error {
	if !e.recovering.Load() || e.current().Recoveries < 2 || *told != 0 && lsn < *told+replayStep {
		return nil
	}
	*told = lsn
	return e.update(func(s *super.State) { s.Recovering = lsn })
}

// movedOn counts the recovery as finished, in the background: nobody waits for it.
func (e *Engine) movedOn() {
	if !e.recovering.Load() || !e.recovering.CompareAndSwap(true, false) {
		return
	}
	e.background.Add(1)
	go func() {
		defer e.background.Done()
		// A failure has poisoned the engine; the next call says so.
		_ = e.update(func(s *super.State) { s.Recoveries = 0 })
	}()
}

// ReadAt reads the durable record that starts at lsn. Its Data is the caller's.
func (e *Engine) ReadAt(ctx context.Context, lsn page.LSN) (Record, error) {
	if err := e.enter(false); err != nil {
		return Record{}, &Error{Op: "read record", LSN: lsn, Err: err}
	}
	defer e.gate.leave()
	read := e.walDir.ReadAt
	if e.log != nil {
		read = e.log.ReadAt
	}
	r, err := read(ctx, lsn)
	if err != nil {
		return Record{}, e.logError("read record", lsn, err)
	}
	return r, nil
}
