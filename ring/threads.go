package ring

import (
	"errors"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// threads runs ops in a bounded set of goroutines, each in a blocking system call. It is the
// backend where io_uring is missing, and the io_uring backend's helper for flushes and for ops
// the ring gets nowhere with.
type threads struct {
	backend, reason string
	issue           issuer
	gate            gate
	count           counters
	once            sync.Once
	wg              sync.WaitGroup

	mu       sync.Mutex
	work     sync.Cond // there is an op, or stopping
	room     sync.Cond // there is room in the queue, or the gate is shut
	queue    []*Op     // a circle
	head, n  int
	idle     int // workers waiting for work
	running  int // workers
	workers  int // the most of them
	stopping bool
}

// issuer does one system call for an op from op.t.from on. The tests put a faulty kernel here.
type issuer interface {
	issue(op *Op) (n int, errno syscall.Errno)
}

func newThreads(cfg Config, reason string) *threads {
	t := &threads{
		backend: string(cfg.Backend),
		reason:  reason,
		issue:   &kernel{},
		gate:    newGate(),
		queue:   make([]*Op, cfg.Entries),
		workers: cfg.Workers,
	}
	t.work.L, t.room.L = &t.mu, &t.mu
	return t
}

// Submit implements Ring.
func (t *threads) Submit(ops ...*Op) {
	if !t.gate.enter() {
		refuse(ops)
		return
	}
	defer t.gate.leave()
	for i, op := range ops {
		if !t.enqueue(op) {
			refuse(ops[i:])
			return
		}
		t.count.submitted.Add(1)
	}
}

// enqueue waits for room and gives op to the workers. It reports false if the gate is shut.
func (t *threads) enqueue(op *Op) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.n == len(t.queue) && !t.gate.shut() {
		t.room.Wait()
	}
	if t.gate.shut() {
		return false
	}
	claim(op)
	t.queue[(t.head+t.n)%len(t.queue)] = op
	t.n++
	switch {
	case t.idle >= t.n:
		t.work.Signal()
	case t.running < t.workers:
		t.running++
		t.wg.Add(1)
		go t.worker()
	}
	return true
}

func (t *threads) worker() {
	defer t.wg.Done()
	for {
		t.mu.Lock()
		for t.n == 0 && !t.stopping {
			t.idle++
			t.work.Wait()
			t.idle--
		}
		if t.n == 0 {
			t.mu.Unlock()
			return
		}
		op := t.queue[t.head]
		t.queue[t.head] = nil
		t.head = (t.head + 1) % len(t.queue)
		t.n--
		t.room.Signal()
		t.mu.Unlock()
		t.run(op)
		deliver(op)
	}
}

// run does op to its end, in this goroutine.
func (t *threads) run(op *Op) {
	op.t.begin(op)
	for {
		n, errno := t.issue.issue(op)
		if op.t.step(op, n, errno) {
			break
		}
		t.count.resubmitted.Add(1)
		if op.t.slow() {
			time.Sleep(time.Millisecond)
		} else if op.t.tries > 1 {
			runtime.Gosched()
		}
	}
	var done tally
	done.add(op)
	t.count.add(&done)
}

// Do implements Ring.
func (t *threads) Do(op *Op) error {
	if !t.gate.enter() {
		op.Err = ErrClosed
		return ErrClosed
	}
	defer t.gate.leave()
	return t.do(op)
}

func (t *threads) do(op *Op) error {
	t.count.submitted.Add(1)
	t.run(op)
	return op.Err
}

// Register implements Ring.
func (t *threads) Register([]byte) (int, error) {
	return 0, errors.New("the " + t.backend + " backend has no use for registered memory")
}

// Info implements Ring.
func (t *threads) Info() Info { return Info{Backend: t.backend, Reason: t.reason} }

// Stats implements StatsRing.
func (t *threads) Stats() Stats { return t.count.snapshot() }

// Close implements Ring.
func (t *threads) Close() error {
	t.once.Do(func() {
		t.gate.close(func() {
			t.mu.Lock()
			t.room.Broadcast()
			t.mu.Unlock()
		})
		t.mu.Lock()
		t.stopping = true
		t.work.Broadcast()
		t.mu.Unlock()
		t.wg.Wait()
	})
	return nil
}

// claim marks op as in flight. An op is submitted again only after it came back.
func claim(op *Op) {
	if op.Done == nil {
		panic("ring: Submit of an Op without Done")
	}
	if op.slot != 0 {
		panic("ring: Submit of an Op that is in flight already")
	}
	op.slot = 1
}

// deliver gives a finished op back to its submitter, who may use it at once: op is not ours after.
func deliver(op *Op) {
	op.slot = 0
	op.Done <- op
}

func refuse(ops []*Op) {
	for _, op := range ops {
		op.Err = ErrClosed
		op.Done <- op
	}
}
