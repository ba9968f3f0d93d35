package untorn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/untorn/untorn/aligned"
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

// Open opens a directory, creating it if it may, and recovers it if it was not closed in order.
//
// The order of an open (DESIGN, super): lock the places and super; flush and read super; lock and
// validate the files; raise the epoch in super, durably; flush everything; read evidence; repair the
// log, then the pages; retire every doublewrite region in super. A refused open changes nothing.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := newEngine(o.withDefaults())
	err := e.open(ctx)
	if err == nil {
		e.startWatchdog()
		e.startCheckpoints()
		e.announce()
		return e, nil
	}
	e.closed.Store(true)
	return nil, errors.Join(err, e.release())
}

// DryRun says what Open would do to a directory that was not closed in order, and changes nothing.
// It takes shared locks: a running engine is ErrLocked. Evidence that the page cache may have lost
// is taken as read.
func DryRun(ctx context.Context, o Options) (*Report, error) {
	o.ReadOnly = true
	o.AcceptLoss = false
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := newEngine(o.withDefaults())
	err := e.openPlaces(ctx)
	if err == nil {
		err = e.recover(ctx, e.state.cur.Clone(), true)
	}
	return e.report, errors.Join(err, e.release())
}

func newEngine(o Options) *Engine {
	e := &Engine{
		o: o, poison: stages.NewPoison(), files: map[string]*File{}, keep: retention{holds: map[*Hold]struct{}{}},
		ended: make(chan struct{}), ending: make(chan struct{}), opened: time.Now(), report: &Report{Schema: 1},
	}
	if o.Mutants.Has(stages.NoDirSync) {
		e.o.FS = noDirSync{o.FS}
	}
	e.places.o = &e.o
	e.gate.init()
	return e
}

// noDirSync is the mutant of that name.
type noDirSync struct{ fsys.FS }

func (noDirSync) SyncDir(string) error { return nil }

func (e *Engine) newRing(name string) (ring.Ring, error) {
	// Room for what datastage has in flight, beside doublewrite batches, flushes and opens.
	r, err := e.o.NewRing(name, ring.Config{Backend: e.o.Backend, Entries: max(256, 2*e.o.Depth)})
	if err != nil {
		return nil, &Error{Op: "open ring", Err: err}
	}
	e.rings = append(e.rings, r)
	return r, nil
}

// openPlaces locks everything and reads super; nothing has been changed when it returns.
func (e *Engine) openPlaces(ctx context.Context) error {
	var err error
	if e.page, err = e.newRing("pages"); err != nil {
		return err
	}
	p := &e.places
	p.ring = e.page
	if err := p.lockRoots(ctx); err != nil {
		return err
	}
	for _, d := range p.roots() {
		m, err := checkStack(&e.o, d)
		if err != nil {
			return err
		}
		e.mounts = append(e.mounts, m)
		pr, err := e.checkPlace(ctx, filepath.Join(d, lockName))
		if err != nil {
			return err
		}
		e.flushes = append(e.flushes, pr.Flushes+": "+pr.FlushesWhy)
	}
	there, err := p.look()
	if err != nil {
		return err
	}
	if there == absent {
		if err := p.create(ctx); err != nil {
			return err
		}
	}
	if there == present && !e.o.ReadOnly {
		if err := p.unmark(); err != nil {
			return err
		}
	}
	if err := p.openOwn(ctx); err != nil {
		return err
	}
	e.state.store = super.NewStore(e.page, p.super, e.o.alloc, p.super.Align().Block, e.o.Mutants)
	if !e.o.ReadOnly {
		if err := e.state.store.Flush(); err != nil {
			return &Error{Op: "flush", File: p.superPath(), Err: err}
		}
	}
	st, faults, err := e.state.store.Read(ctx)
	if err := p.unfinishedID(st); err != nil {
		return err
	}
	if err != nil {
		return &Error{Op: "open", File: p.superPath(), Err: err}
	}
	for _, f := range faults {
		e.o.Logger.Warn("a copy of super is not valid; it will be rewritten", "copy", f.Copy, "err", f.Err)
		e.report.Faults = append(e.report.Faults, fmt.Sprintf("super copy %d: %v", f.Copy, f.Err))
	}
	e.state.cur = st
	return e.openFiles(ctx, st)
}

