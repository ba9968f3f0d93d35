package walstage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn/page"
)

// Log is a log being appended to. All methods may be called from any goroutine.
type Log struct {
	o          Options
	segs       *segments
	epoch      uint64
	method     Commit
	maxPayload int // frames of the largest group
	headroom   int64

	durable atomic.Uint64
	end     atomic.Uint64

	mu     sync.Mutex
	room   sync.Cond // appenders that wait for a free group or a segment, and Close
	work   sync.Cond // workers that have nothing to write
	failed error     // the poison's cause, once seen
	stage  lifeStage

	cur   *segment
	off   int64    // where the open group lies, or the next one will
	open  *group   // nil, or holds a record
	queue []*group // sealed and not yet durable, oldest first
	sent  int      // queue[:sent] were taken to be written
	free  []*group

	writing int // groups being written
	awake   int // workers that are not parked
	depth   depth
	chain   uint32
	mark    Watermark
	notes   []note
	blocked int // appenders in room.Wait
	busy    int // groups left to be written without gather
	proving bool
	headers *headerRing // of the prover's; nil without Options.HeaderRing
	ring    *headerRing // the open file, with or without the option
	risk    risk

	supply supply
	flow   flow
	pause  atomic.Int64 // of each append, in nanoseconds: see flow
	stats  Stats

	groupNanos, groupRecords *hdrhistogram.Histogram // nil until there is a group

	waiters sync.Pool
	stop    chan struct{}
	tasks   sync.WaitGroup
	once    sync.Once
	cutting sync.Mutex // one cut at a time
	closed  error
}

type lifeStage uint8

const (
	running  lifeStage = iota
	draining           // no more appends
	stopping           // no more writes
)

// note is one NotifyDurable.
type note struct {
	lsn page.LSN
	ch  chan<- struct{}
}

// Start begins to append behind the tail, in a new epoch. The Dir's files are the Log's from then
// on, also for reading through the Dir.
func (d *Dir) Start(ctx context.Context, epoch uint64, t *Tail) (*Log, error) {
	fail := func(err error) (*Log, error) {
		return nil, &Error{Op: "start", File: d.o.Dir, Err: err}
	}
	switch {
	case d.readOnly:
		return fail(ErrReadOnly)
	case t == nil || t != d.tail || !d.repaired || d.started:
		return fail(ErrOrder)
	case epoch <= t.Epoch:
		return fail(fmt.Errorf("%w: epoch %d is not above the log's, %d", ErrOrder, epoch, t.Epoch))
	}
	l := &Log{o: d.o, segs: d.segs, epoch: epoch, cur: t.at.seg, off: t.at.off, chain: t.chain,
		mark: t.Mark, stop: make(chan struct{})}
	l.room.L, l.work.L = &l.mu, &l.mu
	l.waiters.New = func() any { return &waiter{ch: make(chan struct{}, 1)} }
	l.durable.Store(uint64(t.End))
	l.end.Store(uint64(t.End))
	l.stats.Oldest = d.segs.begin()

	maxGroup := int64(d.o.MaxGroup)
	last := len(d.segs.list) - 1
	if next := d.segs.list[last]; next != l.cur {
		l.supply.next = next
		maxGroup = min(maxGroup, next.length-int64(d.o.Block))
	}
	// An empty segment holds any group there may be: none is ever passed over.
	maxGroup = min(maxGroup, l.cur.length-int64(d.o.Block))
	l.maxPayload = int(maxGroup) - groupHeaderSize
	l.headroom = min(d.o.Headroom, l.cur.length/2)
	l.flow.limit = limitOf(d.o.MaxBytes, d.o.SegmentBytes, d.o.Headroom)

	var err error
	l.ring = d.headers
	if d.o.HeaderRing {
		if d.headers, err = makeHeaders(ctx, &d.o, d.headers); err != nil {
			return fail(err)
		}
		l.ring, l.headers = d.headers, d.headers
	}
	if l.method, err = chooseCommit(ctx, &l.o, t.at); err != nil {
		return fail(err)
	}
	// Only now: as long as Start can fail, Close has to find every file and its lock (I11).
	if l.supply.next != nil {
		d.segs.list = d.segs.list[:last]
	}
	d.started = true
	d.segs.run()

	groups := l.o.InFlight + 2
	l.queue = make([]*group, 0, groups)
	for range groups {
		l.free = append(l.free, &group{buf: l.o.Alloc(int(maxGroup), l.o.Block)})
	}
	l.stats.BufferBytes = int64(groups) * maxGroup
	l.depth = depth{target: l.o.Depth, min: l.o.Depth, max: l.o.InFlight}
	l.awake = l.o.InFlight
	for range l.o.InFlight {
		l.task("wal commit", l.worker)
	}
	l.supply.kick, l.supply.due = make(chan struct{}, 1), math.MaxInt64
	l.task("wal supply", l.supplier)
	l.task("wal poison", l.watchPoison)
	l.mu.Lock()
	l.measure()
	l.mu.Unlock()
	l.risk.kick = make(chan struct{}, 1)
	if l.o.Policy == PolicyAsync {
		l.task("wal age", l.ager)
	}
	l.supply.ask()
	return l, nil
}

