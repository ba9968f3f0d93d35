package pull

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/untorn/untorn/torture"
)

// window is how many frames may be unconfirmed before the workload waits.
const window = 1024

// line is the workload's end of the connection.
type line struct {
	conn    net.Conn
	session uint64

	mu        sync.Mutex
	moved     sync.Cond // confirmed or lost changed
	more      sync.Cond // out has something
	out       []byte    // not sent
	seq       uint64    // of the last frame told
	confirmed uint64
	pages     uint64 // acknowledgements told
	records   uint64
	waiting   time.Time // since when somebody waits for a confirmation, or 0
	cause     error

	lost chan struct{} // closed when the connection is, with cause
}

func newLine(conn net.Conn, session uint64) *line {
	l := &line{conn: conn, session: session, lost: make(chan struct{})}
	l.moved.L, l.more.L = &l.mu, &l.mu
	go l.send()
	go l.receive()
	go l.beat()
	return l
}

// tell is torture.Work's: with nobody to tell any longer it never returns.
func (l *line) tell(events []byte, first bool) {
	pages, records := torture.Acks(events)
	l.mu.Lock()
	l.pages += pages
	l.records += records
	l.wait(func() bool { return l.seq-l.confirmed < window })
	seq := l.put(kindEvents, events, first)
	if first {
		l.wait(func() bool { return l.confirmed >= seq })
	}
	l.mu.Unlock()
}

// put queues a frame and returns its sequence. l.mu is held.
func (l *line) put(k kind, payload []byte, first bool) uint64 {
	l.seq++
	f := frame{kind: k, first: first, session: l.session, seq: l.seq, payload: payload}
	l.out = f.append(l.out)
	l.more.Signal()
	return l.seq
}

// wait holds the caller until ok, or for good when the connection is lost. l.mu is held.
func (l *line) wait(ok func() bool) {
	if ok() && l.cause == nil {
		return
	}
	if l.waiting.IsZero() {
		l.waiting = time.Now()
	}
	for !ok() || l.cause != nil {
		if l.cause != nil {
			l.mu.Unlock()
			select {}
		}
		l.moved.Wait()
	}
	l.waiting = time.Time{}
}

// end says goodbye and waits until everything has been confirmed.
func (l *line) end(why string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq := l.put(kindEnd, []byte(why), true)
	for l.confirmed < seq && l.cause == nil {
		l.moved.Wait()
	}
	if l.confirmed < seq {
		return l.cause
	}
	return nil // the listener hangs up once it has said so
}

func (l *line) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	l.cause = err
	close(l.lost)
	l.conn.Close()
	l.moved.Broadcast()
	l.more.Broadcast()
}

// close ends the goroutines.
func (l *line) close() { l.fail(net.ErrClosed) }

// send writes what is queued, as much at a time as has gathered.
func (l *line) send() {
	var b []byte
	for {
		l.mu.Lock()
		for len(l.out) == 0 && l.cause == nil {
			l.more.Wait()
		}
		if l.cause != nil {
			l.mu.Unlock()
			return
		}
		b, l.out = l.out, b[:0]
		l.mu.Unlock()
		if _, err := l.conn.Write(b); err != nil {
			l.fail(err)
			return
		}
	}
}

func (l *line) receive() {
	fr := &reader{r: bufio.NewReader(l.conn)}
	for {
		f, err := fr.next()
		if err == nil && (f.kind != kindConfirm || f.session != l.session) {
			err = fmt.Errorf("the listener sent a frame of kind %d", f.kind)
		}
		if err != nil {
			l.fail(err)
			return
		}
		l.mu.Lock()
		l.confirmed = max(l.confirmed, f.seq)
		l.moved.Broadcast()
		l.mu.Unlock()
	}
}

// beat shows a sign of life every second, so that the listener knows silence when it hears it.
func (l *line) beat() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-l.lost:
			return
		case <-t.C:
		}
		l.mu.Lock()
		if len(l.out) == 0 {
			f := frame{kind: kindBeat, session: l.session}
			l.out = f.append(l.out)
			l.more.Signal()
		}
		l.mu.Unlock()
	}
}

// Telling is where a run stands.
type Telling struct {
	Schema     int    `json:"schema"`
	Round      uint32 `json:"round"`
	PageAcks   uint64 `json:"page_acks_told"`
	RecordAcks uint64 `json:"record_acks_told"`
	// Unconfirmed counts messages the listener has not flushed yet.
	Unconfirmed uint64 `json:"messages_unconfirmed"`
	// Waiting is for how long the workload has waited for the listener; 0: it does not.
	Waiting time.Duration `json:"-"`
}

func (l *line) telling() Telling {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := Telling{Schema: 1, PageAcks: l.pages, RecordAcks: l.records, Unconfirmed: l.seq - l.confirmed}
	if !l.waiting.IsZero() {
		t.Waiting = time.Since(l.waiting)
	}
	return t
}
