package untorn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/datastage"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Names of other packages that callers of this one need all the time.
type (
	// LSN is a byte position in the log.
	LSN = page.LSN
	// PageNo is a page number within its file.
	PageNo = page.No
	// Level says what an acknowledgement promises.
	Level = stages.Level
	// Report says what an open found and did.
	Report = recovery.Report
	// Record is one record of the log.
	Record = walstage.Record
)

// The levels.
const (
	Durable   = stages.Durable
	Protected = stages.Protected
	Logged    = stages.Logged
	Accepted  = stages.Accepted
)

// Engine is an open directory. All methods may be called from any goroutine.
type Engine struct {
	o        Options
	places   places
	rings    []ring.Ring
	page     ring.Ring // doublewrite and destinations
	poison   *stages.Poison
	gate     gate
	report   *Report
	mounts   []fsys.Mount
	flushes  []string // what a flush is worth in each place
	opened   time.Time
	state    rootState
	walDir   *walstage.Dir // read-only, or until the log starts
	log      *walstage.Log // nil when read-only
	frames   *aligned.Pool
	regErr   error // why frames are not registered with the ring
	dwb      *dwbstage.Stage
	data     *datastage.Stage
	reclaim  *reclaim.Stage
	group    stages.Group
	dwbDone  <-chan struct{}
	calls    callPool
	images   imageRing
	ckpt     checkpoints
	watchdog watchdog

	mu     sync.Mutex // files, holds; never held over I/O
	files  map[string]*File
	slots  [maxOpenFiles]*File
	keep   retention
	ddl    sync.Mutex // one create, grow, rename, remove, checkpoint at a time
	closed atomic.Bool

	cuts    atomic.Pointer[[]walstage.Cut] // of the log: no page may have an LSN in one
	topPage atomic.Uint64                  // the highest LSN of a page that was accepted

	endErr error
	ended  chan struct{} // closed when Close is over
	ending chan struct{} // closed when Close begins

	archiving    archiving
	segmentBytes int64 // of the log

	dwbHeaderBad  bool
	stagesStopped bool
	finished      bool        // closed in order
	recovering    atomic.Bool // a recovery begun has not been counted as finished
	background    sync.WaitGroup
}

// rootState is super in memory. Its mutex is held over writes of super, which are rare and in an
// order of their own.
type rootState struct {
	mu    sync.Mutex
	store *super.Store
	cur   *super.State
}

// update writes a changed state to super; when it returns nil the state is durable. A failure
// poisons: nobody knows what the copies hold (I5).
func (e *Engine) update(change func(*super.State)) error {
	e.state.mu.Lock()
	defer e.state.mu.Unlock()
	if err := e.poison.Err(); err != nil {
		return poisoned(err) // a failed flush, of super or of what it would name, is never retried
	}
	next := e.state.cur.Clone()
	change(next)
	if err := e.state.store.Write(next); err != nil {
		if errors.Is(err, super.ErrFull) {
			return err // refused before anything was written
		}
		e.poison.Set(err)
		return poisoned(err)
	}
	e.state.cur = next
	return nil
}

func (e *Engine) current() *super.State {
	e.state.mu.Lock()
	defer e.state.mu.Unlock()
	return e.state.cur
}

// persistWatermark lets super carry the watermark when no doublewrite header can (I2).
func (e *Engine) persistWatermark(num uint64) error {
	return e.update(func(s *super.State) {
		s.Watermark = s.Watermark.Max(reclaim.Seq{Epoch: s.Epoch, Num: num})
	})
}

// enter admits a call, or says why not.
func (e *Engine) enter(write bool) error {
	if write && e.o.ReadOnly {
		return ErrReadOnly
	}
	if !e.gate.enter() {
		return ErrClosed
	}
	if write {
		if err := e.poison.Err(); err != nil {
			e.gate.leave()
			return poisoned(err)
		}
	}
	return nil
}

// Err is the cause of poison, or nil.
func (e *Engine) Err() error {
	if err := e.poison.Err(); err != nil {
		return poisoned(err)
	}
	return nil
}

// Report says what the open found and did. It does not change.
func (e *Engine) Report() *Report { return e.report }

