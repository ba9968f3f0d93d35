package explore

import (
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/fsys"
)

// newID gives the closed directory a new id between two sessions. A crash on the way leaves one that
// another call finishes.
func (r *rig) newID() {
	w := r.w
	w.struck.Store(false)
	a := w.begin(0, actNewID)
	r.disk.Mark(mark{a, begun})
	err := newIDPatiently(w.ctx, r.p.engineOn(r.disk))
	if err == nil {
		r.disk.Mark(mark{a, done})
		return
	}
	a.err = err
	r.disk.Mark(mark{a, failed})
	if !w.struck.Load() {
		w.complain(complaint{kind: Failed, text: fmt.Sprintf("new id: %v", err), page: -1})
	}
}

func newIDPatiently(ctx context.Context, o untorn.Options) error {
	for n := 0; ; n++ {
		_, err := untorn.NewID(ctx, o, untorn.NewIDOptions{})
		if err == nil || !errors.Is(err, fsys.ErrLocked) || n > 100 {
			return err
		}
	}
}

// openThrough opens a directory, and finishes a change of its id first if there is one under way.
func openThrough(ctx context.Context, o untorn.Options) (e *untorn.Engine, finished bool, err error) {
	e, err = openPatiently(ctx, o)
	if !errors.Is(err, untorn.ErrNewIDUnfinished) {
		return e, false, err
	}
	if err = newIDPatiently(ctx, o); err != nil {
		return nil, true, err
	}
	e, err = openPatiently(ctx, o)
	return e, true, err
}