// openFiles locks and validates the log, the doublewrite file and the data files of the catalogue.
func (e *Engine) openFiles(ctx context.Context, st *super.State) error {
	p := &e.places
	for _, f := range []fsys.File{p.super, p.dwb} {
		if err := checkBlock(f, st.Block); err != nil {
			return err
		}
	}
	if err := e.checkDWB(st); err != nil {
		return err
	}
	wr, err := e.newRing("log")
	if err != nil {
		return err
	}
	wo := p.walOptions(st)
	wo.Ring, wo.Poison, wo.Event = wr, e.poison, e.pressure
	if e.walDir, err = walstage.OpenDir(ctx, wo, e.o.ReadOnly); err != nil {
		return err
	}
	for i := range st.Files {
		if err := e.openData(ctx, st, &st.Files[i], false); err != nil {
			return err
		}
	}
	return nil
}

// checkBlock refuses a device whose block is larger than the directory's protocol block: what is
// acknowledged would share a device block with something written later.
func checkBlock(f fsys.File, block int) error {
	if b := f.Align().Block; b > block {
		return &Error{Op: "open", File: f.Name(), Err: fmt.Errorf("%w: %d bytes, the directory was made with %d", ErrBlockSize, b, block)}
	}
	return nil
}

// checkDWB validates the doublewrite file's own header. A damaged one is no loss: super knows the
// geometry, and the header is written again.
func (e *Engine) checkDWB(st *super.State) error {
	p := &e.places
	g := geometry(st)
	if err := g.Validate(); err != nil {
		return &Error{Op: "open", File: p.dwbPath(), Err: err}
	}
	size, err := p.dwb.Size()
	if err != nil {
		return &Error{Op: "open", File: p.dwbPath(), Err: err}
	}
	if size < g.FileBytes() {
		return &Error{Op: "open", File: p.dwbPath(), Err: fmt.Errorf("%w: the file has %d bytes of %d", ErrDWBMissing, size, g.FileBytes())}
	}
	head := e.o.alloc(g.Block, g.Block)
	err = e.page.Do(&ring.Op{Kind: ring.Read, File: p.dwb, Buf: head})
	if err == nil {
		var got dwbstage.Geometry
		got, err = dwbstage.DecodeFileHeader(head, st.Engine)
		if err == nil && got != g {
			err = fmt.Errorf("%w: it says %+v, super says %+v", dwbstage.ErrHeader, got, g)
		}
	}
	if errors.Is(err, dwbstage.ErrForeign) {
		return &Error{Op: "open", File: p.dwbPath(), Err: ErrForeign}
	}
	if err != nil {
		e.report.Faults = append(e.report.Faults, fmt.Sprintf("doublewrite file header: %v", err))
		e.o.Logger.Warn("doublewrite file header is damaged; super has the geometry", "err", err)
		e.dwbHeaderBad = true
	}
	return nil
}

func (e *Engine) open(ctx context.Context) error {
	if err := e.openPlaces(ctx); err != nil {
		return err
	}
	was := e.state.cur
	if e.o.ReadOnly {
		if !was.Clean {
			return &Error{Op: "open", File: e.o.Dir, Err: ErrNeedsRecovery}
		}
		return e.recover(ctx, was.Clone(), true)
	}
	if !was.Clean && int(was.Recoveries) >= e.o.MaxRecoveries && !e.o.AcceptLoss {
		return &RecoveryLoopError{LSN: was.Recovering, Begun: int(was.Recoveries)}
	}
	if err := e.state.store.Rewrite(); err != nil {
		return &Error{Op: "open", File: e.places.superPath(), Err: err}
	}
	// The epoch is raised, and the clean flag cleared, durably before the first write.
	st := was.Clone()
	st.Epoch++
	if was.Clean {
		// Nothing to recover: every region is retired, and stays so under the new epoch (I7).
		st.Watermark = reclaim.Seq{Epoch: st.Epoch}
	} else {
		st.Recoveries++
		st.Recovering = was.Redo.LSN
	}
	st.Clean = false
	if err := e.state.store.Write(st); err != nil {
		return &Error{Op: "open", File: e.places.superPath(), Err: err}
	}
	e.state.cur = st
	if !was.Clean {
		if err := e.flushAll(ctx); err != nil {
			return err
		}
	}
	next := st.Clone()
	next.Clean = was.Clean // recover asks
	err := e.recover(ctx, next, false)
	var io *ring.Error
	if err != nil && !was.Clean && e.poison.Err() == nil && !errors.As(err, &io) {
		// Refused by decision, or cancelled: not a recovery that died, and not counted as one.
		err = errors.Join(err, e.update(func(s *super.State) { s.Recoveries = was.Recoveries }))
	}
	return err
}

