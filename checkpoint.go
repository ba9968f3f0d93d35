package untorn

import (
	"context"
	"fmt"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/super"
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
	e.ckpt.begun(e.log.End(), false, "", e.dwb.Backlog())
	err := e.checkpoint(ctx, redo, payload)
	e.ckpt.over(redo, err)
	if err != nil {
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
	e.ckpt.phase(CheckpointImages)
	from, err := e.turn(ctx)
	if err != nil {
		return err
	}
	e.ckpt.phase(CheckpointPages)
	if err := e.barrier(ctx, nil); err != nil {
		return err
	}
	// Whatever super names is durable before it: the log through redo among it, and through where
	// images count from, or a log cut short by a crash would go on before it.
	if err := e.log.WaitDurable(ctx, max(redo, from)); err != nil {
		return err
	}
	e.ckpt.phase(CheckpointSuper)
	stamp := super.Stamp{Epoch: st.Epoch, Checkpoint: st.Stamp.Checkpoint + 1}
	if err := e.stampFiles(ctx, st, stamp); err != nil {
		return err
	}
	durable := e.log.Durable()
	err = e.update(func(s *super.State) {
		for i := range s.Files {
			s.Files[i].Images = max(s.Files[i].Images, from)
		}
		s.Stamp = stamp
		s.Redo = super.EpochLSN{Epoch: s.Epoch, LSN: redo}
		s.Durable = super.EpochLSN{Epoch: s.Epoch, LSN: durable}
		s.CatalogLSN = durable // no change of the catalogue can be under way: e.ddl is ours
		s.Payload = append([]byte(nil), payload...)
		s.Recoveries = 0
		s.PageLSN = page.LSN(e.topPage.Load())
		forgetCuts(s, e.log.Oldest())
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