// start makes the stages and lets them run.
func (e *Engine) start(st *super.State) error {
	o := &e.o
	var err error
	e.frames, err = aligned.NewPool(aligned.Config{Bytes: o.Memory, Alloc: o.Alloc})
	if err != nil {
		return err
	}
	e.regErr = e.frames.RegisterWith(e.page)
	frames := e.frames
	go func() { // whoever waits for memory after poison would wait for ever: it comes back at Close
		select {
		case <-e.poison.C():
			frames.Fail(e.Err())
		case <-e.ended:
		}
	}()
	e.calls.init()
	e.images.init(o.ImageCodec)
	e.dwb, err = dwbstage.New(dwbstage.Config{
		Ring: e.page, File: e.places.dwb, Geometry: geometry(st), Engine: st.Engine, Epoch: st.Epoch,
		InFlight: o.Batches, Unsynced: o.Unflushed, Direct: 16, Inbox: 256, Files: maxOpenFiles,
		DSync: o.DWBSync == DWBDSync, Lone: o.DWBSync == DWBAuto, Log: logView{e.log}, Frames: e.frames, Alloc: o.Alloc,
		Poison: e.poison, Mutants: o.Mutants,
	})
	if err != nil {
		return err
	}
	e.reclaim = reclaim.NewStage(e.dwb.Batches(), e.frames, e.persistWatermark, e.poison)
	e.data = datastage.New(datastage.Config{
		Ring: e.page, Depth: o.Depth, Group: 4, Inbox: 64, Pages: e.dwb.Pages(), Files: maxOpenFiles,
		Idle: o.IdleFlush, Out: e.reclaim.Done(), Poison: e.poison, Mutants: o.Mutants,
		Refusals: e.dwb.Refusals(), Moved: e.moved,
	})
	e.dwb.Connect(e.data.Inbox(), e.reclaim.Ask())
	e.reclaim.Connect(e.dwb.Credits())
	ctx := context.Background()
	e.dwbDone = e.group.Go("doublewrite", func() { e.dwb.Run(ctx) })
	e.group.Go("destination", func() { e.data.Run(ctx) })
	e.group.Go("reclaim", func() { e.reclaim.Run(ctx) })
	return nil
}

// logView is the log as dwbstage sees it.
type logView struct{ *walstage.Log }

