package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Work is the workload of a child for those who watch it from outside the machine: what it starts
// and what the engine acknowledges is told as bytes, which a Judge understands.
type Work struct {
	Dir     string
	Mode    untorn.Mode
	Mutants stages.Mutant
	Seed    uint64 // of all contents; the same for all rounds of a directory
	Round   uint32 // 1, 2, 3, ... of this directory
	Shape   Shape
	Backend ring.Backend
	DSync   bool // of the doublewrite
	// Override is FileOptions.AtomicOverride.
	Override string
	// Tell is called from several goroutines, with whole events. It returns at once, unless first is
	// true: then it returns when the watcher has them, because what they announce may take away what
	// had been told (a checkpoint, a removal). If there is nobody to tell any longer it never returns.
	Tell func(events []byte, first bool)
}

func (w *Work) job() *job {
	return &job{
		Dir: w.Dir, Mode: string(w.Mode), Mutants: w.Mutants, Seed: w.Seed, Round: w.Round,
		Shape: w.Shape, Backend: string(w.Backend), DSync: w.DSync, Override: w.Override,
	}
}

// Run opens the directory (and makes it), tells what it holds, works until ctx is done, and closes
// it in order. An error of the engine ends it at once and leaves it as it is: the process is to end.
func (w *Work) Run(ctx context.Context) error {
	c := &child{j: w.job(), to: &teller{tell: w.Tell}, quit: ctx.Done()}
	// The engine's calls are not cancelled: what was begun is waited for, then told.
	err := c.run(context.WithoutCancel(ctx))
	if err != nil {
		c.to.emit(c.stoppedBy(err))
	}
	return err
}

// teller encodes events for Work.Tell.
type teller struct {
	tell func(events []byte, first bool)
}

func (t *teller) emit(evs ...event) {
	var b []byte
	first := false
	for i := range evs {
		b = evs[i].append(b)
		switch evs[i].kind {
		case evSeenAll, evCkpt, evFile, evGrow, evRename, evRemove, evClosing:
			first = true
		}
	}
	t.tell(b, first)
}

// Judge holds a directory against what was told about it. The zero value is not one.
type Judge struct {
	m   *model
	res *Result
}

// NewJudge begins with a directory that was never opened. In a told stream whose end the crash took
// away (unannounced), images and records of the last round count as begun if their contents prove
// them; what takes things away had to be told before it began.
func NewJudge(mode untorn.Mode, seed uint64, unannounced bool) *Judge {
	m := newModel(mode, seed)
	m.unannounced = unannounced
	return &Judge{m: m, res: &Result{Schema: 1, Mode: string(mode), Seed: seed,
		Stories: []Violation{}}}
}

// Begin says that the events from now on are of another round, whose engine may be opening already.
func (j *Judge) Begin(round uint32) {
	if j.m.end == endClosed {
		j.m.end = endClosing
	}
	j.between()
	j.m.round = round
	j.res.Rounds++
}

// between allows for somebody who opened and closed the directory after a crash, and did not tell.
func (j *Judge) between() {
	if j.m.unannounced && j.m.end == endKilled {
		j.m.end = endClosing
	}
}

// Told takes whole events, in the order they were told in.
func (j *Judge) Told(events []byte) error {
	return readEvents(bytes.NewReader(events), func(e event) { j.m.apply(&e) })
}

// Closed reports whether an orderly close was told last.
func (j *Judge) Closed() bool { return j.m.end == endClosed }

// Stopped is what the workload said when its engine failed for lack of space, or "".
func (j *Judge) Stopped() string { return j.m.tally.unfit }

// Violations are those found so far.
func (j *Judge) Violations() []Violation { return j.m.tally.violations }

// Clone is a judge of its own that knows the same.
func (j *Judge) Clone() *Judge {
	m := *j.m
	m.files = maps.Clone(m.files)
	for tag, f := range m.files {
		g := *f
		g.pages = slices.Clone(g.pages)
		for i := range g.pages {
			g.pages[i].started = slices.Clone(g.pages[i].started)
		}
		m.files[tag] = &g
	}
	m.log.recs, m.log.bases = slices.Clone(m.log.recs), slices.Clone(m.log.bases)
	m.tally.violations = slices.Clone(m.tally.violations)
	res := *j.res
	res.Stories = slices.Clone(res.Stories)
	return &Judge{m: &m, res: &res}
}

// Look opens the directory of w, which recovers it, and judges what it holds. It closes it in order
// and returns what was found, in all. A judge looks once. The error is what kept it from looking.
func (j *Judge) Look(w *Work) (*Result, error) {
	begun := time.Now()
	j.between()
	done := make(chan error, 1)
	go func() { done <- look(w.job(), j.m) }()
	select {
	case err := <-done:
		if err != nil {
			return nil, err
		}
	case <-time.After(lookLimit):
		return nil, fmt.Errorf("opening, surveying or closing %s takes more than %s", w.Dir, lookLimit)
	}
	if j.m.tally.unfit != "" {
		return nil, errors.New(j.m.tally.unfit)
	}
	j.res.add(&j.m.tally)
	j.res.ElapsedSeconds = time.Since(begun).Seconds()
	return j.res, nil
}

// ShapeOf is a random shape by its seed.
func ShapeOf(seed uint64) Shape { return RandomShape(rand.New(rand.NewPCG(seed, 2))) }

// Acks counts the acknowledgements among told events.
func Acks(events []byte) (pages, records uint64) {
	_ = readEvents(bytes.NewReader(events), func(e event) { // what cannot be read is not counted
		switch e.kind {
		case evPageAck:
			pages++
		case evRecordAck:
			records++
		}
	})
	return pages, records
}
