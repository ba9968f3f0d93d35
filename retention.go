package untorn

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/walstage"
)

// ErrEvicted is what every EvictedError is.
var ErrEvicted = errors.New("the log is no longer kept for this holder")

// EvictedError is a hold, or a subscriber, that kept more of the log than the options allow, or for
// longer, and was passed over. What it had not read may be gone: it has to begin anew from a copy.
type EvictedError struct {
	Name string
	LSN  page.LSN // the log was kept from here on
	Why  string
}

func (e *EvictedError) Error() string {
	return fmt.Sprintf("%v: %s, at LSN %d, %s", ErrEvicted, e.Name, e.LSN, e.Why)
}

// Is makes errors.Is(err, ErrEvicted) hold.
func (e *EvictedError) Is(target error) bool { return target == ErrEvicted }

// Hold keeps the log from an LSN on, across checkpoints, until it is released or evicted. Its methods
// may be called from any goroutine.
type Hold struct {
	e          *Engine
	name       string
	subscriber bool
	taken      time.Time

	// Guarded by e.mu.
	lsn     page.LSN
	blocked time.Time // since when it has kept what a checkpoint would have let go; zero = it does not
	evicted *EvictedError
}

// Hold keeps records that start at or after lsn readable, for a copy or a follower. name is for
// people: it is in Stats, and in warnings about a log that cannot be let go. An lsn whose records
// are gone already is walstage.ErrTruncated. Holds end with the engine: a follower that comes back
// after a restart takes its hold before the first checkpoint, which is when the log is first let go.
func (e *Engine) Hold(name string, lsn page.LSN) (*Hold, error) {
	return e.hold(name, lsn, false)
}

func (e *Engine) hold(name string, lsn page.LSN, subscriber bool) (*Hold, error) {
	if err := e.enter(true); err != nil {
		return nil, &Error{Op: "hold", LSN: lsn, Err: err}
	}
	defer e.gate.leave()
	h := &Hold{e: e, name: name, subscriber: subscriber, taken: time.Now(), lsn: lsn}
	e.mu.Lock()
	defer e.mu.Unlock()
	if oldest := e.log.Oldest(); lsn < oldest {
		return nil, &Error{Op: "hold", LSN: lsn, Err: fmt.Errorf("%w, which begins at %d", walstage.ErrTruncated, oldest)}
	}
	e.keep.holds[h] = struct{}{}
	return h, nil
}

// LSN is from where on the log is kept.
func (h *Hold) LSN() page.LSN {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	return h.lsn
}

// Err is nil as long as the hold holds, and an *EvictedError once it was evicted.
func (h *Hold) Err() error {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	if h.evicted != nil {
		return h.evicted
	}
	return nil
}

// Advance lets go of what lies before lsn; it never goes back.
func (h *Hold) Advance(lsn page.LSN) error {
	e := h.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if h.evicted != nil {
		return h.evicted
	}
	if lsn <= h.lsn {
		return nil
	}
	old := h.lsn
	h.lsn = lsn
	if h.blocked.IsZero() {
		return nil
	}
	h.blocked = time.Time{}
	if n := page.LSN(e.segmentBytes); old/n != lsn/n { // less would free nothing
		return e.letGo()
	}
	return nil
}

// Release ends the hold, and lets go of what only it had kept.
func (h *Hold) Release() {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	if _, ok := h.e.keep.holds[h]; !ok {
		return
	}
	delete(h.e.keep.holds, h)
	// What can fail is that the log is poisoned or closed, of which everybody learns elsewhere.
	_ = h.e.letGo()
}

// retention is what the log is kept for. Guarded by e.mu.
type retention struct {
	// checkpoint is up to where the last checkpoint of this life lets go; 0 before the first.
	checkpoint page.LSN
	// archived is up to where segments are in the archive, where there is one.
	archiving bool
	archived  page.LSN
	holds     map[*Hold]struct{}
	evictions uint64
	again     *time.Timer // for the hold that comes of age next
}

// keeper is a hold as the decision sees it.
type keeper struct {
	name    string
	lsn     page.LSN
	blocked time.Duration // how long it has kept what others would let go
}

// holdLimits are the options about holds; zero = no limit.
type holdLimits struct {
	age   time.Duration
	bytes int64
}

// evict says why a keeper has to go, given that the others would let go of everything before upTo and
// the log ends at end; "" = it may stay. Whoever keeps nothing back is never in the way, however old.
func (l holdLimits) evict(k keeper, upTo, end page.LSN) string {
	if k.lsn >= upTo {
		return ""
	}
	held := int64(end - min(k.lsn, end))
	switch {
	case l.bytes > 0 && held > l.bytes:
		return fmt.Sprintf("kept %d bytes of the log, more than HoldMaxBytes, %d", held, l.bytes)
	case l.age > 0 && k.blocked > l.age:
		return fmt.Sprintf("has kept the log back for %s, longer than HoldMaxAge, %s",
			k.blocked.Round(time.Millisecond), l.age)
	}
	return ""
}

