package pull

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/torture"
)

// protocol is the version both sides have to speak.
const protocol = 1

// hello is what a workload says first.
type hello struct {
	Protocol int           `json:"protocol"`
	Mode     untorn.Mode   `json:"mode"`
	Mutant   string        `json:"mutant"`
	Shape    torture.Shape `json:"shape"`
	Dir      string        `json:"dir"`
	Host     string        `json:"host"`
	Empty    bool          `json:"empty"` // the directory is new
}

// welcome is the listener's answer: the session, or why there is none.
type welcome struct {
	Refused string  `json:"refused,omitempty"`
	Session Session `json:"session"`
}

// Listener keeps what it is told in a file.
type Listener struct {
	ln   net.Listener
	told *told
	say  func(string)

	changed chan struct{}

	mu  sync.Mutex
	now *hearing // the session under way, or nil
	was Status   // of the last one
	all sync.WaitGroup
}

// hearing is one session under way.
type hearing struct {
	conn           net.Conn
	s              Session
	last           atomic.Int64 // when something was heard, Unix nanoseconds
	pages, records atomic.Uint64
	done           chan struct{}
}

// Status of a listener, for a progress line.
type Status struct {
	Schema        int     `json:"schema"`
	Rounds        int     `json:"rounds"`
	Hearing       bool    `json:"hearing"`        // a round is under way
	PageAcks      uint64  `json:"page_acks_told"` // of the round under way, or of the last
	RecordAcks    uint64  `json:"record_acks_told"`
	SilentSeconds float64 `json:"silent_seconds"`
}

// silence is after how long without a sign of life a workload may be replaced by a new one.
const silence = 3 * time.Second

// NewListener listens on addr and opens or continues the file out. say is told what happens, one
// line at a time.
func NewListener(addr, out string, say func(string)) (*Listener, error) {
	t, err := openTold(out)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.f.Close()
		return nil, err
	}
	return &Listener{ln: ln, told: t, say: say, changed: make(chan struct{}, 1)}, nil
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Rounds that the file holds.
func (l *Listener) Rounds() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told.sessions
}

// Changed has something whenever Status may have changed since it had, for one reader.
func (l *Listener) Changed() <-chan struct{} { return l.changed }

func (l *Listener) change() {
	select {
	case l.changed <- struct{}{}:
	default: // its reader has not seen the last change yet
	}
}

// Status is safe to call at any time.
func (l *Listener) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.was
	if l.now != nil {
		s = l.now.status()
	}
	s.Schema, s.Rounds = 1, l.told.sessions
	return s
}

func (h *hearing) status() Status {
	return Status{Hearing: true, PageAcks: h.pages.Load(), RecordAcks: h.records.Load(),
		SilentSeconds: time.Since(time.Unix(0, h.last.Load())).Seconds()}
}

// Serve returns when ctx is done; everything confirmed is in the file then.
func (l *Listener) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		l.ln.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.now != nil {
			l.now.conn.Close()
		}
	})
	defer stop()
	var err error
	for {
		var c net.Conn
		if c, err = l.ln.Accept(); err != nil {
			break
		}
		if t, ok := c.(*net.TCPConn); ok {
			// A machine without power says no goodbye.
			_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second,
				Interval: 2 * time.Second, Count: 5})
		}
		l.all.Go(func() { l.serve(ctx, c) })
	}
	l.ln.Close()
	l.all.Wait()
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, l.told.f.Close())
}

// serve hears one connection to its end.
func (l *Listener) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	from := c.RemoteAddr()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // strangers may say nothing
	br := bufio.NewReaderSize(c, 1<<16)
	fr := &reader{r: br}
	h, err := l.greet(c, fr)
	if err != nil {
		l.say(fmt.Sprintf("refused %s: %v", from, err))
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	if ctx.Err() != nil { // Serve ended before it could see this session
		c.Close()
	}
	l.say(fmt.Sprintf("round %d: %s, directory %s on %s, mode %s%s", h.s.Round, from, h.s.Dir, h.s.Host,
		h.s.Mode, mutantText(h.s.Mutant)))
	why, err := l.hear(h, c, br, fr)
	l.leave(h)
	sum := fmt.Sprintf("%d page and %d record acknowledgements told", h.pages.Load(), h.records.Load())
	if err != nil {
		l.say(fmt.Sprintf("round %d: THE CONNECTION ENDED WITHOUT A GOODBYE (%v): %s.\n"+
			"If that was the plug: when the machine is up again, take the told file there and run untornctl pull -verify -dir %s -told FILE",
			h.s.Round, err, sum, h.s.Dir))
		return
	}
	l.say(fmt.Sprintf("round %d: ended in order (%s): %s", h.s.Round, why, sum))
}

func mutantText(m string) string {
	if m == "" {
		return ""
	}
	return ", with the mutant " + m
}

