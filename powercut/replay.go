package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/untorn/untorn/blocklog"
	"github.com/untorn/untorn/powercut/tape"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/torture"
)

// errMount: a state whose file system cannot be mounted.
var errMount = errors.New("the file system cannot be mounted")

// Outcome of the replay of one recording.
type Outcome struct {
	FS       string `json:"fs"`
	Mode     string `json:"mode"`
	Mutant   string `json:"mutant"`
	Recorder string `json:"recorder"`
	Seed     uint64 `json:"seed"`
	Entries  int    `json:"log_entries"`
	Flushes  int    `json:"flush_boundaries"`
	Rounds   int    `json:"rounds"`
	// CutPoints are places in the log; each of them leaves several States.
	CutPoints int `json:"cut_points"`
	States    int `json:"states"`
	// Kills equals States: torture's name for it.
	Kills      int `json:"kills"`
	Violations int `json:"violations"`
	Convicted  int `json:"states_with_violations"`
	Torn       int `json:"states_with_damaged_pages"` // in modes that do not protect from it
	// Unmountable states are the file system's own: there was no directory to judge.
	Unmountable int    `json:"states_not_mountable"`
	PageAcks    uint64 `json:"page_acks_checked"` // in all states
	RecordAcks  uint64 `json:"record_acks_checked"`
	PagesSeen   uint64 `json:"pages_verified"`
	Installed   uint64 `json:"pages_recovered"`
	Stopped     bool   `json:"stopped"`
	Order       order  `json:"order"` // of the log, held against the disk's own
	Stories     []Case `json:"stories"`
}

// Case is a state with a violation.
type Case struct {
	At    int    `json:"at"`
	State string `json:"state"`
	What  string `json:"what"`
}

const maxStories = 5

// cut is a place in the log: after entries [0, at).
type cut struct {
	at     int
	states int
}

// plan picks the places: right after every flush (one state), and, where writes are pending, right
// before every flush and after what was told (several), thinned out to the budget of states. Places
// with many writes pending come first.
func plan(l *blocklog.Log, win blocklog.Window, from, budget int, rng *rand.Rand) (cuts []cut, flushes int) {
	type place struct{ at, pending int }
	var after, before, told []place
	pending := 0
	for i := range l.Entries {
		e := &l.Entries[i]
		flush := e.Flags&blocklog.Flush != 0
		if flush && i >= from {
			flushes++
			after = append(after, place{at: i + 1})
			if pending > 0 {
				before = append(before, place{i, pending})
			}
		}
		if flush {
			pending = 0
		}
		switch {
		case !e.Writes() || e.Flags&blocklog.FUA != 0:
		case e.Off >= win.Off+win.Len:
			if pending > 0 && i >= from {
				told = append(told, place{i + 1, pending})
			}
		default:
			pending++
		}
	}
	const some = 8 // states of a place with writes pending
	pick := func(from []place, budget, states int) (left int) {
		rng.Shuffle(len(from), func(i, k int) { from[i], from[k] = from[k], from[i] })
		slices.SortStableFunc(from, func(a, b place) int { return min(b.pending, 3) - min(a.pending, 3) })
		n := min(len(from), budget/states)
		for _, p := range from[:n] {
			cuts = append(cuts, cut{at: p.at, states: states})
		}
		return budget - n*states
	}
	left := pick(after, budget/5, 1)
	left = pick(told, left+budget*2/5, some)
	pick(before, left+budget*2/5, some)
	return cuts, flushes
}

// replayer is one worker: it goes through the whole log and looks at its share of the cuts.
type replayer struct {
	rec   *recording
	log   *blocklog.Log
	win   blocklog.Window
	img   *image
	rep   *blocklog.Replay
	tape  tape.Reader
	judge *torture.Judge
	round uint32
	buf   []byte
}

// replay judges the states that power cuts could have left, of one place only if that is not 0.
func replay(ctx context.Context, rec *recording, budget, only, jobs int, dir string, progress func(done, of int)) (*Outcome, error) {
	l, ord, done, err := rec.read()
	if err != nil {
		return nil, err
	}
	defer done()
	win := blocklog.Window{Off: diskStart, Len: fsSize(rec.job.FS)}
	first := 0
	for first < len(l.Entries) && !(l.Entries[first].Writes() && l.Entries[first].Off >= win.Off+win.Len) {
		first++ // up to the first round there is nothing to judge
	}
	if first == len(l.Entries) {
		return nil, errors.New("the log holds no word of the workload")
	}
	cuts, flushes := plan(l, win, first+1, budget, rand.New(rand.NewPCG(rec.job.Seed, 7)))
	if only > 0 {
		cuts = []cut{{at: only, states: 8}}
	}
	out := &Outcome{FS: rec.job.FS, Mode: string(rec.job.Mode), Mutant: rec.job.Mutant, Recorder: rec.job.Recorder,
		Seed: rec.job.Seed, Entries: len(l.Entries), Flushes: flushes, Rounds: rec.job.Rounds, Order: ord, Stories: []Case{}}
	total := 0
	byPlace := map[int]cut{}
	for _, c := range cuts {
		if old, ok := byPlace[c.at]; ok {
			c.states = max(c.states, old.states)
			total -= old.states
		}
		byPlace[c.at] = c
		total += c.states
	}
	var mu sync.Mutex
	var judged atomic.Int64
	errs := make(chan error, jobs)
	for id := range jobs {
		go func() {
			w := &replayer{rec: rec, log: l, win: win}
			errs <- w.run(ctx, dir, id, jobs, byPlace, func(c Case, r *torture.Result) {
				mu.Lock()
				defer mu.Unlock()
				out.add(c, r)
				progress(int(judged.Add(1)), total)
			})
		}()
	}
	for range jobs {
		err = errors.Join(err, <-errs)
	}
	out.CutPoints, out.Kills, out.Stopped = len(byPlace), out.States, ctx.Err() != nil
	return out, err
}

