package explore

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync/atomic"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
)

// Bounds of what is tried below one state.
const (
	againPoints = 20
	againChoice = 3
	againSteps  = 8
)

// second is a crash whose recovery is crashed again.
type second struct {
	pt   *sim.Point
	c    sim.Choice
	exp  *expect
	same bool // the first crash decided everything: a second recovery returns what the first did
	let  pass // what the first crash's damage excuses
	path string
}

// again works a little on the recovered engine, and then cuts the power at the operations of that
// recovery (I8) and of the work after it, as recorded on d, and opens once more.
func (r *run) again(ctx context.Context, d *sim.Disk, t *tried, s second, buf *buffers) {
	s.let.inPlace = maps.Clone(s.let.inPlace)
	if s.let.inPlace == nil {
		s.let.inPlace = map[pageKey]bool{}
	}
	for _, f := range t.seen.files { // what the first crash left damaged still is
		for no := range f.pages {
			if f.pages[no].damaged != "" {
				s.let.inPlace[pageKey{f.uid, uint64(no)}] = true
			}
		}
	}
	s.let = s.let.withNeighbours(s.exp.shared)
	opened := d.Mark(mark{&act{kind: actOpen, seen: t.seen}, done})
	var complaints []complaint
	if strictFor(r.p.mode) {
		complaints = r.verdict(s.exp, r.work(d, t, s))
	}
	log := d.Log()
	t.leave(d, buf)
	if len(complaints) > 0 {
		r.reportAgain(complaints, s, log, log.Len(), nil, nil, t, &tried{})
		return
	}
	rng := rand.New(rand.NewPCG(r.p.seed, uint64(s.pt.Index)))
	at := log.Cuts()
	for len(at) > againPoints {
		i := rng.IntN(len(at) - 1) // the end stays
		at = append(at[:i], at[i+1:]...)
	}
	for i, p2 := range log.Points(at) {
		exp, transition, let := s.exp, Recovery, s.let
		if i > opened && strictFor(r.p.mode) {
			exp, transition, let = expectAt(log, i, r.p, s.exp), AfterWork, s.let.later()
			let.olderOf = s.exp.stillOlder(s.let.olderOf)
		}
		for _, c2 := range r.pick(p2, againChoice, rng) {
			d2 := p2.Make(c2)
			t2 := r.try(ctx, d2, buf)
			t2.leave(d2, buf)
			r.x.count(false, transition)
			cs := t2.judge(exp, let)
			if len(cs) == 0 && t2.err == nil && s.same && i <= opened {
				cs = t.seen.differs(t2.seen, func(k pageKey) bool { return exp.torn(k) || let.damaged[k] })
			}
			cs = r.verdict(exp, cs)
			if len(cs) > 0 {
				r.reportAgain(cs, s, log, i, p2, &c2, t, &t2)
				return
			}
		}
	}
}

// work lets one client do a few steps, with nothing held back. Versions and records are numbered
// past everything the first life began, so that what it gave up is known when it comes back.
func (r *run) work(d *sim.Disk, t *tried, s second) []complaint {
	p := *r.p
	p.clients = 1
	w := &world{
		p: &p, disk: d, ctx: context.Background(), eng: t.eng, recs: 1 << 32, uids: 1 << 32, acts: 1 << 20,
		versions: map[pageKey]uint64{}, newest: map[pageKey]uint64{}, pageLSN: map[pageKey]untorn.LSN{}, hurt: map[pageKey]bool{}, foreign: 1 << 50, forgiven: map[string]int{}, faults: s.exp.drive,
	}
	for k, v := range s.exp.ceil {
		w.versions[k] = v
	}
	if p.replays() {
		if err := replay(w.ctx, t.eng, t.seen.catalog()); err != nil {
			return []complaint{{kind: Failed, text: fmt.Sprintf("replay after recovery: %v", err), page: -1}}
		}
	}
	w.resume(t.seen)
	c := &client{w: w, rng: rand.New(rand.NewPCG(r.p.seed, uint64(s.pt.Index))), busy: atomic.Bool{}}
	for c.todo = againSteps; c.todo > 0; c.todo-- {
		c.step()
	}
	return w.complaints
}