// greet takes a hello, decides, and answers. A session exists when its beginning is in the file.
func (l *Listener) greet(c net.Conn, fr *reader) (*hearing, error) {
	f, err := fr.next()
	if err != nil {
		return nil, err
	}
	var he hello
	if f.kind != kindHello || json.Unmarshal(f.payload, &he) != nil {
		return nil, errors.New("it does not say hello")
	}
	h := &hearing{conn: c, done: make(chan struct{})}
	h.last.Store(time.Now().UnixNano())
	no := l.admit(h, he)
	w := welcome{Session: h.s}
	if no != nil {
		w.Refused = no.Error()
	}
	b, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	f = frame{kind: kindWelcome, session: h.s.ID, payload: b}
	_, err = c.Write(f.append(nil))
	if no != nil {
		return nil, no
	}
	if err != nil {
		l.leave(h)
	}
	return h, err
}

// leave ends the session under way.
func (l *Listener) leave(h *hearing) {
	l.mu.Lock()
	l.was, l.now = h.status(), nil
	l.was.Hearing = false
	l.mu.Unlock()
	close(h.done)
	l.change()
}

// admit makes h the session under way, in place of one that has fallen silent.
func (l *Listener) admit(h *hearing, he hello) error {
	l.mu.Lock()
	for l.now != nil {
		old := l.now
		if quiet := time.Since(time.Unix(0, old.last.Load())); quiet < silence {
			l.mu.Unlock()
			return fmt.Errorf("round %d is under way: its workload was heard %.1f s ago", old.s.Round,
				quiet.Seconds())
		}
		old.conn.Close()
		l.mu.Unlock()
		<-old.done
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	s, err := l.session(he)
	if err != nil {
		return err
	}
	if err := l.told.begin(s); err != nil {
		return err
	}
	h.s, l.now = s, h
	l.change()
	return nil
}

// session continues what the file tells of, or begins it.
func (l *Listener) session(he hello) (Session, error) {
	t, name := l.told, l.told.f.Name()
	s := Session{ID: random(), Round: 1, Mode: he.Mode, Mutant: he.Mutant, Seed: random() >> 12, Shape: he.Shape,
		Dir: he.Dir, Host: he.Host, Started: time.Now().UTC().Truncate(time.Second)}
	switch {
	case he.Protocol != protocol:
		return s, fmt.Errorf("it speaks version %d of the protocol, this listener version %d", he.Protocol,
			protocol)
	case t.sessions == 0 && !he.Empty:
		return s, fmt.Errorf("%s on %s is not empty, and %s tells nothing of it: use a new directory, or the listener's file of its first round",
			he.Dir, he.Host, name)
	case t.sessions == 0:
		return s, nil
	case he.Empty:
		return s, fmt.Errorf("%s on %s is empty, but %s tells of %d rounds: if the crash emptied it, untornctl pull -verify says what was lost; to begin anew give the listener a new -out",
			he.Dir, he.Host, name, t.sessions)
	case he.Mode != t.last.Mode || he.Mutant != t.last.Mutant || he.Shape.PageSize != t.last.Shape.PageSize:
		return s, fmt.Errorf("%s tells of mode %s%s, pages of %d bytes; it is mode %s%s, %d bytes now: give the listener a new -out",
			name, t.last.Mode, mutantText(t.last.Mutant), t.last.Shape.PageSize, he.Mode, mutantText(he.Mutant),
			he.Shape.PageSize)
	}
	s.Round, s.Seed, s.Shape = t.last.Round+1, t.last.Seed, t.last.Shape
	return s, nil
}

// random is not 0.
func random() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails
		if x := le.Uint64(b[:]); x>>12 != 0 {
			return x
		}
	}
}

// hear writes frames to the file and confirms what has been flushed, as many at a time as have come.
func (l *Listener) hear(h *hearing, c net.Conn, br *bufio.Reader, fr *reader) (why string, err error) {
	var out []byte
	seq := uint64(0)
	for {
		f, err := fr.next()
		if errors.Is(err, io.EOF) {
			err = errors.New("closed by the other side")
		}
		if err == nil && f.kind != kindBeat && (f.session != h.s.ID || f.seq != seq+1 ||
			f.kind != kindEvents && f.kind != kindEnd) {
			err = fmt.Errorf("frame %d of kind %d after frame %d: the stream is broken", f.seq, f.kind, seq)
		}
		if err != nil {
			return "", errors.Join(err, l.told.add(out))
		}
		h.last.Store(time.Now().UnixNano())
		if f.kind == kindBeat {
			continue
		}
		seq = f.seq
		out = f.append(out)
		if f.kind == kindEvents {
			p, r := torture.Acks(f.payload)
			h.pages.Add(p)
			h.records.Add(r)
		}
		if !f.first && f.kind != kindEnd && br.Buffered() > 0 && len(out) < maxPayload {
			continue
		}
		if err := l.told.add(out); err != nil {
			return "", fmt.Errorf("writing %s: %w", l.told.f.Name(), err)
		}
		out = out[:0]
		l.change()
		ok := frame{kind: kindConfirm, session: h.s.ID, seq: seq}
		if _, err := c.Write(ok.append(nil)); err != nil {
			return "", err
		}
		if f.kind == kindEnd {
			return string(f.payload), nil
		}
	}
}
