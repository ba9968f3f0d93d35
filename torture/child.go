package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
)

// childEnv marks a process as a child of the harness.
const childEnv = "UNTORN_TORTURE_CHILD"

// Exit codes of a child.
const (
	exitFailed = 10 // the engine failed: see evStopped
	exitOrphan = 11 // the parent is gone
)

// IsChild reports whether this process was started by Run: its main function then has nothing to
// do but os.Exit(Child()).
func IsChild() bool { return os.Getenv(childEnv) != "" }

// Child is the main function of a child. The job comes on standard input, which stays open as long
// as the parent lives; events go to descriptor 3.
func Child() int {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	var j job
	if err == nil {
		err = json.Unmarshal(line, &j)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture child:", err)
		return exitOrphan
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		os.Exit(exitOrphan)
	}()
	c := &child{j: &j, to: &pipe{w: os.NewFile(3, "events")}}
	if j.Hog > 0 {
		if err := c.hog(); err != nil {
			fmt.Fprintln(os.Stderr, "torture child:", err)
			return exitOrphan
		}
	}
	if err := c.run(context.Background()); err != nil {
		c.to.emit(c.stoppedBy(err))
		fmt.Fprintln(os.Stderr, "torture child:", err)
		return exitFailed
	}
	return 0
}

// stoppedBy tells why the engine is not used any longer.
func (c *child) stoppedBy(err error) event {
	ev := event{kind: evStopped, text: err.Error()}
	switch {
	case errors.Is(err, untorn.ErrNoSpace), errors.Is(err, syscall.ENOSPC):
		ev.a = lackedSpace
	case errors.Is(err, syscall.ENOMEM):
		ev.a = lackedMemory
	case errors.Is(err, untorn.ErrNotAtomic):
		ev.a = lackedProof
	}
	if c.e == nil {
		ev.b = 1
	}
	return ev
}

// child drives one engine until it is killed.
type child struct {
	j  *job
	to sink
	e  *untorn.Engine

	count atomic.Uint32 // of versions made
	stop  chan struct{}
	quit  <-chan struct{} // closed when it is to close in order; nil: by LifeMS only
	hurry chan struct{}   // the log is full: make a checkpoint now
	group sync.WaitGroup
	fail  chan error

	// order is held for reading from the append of a record to the acceptance of the pages it
	// changes, and for writing where a checkpoint picks its redo LSN: that is the claim of one.
	order  sync.RWMutex
	logMu  sync.Mutex
	next   uint64 // record
	logErr error  // an append that failed for good
}

func (c *child) run(ctx context.Context) error {
	j := c.j
	e, err := open(ctx, j.options(), c.to)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	c.e = e
	c.to.emit(opened(e))
	if j.Recover {
		select {}
	}
	next, pages, err := survey(ctx, e, j, c.to)
	if err != nil {
		return fmt.Errorf("survey: %w", err)
	}
	c.next = next
	if err := c.work(ctx, pages); err != nil {
		return err
	}
	c.to.emit(event{kind: evClosing})
	if err := e.Close(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	c.to.emit(event{kind: evClosed})
	return nil
}

// pageWorkers share the pages of the main file between them by number.
const pageWorkers = 3

func (c *child) work(ctx context.Context, pages map[uint32][]seenPage) error {
	c.hurry = make(chan struct{}, 1)
	c.stop, c.fail = make(chan struct{}), make(chan error, pageWorkers+3)
	files := &sideFiles{c: c, rng: c.j.rand(100), pages: pages}
	main, err := files.openMain(ctx)
	if err != nil {
		return err
	}
	for i := range uint64(pageWorkers) {
		w := newPageWorker(c, main, mainTag, pages[mainTag], i, pageWorkers)
		c.start(func() error { return w.loop(ctx) })
	}
	c.start(func() error { return c.appender(ctx) })
	c.start(func() error { return c.checkpoints(ctx) })
	c.start(func() error { return files.loop(ctx, main) })
	var life <-chan time.Time
	if c.j.LifeMS > 0 {
		life = time.After(time.Duration(c.j.LifeMS) * time.Millisecond)
	}
	select {
	case <-life:
		return c.rest()
	case <-c.quit:
		return c.rest()
	case err := <-c.fail:
		return err
	}
}

// rest ends the work in order.
func (c *child) rest() error {
	close(c.stop)
	c.group.Wait()
	select {
	case err := <-c.fail:
		return err
	default:
		return nil
	}
}

func (c *child) start(f func() error) {
	c.group.Add(1)
	go func() {
		defer c.group.Done()
		if err := f(); err != nil {
			c.fail <- err
		}
	}()
}

func (c *child) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// pause sleeps unless the child ends.
func (c *child) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.stop:
	}
}

