package explore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// rig drives one run: it holds back everything that reaches the disk and lets one thing happen at
// a time: an op or a change of a name beginning, an op completing, a client taking its next step.
type rig struct {
	p                  *profile
	w                  *world
	disk               *sim.Disk
	rng                *rand.Rand
	quiet              *quiet
	clients            []*client
	gate               gate
	opening            atomic.Bool // nothing is asked of the trouble yet, and reads complete at once
	stuck              bool
	observing, created atomic.Bool

	dice    sync.Mutex // of a soak
	fate    *rand.Rand
	stalled map[*ring.Op]int // by how many events
	matches atomic.Int64     // ops the trouble might have struck
}

// recordRun runs a profile's workload and returns the log of it. When ctx ends first neither the log
// nor the complaints mean anything. What the drive is to blame for is counted by kind.
func recordRun(ctx context.Context, p *profile) (*sim.Log, []complaint, *world) {
	r := &rig{p: p, disk: sim.New(p.disk), rng: rand.New(rand.NewPCG(p.seed, 0x64726976)), quiet: newQuiet(),
		fate: rand.New(rand.NewPCG(p.seed, 0x66617465)), stalled: map[*ring.Op]int{}}
	r.w = &world{p: p, disk: r.disk, versions: map[pageKey]uint64{}, newest: map[pageKey]uint64{}, pageLSN: map[pageKey]untorn.LSN{}, hurt: map[pageKey]bool{}, foreign: 1 << 40, forgiven: map[string]int{}, injected: map[string]int64{}}
	ctx, stop := context.WithCancel(ctx)
	r.w.ctx = ctx
	r.disk.Inject(r.fault)
	r.disk.InjectFS(r.faultFS)
	r.disk.Record()
	r.gate.close()
	for i := range p.clients {
		c := &client{w: r.w, no: i, rng: rand.New(rand.NewPCG(p.seed, uint64(i))), run: make(chan func())}
		r.clients = append(r.clients, c)
		go c.loop()
	}
	for s := range p.sessions {
		if !r.session(s) {
			break
		}
	}
	log := r.disk.Log()
	stop()
	r.stop()
	for _, pr := range r.disk.Problems() {
		// A log scan beside a running engine may read what is being written; pages may not.
		if strings.Contains(pr.File, "/data/") || !strings.HasPrefix(pr.What, "read") {
			r.w.complain(complaint{kind: Disorder, text: pr.String(), file: pr.File, page: -1})
		}
	}
	return log, r.w.complaints, r.w
}

// fault is asked about every op.
func (r *rig) fault(op *ring.Op) (f sim.Fault) {
	r.gate.enter(opKey(op))
	name := op.File.Name()
	f.Hold = op.Kind != ring.Read || strings.Contains(name, "/data/")
	read := r.p.trouble == failRead && op.Kind == ring.Read && !r.observing.Load() && r.created.Load()
	if read && r.matches.Add(1) == int64(r.p.after*4)+1 {
		f.Err = syscall.EIO
		r.w.struck.Store(true)
	}
	if r.p.rates != nil && r.created.Load() && !r.observing.Load() {
		f = r.roll(op)
	}
	if r.opening.Load() {
		f.Hold = op.Kind != ring.Read
		return f
	}
	f.Hold = op.Kind != ring.Read || strings.Contains(name, "/data/")
	flush := op.Kind == ring.DataSync || op.Kind == ring.Sync
	switch {
	case r.p.trouble == shortWrite && op.Kind == ring.Write && op.Len() > 4096:
		if r.matches.Add(1)%4 == 0 {
			f.Short = op.Len() / 2 &^ (r.p.disk.Sector - 1)
		}
	case r.p.trouble == misdirect && op.Kind == ring.Write:
		if strings.Contains(name, r.p.where) && r.matches.Add(1) == int64(r.p.after)+1 {
			f.Misdirect = 4096 << (r.p.after % 5)
			r.lie("misdirected write")
		}
	case r.p.trouble == failFlush && flush, r.p.trouble == failWrite && op.Kind == ring.Write:
		if strings.Contains(name, r.p.where) && r.matches.Add(1) == int64(r.p.after)+1 {
			if f.Err = syscall.EIO; op.Flags&ring.Atomic == 0 {
				f.Land = op.Len() / 2 &^ 4095
			}
			r.w.struck.Store(true)
		}
	}
	return f
}

