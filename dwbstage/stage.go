package dwbstage

import (
	"context"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Log is what the stage needs of the write-ahead log (I3).
type Log interface {
	// Durable is the LSN the log is durable through.
	Durable() page.LSN
	// NotifyDurable makes the log durable through lsn as soon as it can and then sends on ch once,
	// without blocking. It also sends when the engine is poisoned.
	NotifyDurable(lsn page.LSN, ch chan<- struct{})
	// SetWatermark tells the log the retired-through sequence, for its group headers (I7).
	SetWatermark(reclaim.Seq)
}

// Frames takes memory back, and says that somebody waits for some.
type Frames interface {
	Put([]aligned.Frame)
	Wants() <-chan struct{} // holds a token when somebody has begun to wait
	Wanted() bool           // somebody waits
}

// Config is what a Stage is made of.
type Config struct {
	Ring     ring.Ring
	File     ring.File
	Geometry Geometry
	Engine   EngineID
	Epoch    uint64
	InFlight int  // P: batches assigned and not retired
	Unsynced int  // D: of these, not flushed
	Direct   int  // batches of pages without doublewrite that may be in flight
	Inbox    int  // messages
	Files    int  // most files open at once; needed where one is Atomic
	DSync    bool // every batch is made durable by its own write
	Lone     bool // a small batch is, where nothing else is on its way
	Log      Log
	Frames   Frames
	Alloc    func(n, align int) []byte // of headers, zeroed; nil = the heap
	Poison   *stages.Poison
	Mutants  stages.Mutant
}

// Stage is the actor. Everything below the first group of fields belongs to its goroutine.
type Stage struct {
	cfg     Config
	inbox   chan stages.Msg
	credits chan stages.Credit
	out     chan<- stages.Msg // datastage's inbox
	persist chan<- uint64     // asks reclaim to let super carry the watermark; has room for one
	stop    chan struct{}
	meter   *stages.Meter
	start   time.Time
	holds   [2]stages.Holds // by way

	now      int64 // on the stage's clock, when it woke last
	regions  reclaim.Regions
	index    *stages.Index[stages.Entry]
	filling  [2]*stages.Batch   // open batch: [0] doublewrite, [1] direct
	sealed   [2]*stages.Batch   // closed, waiting for the log or a region
	free     [2][]*stages.Batch // recycled
	inFlight []*stages.Batch    // doublewritten, in sequence order, not handed on
	all      []*stages.Batch    // by slot

	write    *stages.Write // taken from the inbox, not wholly in a batch yet
	writePos int
	moves    moves

	comps      chan *ring.Op
	flush      ring.Op
	flushing   bool
	flushBegun time.Time
	flushPages int // that the flush in flight covers
	logReady   chan struct{}
	logAsked   page.LSN
	persisting bool
	pressed    bool
	dead       bool // poisoned: only reads go on
	scratch    []aligned.Frame
	op         [1]*ring.Op
}

const (
	tagWrite = iota + 1
	tagFlush
)

// New returns a stage that Run drives. Batch memory is allocated here and fixed, but for the lists of
// entries: a batch gets its own when it is first used, and few engines use batches of both ways.
func New(cfg Config) (*Stage, error) {
	if err := cfg.Geometry.Validate(); err != nil {
		return nil, err
	}
	regions, err := reclaim.NewRegions(cfg.Geometry.Regions, cfg.InFlight, cfg.Unsynced)
	if err != nil {
		return nil, err
	}
	if cfg.Alloc == nil {
		cfg.Alloc = aligned.Alloc
	}
	// One batch may fill and one be sealed beside those in flight, on each way.
	nd, nf := cfg.InFlight+2, cfg.Direct+2
	s := &Stage{
		cfg:      cfg,
		start:    time.Now(),
		inbox:    make(chan stages.Msg, cfg.Inbox),
		credits:  make(chan stages.Credit, nd+nf+2),
		stop:     make(chan struct{}),
		regions:  regions,
		comps:    make(chan *ring.Op, nd+1),
		logReady: make(chan struct{}, 1),
		inFlight: make([]*stages.Batch, 0, nd),
		scratch:  make([]aligned.Frame, 0, 1),
	}
	s.meter = stages.NewMeter("doublewrite", func() (int, int) { return len(s.inbox), cap(s.inbox) })
	s.moves.init(cfg.Files)
	slots := cfg.Geometry.MaxSlots()
	s.index = stages.NewIndex[stages.Entry]((nd + nf) * slots)
	block := cfg.Geometry.Block
	for i := range nd + nf {
		b := &stages.Batch{
			Slot: i, Region: -1,
		}
		way := 1
		if i < nd {
			way = 0
			b.Front = cfg.Alloc(frontBlocks*block, block)
		}
		s.all = append(s.all, b)
		s.free[way] = append(s.free[way], b)
	}
	s.flush = ring.Op{Kind: ring.DataSync, File: cfg.File, Done: s.comps, Tag: tagFlush}
	return s, nil
}

// Inbox is where callers send Writes, Reads and Barriers.
func (s *Stage) Inbox() chan<- stages.Msg { return s.inbox }

// Credits is where reclaim sends what it recycled. It has room for all that can be outstanding.
func (s *Stage) Credits() chan<- stages.Credit { return s.credits }

// Batches is the number of batches there are: the room reclaim's inbox needs.
func (s *Stage) Batches() int { return len(s.all) }

// Pages is the most pages that can be in flight at once.
func (s *Stage) Pages() int { return len(s.all) * s.cfg.Geometry.MaxSlots() }

// Stats is a snapshot of the stage's meter.
func (s *Stage) Stats() stages.StageStats { return s.meter.Snapshot() }

// ResetStats makes the meter's distributions begin anew.
func (s *Stage) ResetStats() { s.meter.Reset() }

// Stamp notes on a Write that it is about to be sent, so that its wait can be told by cause.
func (s *Stage) Stamp(w *stages.Write) {
	way := 1
	if w.File.Doublewrite {
		way = 0
	}
	w.Sent = s.clock()
	w.Held = s.holds[way].Read(w.Sent)
}

// clock is never 0: that is a Write nobody stamped.
func (s *Stage) clock() int64 { return int64(time.Since(s.start)) + 1 }

// Backlog is how many pages have been doublewritten, or are being so, and are not safe in place.
func (s *Stage) Backlog() int64 { return s.meter.Backlog() }

// Stop ends Run once every batch has come back from reclaim, or at once after poison.
func (s *Stage) Stop() { close(s.stop) }

// Connect says where batches go and who lets super carry a watermark, before Run.
func (s *Stage) Connect(out chan<- stages.Msg, persist chan<- uint64) {
	s.out, s.persist = out, persist
}

// Last is the newest sequence assigned; to be called after Run returned.
func (s *Stage) Last() reclaim.Seq {
	return reclaim.Seq{Epoch: s.cfg.Epoch, Num: s.regions.Last()}
}

// Watermark is the retired-through sequence; to be called after Run returned.
func (s *Stage) Watermark() reclaim.Seq {
	return reclaim.Seq{Epoch: s.cfg.Epoch, Num: s.regions.W()}
}

// Run is the stage's loop.
func (s *Stage) Run(ctx context.Context) {
	poison := s.cfg.Poison.C()
	stop, stopping := s.stop, false
	for !stopping || !s.dead && len(s.free[0])+len(s.free[1]) < len(s.all) {
		if s.back() {
			continue
		}
		inbox := s.inbox
		if s.write != nil { // no room for the rest of a Write: this is the backpressure
			inbox = nil
		}
		select {
		case m := <-inbox:
			s.now = s.clock()
			s.message(m)
			// Take what else is there: it belongs into the same batch.
			for n := len(s.inbox); n > 0 && s.write == nil; n-- {
				s.message(<-s.inbox)
			}
			s.pump()
			s.worked()
		case op := <-s.comps:
			s.reap(op)
		case c := <-s.credits:
			s.credited(c)
		case <-s.logReady:
			s.logged()
		case <-s.cfg.Frames.Wants():
			s.wanted()
		case r := <-s.moves.refusals:
			s.now = s.clock()
			s.refused(r)
			s.pump()
			s.worked()
		case <-poison:
			poison, s.dead = nil, true
			s.drop()
		case <-stop:
			stop, stopping = nil, true
		}
	}
}

// back takes one thing that has come back from elsewhere, if there is one, before any new work: it makes
// room, and where more is ready it is not left to chance what comes first, so that a simulated
// schedule comes again. There is never more of it than was sent.
func (s *Stage) back() bool {
	select {
	case op := <-s.comps:
		s.reap(op)
		return true
	default:
	}
	select {
	case c := <-s.credits:
		s.credited(c)
		return true
	default:
	}
	select {
	case <-s.logReady:
		s.logged()
		return true
	default:
	}
	select {
	case <-s.cfg.Frames.Wants():
		s.wanted()
		return true
	default:
		return false
	}
}

// reap takes a completion, and all that are there with it.
func (s *Stage) reap(op *ring.Op) {
	s.now = s.clock()
	s.completed(op)
	for n := len(s.comps); n > 0; n-- {
		s.completed(<-s.comps)
	}
	s.pump()
	s.worked()
}

func (s *Stage) credited(c stages.Credit) {
	s.now = s.clock()
	s.credit(c)
	s.pump()
	s.worked()
}

func (s *Stage) logged() {
	s.now = s.clock()
	s.logAsked = 0
	s.pump()
	s.worked()
}

// wanted: a caller has begun to wait for memory, which pages hold until they are flushed in their place.
func (s *Stage) wanted() {
	s.now = s.clock()
	s.pump()
	s.worked()
}

// Abandon gives back the memory of writes that poison left unfinished. To be called when Run has
// returned and the rings are closed: until then the kernel may still be reading it.
func (s *Stage) Abandon() {
	put := func(f *aligned.Frame) {
		if f.Buf != nil {
			s.scratch = append(s.scratch[:0], *f)
			s.cfg.Frames.Put(s.scratch)
			*f = aligned.Frame{}
		}
	}
	rest := func(w *stages.Write, pos int) {
		for i := pos; i < len(w.Pages); i++ {
			put(&w.Pages[i].Frame)
		}
	}
	for _, b := range s.all {
		for i := range b.Entries {
			if e := &b.Entries[i]; !e.Borrowed {
				put(&e.Frame)
			}
		}
	}
	if s.write != nil {
		rest(s.write, s.writePos)
		s.write = nil
	}
	for {
		select {
		case m := <-s.inbox:
			if m.Write != nil {
				rest(m.Write, 0)
			}
		default:
			return
		}
	}
}

func (s *Stage) message(m stages.Msg) {
	switch {
	case m.Write != nil:
		if s.dead {
			s.refuse(m.Write)
			return
		}
		s.write, s.writePos = m.Write, 0
		if m.Write.Sent != 0 {
			s.meter.Wait(time.Duration(s.now - m.Write.Sent))
		}
		s.take()
	case m.Read != nil:
		s.read(m.Read)
	case m.Barrier != nil:
		s.barrier(m.Barrier)
	case m.Move != nil:
		s.out <- m
	}
}

// pump moves everything that can move.
func (s *Stage) pump() {
	if s.dead = s.dead || s.cfg.Poison.Err() != nil; s.dead {
		return
	}
	for {
		s.syncRegions()
		s.handOn()
		moved := s.submitDoublewrite()
		moved = s.submitDirect() || moved
		moved = s.moves.any() && s.move() || moved
		if s.write != nil {
			pos, w := s.writePos, s.write
			s.take()
			moved = moved || s.write != w || s.writePos != pos
		}
		if !moved {
			break
		}
	}
	s.press()
	for way := range s.holds {
		if c, held := s.heldBy(way); s.holds[way].Now(s.now, c, held) {
			s.meter.Held(c)
		}
	}
}

// worked counts the time since the stage woke as busy.
func (s *Stage) worked() { s.meter.Busy(time.Duration(s.clock() - s.now)) }

// heldBy says what keeps the pages of a way here, once everything that can move has moved.
func (s *Stage) heldBy(way int) (c stages.Cause, held bool) {
	some := s.sealed[way] != nil || s.filling[way] != nil
	switch {
	case way == 1 && !some:
		// Nothing is left of what came, but the rest of a Write that found no batch.
		return stages.ForDestination, s.write != nil && len(s.free[1]) == 0
	case !some:
		return 0, false
	case way == 1:
		return stages.ForLog, true
	}
	switch s.regions.Next() {
	case reclaim.WaitFlush:
		return stages.ForFlush, true
	case reclaim.WaitRetire, reclaim.WaitWatermark:
		return stages.ForSlots, true
	}
	if s.moves.draining > 0 {
		return stages.ForDestination, true
	}
	return stages.ForLog, true
}

// logHolds reports whether the log is durable through the batch's pages; if not, it asks (I3: a
// waiting page forces the log flush, whatever the commit policy).
func (s *Stage) logHolds(b *stages.Batch) bool {
	if s.cfg.Mutants.Has(stages.WALRuleOff) {
		return true
	}
	if b.MaxLSN <= s.cfg.Log.Durable() {
		return true
	}
	if s.logAsked < b.MaxLSN {
		s.logAsked = b.MaxLSN
		s.cfg.Log.NotifyDurable(b.MaxLSN, s.logReady)
	}
	return false
}

// next returns the batch of a way that should go out now: the sealed one, or the open one.
// Batches clock themselves: what queued while the last one was on its way is the next.
func (s *Stage) next(way int) *stages.Batch {
	if s.sealed[way] == nil && s.filling[way] != nil {
		s.sealed[way], s.filling[way] = s.filling[way], nil
	}
	b := s.sealed[way]
	if b == nil || !s.logHolds(b) {
		return nil
	}
	s.sealed[way] = nil
	return b
}

func (s *Stage) submitDirect() bool {
	b := s.next(1)
	if b == nil {
		return false
	}
	s.left(b, 1)
	for i := range b.Entries {
		if e := &b.Entries[i]; e.Imaged { // its image is durable: the log is, through MaxLSN
			e.Ack(stages.Protected)
		}
	}
	s.toData(b)
	return true
}

// left notes that a batch is out of the queue, and what its pages waited for in it.
func (s *Stage) left(b *stages.Batch, way int) {
	b.Since = time.Now()
	var t stages.PageTime
	b.Arrived.Since(s.now, s.holds[way].Read(s.now), &t)
	s.meter.Spend(&t)
}

// toData hands a batch to datastage: from here on its entries are not ours to look at.
func (s *Stage) toData(b *stages.Batch) {
	for i := range b.Entries {
		if e := &b.Entries[i]; s.index.Get(e.Page) == e {
			s.index.Delete(e.Page)
		}
	}
	s.pressed = false
	b.Sent = time.Now()
	s.out <- stages.Msg{Batch: b}
}

func (s *Stage) credit(c stages.Credit) {
	if c.Batch == nil {
		s.persisting = false
		s.regions.SuperDurable(c.Durable)
		return
	}
	b := c.Batch
	way := 1
	if b.Region >= 0 {
		way = 0
		s.meter.InFlight(-len(b.Entries))
		was := s.regions.W()
		if !s.cfg.Mutants.Has(stages.ReuseEarly) {
			s.regions.Retire(b.Num)
		}
		if s.regions.W() != was {
			s.cfg.Log.SetWatermark(s.Watermark())
		}
	}
	s.pressed = false
	b.Reset()
	s.free[way] = append(s.free[way], b)
}

// press asks datastage to flush when regions, batches or memory run out, so that writes nobody waits for
// do not hold them. It asks again whenever something was handed on or came back: a request covers only
// what datastage had when it got it.
func (s *Stage) press() {
	next := s.regions.Next()
	waiting := s.sealed[0] != nil || s.filling[0] != nil
	short := s.regions.InFlight() >= (s.cfg.InFlight+1)/2 ||
		waiting && (next == reclaim.WaitRetire || next == reclaim.WaitWatermark) ||
		len(s.free[1]) < s.cfg.Direct/2 || s.cfg.Frames.Wanted()
	if s.pressed || !short {
		return
	}
	s.pressed = true
	s.out <- stages.Msg{Press: true}
}
