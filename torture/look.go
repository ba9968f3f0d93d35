package torture

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/untorn/untorn"
)

// lookLimit bounds what an open with its survey and close may take; beyond, the engine hangs.
const lookLimit = 90 * time.Second

// look opens the directory in this process, surveys it into the model, and closes it in order.
func (r *runner) look() error {
	done := make(chan error, 1)
	go func() { done <- r.lookInside() }()
	select {
	case err := <-done:
		return err
	case <-time.After(lookLimit):
		buf := make([]byte, 1<<20)
		r.m.violate("opening, surveying or closing takes more than %s; goroutines:\n%s", lookLimit,
			buf[:runtime.Stack(buf, true)])
		return nil
	}
}

func (r *runner) lookInside() error { return look(r.job(), r.m) }

// look opens j's directory, surveys it into m, and closes it in order.
func look(j *job, m *model) error {
	ctx := context.Background()
	e, err := open(ctx, j.options(), m)
	if err != nil {
		if errors.Is(err, untorn.ErrNoSpace) {
			return fmt.Errorf("no room for the run: %w", err)
		}
		m.violate("the directory does not open: %v", err)
		return nil
	}
	m.emit(opened(e))
	m.image = func(tag uint32, no uint64) []byte { return rawPage(ctx, e, tag, no) }
	_, _, err = survey(ctx, e, j, m)
	m.image = nil
	if errors.Is(err, untorn.ErrNotAtomic) { // it is no fault to refuse what is not proven
		return errors.Join(err, e.Close(ctx))
	}
	if err != nil {
		m.violate("surveying the opened directory: %v", err)
	}
	if err := e.Close(ctx); err != nil {
		m.violate("closing the directory: %v", err)
		return nil
	}
	m.end = endClosed
	return nil
}

// open opens at once, and when that is refused with a bounded wait for the locks: what holds them is
// the dead child's queued I/O (I11). A refused open changes nothing.
func open(ctx context.Context, o untorn.Options, to sink) (*untorn.Engine, error) {
	wait := o.LockWait
	o.LockWait = -1
	e, err := untorn.Open(ctx, o)
	if !errors.Is(err, untorn.ErrLocked) {
		return e, err
	}
	to.emit(event{kind: evWaited})
	o.LockWait = wait
	return untorn.Open(ctx, o)
}

func opened(e *untorn.Engine) event {
	ev := event{kind: evOpened, a: e.Report().Epoch, b: uint64(e.Report().Installed)}
	if e.Report().Clean {
		ev.level = 1
	}
	return ev
}

// rawPage is what a read left in its buffer, checked or not.
func rawPage(ctx context.Context, e *untorn.Engine, tag uint32, no uint64) []byte {
	for _, moved := range []bool{false, true} {
		f, err := e.OpenFile(ctx, fileName(tag, moved), untorn.FileOptions{})
		if err != nil {
			continue
		}
		p := []untorn.PageRead{{No: untorn.PageNo(no), Data: make([]byte, f.PageSize())}}
		_ = f.ReadPages(ctx, p) // a damaged page is what is wanted here
		return p[0].Data
	}
	return nil
}