// flushAll makes what the page cache holds durable, or fails the open: nothing read back after an
// unclean stop is proof of durability (I8), and a failed flush is never retried (I5).
func (e *Engine) flushAll(ctx context.Context) error {
	if err := e.walDir.Flush(ctx); err != nil {
		return err
	}
	files := []ring.File{e.places.dwb}
	byID := func(a, b *File) int { return cmp.Compare(a.info.ID, b.info.ID) } // a run's operations come again
	for _, f := range slices.SortedFunc(maps.Values(e.files), byID) {
		if f.io != nil {
			files = append(files, f.io)
		}
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.page.Do(&ring.Op{Kind: ring.Sync, File: f}); err != nil {
			return &Error{Op: "flush", File: f.Name(), Err: err}
		}
	}
	for _, d := range append(e.places.roots(), e.places.dataDir()) {
		if err := e.o.FS.SyncDir(d); err != nil {
			return &Error{Op: "flush directory", File: d, Err: err}
		}
	}
	return nil
}

// recover reads the evidence, decides, and unless dry carries it out and starts the engine. st is
// the state super gets at the end; st.Clean says that the directory was closed in order.
func (e *Engine) recover(ctx context.Context, st *super.State, dry bool) error {
	begun := time.Now()
	clean := st.Clean
	st.Clean = e.o.ReadOnly && clean
	report := e.report
	report.Epoch = st.Epoch
	defer func() { report.Took = time.Since(begun) }()

	in := recovery.Input{
		Ring: e.page, DWB: e.places.dwb, Geometry: geometry(st), Engine: st.Engine,
		Watermark: st.Watermark, File: e.dataFile, Alloc: e.o.Alloc, Mutants: e.o.Mutants,
	}
	var ev *recovery.Evidence
	claims := []walstage.Claim{{Epoch: st.Durable.Epoch, LSN: st.Durable.LSN, Source: "super"}}
	if !clean {
		var err error
		if ev, err = recovery.Scan(ctx, in); err != nil {
			return &Error{Op: "recover", File: e.places.dwbPath(), Err: err}
		}
		ev.LSNs(func(epoch uint64, lsn page.LSN, seq reclaim.Seq) {
			claims = append(claims, walstage.Claim{Epoch: epoch, LSN: lsn, Source: "doublewrite batch " + seq.String()})
		})
	}
	start := min(st.Redo.LSN, st.CatalogLSN)
	tail, err := e.scanLog(ctx, st, walstage.Evidence{Start: start, Known: claims, Clean: clean, Cuts: logCuts(st)})
	if err != nil {
		return &Error{Op: "recover", File: e.places.walDir(), Err: sameAs(err)}
	}
	report.Log = recovery.LogReport{
		Start: uint64(start), End: uint64(tail.Last), DurableKnown: uint64(tail.Durable), DiscardedBytes: tail.Discarded,
	}
	if tail.Fetched > 0 {
		report.Faults = append(report.Faults, fmt.Sprintf("log: %d groups were lost and came from elsewhere", tail.Fetched))
	}
	if tail.Fault != nil {
		report.Faults = append(report.Faults, fmt.Sprintf("ring of log headers: %v", tail.Fault))
	}
	if err := e.applyCatalog(ctx, st, dry); err != nil {
		return err
	}
	var plan *recovery.Plan
	if !clean {
		ev.Raise(reclaim.Seq{Epoch: tail.Mark.Epoch, Num: tail.Mark.Num})
		if in.Images, err = e.loggedImages(ctx, st); err != nil {
			return err
		}
		in.Records = e.records
		in.Fetch = e.o.FetchPage
		in.Held = func(lsn page.LSN) bool { return logHolds(st, max(tail.Last, start), lsn) }
		in.Shadow, in.ShadowLog = shadowed(st), e.o.ShadowRepair == ShadowLog
		if plan, err = e.plan(ctx, in, ev); err != nil {
			return err
		}
	}
	report.Clean = clean
	if dry {
		return nil
	}
	// Everything is decided: only now is anything changed.
	if plan != nil {
		if err := plan.Refuse(e.o.AcceptLoss); err != nil {
			return &Error{Op: "recover", Err: err}
		}
	}
	if err := e.persistCuts(st); err != nil {
		return err
	}
	if err := e.walDir.Repair(ctx, tail); err != nil {
		return &Error{Op: "recover", File: e.places.walDir(), Err: err}
	}
	if plan != nil {
		if err := plan.Apply(ctx, e.o.AcceptLoss); err != nil {
			return &Error{Op: "recover", Err: err}
		}
		*report = *plan.Report
	}
	return e.begin(ctx, st, tail, clean)
}

