package explore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
)

// world is what the clients of a run know in common.
type world struct {
	p    *profile
	disk *sim.Disk
	ctx  context.Context // ends when the run does
	mu   sync.Mutex
	eng  *untorn.Engine

	acts, recs, uids uint64
	files            []*workFile
	starts, ends     []untorn.LSN // of records, in order of their append's return
	top              untorn.LSN   // the highest that a page has been given
	follower         *follower    // of this session, if there is one
	backups          int
	versions         map[pageKey]uint64
	newest           map[pageKey]uint64 // accepted
	pageLSN          map[pageKey]untorn.LSN
	hurt             map[pageKey]bool // reported as damaged by the open, and not written since
	redo             untorn.LSN
	claims           []*claim
	foreign          untorn.LSN       // last LSN given to a page of another log
	struck           atomic.Bool      // the trouble has come
	faults           []driveFault     // what no engine can make good
	forgiven         map[string]int   // complaints they explain
	injected         map[string]int64 // everything that went wrong
	complaints       []complaint
}

// workFile is a data file. Shared ones are written by all clients, each its own pages.
type workFile struct {
	uid     uint64
	name    string
	pages   uint64
	f       *untorn.File
	shared  bool
	mode    untorn.Mode
	foreign bool
}

func (w *world) begin(c int, k actKind) *act {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acts++
	return &act{id: int(w.acts), client: c, kind: k}
}

// note makes a mark; a failure that no fault explains is a complaint.
func (w *world) end(a *act, err error) bool {
	if err == nil {
		w.disk.Mark(mark{a, done})
		return true
	}
	a.err = err
	a.refused = w.engine().Err() == nil
	full := w.p.trouble == diskFull && (errors.Is(err, untorn.ErrNoSpace) || errors.Is(err, untorn.ErrLogFull)) ||
		w.p.opts.MaxLogBytes > 0 && errors.Is(err, untorn.ErrLogFull)
	w.disk.Mark(mark{a, failed})
	overtaken := w.p.cuts && errors.Is(err, untorn.ErrCut) // its record was cut off
	if !w.struck.Load() && !full && !overtaken && !refusedBackup(a, err) {
		w.complain(complaint{kind: Failed, text: a.String(), page: -1})
	}
	return false
}

func (w *world) complain(c complaint) {
	w.mu.Lock()
	what, ok := blame(w.faults, c.kind)
	if ok {
		w.forgiven[what+": "+c.kind]++
	}
	w.mu.Unlock()
	if ok {
		return
	}
	c.at = w.disk.Mark("noticed: " + c.text)
	w.mu.Lock()
	w.complaints = append(w.complaints, c)
	w.mu.Unlock()
}

func (w *world) inject(what string) {
	w.mu.Lock()
	w.injected[what]++
	w.mu.Unlock()
}

func (w *world) engine() *untorn.Engine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.eng
}

// pending is a write nobody has waited for yet.
type pending struct {
	a *act
	p *untorn.Pending
}

// client is one caller of the engine; step does one call, or a few that belong together.
type client struct {
	w    *world
	no   int
	rng  *rand.Rand
	pend []pending
	todo int // steps left
	busy atomic.Bool
	run  chan func()
}

func (c *client) loop() {
	for f := range c.run {
		f()
		c.busy.Store(false)
	}
}

// start hands the client something to do. It must be idle.
func (c *client) start(f func()) {
	c.busy.Store(true)
	c.run <- f
}

// step does what the seed picks. The last steps wait for what is pending.
func (c *client) step() {
	if c.w.engine().Err() != nil {
		c.pend = nil
		return
	}
	if c.todo < len(c.pend) || len(c.pend) >= 4 {
		c.await(0)
		return
	}
	r, w := c.rng.IntN(100), c.w
	switch {
	case c.no == 0 && r < 12:
		c.checkpoint()
	case c.no == 0 && r < 30:
		c.catalog()
	case c.no == 1 && w.p.backups && r < 5:
		c.backup()
	case c.no == 1 && w.p.cuts && r < 16:
		c.cut()
	case r < 55:
		c.write()
	case r < 70 && len(c.pend) > 0:
		c.await(c.rng.IntN(len(c.pend)))
	case r < 80:
		c.appendWait()
	case r < 88:
		c.read()
	case r < 92:
		c.sync()
	default:
		c.write()
	}
}