func (c *child) version() version { return makeVersion(c.j.Round, c.count.Add(1)) }

// append adds n records as one batch. c.order is held by the caller if pages go with them.
func (c *child) append(n int, key uint64) (last uint64, end untorn.LSN, err error) {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	if c.logErr != nil {
		return 0, 0, c.logErr
	}
	first := c.next
	evs := make([]event, n)
	recs := make([][]byte, n)
	for i := range n {
		r := record{seq: first + uint64(i), round: c.j.Round, at: uint16(i), of: uint16(n)}
		r.size = uint32(recordSize(mix(key+uint64(i)), recFixed))
		recs[i] = putRecord(nil, c.j.Seed, r)
		evs[i] = event{kind: evRecord, page: r.seq, version: recordID(r.round, r.at, r.of)}
	}
	c.to.emit(evs...)
	evs = evs[:0]
	if n == 1 {
		var start untorn.LSN
		start, end, err = c.e.Append(recs[0])
		evs = append(evs, event{kind: evRecordAt, page: first, a: uint64(start), b: uint64(end)})
	} else {
		var ends []untorn.LSN
		ends, err = c.e.AppendBatch(recs, nil)
		for i, x := range ends {
			evs = append(evs, event{kind: evRecordAt, page: first + uint64(i), b: uint64(x)})
			end = x
		}
	}
	if err != nil {
		if c.lacks(err) {
			c.to.emit(event{kind: evRecordNot, page: first})
		} else {
			c.logErr = fmt.Errorf("append: %w", err) // whether it is in the log is not known: none may follow it
		}
		return 0, 0, fmt.Errorf("append: %w", err)
	}
	c.to.emit(evs...)
	c.next += uint64(n)
	return c.next - 1, end, nil
}

// appender is a caller who only logs.
func (c *child) appender(ctx context.Context) error {
	rng := c.j.rand(50)
	for !c.stopped() {
		n := 1
		if rng.IntN(4) == 0 {
			n = 2 + rng.IntN(6)
		}
		last, end, err := c.append(n, rng.Uint64())
		if c.full(err) {
			continue
		}
		if err != nil {
			return err
		}
		if rng.IntN(3) > 0 {
			if err := c.e.WaitDurable(ctx, end); err != nil {
				return fmt.Errorf("wait for record %d: %w", last, err)
			}
			c.to.emit(event{kind: evRecordAck, page: last})
		}
		if rng.IntN(4) == 0 {
			c.pause(time.Duration(rng.IntN(3)) * time.Millisecond)
		}
	}
	return nil
}

// lacks reports whether a call was refused for a lack this job is about: of room in the log, or on
// the disk.
func (c *child) lacks(err error) bool {
	return c.j.Shape.MaxLog > 0 && errors.Is(err, untorn.ErrLogFull) ||
		c.j.Full && !errors.Is(err, untorn.ErrPoisoned) &&
			(errors.Is(err, untorn.ErrLogFull) || errors.Is(err, untorn.ErrNoSpace))
}

// refused tells that what was started did not happen, and never will.
func (c *child) refused(what kind, tag uint32, err error) error {
	if c.lacks(err) {
		c.to.emit(event{kind: evRefused, level: uint8(what), tag: tag})
	}
	return err
}

// full reports whether a call lacked room, which is no failure: it asks for a checkpoint then.
func (c *child) full(err error) bool {
	if err == nil || !c.lacks(err) {
		return false
	}
	select {
	case c.hurry <- struct{}{}:
	default:
	}
	c.pause(time.Millisecond)
	return true
}

// checkpoints lets go of the log now and then. Its payload is the record the log then begins with.
func (c *child) checkpoints(ctx context.Context) error {
	rng := c.j.rand(51)
	every := time.Millisecond
	if c.j.Shape.MaxLog > 0 {
		every *= 10 // mostly when the log is full
	}
	for {
		select {
		case <-time.After(every * time.Duration(5+rng.IntN(120))):
		case <-c.hurry:
		case <-c.stop:
			return nil
		}
		c.order.Lock()
		c.logMu.Lock()
		seq, redo := c.next, c.e.EndLSN()
		c.logMu.Unlock()
		c.order.Unlock()
		c.to.emit(event{kind: evCkpt, a: seq, b: uint64(redo)})
		err := c.e.Checkpoint(ctx, redo, le.AppendUint64(nil, seq))
		if c.j.Full && c.lacks(err) {
			c.pause(time.Millisecond)
			continue
		}
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		c.to.emit(event{kind: evCkptAck, a: seq})
	}
}

// backends are what children use in turn; all of them have to leave the same on the disk.
var backends = []ring.Backend{ring.Auto, ring.Auto, ring.Threads, ring.Buffered}