// plan decides every page; the report says what before anything is done.
func (e *Engine) plan(ctx context.Context, in recovery.Input, ev *recovery.Evidence) (*recovery.Plan, error) {
	plan, err := recovery.MakePlan(ctx, in, ev)
	if err != nil {
		return nil, &Error{Op: "recover", Err: err}
	}
	r := plan.Report
	r.Log, r.Epoch, r.Schema = e.report.Log, e.report.Epoch, e.report.Schema
	r.Faults = append(e.report.Faults, r.Faults...)
	*e.report = *r
	return plan, nil
}

// begin makes the recovered state the directory's, and starts log and stages.
func (e *Engine) begin(ctx context.Context, st *super.State, tail *walstage.Tail, clean bool) error {
	if e.dwbHeaderBad {
		g := geometry(st)
		head := aligned.Alloc(g.Block, g.Block)
		dwbstage.EncodeFileHeader(head, g, st.Engine)
		if err := e.page.Do(&ring.Op{Kind: ring.Write, Flags: ring.DSync, File: e.places.dwb, Buf: head}); err != nil {
			return &Error{Op: "open", File: e.places.dwbPath(), Err: err}
		}
	}
	if err := e.removeOrphans(st); err != nil {
		return err
	}
	replay, err := e.anythingToReplay(ctx, st.Redo.LSN)
	if err != nil {
		return err
	}
	if !clean {
		if err := e.restamp(ctx, st); err != nil {
			return err
		}
	}
	stamp := super.Stamp{Epoch: st.Epoch, Checkpoint: st.Stamp.Checkpoint + 1}
	if err := e.stampFiles(ctx, st, stamp); err != nil {
		return err
	}
	log, err := e.walDir.Start(ctx, st.Epoch, tail)
	if err != nil {
		return &Error{Op: "open", File: e.places.walDir(), Err: err}
	}
	e.mu.Lock()
	e.log, e.segmentBytes = log, st.LogSegment
	e.mu.Unlock()
	e.setCuts(st, clean, tail.Last)
	// Recovery ends with a durable watermark (new epoch, 0) before any new batch (I7).
	err = e.update(func(s *super.State) {
		*s = *st
		s.Stamp = stamp
		s.Watermark = reclaim.Seq{Epoch: s.Epoch}
		s.Durable = super.EpochLSN{Epoch: s.Epoch, LSN: log.Durable()}
		s.CatalogLSN = log.Durable()
		for i := range s.Files {
			// Every page is flushed and will log an image anew; one that was not chosen must not be found
			// again by a later recovery (I7).
			s.Files[i].Images = log.Durable()
		}
		if !replay {
			s.Recoveries = 0 // nothing is left to do: this recovery is over
		}
	})
	if err != nil {
		return err
	}
	e.recovering.Store(e.current().Recoveries > 0)
	if err := e.start(st); err != nil {
		return err
	}
	if cuts := e.current().Cuts; len(cuts) > 0 {
		if err := e.recordCuts(ctx, cuts); err != nil {
			return &Error{Op: "open", File: e.places.walDir(), Err: err}
		}
	}
	e.startArchiving()
	return nil
}

// anythingToReplay reports whether the log holds records of the caller from redo on.
func (e *Engine) anythingToReplay(ctx context.Context, redo page.LSN) (bool, error) {
	for r, err := range e.walDir.Replay(ctx, redo) {
		if err != nil {
			return false, &Error{Op: "recover", LSN: redo, Err: err}
		}
		if r.Kind == 0 {
			return true, nil
		}
	}
	return false, nil
}