// task runs a goroutine of the stage, which Close waits for, under its name in profiles.
func (l *Log) task(name string, run func()) {
	l.tasks.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("stage", name),
			func(context.Context) { run() })
	})
}

// Append adds one record and returns its positions. The record is copied before Append returns; it
// is durable when Durable reaches end. Kind 0 is the user's, others are the engine's, which may use
// the headroom. Append waits while all groups are on their way to the disk, and with PolicyAsync
// while its bounds say so; a record larger than LossBytes is durable when Append returns, and if that
// fails the error is a *WaitError: it may be in the log or not.
func (l *Log) Append(kind uint8, rec []byte) (start, end page.LSN, err error) {
	if start, end, err = l.add(kind, rec); err != nil {
		return 0, 0, err
	}
	l.mu.Unlock()
	return start, end, l.settleLarge(frameSize+len(rec), end)
}

// AppendSync is Append of a user's record and WaitDurable, with the mutex taken once for both: many
// callers at a time are seldom in each other's way then. start and end are 0 if the record was
// refused, and valid also when the wait failed.
func (l *Log) AppendSync(ctx context.Context, rec []byte) (start, end page.LSN, err error) {
	if start, end, err = l.add(0, rec); err != nil {
		return 0, 0, err
	}
	if err := ctx.Err(); err != nil {
		l.mu.Unlock()
		return start, end, &WaitError{LSN: end, MayBecomeDurable: true, Err: err}
	}
	return start, end, l.await(ctx, end)
}

// add puts a record into the open group. The mutex is held when it returns without an error.
func (l *Log) add(kind uint8, rec []byte) (start, end page.LSN, err error) {
	if len(rec) == 0 {
		return 0, 0, l.refuse("append", ErrEmpty)
	}
	if kind == 0 {
		l.slow()
	}
	l.mu.Lock()
	g, err := l.reserve(frameSize+len(rec), kind)
	if err != nil {
		l.mu.Unlock()
		return 0, 0, err
	}
	start, end = g.put(kind, rec)
	l.end.Store(uint64(end))
	l.stats.Records++
	l.stats.RecordBytes += uint64(len(rec))
	l.took(g, frameSize+len(rec))
	return start, end, nil
}

// AppendBatch adds user records that become durable together or not at all, and appends their ends
// to ends.
func (l *Log) AppendBatch(recs [][]byte, ends []page.LSN) ([]page.LSN, error) {
	need, data := 0, 0
	for _, r := range recs {
		if len(r) == 0 {
			return ends, l.refuse("append batch", ErrEmpty)
		}
		need += frameSize + len(r)
		data += len(r)
	}
	if len(recs) == 0 {
		return ends, l.refuse("append batch", ErrEmpty)
	}
	l.slow()
	l.mu.Lock()
	g, err := l.reserve(need, 0)
	if err != nil {
		l.mu.Unlock()
		return ends, err
	}
	for _, r := range recs {
		_, end := g.put(0, r)
		ends = append(ends, end)
	}
	end := g.end
	l.end.Store(uint64(end))
	l.stats.Records += uint64(len(recs))
	l.stats.RecordBytes += uint64(data)
	l.took(g, need)
	l.mu.Unlock()
	return ends, l.settleLarge(need, end)
}

func (l *Log) refuse(op string, err error) error {
	return &Error{Op: op, File: l.o.Dir, Err: err}
}

// reserve returns the open group with room for need bytes of frames. The mutex is held; it is given
// up while waiting.
func (l *Log) reserve(need int, kind uint8) (*group, error) {
	if need > l.maxPayload {
		return nil, l.refuse("append", fmt.Errorf("%w: %d bytes, a group holds %d",
			ErrTooLarge, need, l.maxPayload))
	}
	for {
		if l.failed != nil {
			return nil, l.failed
		}
		if l.stage != running {
			return nil, l.refuse("append", ErrClosed)
		}
		if kind == 0 && l.flow.stuck {
			if err := l.awaitRoom(ErrLogFull); err != nil {
				return nil, err
			}
			continue
		}
		if l.exceeds(need) {
			l.hurry()
			continue
		}
		if g := l.open; g != nil && g.fill+need > g.limit {
			l.seal()
			l.kick()
			continue
		}
		fill := groupHeaderSize
		if l.open != nil {
			fill = l.open.fill
		}
		to := l.off + int64(roundUp(fill+need, l.o.Block))
		if l.supply.next == nil &&
			(to > l.cur.length || kind == 0 && to > l.cur.length-l.headroom) {
			if err := l.awaitSegment(kind); err != nil {
				return nil, err
			}
			continue
		}
		switch {
		case l.open != nil:
			return l.open, nil
		case to > l.cur.length:
			l.switchSegment()
		case len(l.free) == 0:
			l.block()
		default:
			return l.openGroup(), nil
		}
	}
}

