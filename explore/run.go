package explore

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Run explores until the budget is spent, ctx ends or enough violations were found. An error means
// that it could not run.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	m, err := findMutant(o.Mutant)
	if err != nil {
		return nil, err
	}
	x := &explorer{o: o, mutant: m, began: time.Now()}
	x.result = Result{Schema: 1, Mode: string(o.Mode), Mutant: o.Mutant, Seed: o.Seed, Transitions: map[string]int64{}, Blamed: map[string]int64{}, Faults: map[string]int64{}}
	if o.Soak != nil {
		x.result.Rates = o.Soak.values()
	}
	interrupted := ctx
	if o.Budget > 0 {
		ctx, x.stop = context.WithDeadline(ctx, x.began.Add(o.Budget))
	} else {
		ctx, x.stop = context.WithCancel(ctx)
	}
	defer x.stop()
	if o.Only != nil {
		o.MaxRuns = 1
	}
	if o.Stalled != nil {
		watching, done := context.WithCancel(context.WithoutCancel(ctx)) // what hangs may be the end
		var watcher sync.WaitGroup
		watcher.Go(func() { x.watch(watching) })
		defer watcher.Wait()
		defer done()
	}
	seed := o.Seed
	for n := 0; ctx.Err() == nil && (o.MaxRuns == 0 || n < o.MaxRuns); seed++ {
		p := newProfile(seed, o.Mode, m)
		if o.Steady && p.timed() {
			continue
		}
		n++
		x.mu.Lock()
		x.seed = seed
		x.mu.Unlock()
		if o.Corrupt {
			p.corrupt()
		}
		if o.Soak != nil {
			p.soak(*o.Soak)
		}
		x.explore(ctx, p)
	}
	x.result.Interrupted = interrupted.Err() != nil
	return x.snapshot(), nil
}

// explorer is one exploration.
type explorer struct {
	o      Options
	mutant mutant
	began  time.Time
	stop   context.CancelFunc

	mu     sync.Mutex
	result Result
	seed   uint64 // of the run under way
	told   time.Time
}

func (x *explorer) snapshot() *Result {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.result
	r.finish(x.began)
	r.Transitions, r.Blamed = maps.Clone(x.result.Transitions), maps.Clone(x.result.Blamed)
	r.Faults = maps.Clone(x.result.Faults)
	return &r
}

// count counts a state tried for each of the transitions it belongs to.
func (x *explorer) count(kill bool, transitions ...string) {
	x.mu.Lock()
	x.result.States++
	if kill {
		x.result.Kills++
	}
	for _, t := range transitions {
		x.result.Transitions[t]++
	}
	tell := x.o.Progress != nil && time.Since(x.told) > 200*time.Millisecond
	if tell {
		x.told = time.Now()
	}
	x.mu.Unlock()
	if tell {
		x.o.Progress(*x.snapshot())
	}
}

// blame counts a complaint that is the drive's fault.
func (x *explorer) blame(what string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.result.Blamed[what]++
}

func (x *explorer) found(v *Violation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.result.Violations >= x.o.Violations {
		return
	}
	v.States, v.Elapsed = x.result.States, time.Since(x.began).Seconds()
	x.result.Violations++
	x.result.Found = append(x.result.Found, v)
	if x.result.Violations >= x.o.Violations {
		x.stop()
	}
}

// explore does one run: record, then try states of it.
func (x *explorer) explore(ctx context.Context, p *profile) {
	log, cs, w := recordRun(ctx, p)
	if only := x.o.Only; only != nil {
		for n := 1; n < replayTries && only.Log != "" && fingerprint(log) != only.Log && ctx.Err() == nil; n++ {
			log, cs, w = recordRun(ctx, p)
		}
	}
	if ctx.Err() != nil {
		for _, c := range cs { // of the rest nothing is known; a hang is one
			if r := (&run{x: x, p: p, log: log}); c.kind == Stuck && c.stacks != nil {
				x.found(r.violation(c, log.Len(), "", "while it ran", nil, nil, nil))
			}
		}
		return
	}
	x.mu.Lock()
	x.result.Runs++
	x.mu.Unlock()
	for kind, n := range w.forgiven {
		for range n {
			x.blame("while it ran, " + kind)
		}
	}
	x.mu.Lock()
	for what, n := range w.injected {
		x.result.Faults[what] += n
	}
	x.mu.Unlock()
	r := &run{x: x, p: p, log: log, print: fingerprint(log)}
	// Disorder is told when no state shows what it leads to.
	live := func(disorder bool) (n int) {
		for _, c := range cs {
			if (c.kind == Disorder) == disorder {
				at := c.at + 1
				if c.at == 0 || at > log.Len() {
					at = log.Len()
				}
				x.found(r.violation(c, at, "", "while it ran", nil, nil, nil))
				n++
			}
		}
		return n
	}
	if live(false) > 0 && x.o.Only == nil {
		return
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range x.o.Workers {
		workers.Go(func() {
			buf := newBuffers()
			for j := range jobs {
				if ctx.Err() == nil {
					j(ctx, buf)
				}
			}
		})
	}
	r.plan(ctx, jobs)
	close(jobs)
	workers.Wait()
	live(true)
}

// job tries one or a few states.
type job func(ctx context.Context, buf *buffers)