// NotifyDurable implements dwbstage.Log. LSNs were checked against the log's end at acceptance; an
// error can only be the log's end of life, of which the poison switch tells the stage.
func (l logView) NotifyDurable(lsn page.LSN, ch chan<- struct{}) {
	if err := l.Log.NotifyDurable(lsn, ch); err != nil {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// SetWatermark implements dwbstage.Log.
func (l logView) SetWatermark(s reclaim.Seq) {
	l.Log.SetWatermark(walstage.Watermark{Epoch: s.Epoch, Num: s.Num})
}

// barrier waits until every write of f (nil: of every file) accepted so far is at S4.
func (e *Engine) barrier(ctx context.Context, f *stages.File) error {
	call := stages.NewCall()
	call.Reset(stages.Durable, 1)
	msg := stages.Msg{Barrier: &stages.Barrier{File: f, Call: call}}
	select {
	case e.dwb.Inbox() <- msg:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.poison.C():
		return e.Err()
	}
	return e.await(ctx, call)
}

// syncData flushes a data file that was written to past the stages. Before they run, at open and
// while a file is being made, nobody else flushes it; afterwards datastage does, and nobody else.
func (e *Engine) syncData(f *File) error {
	if e.data == nil || e.fileByID(f.info.ID) == nil {
		return e.page.Do(&ring.Op{Kind: ring.DataSync, File: f.io})
	}
	call := stages.NewCall()
	call.Reset(stages.Durable, 1)
	select {
	case e.data.Inbox() <- stages.Msg{Sync: &stages.Sync{File: f.desc, Call: call}}:
	case <-e.poison.C():
		return e.Err()
	}
	return e.await(context.Background(), call)
}

// await waits for a call. Poison ends the wait: what is in flight is never acknowledged (I5).
func (e *Engine) await(ctx context.Context, call *stages.Call) error {
	select {
	case <-call.Done():
		return call.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-e.poison.C():
		select {
		case <-call.Done(): // it had been acknowledged before
			return call.Err()
		default:
			return e.Err()
		}
	}
}

// awaitStep is await for a caller that may be asked to run a step of the doublewrite stage. A step
// offered before ctx ended is run all the same: it is nobody else's then.
func (e *Engine) awaitStep(ctx context.Context, call *stages.Call, step *stages.Step) error {
	if step == nil {
		return e.await(ctx, call)
	}
	var op *ring.Op
	select {
	case op = <-step.C():
	case <-call.Done():
		return call.Err()
	case <-ctx.Done():
		op = step.Leave()
	case <-e.poison.C():
		return e.await(ctx, call)
	}
	if op != nil {
		op.Err = e.page.Do(op)
		op.Done <- op
	}
	return e.await(ctx, call)
}

// Close waits for the calls under way, makes everything accepted durable, marks the directory
// clean and releases it. It returns the first fatal error, also when called again. When ctx ends
// first, Close stops waiting but still releases the directory, which the next open then recovers.
func (e *Engine) Close(ctx context.Context) error {
	if !e.closed.CompareAndSwap(false, true) {
		<-e.ended
		return e.endErr
	}
	defer close(e.ended)
	close(e.ending)
	if e.log != nil {
		e.log.Unblock() // nobody waits for room any more
	}
	e.stopCheckpoints(ctx)
	e.stopArchiving()
	err := e.gate.close(ctx)
	e.background.Wait()
	if err == nil && e.log != nil {
		err = e.finish(ctx)
	}
	if p := e.Err(); p != nil {
		err = errors.Join(p, err)
	}
	e.endErr = errors.Join(err, e.release())
	if e.endErr != nil {
		e.o.Logger.Error("closed with an error; the next open recovers", "dir", e.o.Dir, "err", e.endErr)
	} else {
		e.o.Logger.Info("closed", "dir", e.o.Dir)
	}
	return e.endErr
}

// finish is the orderly end: pages to S4, log durable, then super's clean flag, last of all.
func (e *Engine) finish(ctx context.Context) error {
	if err := e.Err(); err != nil {
		return err
	}
	if err := e.barrier(ctx, nil); err != nil {
		return err
	}
	e.stopStages()
	end := e.log.End()
	if err := e.log.Close(ctx); err != nil {
		return err
	}
	if err := e.Err(); err != nil {
		return err
	}
	w := e.dwb.Watermark()
	last := e.dwb.Last()
	if w != last {
		return fmt.Errorf("untorn: close: batches through %s were assigned, %s is retired", last, w)
	}
	err := e.update(func(s *super.State) {
		s.Clean, s.Recoveries = true, 0
		s.Watermark = s.Watermark.Max(w)
		s.Durable = super.EpochLSN{Epoch: s.Epoch, LSN: end}
		s.CatalogLSN = max(s.CatalogLSN, end)
		s.PageLSN = page.LSN(e.topPage.Load())
	})
	e.finished = err == nil
	return err
}

// stopStages ends the stages in the order of the pipeline: dwbstage returns when every batch has
// come back through the others.
func (e *Engine) stopStages() {
	e.dwb.Stop()
	<-e.dwbDone
	e.data.Stop()
	e.reclaim.Stop()
	e.group.Wait()
	e.stagesStopped = true
}

// release lets go of everything in the order that keeps I11: rings first, which wait for the I/O in
// flight, then memory, then the files and with them the locks.
func (e *Engine) release() error {
	var errs []error
	if !e.finished { // whoever still waits must learn that nobody will answer
		e.poison.Set(ErrClosed)
	}
	if e.dwb != nil && !e.stagesStopped {
		e.stopStages()
	}
	if e.log != nil {
		end := e.log.Close
		if !e.finished {
			end = e.log.Abandon
		}
		if err := end(context.Background()); err != nil && e.finished {
			errs = append(errs, err)
		}
	}
	e.stopWatchdog()
	for _, r := range e.rings {
		errs = append(errs, r.Close())
	}
	if e.dwb != nil {
		e.dwb.Abandon()
	}
	if e.walDir != nil {
		errs = append(errs, e.walDir.Close())
	}
	// A create or remove that Close did not wait for has failed by now, or will at its next step: no
	// file of its may outlive the locks (I11).
	e.ddl.Lock()
	defer e.ddl.Unlock()
	e.mu.Lock()
	for _, f := range e.files {
		if f.io != nil {
			errs = append(errs, f.io.Close())
		}
	}
	e.mu.Unlock()
	if e.frames != nil {
		// Frames that callers still hold keep the memory until they give them back.
		if err := e.frames.Close(); err != nil && !errors.Is(err, aligned.ErrInUse) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, e.places.close())
	return errors.Join(errs...)
}

// gate counts the calls inside, so that Close can wait for them.
type gate struct {
	n    atomic.Int64
	shut atomic.Bool
	idle chan struct{}
}

func (g *gate) init() { g.idle = make(chan struct{}, 1) }

func (g *gate) enter() bool {
	g.n.Add(1)
	if g.shut.Load() {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.n.Add(-1) == 0 && g.shut.Load() {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

func (g *gate) close(ctx context.Context) error {
	g.shut.Store(true)
	for g.n.Load() > 0 {
		select {
		case <-g.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