// faultFS is asked about every operation of the file system.
func (r *rig) faultFS(op, path string) error {
	r.gate.enter(path + " " + op)
	if x := r.p.rates; x != nil && r.created.Load() && !r.observing.Load() {
		r.dice.Lock()
		defer r.dice.Unlock()
		if changesNames(op) && r.fate.Float64() < x.NameError {
			r.w.inject("directory error")
			r.w.struck.Store(true)
			return syscall.EIO
		}
	}
	if r.p.trouble != failNames || r.opening.Load() {
		return nil
	}
	switch op {
	case "rename", "remove", "syncdir":
		if r.matches.Add(1) == int64(r.p.after)/3+1 {
			r.w.struck.Store(true)
			return syscall.EIO
		}
	}
	return nil
}

func changesNames(op string) bool { return op == "rename" || op == "remove" || op == "syncdir" }

// session opens, works and closes. It returns false when the run must end.
func (r *rig) session(n int) bool {
	r.opening.Store(true)
	first := r.clients[0]
	opened := false
	first.start(func() {
		if opened = r.open(); opened && n == 0 {
			first.create(true, r.p.pages)
			first.create(false, 3)
		}
	})
	if !r.drive() || !opened {
		return false
	}
	r.opening.Store(false)
	r.created.Store(true)
	for _, c := range r.clients {
		c.todo, c.pend = r.p.steps, nil
	}
	if !r.drive() {
		return false
	}
	if f := r.w.follower; f != nil {
		f.settle()
	}
	last := n == r.p.sessions-1
	if last && r.p.abandon && r.w.engine().Err() == nil {
		return false
	}
	r.clients[0].todo = 0
	closed := false
	r.clients[0].start(func() { closed = r.close() })
	if !r.drive() {
		return false
	}
	if !r.p.newIDs || last || !closed {
		return true
	}
	r.opening.Store(true)
	r.clients[0].start(r.newID)
	return r.drive()
}

func (r *rig) close() bool {
	w := r.w
	a := w.begin(0, actClose)
	r.disk.Mark(mark{a, begun})
	well := w.end(a, w.engine().Close(w.ctx))
	if f := w.follower; f != nil {
		f.sub.Close()
		<-f.over
		w.follower = nil
	}
	w.mu.Lock()
	w.eng = nil
	w.mu.Unlock()
	return well
}

