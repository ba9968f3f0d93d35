package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn"
)

// walHeader is in front of a record's filler: client and number.
const walHeader = 16

// appender is one client of the log.
type appender struct {
	_          [64]byte
	done       atomic.Uint64
	late, took atomic.Int64 // sums over its records, in nanoseconds
	_          [64]byte

	e     *untorn.Engine
	id    int
	sync  bool // commits by AppendSync
	rec   []byte
	last  uint64     // number of its last record that was acknowledged
	at    untorn.LSN // where that begins
	sched schedule
	hist  *hdrhistogram.Histogram
	lag   *hdrhistogram.Histogram // of an open loop
	step  *stepper
}

func newAppender(e *untorn.Engine, id int, c *WALConfig) *appender {
	return &appender{e: e, id: id, sync: c.Commit == "sync", rec: walRecord(id, 0, c.Zeros, make([]byte, c.RecordBytes)), step: newStepper(ofWrites)}
}

// reset makes it ready for another interval.
func (k *appender) reset(s schedule, all *steps) {
	k.sched, k.hist, k.lag = s, newHistogram(), nil
	if s.every > 0 {
		k.lag = newHistogram()
	}
	k.step.join(all)
}

// walRecord fills a record, of which zeros percent compress away; only its number changes from one
// to the next.
func walRecord(id int, n uint64, zeros int, b []byte) []byte {
	r := rand.NewChaCha8([32]byte{byte(id), byte(id >> 8)})
	_, _ = r.Read(b[walHeader:])
	clear(b[len(b)-(len(b)-walHeader)*zeros/100:])
	binary.LittleEndian.PutUint64(b, uint64(id))
	binary.LittleEndian.PutUint64(b[8:], n)
	return b
}

// run appends until the interval is over. An append neither allocates nor locks here.
func (k *appender) run(ctx context.Context, ph *atomic.Int32, stop <-chan struct{}) error {
	for ph.Load() != stopping {
		start := k.sched.next(stop)
		if ph.Load() == stopping {
			k.sched.back()
			break
		}
		if k.lag != nil {
			late := max(0, time.Since(start))
			k.late.Add(int64(late))
			if ph.Load() == measuring {
				record(k.lag, late)
			}
		}
		binary.LittleEndian.PutUint64(k.rec[8:], k.last+1)
		at, err := k.commit(ctx)
		if err != nil {
			return err
		}
		k.last, k.at = k.last+1, at
		took := time.Since(start)
		k.done.Add(1)
		k.took.Add(int64(took))
		if p := ph.Load(); p == measuring || p == stopping && k.sched.every > 0 { // as a client's call
			k.timed(took)
		}
	}
	return nil
}

// commit appends a record as a caller would under the policy, and says where it begins.
func (k *appender) commit(ctx context.Context) (untorn.LSN, error) {
	if k.sync {
		at, _, err := k.e.AppendSync(ctx, k.rec)
		return at, err
	}
	at, end, err := k.e.Append(k.rec)
	if err != nil {
		return at, err
	}
	return at, k.e.Commit(ctx, end)
}

func (k *appender) timed(took time.Duration) {
	record(k.hist, took)
	k.step.record(took)
}

// finish ends an interval, after run; appends of an open loop that did not get to begin count.
func (k *appender) finish(end time.Time) {
	k.sched.overdue(end, k.timed)
	k.step.leave()
}

// verify closes, opens again and reads what the log still keeps: each client's records must follow
// each other without a gap, bear the right contents, and end with the last one acknowledged.
func (s *walSession) verify(ctx context.Context) (*Verified, error) {
	v := &Verified{}
	if err := s.e.WaitDurable(ctx, s.e.EndLSN()); err != nil {
		return v, err
	}
	err := s.e.Close(ctx)
	s.e = nil
	if err != nil {
		return v, err
	}
	e, err := untorn.Open(ctx, s.o)
	if err != nil {
		return v, fmt.Errorf("opening again: %w", err)
	}
	s.e, v.Reopened = e, true
	redo, _ := e.LastCheckpoint()
	if err := s.check(v, e.Replay(ctx), redo); err != nil {
		return v, err
	}
	if v.OK = v.WrongCount == 0; !v.OK {
		return v, fmt.Errorf("%d records are wrong; the first: %s", v.WrongCount, v.Wrong[0])
	}
	return v, nil
}

// check holds what a log has from redo on against what the clients had acknowledged.
func (s *walSession) check(v *Verified, records iter.Seq2[untorn.Record, error], redo untorn.LSN) error {
	last := make([]uint64, len(s.clients))
	for rec, err := range records {
		if err != nil {
			return err
		}
		v.Checked++
		if len(rec.Data) != s.c.RecordBytes {
			v.wrong(fmt.Sprintf("record at LSN %d has %d bytes", rec.Start, len(rec.Data)))
			continue
		}
		id, n := binary.LittleEndian.Uint64(rec.Data), binary.LittleEndian.Uint64(rec.Data[8:])
		if id >= uint64(len(last)) || string(rec.Data[walHeader:]) != string(s.clients[id].rec[walHeader:]) {
			v.wrong(fmt.Sprintf("record at LSN %d has wrong contents", rec.Start))
			continue
		}
		if last[id] != 0 && n != last[id]+1 {
			v.wrong(fmt.Sprintf("client %d: record %d follows %d", id, n, last[id]))
		}
		last[id] = n
	}
	for i, k := range s.clients {
		v.Written += k.last
		// A client that was last heard of before the last checkpoint has nothing left to find.
		if last[i] != k.last && (last[i] != 0 || k.at >= redo) {
			v.wrong(fmt.Sprintf("client %d: the log ends with record %d, acknowledged was %d", i, last[i], k.last))
		}
	}
	return nil
}
