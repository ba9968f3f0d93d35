package datastage

import (
	"context"
	"fmt"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Config is what a Stage is made of.
type Config struct {
	Ring  ring.Ring
	Depth int // destination writes and reads in flight
	Group int // writes handed to the ring at a time: DESIGN, section 2, ring
	Inbox int
	Pages int // most pages dwbstage can have in flight
	Files int // most files open at once
	// Idle is how long a written page may stay unflushed when nobody asks.
	Idle   time.Duration
	Out    chan<- *stages.Batch // reclaim's inbox; has room for every batch there is
	Poison *stages.Poison
	// Refusals is dwbstage's; it has room for two of every file. nil = no file is Atomic.
	Refusals chan<- stages.Refusal
	// Moved, if set, is told once of each file that moves to the doublewrite buffer, in the stage's
	// goroutine.
	Moved func(*stages.File, error)
	// Mutants breaks rules on purpose.
	Mutants stages.Mutant
}

// place is what the stage keeps of one page in flight.
type place struct {
	id      page.ID
	newest  *stages.Entry // the newest accepted image that is not at S4
	active  *stages.Entry // its destination write is in flight
	readers int           // reads of the file in flight
	next    *place        // free list
}

// file is what the stage keeps of one file.
type file struct {
	f          *stages.File
	written    *stages.Entry // reaped since the flush in flight was submitted
	covered    *stages.Entry // reaped before it
	flushing   bool
	unflushed  int          // entries accepted and not covered by a flush
	waited     int          // of these, the ones somebody waits for
	press      bool         // flush what is there even if nobody waits
	pressed    bool         // the flush in flight is for that
	whole      bool         // a batch has been written to its last page since the last flush was submitted
	syncs      *stages.Sync // asked for since the flush in flight was submitted
	syncing    *stages.Sync // asked for before it
	flush      ring.Op
	flushBegun time.Time
	flushPages int       // that the flush in flight covers
	since      time.Time // when written became non-empty
	move       move
}

// readOp is one page of a Read in flight.
type readOp struct {
	op   ring.Op
	read *stages.Read
	page *stages.ReadPage
	at   *place
	next *readOp
}

// Stage is the actor. All its fields but the channels belong to its goroutine.
type Stage struct {
	cfg   Config
	inbox chan stages.Msg
	comps chan *ring.Op
	stop  chan struct{}
	meter *stages.Meter

	index     *stages.Index[place]
	places    *place
	files     []*file // by slot; nil: nothing of it has come this way yet
	used      []*file // the others, which is what there is to look through
	ready     queue   // entries that may be submitted
	inFlight  int     // writes and reads
	reads     *stages.Read
	lastRead  *stages.Read
	readOps   *readOp
	group     []*ring.Op
	idleTimer *time.Timer
	idleArmed bool
	begun     int // flushes, in this round
	returned  int // batches that went to reclaim
	dead      bool
}

const (
	tagWrite = iota + 1
	tagRead
	tagFlush
)

// New returns a stage that Run drives. Its memory is allocated here and fixed,
// but for a file's, which comes with its first write.
func New(cfg Config) *Stage {
	s := &Stage{
		cfg:   cfg,
		inbox: make(chan stages.Msg, cfg.Inbox),
		comps: make(chan *ring.Op, cfg.Depth+cfg.Files+1),
		stop:  make(chan struct{}),
		index: stages.NewIndex[place](cfg.Pages + cfg.Depth),
		files: make([]*file, cfg.Files),
		used:  make([]*file, 0, cfg.Files),
		ready: newQueue(cfg.Pages),
		group: make([]*ring.Op, 0, cfg.Group),
	}
	s.meter = stages.NewMeter("destination", func() (int, int) { return len(s.inbox), cap(s.inbox) })
	ps := make([]place, cfg.Pages+cfg.Depth)
	for i := range ps {
		ps[i].next, s.places = s.places, &ps[i]
	}
	rs := make([]readOp, cfg.Depth)
	for i := range rs {
		rs[i].next, s.readOps = s.readOps, &rs[i]
	}
	return s
}

// Inbox is where dwbstage sends batches, reads and barriers.
func (s *Stage) Inbox() chan<- stages.Msg { return s.inbox }

// Stats is a snapshot of the stage's meter.
func (s *Stage) Stats() stages.StageStats { return s.meter.Snapshot() }

// ResetStats makes the meter's distributions begin anew.
func (s *Stage) ResetStats() { s.meter.Reset() }

// Stop ends Run; send a Barrier first to have writes finished.
func (s *Stage) Stop() { close(s.stop) }

// Run is the stage's loop.
func (s *Stage) Run(ctx context.Context) {
	s.idleTimer = time.NewTimer(time.Hour)
	s.idleTimer.Stop()
	defer s.idleTimer.Stop()
	poison := s.cfg.Poison.C()
	for {
		// What has come back goes first: it makes room, and where both were ready it is not left to
		// chance which comes first, so that a simulated schedule comes again.
		select {
		case op := <-s.comps:
			s.reap(op)
			continue
		default:
		}
		select {
		case m := <-s.inbox:
			t := time.Now()
			s.message(m)
			s.pump()
			s.meter.Busy(time.Since(t))
		case op := <-s.comps:
			s.reap(op)
		case <-s.idleTimer.C:
			s.idleArmed = false
			s.needIdle()
			s.pump()
		case <-poison:
			poison, s.dead = nil, true
		case <-s.stop:
			return
		}
	}
}

// reap takes a completion, and all that are there with it.
func (s *Stage) reap(op *ring.Op) {
	t := time.Now()
	s.completed(op)
	for n := len(s.comps); n > 0; n-- {
		s.completed(<-s.comps)
	}
	s.pump()
	s.meter.Busy(time.Since(t))
}

func (s *Stage) message(m stages.Msg) {
	switch {
	case m.Batch != nil:
		s.accept(m.Batch)
	case m.Read != nil:
		m.Read.Pos, m.Read.Next = 0, nil
		if s.lastRead == nil {
			s.reads = m.Read
		} else {
			s.lastRead.Next = m.Read
		}
		s.lastRead = m.Read
	case m.Barrier != nil:
		s.barrier(m.Barrier)
	case m.Sync != nil:
		st := s.file(m.Sync.File)
		m.Sync.Next, st.syncs = st.syncs, m.Sync
	case m.Press:
		s.needAll()
	case m.Move != nil:
		s.beginMove(s.file(m.Move.File), m.Move.Why)
	case m.Drain != nil:
		s.drained(m.Drain)
	}
}

// slot finds a file by its place, made when it is first asked for: most engines have a few.
func (s *Stage) slot(n int) *file {
	st := s.files[n]
	if st == nil {
		st = &file{}
		s.files[n], s.used = st, append(s.used, st)
	}
	return st
}

func (s *Stage) file(f *stages.File) *file {
	st := s.slot(f.Slot)
	if st.f != f {
		*st = file{f: f}
		st.flush = ring.Op{Kind: ring.DataSync, File: f.IO, Done: s.comps, Tag: tagFlush, Ctx: st}
	}
	return st
}

// forget takes an entry out of the count of what is to be flushed.
func (st *file) forget(e *stages.Entry) {
	st.unflushed--
	if e.Waited() {
		st.waited--
	}
}

func (s *Stage) place(id page.ID) *place {
	if p := s.index.Get(id); p != nil {
		return p
	}
	p := s.places
	if p == nil {
		panic("datastage: more pages in flight than dwbstage may have")
	}
	s.places = p.next
	*p = place{id: id}
	s.index.Put(id, p)
	return p
}

// settle forgets a page that nothing is in flight for.
func (s *Stage) settle(p *place) {
	if p.newest == nil && p.active == nil && p.readers == 0 {
		s.index.Delete(p.id)
		p.next, s.places = s.places, p
	}
}

// accept takes over a batch whose copies are flushed (or need not be).
func (s *Stage) accept(b *stages.Batch) {
	b.Unreaped, b.Unsafe = len(b.Entries), len(b.Entries)
	b.Since = time.Now()
	s.meter.Wait(b.Since.Sub(b.Sent))
	for i := range b.Entries {
		e := &b.Entries[i]
		p := s.place(e.Page)
		st := s.file(e.File)
		if o := p.newest; o != nil && o.State == stages.Waiting {
			// A newer write is at S2 before this one's destination write was submitted: the older is
			// never written, and its acknowledgement completes with the newer one.
			st.forget(o)
			s.supersede(o, e)
			if b.Region >= 0 && o.Batch.Region < 0 {
				s.takeOver(o, e)
			}
		}
		p.newest = e
		e.State = stages.Waiting
		st.unflushed++
		if e.Waited() {
			st.waited++
		}
		s.arm(p)
	}
}

// arm queues a page's newest write for submission if nothing stands against it (I9).
func (s *Stage) arm(p *place) {
	e := p.newest
	if e == nil || e.State != stages.Waiting || e.Op.File != nil {
		return
	}
	if (p.active != nil || p.readers > 0) && !s.cfg.Mutants.Has(stages.ReorderPage) {
		return
	}
	if e.File.Atomic && e.Batch.Region < 0 {
		if s.slot(e.File.Slot).move.begun {
			return // held: it goes through the doublewrite buffer
		}
		// One plain buffer: the kernel refuses registered ones and vectors.
		e.Op = ring.Op{
			Kind: ring.Write, Flags: ring.Atomic, File: e.File.IO, Off: e.File.Offset(e.Page.No),
			Buf: e.Frame.Buf, Done: s.comps, Tag: tagWrite, Ctx: e,
		}
		s.ready.push(e)
		return
	}
	e.Op = ring.Op{
		Kind: ring.Write, File: e.File.IO, Off: e.File.Offset(e.Page.No), Buf: e.Frame.Buf,
		Fixed: e.Frame.Fixed, Done: s.comps, Tag: tagWrite, Ctx: e,
	}
	s.ready.push(e)
}

// pump submits what can be submitted and flushes what has to be flushed.
func (s *Stage) pump() {
	if s.dead = s.dead || s.cfg.Poison.Err() != nil; !s.dead {
		for s.inFlight < s.cfg.Depth {
			e := s.ready.pop()
			if e == nil {
				break
			}
			s.submit(e)
		}
		s.handOver()
	}
	for s.reads != nil && s.inFlight < s.cfg.Depth {
		s.startRead()
	}
	s.handOver()
	if s.dead {
		return
	}
	idle := false
	s.begun = 0
	for _, st := range s.used {
		idle = s.flushFile(st) || idle
	}
	if s.begun > 0 {
		s.meter.FlushGroup(s.begun)
	}
	if idle && !s.idleArmed {
		s.idleArmed = true
		s.idleTimer.Reset(s.cfg.Idle)
	}
}

func (s *Stage) submit(e *stages.Entry) {
	if e.State != stages.Waiting { // superseded while it was queued
		return
	}
	p := s.index.Get(e.Page)
	if p.readers > 0 { // a read began meanwhile; its completion arms the write again
		e.Op.File = nil
		return
	}
	if e.Op.Flags&ring.Atomic != 0 {
		st := s.slot(e.File.Slot)
		if st.move.begun { // refused while it was queued
			e.Op.File = nil
			return
		}
		st.move.inFlight++
	}
	e.State = stages.Submitted
	p.active = e
	s.inFlight++
	s.group = append(s.group, &e.Op)
	if len(s.group) == s.cfg.Group {
		s.handOver()
	}
}

func (s *Stage) handOver() {
	if len(s.group) > 0 {
		s.cfg.Ring.Submit(s.group...)
		s.group = s.group[:0]
	}
}

func (s *Stage) completed(op *ring.Op) {
	switch op.Tag {
	case tagFlush:
		s.flushed(op.Ctx.(*file), op.Err)
	case tagRead:
		s.inFlight--
		s.readDone(op)
	case tagWrite:
		s.inFlight--
		e := op.Ctx.(*stages.Entry)
		if op.Flags&ring.Atomic != 0 {
			s.atomicDone(e)
			return
		}
		if op.Err != nil {
			s.fail(fmt.Errorf("destination write of page %s of %s, LSN %d: %w", e.Page, e.File.Called(), e.LSN, op.Err))
			return
		}
		s.reaped(e)
	}
}

// fail is I5: nothing is acknowledged after it.
func (s *Stage) fail(err error) {
	s.cfg.Poison.Set(err)
	s.dead = true
}

func (s *Stage) reaped(e *stages.Entry) {
	e.State = stages.Written
	if s.cfg.Mutants.Has(stages.AckEarly) {
		e.Ack(stages.Durable)
	}
	st := s.file(e.File)
	if st.written == nil {
		st.since = time.Now()
	}
	e.Next, st.written = st.written, e
	if p := s.index.Get(e.Page); p != nil { // nil only where ReorderPage let a newer write overtake
		p.active = nil
		s.arm(p)
	}
	e.Batch.Unreaped--
	s.wholeBatch(e.Batch)
}

// wholeBatch notes that a batch has been written to the last page: its files are worth a flush.
func (s *Stage) wholeBatch(b *stages.Batch) {
	if b.Unreaped > 0 {
		return
	}
	b.Reaped = time.Now()
	for i := range b.Entries {
		e := &b.Entries[i]
		if e.State == stages.Superseded {
			continue
		}
		s.slot(e.File.Slot).whole = true
	}
}