// append adds one record, or a few that belong together, and returns the LSN to put on pages.
func (c *client) append(cs []change) (untorn.LSN, bool) {
	w := c.w
	a := w.begin(c.no, actAppend)
	a.changes = cs
	n := 1
	if c.rng.IntN(3) == 0 {
		n = 2 + c.rng.IntN(3)
	}
	var data [][]byte
	w.mu.Lock()
	for i := range n {
		w.recs++
		a.recs = append(a.recs, w.recs)
		size := 16 + c.rng.IntN(600)*c.rng.IntN(8)
		if b := w.p.opts.LossBytes; b > 0 {
			size = 16 + size%int(b/8) // one that is more than may be lost is in the log or not when its append fails
		}
		if data = append(data, payload(w.recs, size)); i == n-1 && len(cs) > 0 {
			data[i] = withChanges(w.recs, size, cs)
		}
		a.sizes = append(a.sizes, int64(8+len(data[len(data)-1])))
	}
	w.mu.Unlock()
	w.disk.Mark(mark{a, begun})
	var err error
	if n == 1 {
		var end untorn.LSN
		_, end, err = w.engine().Append(data[0])
		a.ends = []untorn.LSN{end}
	} else {
		a.ends, err = w.engine().AppendBatch(data, nil)
	}
	if err != nil {
		a.ends = nil
	}
	for i, end := range a.ends {
		a.starts = append(a.starts, end-untorn.LSN(a.sizes[i]))
	}
	if !w.end(a, err) {
		return 0, false
	}
	w.mu.Lock()
	w.ends, w.starts = append(w.ends, a.ends...), append(w.starts, a.starts...)
	w.mu.Unlock()
	return a.ends[len(a.ends)-1], true
}

func (c *client) appendWait() {
	lsn, ok := c.append(nil)
	if !ok {
		return
	}
	a := c.w.begin(c.no, actWait)
	a.lsn = lsn
	c.w.disk.Mark(mark{a, begun})
	c.w.end(a, c.w.engine().WaitDurable(c.w.ctx, lsn))
}

// target picks a file and some pages in it that only this client writes.
func (c *client) target() (*workFile, []uint64) {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	var of []*workFile
	for _, f := range w.files {
		if f.shared || c.no == 0 {
			of = append(of, f)
		}
	}
	if len(of) == 0 {
		return nil, nil
	}
	f := of[c.rng.IntN(len(of))]
	var mine []uint64
	for no := range f.pages {
		if !f.shared || int(no)%w.p.clients == c.no {
			mine = append(mine, no)
		}
	}
	if len(mine) == 0 {
		return nil, nil
	}
	c.rng.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
	return f, mine[:1+c.rng.IntN(min(5, len(mine)))]
}

// unlogged pages never carry an LSN: their changes are in no record.
func unlogged(no uint64) bool { return no%5 == 4 }