// letGo truncates the log before everything it is kept for: the checkpoint, the archive, and every
// hold that is not evicted now. It only marks segments, the I/O is the log's, later; so no Hold can
// come between. e.mu is held.
func (e *Engine) letGo() error {
	r := &e.keep
	if e.log == nil || r.checkpoint == 0 {
		return nil
	}
	upTo := r.checkpoint
	if r.archiving {
		upTo = min(upTo, r.archived)
	}
	limits := holdLimits{e.o.HoldMaxAge, e.o.HoldMaxBytes}
	next := time.Duration(-1)
	now, end, lsn := time.Now(), e.log.End(), upTo
	for h := range r.holds {
		if h.lsn >= upTo {
			h.blocked = time.Time{}
			continue
		}
		if h.blocked.IsZero() {
			h.blocked = now
		}
		if why := limits.evict(keeper{h.name, h.lsn, now.Sub(h.blocked)}, upTo, end); why != "" {
			h.evicted = &EvictedError{h.name, h.lsn, why}
			delete(r.holds, h)
			r.evictions++
			e.o.Logger.Warn("a holder of the log was evicted", "holder", h.name, "lsn", h.lsn, "why", why)
			continue
		}
		lsn = min(lsn, h.lsn)
		if left := limits.age - now.Sub(h.blocked); limits.age > 0 && (next < 0 || left < next) {
			next = left
		}
	}
	if next >= 0 {
		r.wake(next+time.Millisecond, e.comeOfAge)
	}
	return e.log.TruncateBefore(lsn)
}

// wake has f called after d, and not at the time that was set before.
func (r *retention) wake(d time.Duration, f func()) {
	if r.again != nil {
		r.again.Stop()
	}
	r.again = time.AfterFunc(d, f)
}

// comeOfAge looks again at holds that have been in the way.
func (e *Engine) comeOfAge() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed.Load() {
		_ = e.letGo() // failures of the log show elsewhere
	}
}

// truncate lets go of the log after a checkpoint at lsn.
func (e *Engine) truncate(lsn page.LSN) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keep.checkpoint = max(e.keep.checkpoint, lsn)
	return e.letGo()
}

// Retention says how much of the log is kept, and for whom.
type Retention struct {
	Begin LSN // where the log begins
	End   LSN // the highest LSN issued
	// Checkpoint is before what the last checkpoint of this life would let go; 0 = there was none.
	Checkpoint LSN
	// Archived is up to where segments are in the archive, Lag how many bytes are behind that.
	Archive *ArchiveStats
	// KeptBy is what keeps the log from being let go up to Checkpoint: "" = nothing, "archive", or the
	// name of a holder.
	KeptBy  string
	Holders []Holder // the one that keeps most first
	Evicted uint64   // holders that had to go, since the engine was opened
}

// Holder is one hold.
type Holder struct {
	Name       string
	Subscriber bool
	LSN        LSN           // the log is kept from here on
	Bytes      int64         // from there to the log's end
	Age        time.Duration // since it was taken
	Blocking   time.Duration // how long it has kept back what a checkpoint let go; 0 = it does not
}

// Retention describes what the log is kept for, as it is now.
func (e *Engine) Retention() Retention {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.log == nil {
		return Retention{End: page.LSN(e.report.Log.End)}
	}
	k, now, end := &e.keep, time.Now(), e.log.End()
	r := Retention{Begin: e.log.Oldest(), End: end, Checkpoint: k.checkpoint, Evicted: k.evictions}
	least, segment := k.checkpoint, page.LSN(e.segmentBytes)
	keeps := func(lsn page.LSN) bool { // a whole segment at least: nothing less is let go
		return lsn < least && lsn/segment < k.checkpoint/segment
	}
	if k.archiving {
		r.Archive = e.archiveStats()
		if keeps(k.archived) {
			least, r.KeptBy = k.archived, "archive"
		}
	}
	for h := range k.holds {
		x := Holder{Name: h.name, Subscriber: h.subscriber, LSN: h.lsn, Bytes: int64(end - min(h.lsn, end)), Age: now.Sub(h.taken)}
		if !h.blocked.IsZero() {
			x.Blocking = now.Sub(h.blocked)
		}
		if keeps(h.lsn) {
			least, r.KeptBy = h.lsn, h.name
		}
		r.Holders = append(r.Holders, x)
	}
	slices.SortFunc(r.Holders, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(a.LSN, b.LSN), cmp.Compare(a.Name, b.Name))
	})
	return r
}

// pressure passes on that the log fills, or is not full any more. It runs on a goroutine of the log.
func (e *Engine) pressure(x walstage.Event) {
	if x.Pressure == walstage.PressureFull {
		e.mu.Lock()
		_ = e.letGo() // a holder may be in the way for too long by now; failures show elsewhere
		e.mu.Unlock()
	}
	attrs := []any{"used_bytes", x.Used, "limit_bytes", x.Limit, "begins_at", x.Oldest, "policy", e.o.LogFull,
		"kept_by", e.Retention().KeptBy}
	switch {
	case x.Pressure == walstage.PressureNone:
		e.o.Logger.Info("the log has room again", attrs...)
	case x.Pressure == walstage.PressureHigh:
		e.o.Logger.Warn("the log is filling: a checkpoint makes room", attrs...)
	default:
		e.o.Logger.Warn("the log is full: a checkpoint makes room", append(attrs, "err", x.Err)...)
	}
	if e.o.OnLogPressure != nil {
		e.o.OnLogPressure(x)
	}
}
