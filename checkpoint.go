package untorn

import (
	"context"
	"fmt"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Checkpoint is the caller's claim that every change of a record below redo has been passed to
// WritePages. The engine waits until all pages accepted before the call are durable (S4), makes
// redo and payload durable in super, and only then lets go of the log before redo. Replay begins
// at redo from then on. payload, at most 16 KiB, is the caller's to find again with LastCheckpoint.
func (e *Engine) Checkpoint(ctx context.Context, redo page.LSN, payload []byte) error {
	if err := e.enter(true); err != nil {
		return &Error{Op: "checkpoint", LSN: redo, Err: err}
	}
	defer e.gate.leave()
	e.ddl.Lock()
	defer e.ddl.Unlock()
	if err := e.checkpoint(ctx, redo, payload); err != nil {
		return &Error{Op: "checkpoint", LSN: redo, Err: err}
	}
	return nil
}

func (e *Engine) checkpoint(ctx context.Context, redo page.LSN, payload []byte) error {
	st := e.current()
	switch {
	case redo > e.log.End():
		return fmt.Errorf("%w: the log ends at %d", ErrRedo, e.log.End())
	case redo < st.Redo.LSN:
		return fmt.Errorf("%w: the last checkpoint's was %d", ErrRedo, st.Redo.LSN)
	case len(payload) > super.MaxPayload:
		return fmt.Errorf("%w: payload of %d bytes, at most %d", ErrTooLarge, len(payload), super.MaxPayload)
	}
	if err := e.checkStacks(ctx); err != nil {
		return err
	}
	if err := e.barrier(ctx, nil); err != nil {
		return err
	}
	// Whatever super names is durable before it: the log through redo among it.
	if err := e.log.WaitDurable(ctx, redo); err != nil {
		return err
	}
	stamp := super.Stamp{Epoch: st.Epoch, Checkpoint: st.Stamp.Checkpoint + 1}
	if err := e.stampFiles(ctx, st, stamp); err != nil {
		return err
	}
	durable := e.log.Durable()
	err := e.update(func(s *super.State) {
		s.Stamp = stamp
		s.Redo = super.EpochLSN{Epoch: s.Epoch, LSN: redo}
		s.Durable = super.EpochLSN{Epoch: s.Epoch, LSN: durable}
		s.CatalogLSN = durable // no change of the catalogue can be under way: e.ddl is ours
		s.Payload = append([]byte(nil), payload...)
		s.Recoveries = 0
	})
	if err != nil {
		return err
	}
	e.recovering.Store(false)
	return e.truncate(min(redo, durable))
}

// LastCheckpoint is the redo LSN and the payload of the last checkpoint; zero if there was none.
func (e *Engine) LastCheckpoint() (redo page.LSN, payload []byte) {
	s := e.current()
	return s.Redo.LSN, append([]byte(nil), s.Payload...)
}

// Hold keeps the log from an LSN on, across checkpoints, until it is released.
type Hold struct{ e *Engine }

// Hold keeps records that start at or after lsn readable, for a copy or a follower. An lsn whose
// records are gone already is walstage.ErrTruncated.
func (e *Engine) Hold(lsn page.LSN) (*Hold, error) {
	if err := e.enter(true); err != nil {
		return nil, &Error{Op: "hold", LSN: lsn, Err: err}
	}
	defer e.gate.leave()
	h := &Hold{e}
	e.mu.Lock()
	defer e.mu.Unlock()
	if oldest := e.log.Stats().Oldest; lsn < oldest {
		return nil, &Error{Op: "hold", LSN: lsn, Err: fmt.Errorf("%w, which begins at %d", walstage.ErrTruncated, oldest)}
	}
	e.holds[h] = lsn
	return h, nil
}

// Release ends the hold. The next checkpoint lets go of the log.
func (h *Hold) Release() {
	h.e.mu.Lock()
	delete(h.e.holds, h)
	h.e.mu.Unlock()
}

// truncate lets go of the log before lsn and before every hold. It only marks segments: the I/O is
// the log's, later. So no Hold can come between.
func (e *Engine) truncate(lsn page.LSN) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.holds {
		lsn = min(lsn, l)
	}
	return e.log.TruncateBefore(lsn)
}
