package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/torture"
)

// Config of a run. Dir and Report are required.
type Config struct {
	// Dir is the engine directory: new or empty in the first round, the same one later.
	Dir string
	// Report is the listener's HOST:PORT.
	Report  string
	Mode    untorn.Mode // "" = doublewrite
	Mutants stages.Mutant
	Mutant  string // their name
	// Shape of the directory, used in the first round; the zero value is DefaultShape.
	Shape   torture.Shape
	Backend ring.Backend
	DSync   bool // of the doublewrite
	// Override is FileOptions.AtomicOverride.
	Override string
	// Progress is called every half second. nil = nobody is told.
	Progress func(Telling)
}

// DefaultShape is 32 MiB of pages of 16 KiB behind a few small doublewrite regions, which wrap around
// all the time.
func DefaultShape() torture.Shape {
	return torture.Shape{
		PageSize: 16 << 10, Pages: 2048, MaxPages: 3072, Batch: 256 << 10, Batches: 4, Unflushed: 2,
		Segment: 4 << 20, LogGroups: 2, Memory: 32 << 20, Depth: 64,
	}
}

// Modes that pull and its listener know.
func Modes() []untorn.Mode {
	return []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeAtomic, untorn.ModeDetect, untorn.ModeNone}
}

// ErrLost: the connection to the listener is lost. The workload stands still with its engine open and
// cannot be ended: the process is to exit. The directory is as a kill leaves it.
var ErrLost = errors.New("the connection to the listener is lost")

// Run works on the directory and tells the listener, until ctx is done (which ends it in order), the
// engine fails, the connection is lost, or the machine dies.
func Run(ctx context.Context, cfg Config) (Telling, error) {
	empty, err := isEmpty(cfg.Dir)
	if err != nil {
		return Telling{}, err
	}
	s, conn, err := connect(ctx, cfg, empty)
	if err != nil {
		return Telling{}, err
	}
	l := newLine(conn, s.ID)
	w := &torture.Work{
		Dir: cfg.Dir, Mode: cfg.Mode, Mutants: cfg.Mutants, Seed: s.Seed, Round: s.Round, Shape: s.Shape,
		Backend: cfg.Backend, DSync: cfg.DSync, Override: cfg.Override, Tell: l.tell,
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	status := func() Telling {
		t := l.telling()
		t.Round = s.Round
		return t
	}
	for {
		select {
		case err := <-done:
			why := "asked to stop"
			if err != nil {
				why = err.Error()
			}
			lost := l.end(why)
			t := status()
			l.close()
			if lost != nil {
				lost = fmt.Errorf("%w: %w", ErrLost, lost)
			}
			return t, errors.Join(err, lost)
		case <-l.lost:
			return status(), fmt.Errorf("%w: %w", ErrLost, l.cause)
		case <-tick.C:
			if cfg.Progress != nil {
				cfg.Progress(status())
			}
		}
	}
}

// connect says hello and returns the session the listener gives.
func connect(ctx context.Context, cfg Config, empty bool) (Session, net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, KeepAliveConfig: net.KeepAliveConfig{Enable: true,
		Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 5}}
	conn, err := d.DialContext(ctx, "tcp", cfg.Report)
	if err != nil {
		return Session{}, nil, fmt.Errorf("the listener (untornctl pull -listen, on another machine): %w", err)
	}
	s, err := sayHello(conn, cfg, empty)
	if err != nil {
		conn.Close()
		return s, nil, err
	}
	return s, conn, nil
}

func sayHello(conn net.Conn, cfg Config, empty bool) (Session, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return Session{}, err
	}
	host, _ := os.Hostname() // for people only
	b, err := json.Marshal(hello{Protocol: protocol, Mode: cfg.Mode, Mutant: cfg.Mutant, Shape: cfg.Shape,
		Dir: dir, Host: host, Empty: empty})
	if err != nil {
		return Session{}, err
	}
	f := frame{kind: kindHello, payload: b}
	if _, err := conn.Write(f.append(nil)); err != nil {
		return Session{}, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	f, err = (&reader{r: conn}).next()
	if err != nil {
		return Session{}, fmt.Errorf("no answer from the listener: %w", err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	var w welcome
	if f.kind != kindWelcome || json.Unmarshal(f.payload, &w) != nil {
		return Session{}, errors.New("that is no listener of untornctl pull")
	}
	if w.Refused != "" {
		return Session{}, fmt.Errorf("the listener refuses: %s", w.Refused)
	}
	return w.Session, nil
}

// isEmpty reports whether dir is not there or holds nothing.
func isEmpty(dir string) (bool, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return len(list) == 0, err
}