func (o *Outcome) add(c Case, r *torture.Result) {
	o.States++
	if r == nil { // ext4 reads its superblock before it replays its journal: a torn one stops it
		o.Unmountable++
		o.tell(c)
		return
	}
	o.PageAcks += r.PageAcks
	o.RecordAcks += r.RecordAcks
	o.PagesSeen += r.PagesSeen
	o.Installed += r.Installed
	o.Violations += r.Violations
	if r.Damaged > 0 {
		o.Torn++
	}
	if r.Violations > 0 {
		o.Convicted++
		c.What = r.Stories[0].What
		o.tell(c)
	}
}

func (o *Outcome) tell(c Case) {
	if len(o.Stories) < maxStories {
		o.Stories = append(o.Stories, c)
	}
}

func (w *replayer) run(ctx context.Context, dir string, id, jobs int, cuts map[int]cut, found func(Case, *torture.Result)) (err error) {
	if w.img, err = newImage(dir, w.rec.base, w.rec.job.FS, id); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.img.close()) }()
	w.rep = &blocklog.Replay{Log: w.log, Window: w.win, Medium: w.img}
	w.judge = torture.NewJudge(w.rec.job.Mode, w.rec.job.Seed, w.rec.job.Recorder == "dm")
	n := 0
	for w.rep.At() < len(w.log.Entries) && ctx.Err() == nil {
		if err := w.step(); err != nil {
			return err
		}
		c, ok := cuts[w.rep.At()]
		if !ok || !w.tape.Whole() {
			continue
		}
		if n++; n%jobs != id {
			continue
		}
		if err := w.cut(ctx, c, found); err != nil {
			return fmt.Errorf("cut after entry %d: %w", c.at, err)
		}
	}
	return nil
}

// step takes the next entry: what it means for the medium, and what it tells.
func (w *replayer) step() error {
	i := w.rep.At()
	if err := w.rep.Step(); err != nil {
		return err
	}
	e := &w.log.Entries[i]
	if !e.Writes() || e.Flags&blocklog.Discard != 0 || e.Off < w.win.Off+w.win.Len {
		return nil
	}
	var err error
	if w.buf, err = w.log.Data(i, w.buf); err != nil {
		return err
	}
	return w.tape.Take(e.Off-w.win.Off-w.win.Len, w.buf, func(k tape.Kind, round uint32, p []byte) error {
		if k == tape.Begin {
			w.round = round
			w.judge.Begin(round)
			return nil
		}
		return w.judge.Told(p)
	})
}

// cut makes the states of one place and judges each.
func (w *replayer) cut(ctx context.Context, c cut, found func(Case, *torture.Result)) error {
	rng := rand.New(rand.NewPCG(w.rec.job.Seed, uint64(c.at)))
	for _, ch := range blocklog.Choices(w.rep.Pending(), c.states, rng) {
		if ctx.Err() != nil {
			return nil
		}
		if err := w.rep.Apply(w.img.raw(), ch); err != nil {
			return err
		}
		var res *torture.Result
		err := w.img.mounted(func(dir string) error {
			var err error
			res, err = w.look(dir)
			return err
		})
		switch {
		case errors.Is(err, errMount):
			found(Case{At: c.at, State: ch.Name, What: err.Error()}, nil)
		case err != nil:
			return err
		default:
			found(Case{At: c.at, State: ch.Name}, res)
		}
		if err := w.img.restore(); err != nil {
			return err
		}
	}
	return nil
}

func (w *replayer) look(dir string) (*torture.Result, error) {
	j := w.rec.job
	var m stages.Mutant
	var err error
	if j.Mutant != "" {
		if m, err = stages.ParseMutant(j.Mutant); err != nil {
			return nil, err
		}
	}
	// Memory of hundreds of engines, one after the other.
	defer runtime.GC()
	return w.judge.Clone().Look(&torture.Work{Dir: dir + "/d", Mode: j.Mode, Mutants: m, Seed: j.Seed,
		Round: w.round, Shape: j.Shape})
}
