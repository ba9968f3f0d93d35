package pull

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/torture"
)

// Session is one round: one life of the workload, until its end or its death.
type Session struct {
	ID      uint64        `json:"id"`
	Round   uint32        `json:"round"`
	Mode    untorn.Mode   `json:"mode"`
	Mutant  string        `json:"mutant"`
	Seed    uint64        `json:"seed"`
	Shape   torture.Shape `json:"shape"`
	Dir     string        `json:"dir"`
	Host    string        `json:"host"`
	Started time.Time     `json:"started"`
}

// told is the listener's file, open for more.
type told struct {
	f        *os.File
	sessions int
	last     Session
}

// openTold opens or makes the file of a listener and cuts off the half frame a dead one left.
func openTold(name string) (*told, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	t := &told{f: f}
	if err := t.take(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func (t *told) take() error {
	if err := unix.Flock(int(t.f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another listener writes it: %w", err)
	}
	n, err := readTold(t.f, func(s Session) error {
		t.sessions++
		t.last = s
		return nil
	}, nil)
	if err != nil && !errors.Is(err, errCut) {
		return err
	}
	if err := t.f.Truncate(n); err != nil {
		return err
	}
	if _, err := t.f.Seek(n, io.SeekStart); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(t.f.Name()))
	if err != nil {
		return err
	}
	return errors.Join(t.f.Sync(), d.Sync(), d.Close())
}

// add appends frames and flushes them.
func (t *told) add(b []byte) error {
	if _, err := t.f.Write(b); err != nil {
		return err
	}
	return t.f.Sync()
}

func (t *told) begin(s Session) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f := frame{kind: kindBegin, session: s.ID, payload: b}
	if err := t.add(f.append(nil)); err != nil {
		return err
	}
	t.sessions++
	t.last = s
	return nil
}

// readTold calls begin for every session and each (if not nil) for the frames that follow. It returns
// the bytes of whole frames; errCut means that the rest is half a frame.
func readTold(r io.Reader, begin func(Session) error, each func(frame) error) (int64, error) {
	fr := &reader{r: bufio.NewReaderSize(r, 1<<16)}
	var now Session
	var seq uint64
	for {
		at := fr.at
		f, err := fr.next()
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return at, err
		}
		switch {
		case f.kind == kindBegin:
			var s Session
			if err := json.Unmarshal(f.payload, &s); err != nil || s.ID != f.session || f.seq != 0 {
				return at, fmt.Errorf("%w at byte %d: no beginning of a session", errDamaged, at)
			}
			if s.Round != now.Round+1 {
				return at, fmt.Errorf("%w at byte %d: round %d follows round %d", errDamaged, at, s.Round,
					now.Round)
			}
			now, seq = s, 0
			if err := begin(s); err != nil {
				return at, err
			}
			continue
		case now.Round == 0, f.kind != kindEvents && f.kind != kindEnd, f.session != now.ID, f.seq != seq+1:
			return at, fmt.Errorf("%w at byte %d: frame %d of session %x after frame %d of %x", errDamaged,
				at, f.seq, f.session, seq, now.ID)
		}
		seq = f.seq
		if each != nil {
			if err := each(f); err != nil {
				return at, err
			}
		}
	}
}