func (l *Log) block() {
	l.stats.Blocked++
	l.blocked++
	begin := time.Now()
	l.room.Wait()
	l.stats.BlockedTime += time.Since(begin)
	l.blocked--
}

func (l *Log) openGroup() *group {
	g := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	g.reset(l.cur, l.off, int(min(int64(len(g.buf)), l.cur.length-l.off)))
	g.born = time.Now()
	l.open = g
	l.gauge(false)
	return g
}

// seal ends the open group: from here on its bytes do not change.
func (l *Log) seal() {
	g := l.open
	l.open = nil
	g.size = roundUp(g.fill, l.o.Block)
	clear(g.buf[g.fill:g.size])
	h := groupHeader{id: l.o.EngineID, epoch: l.epoch, seq: g.seg.seq, off: uint64(g.off),
		lsn: g.lsn, payload: uint32(g.fill - groupHeaderSize), length: uint32(g.size),
		records: g.records, payloadCRC: g.crc, prev: l.chain,
		durable: page.LSN(l.durable.Load()), mark: l.mark}
	h.encode(g.buf)
	l.chain = h.crc
	l.off += int64(g.size)
	l.queue = append(l.queue, g)
	if l.off >= l.supply.due {
		l.supply.due = math.MaxInt64
		l.supply.ask()
	}
}

// SetWatermark sets the doublewrite watermark that later groups carry (I7). It never goes back.
func (l *Log) SetWatermark(m Watermark) {
	l.mu.Lock()
	if l.mark.Less(m) {
		l.mark = m
	}
	l.mu.Unlock()
}

// Durable is how far the log is durable: the end of the last record of an unbroken run of durable
// groups. It never goes back.
func (l *Log) Durable() page.LSN { return page.LSN(l.durable.Load()) }

// End is the highest LSN issued.
func (l *Log) End() page.LSN { return page.LSN(l.end.Load()) }

// Epoch is the epoch given to Start.
func (l *Log) Epoch() uint64 { return l.epoch }

// Commit is the way groups are made durable.
func (l *Log) Commit() Commit { return l.method }

// MaxRecord is the largest record Append takes.
func (l *Log) MaxRecord() int { return l.maxPayload - frameSize }

// Replay yields the durable records that start at or after from, in order, up to where the log is
// durable when it gets there.
func (l *Log) Replay(ctx context.Context, from page.LSN) iter.Seq2[Record, error] {
	return l.source().replay(ctx, from)
}

// ReadAt reads the durable record that starts at lsn. Its Data is the caller's.
func (l *Log) ReadAt(ctx context.Context, lsn page.LSN) (Record, error) {
	return l.source().readAt(ctx, lsn)
}

func (l *Log) source() source { return source{&l.o, l.segs, l.Durable} }

// Close refuses further appends, makes everything appended durable, and closes the files. When ctx
// ends first it returns a *WaitError and may be called again. It waits for readers to let go of
// their segment: do not call it from the body of a loop over Replay. It returns the first fatal
// error.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	if l.stage == running {
		l.stage = draining
		l.room.Broadcast()
	}
	l.mu.Unlock()
	err := l.WaitDurable(ctx, l.End())
	if w := (*WaitError)(nil); errors.As(err, &w) {
		return err
	}
	return l.finish(err, true)
}

// Abandon is Close after poison, which has ended every wait: it waits for the I/O in flight but not
// for readers, whose next read fails.
func (l *Log) Abandon(ctx context.Context) error {
	l.mu.Lock()
	failed := l.failed
	l.mu.Unlock()
	if failed == nil {
		failed = l.o.Poison.Err()
	}
	return l.finish(failed, false)
}

func (l *Log) finish(err error, readers bool) error {
	l.once.Do(func() {
		closed := l.shutdown(readers)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err = l.failed; err == nil {
			err = closed
		}
		l.closed = err
	})
	return l.closed
}

// shutdown ends the goroutines and waits for I/O that a failure left in flight.
func (l *Log) shutdown(readers bool) error {
	l.mu.Lock()
	l.stage = stopping
	close(l.stop)
	l.work.Broadcast()
	l.room.Broadcast()
	for l.writing > 0 || l.proving {
		l.room.Wait()
	}
	l.mu.Unlock()
	l.tasks.Wait()

	l.segs.mu.Lock()
	files := append(l.segs.list, l.supply.spare...)
	if l.supply.next != nil {
		files = append(files, l.supply.next)
	}
	l.segs.closed = true
	for _, s := range files {
		for readers && s.refs > 0 {
			l.segs.unused.Wait()
		}
	}
	l.segs.mu.Unlock()
	return errors.Join(closeAll(files), l.ring.close())
}