// open opens the directory and, from the second time on, judges what it returns: the cache has
// survived, and everything accepted before a clean close is there.
func (r *rig) open() bool {
	w := r.w
	a := w.begin(0, actOpen)
	r.disk.Mark(mark{a, begun})
	ctx := w.ctx
	r.observing.Store(false)
	var e *untorn.Engine
	var err error
	for n := 0; n < 5; n++ { // what failed need not fail again
		// What strikes from here on may show much later: the log prepares its next file behind the open.
		w.struck.Store(false)
		e, _, err = openThrough(ctx, r.p.engineOn(r.disk))
		if err == nil || !w.struck.Load() || r.p.trouble != failRead && r.p.rates == nil {
			break
		}
	}
	r.observing.Store(true)
	defer r.observing.Store(false)
	if full := r.p.trouble == diskFull && errors.Is(err, untorn.ErrNoSpace); full || err != nil && r.p.rates != nil && w.struck.Load() {
		a.err = err
		w.inject("opens given up")
		return false
	}
	if err != nil {
		a.err = err
		w.complain(complaint{kind: Refused, text: fmt.Sprintf("open: %v", err), page: -1})
		return false
	}
	w.mu.Lock()
	w.eng = e
	w.mu.Unlock()
	a.seen, err = observe(ctx, e, newBuffers(), r.openAs(e))
	if r.p.rates != nil && w.struck.Load() && errors.Is(err, untorn.ErrPoisoned) {
		a.err = err
		w.inject("opens given up") // it stopped after a fault of ours, which is right
		return false
	}
	if err != nil {
		w.complain(complaint{kind: Refused, text: fmt.Sprintf("reading after open: %v", err), page: -1})
		return false
	}
	log := r.disk.Log()
	x := expectAt(log, log.Len(), r.p, nil)
	for _, c := range x.judge(a.seen, pass{}) {
		w.complain(c)
	}
	if r.p.replays() {
		err := replay(ctx, e, a.seen.catalog())
		if r.p.rates != nil && w.struck.Load() && errors.Is(err, untorn.ErrPoisoned) {
			a.err = err
			w.inject("opens given up")
			return false
		}
		if err != nil {
			w.complain(complaint{kind: Failed, text: fmt.Sprintf("replay after open: %v", err), page: -1})
			return false
		}
	}
	if a.seen.sizes() != nil && x.match(a.seen) == nil { // the drive's fault, and the end of this run
		return false
	}
	r.disk.Mark(mark{a, done})
	w.resume(a.seen)
	if r.p.follow != followNone {
		w.follow(a.seen.checkpoint.redo)
	}
	return true
}

// strictFor reports whether what an open returns is durable, after the replay where there is one.
func strictFor(m untorn.Mode) bool {
	return m == untorn.ModeDoublewrite || m == untorn.ModeFullpage || m == untorn.ModeShadow
}

// openAs opens files after an open, now and then in another mode (I7).
func (r *rig) openAs(e *untorn.Engine) func(string, untorn.Mode) (*untorn.File, error) {
	if len(r.p.modes) == 0 {
		return nil
	}
	rng := r.clients[0].rng
	return func(name string, is untorn.Mode) (*untorn.File, error) {
		to := r.p.modes[rng.IntN(len(r.p.modes))]
		if to == is {
			return e.OpenFile(r.w.ctx, name, untorn.FileOptions{})
		}
		a := r.w.begin(0, actMode)
		a.name, a.mode = name, to
		r.disk.Mark(mark{a, begun})
		f, err := e.OpenFile(r.w.ctx, name, untorn.FileOptions{Mode: to})
		if err == nil {
			r.disk.Mark(mark{a, done})
		}
		return f, err
	}
}

// openPatiently opens again while a killed process's I/O still holds a lock (I11): every try lets
// time pass on the disk.
func openPatiently(ctx context.Context, o untorn.Options) (*untorn.Engine, error) {
	for n := 0; ; n++ {
		e, err := untorn.Open(ctx, o)
		if err == nil || !errors.Is(err, fsys.ErrLocked) || n > 100 {
			return e, err
		}
	}
}

// resume takes over what an open returned.
func (w *world) resume(s *observed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.redo, w.claims = s.checkpoint.redo, nil
	w.ends = slices.DeleteFunc(w.ends, func(l untorn.LSN) bool { return l > s.last })
	old := w.files
	w.files = nil
	infos := map[string]bool{}
	for _, i := range w.eng.Info().Files {
		infos[i.Name] = i.ForeignLSN
	}
	for name, sf := range s.files {
		f, err := w.eng.OpenFile(context.Background(), name, untorn.FileOptions{})
		if err != nil {
			continue
		}
		wf := &workFile{uid: sf.uid, name: name, pages: uint64(len(sf.pages)), f: f, mode: sf.mode, foreign: infos[name]}
		for _, o := range old {
			if o.uid == wf.uid {
				wf.shared = o.shared
			}
		}
		w.files = append(w.files, wf)
		for no, p := range sf.pages {
			k := pageKey{sf.uid, uint64(no)}
			w.newest[k], w.pageLSN[k] = p.version, min(p.lsn, s.last) // a lost tail may have had its record
			if wf.foreign {
				w.foreign = max(w.foreign, p.lsn)
			}
			delete(w.hurt, k)
			if p.damaged != "" {
				w.hurt[k] = true
			}
		}
	}
	slices.SortFunc(w.files, func(a, b *workFile) int { return int(a.uid) - int(b.uid) })
}