func (c *client) write() {
	f, nos := c.target()
	if f == nil {
		return
	}
	if len(c.pend) > 0 && c.rng.IntN(2) == 0 { // the same page again while it is under way
		if a := c.pend[c.rng.IntN(len(c.pend))].a; a.uid == f.uid {
			nos = append(nos, a.nos[c.rng.IntN(len(a.nos))])
		}
	}
	fresh := c.rng.IntN(4) > 0
	if c.w.p.cuts {
		fresh = c.rng.IntN(4) == 0 // else there is nothing to cut
	}
	slices.Sort(nos)
	nos = slices.Compact(nos)
	w := c.w
	vers, cs, of := c.plan(f, nos)
	var lsn untorn.LSN
	if fresh {
		var ok bool
		if lsn, ok = c.append(cs); !ok {
			w.passed(of)
			return
		}
	}
	a := w.begin(c.no, actWrite)
	a.uid, a.name, a.lsn, a.level, a.mode = f.uid, f.name, 0, c.level(), f.mode
	a.nos, a.vers = nos, vers
	var ws []untorn.PageWrite
	w.mu.Lock()
	for i, no := range nos {
		k := pageKey{f.uid, no}
		b := make([]byte, w.p.pageSize)
		paint(b, f.uid, no, vers[i])
		pw := untorn.PageWrite{No: untorn.PageNo(no), Data: b, Unrecorded: !fresh}
		switch {
		case unlogged(no):
		case f.foreign:
			w.foreign += untorn.LSN(1 + c.rng.IntN(1000))
			pw.LSN = w.foreign
		default:
			pw.LSN = max(lsn, w.pageLSN[k]) // without a record of its own it keeps the one it has
			w.pageLSN[k] = pw.LSN
		}
		if !f.foreign {
			a.lsn = max(a.lsn, pw.LSN)
			w.top = max(w.top, pw.LSN)
		}
		ws = append(ws, pw)
	}
	w.mu.Unlock()
	w.disk.Mark(mark{a, begun})
	p, err := f.f.WritePagesAsync(c.w.ctx, ws, a.level)
	if err != nil {
		w.end(a, err)
		return
	}
	w.disk.Mark(mark{a, accepted})
	w.passed(of)
	w.mu.Lock()
	for i, no := range a.nos {
		w.newest[pageKey{f.uid, no}] = a.vers[i]
		delete(w.hurt, pageKey{f.uid, no})
	}
	w.mu.Unlock()
	c.pend = append(c.pend, pending{a, p})
}

func (c *client) level() untorn.Level {
	switch r := c.rng.IntN(10); {
	case r < 4:
		return untorn.Durable
	case r < 8:
		return untorn.Protected
	case r < 9:
		return untorn.Logged
	}
	return untorn.Accepted
}

func (c *client) await(i int) {
	if i >= len(c.pend) {
		return
	}
	x := c.pend[i]
	c.pend = append(c.pend[:i:i], c.pend[i+1:]...)
	c.w.end(x.a, x.p.Wait(c.w.ctx))
}

func (c *client) sync() {
	f, _ := c.target()
	if f == nil {
		return
	}
	a := c.w.begin(c.no, actSync)
	a.uid, a.name = f.uid, f.name
	c.w.disk.Mark(mark{a, begun})
	c.w.end(a, f.f.Sync(c.w.ctx))
}

// read checks I9: a read sees the newest accepted image.
func (c *client) read() {
	w := c.w
	f, nos := c.target()
	if f == nil {
		return
	}
	a := w.begin(c.no, actRead)
	a.name = f.name
	var rs []untorn.PageRead
	w.mu.Lock()
	nos = slices.DeleteFunc(nos, func(no uint64) bool { return w.hurt[pageKey{f.uid, no}] })
	want := make([]uint64, len(nos))
	for i, no := range nos {
		want[i] = w.newest[pageKey{f.uid, no}]
		rs = append(rs, untorn.PageRead{No: untorn.PageNo(no), Data: make([]byte, w.p.pageSize)})
	}
	w.mu.Unlock()
	if err := f.f.ReadPages(c.w.ctx, rs); err != nil {
		w.end(a, err)
		return
	}
	scratch := make([]byte, w.p.pageSize)
	for i, no := range nos {
		s := look(rs[i].Data, scratch, no)
		if s.torn != "" || s.version != want[i] {
			kind := Stale
			if s.torn != "" {
				kind = Torn
			}
			w.complain(complaint{kind: kind, text: fmt.Sprintf("page %d of %s reads as version %d, %d is the newest accepted (I9) %s",
				no, f.name, s.version, want[i], s.torn), file: f.name, page: int(no)})
		}
	}
}
