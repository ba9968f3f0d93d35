package explore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/sim"
)

// run is a recorded run whose states are tried.
type run struct {
	x     *explorer
	p     *profile
	log   *sim.Log
	print string
}

// fingerprint tells logs apart by what was done where, not by what was written: ids are random.
func fingerprint(l *sim.Log) string {
	h := fnv.New64a()
	for i := range l.Len() {
		e := l.At(i)
		if e.Kind == sim.Close || e.Kind == sim.Open || e.Kind == sim.Lock {
			continue // in no order, and nothing to a power cut
		}
		fmt.Fprintf(h, "%d %s %d %d;", e.Kind, e.File, e.Off, e.Len)
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// exploration is which choices of a point there are to pick from.
func (p *profile) exploration() sim.Explore {
	return sim.Explore{Seed: p.seed, Exhaustive: 4, Samples: 24, Items: 12}
}

// statesPerPoint is the least worth trying at a crash point; with too many points some are left out,
// and the next run takes others.
const statesPerPoint = 4

// plan hands out every state to be tried.
func (r *run) plan(ctx context.Context, jobs chan<- job) {
	if only := r.x.o.Only; only != nil {
		r.replay(only, jobs)
		return
	}
	at := pointsOf(r.log)
	rng := rand.New(rand.NewPCG(r.p.seed, 0x706f696e))
	ts := transitionsOf(r.log)
	at = slices.DeleteFunc(at, func(i int) bool { return !focused(r.p.focus, ts[i]) })
	states := r.x.o.StatesPerRun
	if r.p.states > 0 {
		states = min(states, r.p.states)
	}
	for len(at) > max(1, states/statesPerPoint) {
		i := rng.IntN(len(at))
		at = slices.Delete(at, i, i+1)
	}
	per := max(statesPerPoint, states/max(1, len(at)))
	for i, pt := range r.log.Points(at) {
		if ctx.Err() != nil {
			return
		}
		exp := expectAt(r.log, i, r.p, nil)
		for _, c := range r.pick(pt, per, rng) {
			deep := rng.IntN(r.p.deep) == 0
			rot := r.p.rot > 0 && rng.IntN(r.p.rot) == 0
			jobs <- func(ctx context.Context, buf *buffers) { r.cut(ctx, pt, c, exp, ts[i], deep, rot, buf) }
		}
		if r.p.kills > 0 && pt.InFlight() > 0 && rng.IntN(r.p.kills) == 0 {
			for k, d := range pt.Kills(sim.Explore{Seed: r.p.seed, Exhaustive: 2, Samples: 4, Items: 2, Max: 6}) {
				jobs <- func(ctx context.Context, buf *buffers) { r.kill(ctx, pt, k, d, exp, buf) }
			}
		}
	}
}

// focused reports whether a point is worth a look.
func focused(focus, transitions []string) bool {
	return len(focus) == 0 || slices.ContainsFunc(transitions, func(t string) bool { return slices.Contains(focus, t) })
}

// pick takes up to n of a point's choices: the extremes and a sample of the others.
func (r *run) pick(pt *sim.Point, n int, rng *rand.Rand) []sim.Choice {
	var all []sim.Choice
	for c := range pt.Choices(r.p.exploration()) {
		all = append(all, c)
	}
	if len(all) > 2 {
		rest := all[2:]
		rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	}
	return all[:min(n, len(all))]
}

// replay tries the one state asked for.
func (r *run) replay(only *Replay, jobs chan<- job) {
	if only.At > r.log.Len() {
		return
	}
	pt := r.log.Replay(only.At)
	exp := expectAt(r.log, only.At, r.p, nil)
	for c := range pt.Choices(r.p.exploration()) {
		if c.Name == only.Choice {
			jobs <- func(ctx context.Context, buf *buffers) { r.cut(ctx, pt, c, exp, nil, true, false, buf) }
		}
	}
}

// tried is one crash state after it was opened.
type tried struct {
	eng  *untorn.Engine
	seen *observed
	err  error
	// finished: a change of the directory's id was, before it opened.
	finished bool
}

// try opens a disk and reads everything. The engine is still open, unless there is an error.
func (r *run) try(ctx context.Context, d *sim.Disk, buf *buffers) tried {
	return r.tryWith(ctx, d, buf, func(*untorn.Options) {})
}

// tryWith is try with other options.
func (r *run) tryWith(ctx context.Context, d *sim.Disk, buf *buffers, change func(*untorn.Options)) (t tried) {
	o := r.p.engineOn(d)
	o.Alloc = buf.arena.alloc
	change(&o)
	t.eng, t.finished, t.err = openThrough(ctx, o)
	if t.err != nil {
		return t
	}
	t.seen, t.err = observe(ctx, t.eng, buf, nil)
	return t
}

// leave ends an engine and its disk.
func (t *tried) leave(d *sim.Disk, buf *buffers) {
	d.PowerOff()
	if t.eng != nil {
		_ = t.eng.Close(context.Background()) // the machine is off: the error is expected
	}
	buf.arena.reset()
}

// judge turns what was tried into complaints.
func (t *tried) judge(exp *expect, let pass) []complaint {
	if t.finished && !exp.newID && !exp.marker {
		return []complaint{{kind: Refused, text: "the open was refused for a change of the id, and there was none", page: -1}}
	}
	switch {
	case t.err == nil:
	case lostToTears(t.err, exp):
		return nil
	case !let.refuse, let.onlyFor && !errors.Is(t.err, untorn.ErrPageLost):
		return []complaint{{kind: Refused, text: fmt.Sprintf("a healthy state was refused: %v", t.err), page: -1}}
	case !typed(t.err):
		return []complaint{{kind: Unnamed, text: fmt.Sprintf("refused, and no program can tell why: %v", t.err), page: -1}}
	case let.named(t.err, exp) != "":
		return []complaint{{kind: Unnamed, text: fmt.Sprintf("refused for the loss of %s, to which nothing was done: %v", let.named(t.err, exp), t.err), page: -1}}
	default:
		return nil
	}
	return exp.judge(t.seen, let)
}

// lostToTears reports whether an open was refused for pages that a power cut may tear: smaller than a
// block and beside one that was being written, which SmallPages gives up, or torn while their file was in
// mode detect, which a later doublewrite of them finds.
func lostToTears(err error, exp *expect) bool {
	var lost *recovery.LostError
	if !errors.As(err, &lost) {
		return false
	}
	for _, o := range lost.Pages {
		found := false
		for _, c := range exp.catalogs {
			found = found || exp.torn(pageKey{c[o.File].uid, o.Page})
		}
		if !found {
			return false
		}
	}
	return true
}

// cut tries one power cut.
func (r *run) cut(ctx context.Context, pt *sim.Point, c sim.Choice, exp *expect, ts []string, deep, rot bool, buf *buffers) {
	d := pt.Make(c)
	ctx = context.WithoutCancel(ctx)
	if deep {
		d.Record()
	}
	t := r.try(ctx, d, buf)
	r.x.count(false, append(ts[:len(ts):len(ts)], r.features(exp)...)...)
	r.x.shadow(t.seen)
	if lostToTears(t.err, exp) || r.p.trouble == diskFull && errors.Is(t.err, untorn.ErrNoSpace) {
		t.leave(d, buf)
		return
	}
	cs := r.verdict(exp, t.judge(exp, pass{}))
	if len(cs) > 0 {
		t.leave(d, buf)
		r.report(cs, pt, c, "power cut", exp, t.seen, pt.Make(c))
		return
	}
	if deep && t.err == nil {
		r.again(ctx, d, &t, second{pt: pt, c: c, exp: exp, same: true}, buf)
		return
	}
	t.leave(d, buf)
	if t.err == nil && len(exp.copies) > 0 && (pt.Index+len(c.Name))%4 == 0 {
		r.copies(ctx, pt, c, exp, buf)
	}
	if rot && t.err == nil && len(exp.drive) == 0 && !exp.newID {
		r.rot(ctx, pt, c, exp, t.seen, buf)
	}
}

func (r *run) report(cs []complaint, pt *sim.Point, c fmt.Stringer, path string, exp *expect, seen *observed, crashed *sim.Disk) {
	v := r.violation(cs[0], pt.Index, c.String(), path, pt, c, seen)
	for _, more := range cs[1:min(len(cs), 6)] {
		v.Story += "also: " + more.text + "\n"
	}
	r.x.found(v)
}

// pointsOf are the crash points tried: before everything that makes something durable, and right
// after what a transition is named for.
func pointsOf(l *sim.Log) []int {
	at := l.Cuts()
	for i := range l.Len() {
		e := l.At(i)
		switch {
		case e.Kind == sim.FlushDone && (strings.Contains(e.File, "/dwb/") || strings.Contains(e.File, "/data/")),
			e.Kind == sim.WriteDone && strings.Contains(e.File, "/data/"):
			at = append(at, i+1)
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}