// drive lets things happen until every client is through with its steps.
func (r *rig) drive() bool {
	idleSince := time.Time{}
	for r.w.ctx.Err() == nil {
		r.quiet.wait()
		var idle []*client
		busy := false
		for _, c := range r.clients {
			if c.busy.Load() {
				busy = true
			} else if c.todo > 0 {
				idle = append(idle, c)
			}
		}
		held, visitors := r.awake(r.held()), r.gate.visitors()
		n := len(held) + len(visitors)
		switch {
		case len(idle) > 0 && (n == 0 || r.rng.IntN(100) < 30):
			c := idle[r.rng.IntN(len(idle))]
			c.todo--
			c.start(c.step)
		case n > 0:
			if i := r.rng.IntN(n); i < len(held) {
				r.release(held[i])
			} else {
				r.gate.admit(visitors[i-len(held)])
			}
		case !busy && len(idle) == 0:
			return true
		case busy: // somebody waits for a timer
			if idleSince.IsZero() {
				idleSince = time.Now()
			}
			if time.Since(idleSince) > 10*time.Second {
				r.stuck = true
				r.w.complain(complaint{kind: Stuck, text: "nothing is in flight and calls wait", page: -1, stacks: stacks()})
				return false
			}
			time.Sleep(time.Millisecond)
			continue
		}
		idleSince = time.Time{}
	}
	return false
}

// heldOp is an op in flight, by what it is: the order of submission is not the seed's alone.
type heldOp struct {
	op   *ring.Op
	name string
	kind ring.Kind
	off  int64
}

func (r *rig) held() []heldOp {
	var list []heldOp
	r.disk.Release(func(op *ring.Op) bool {
		list = append(list, heldOp{op, op.File.Name(), op.Kind, op.Off})
		return false
	})
	slices.SortStableFunc(list, func(a, b heldOp) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		return int(a.off - b.off)
	})
	return list
}

// awake leaves out what is stalled, unless everything is.
func (r *rig) awake(held []heldOp) []heldOp {
	r.dice.Lock()
	defer r.dice.Unlock()
	if len(r.stalled) == 0 {
		return held
	}
	var up []heldOp
	for _, h := range held {
		if r.stalled[h.op]--; r.stalled[h.op] <= 0 {
			delete(r.stalled, h.op)
			up = append(up, h)
		}
	}
	if len(up) == 0 {
		return held
	}
	return up
}

func (r *rig) release(h heldOp) {
	r.disk.Release(func(op *ring.Op) bool { return op == h.op })
}

// stop ends everything on the run's disk. A run that is stuck is left as it is: no call of it will
// ever return, and its story is worth more than its memory.
func (r *rig) stop() {
	r.disk.PowerOff()
	r.gate.open()
	if r.stuck {
		return
	}
	begun := time.Now()
	for _, c := range r.clients {
		for c.busy.Load() {
			if time.Since(begun) > time.Minute { // they are left behind: it must be told, not waited for
				r.w.complain(complaint{kind: Stuck, text: "the machine is off and calls wait", page: -1, stacks: stacks()})
				return
			}
			time.Sleep(50 * time.Microsecond)
		}
		close(c.run)
	}
	if e := r.w.engine(); e != nil {
		_ = e.Close(context.Background()) // the machine is off: the error is expected
	}
	if f := r.w.follower; f != nil {
		f.sub.Close()
		<-f.over
	}
}
