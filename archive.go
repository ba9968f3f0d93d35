package untorn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/walstage"
)

// Archiver keeps finished segments of the log elsewhere. Package archive has one that uses a
// directory. Calls come one at a time, in the order of the log.
type Archiver interface {
	// Archive stores a segment and returns nil only when it is durable there. It is called again
	// after an error, and after a restart also for segments it has stored already; it must refuse to
	// put another segment in the place of one it has.
	Archive(ctx context.Context, s *walstage.Finished) error
}

// The bounds of the time between two tries to archive a segment; it doubles in between.
const (
	archiveRetryLeast = 100 * time.Millisecond
	archiveRetryMost  = 30 * time.Second
)

// ArchiveStats says how far archiving is.
type ArchiveStats struct {
	Through  LSN   // everything before is in the archive
	Lag      int64 // bytes of the log behind that, durable ones
	Segments uint64
	Failures uint64 // tries that failed
	// Err is why the last try failed, nil if it did not; Since is when that began.
	Err   error
	Since time.Time
}

// archiving is the goroutine that hands segments to Options.Archive. Its fields are guarded by e.mu.
type archiving struct {
	stats ArchiveStats
	stop  context.CancelFunc
	done  chan struct{}
}

// archiveStats is what Retention shows. e.mu is held.
func (e *Engine) archiveStats() *ArchiveStats {
	s := e.archiving.stats
	s.Through = e.keep.archived
	s.Lag = int64(e.log.Durable()) - int64(min(s.Through, e.log.Durable()))
	return &s
}

// startArchiving lets nothing of the log go that is not in the archive, from the open on: segments
// that a former life left are offered again.
func (e *Engine) startArchiving() {
	if e.o.Archive == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	a := &e.archiving
	e.mu.Lock()
	e.keep.archiving, e.keep.archived = true, e.log.Oldest()
	a.stop, a.done = stop, make(chan struct{})
	e.mu.Unlock()
	go func() {
		defer close(a.done)
		e.archive(ctx)
	}()
}

// stopArchiving ends the goroutine; what is not in the archive stays in the log.
func (e *Engine) stopArchiving() {
	if e.archiving.stop != nil {
		e.archiving.stop()
		<-e.archiving.done
	}
}

func (e *Engine) archive(ctx context.Context) {
	wait := archiveRetryLeast
	more := make(chan struct{}, 1)
	defer e.log.Forget(more)
	for ctx.Err() == nil && e.poison.Err() == nil {
		e.mu.Lock()
		from := e.keep.archived
		e.mu.Unlock()
		s, err := e.log.Finished(from)
		if err == nil && s == nil { // wait for a record behind the segment's end
			e.log.WhenDurable(e.nextSegment(from)+1, more)
			select {
			case <-more:
			case <-ctx.Done():
			}
			continue
		}
		var end page.LSN
		if err == nil {
			end = s.End
			err = e.o.Archive.Archive(ctx, s)
			s.Release()
		}
		if ctx.Err() != nil {
			return
		}
		if err := e.archived(end, err); err == nil {
			wait = archiveRetryLeast
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		wait = min(2*wait, archiveRetryMost)
	}
}

// nextSegment is where the segment that holds lsn ends, or one of the usual length would.
func (e *Engine) nextSegment(lsn page.LSN) page.LSN {
	return lsn + page.LSN(e.segmentBytes)
}

// archived takes the outcome of a try and lets go of what only the archive had kept.
func (e *Engine) archived(through page.LSN, err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &e.archiving.stats
	if err != nil {
		s.Failures++
		if s.Err == nil {
			s.Since = time.Now()
		}
		if s.Err == nil || s.Err.Error() != err.Error() {
			e.o.Logger.Warn("a segment cannot be archived; the log is kept, and it is tried again",
				"from_lsn", e.keep.archived, "err", err)
		}
		s.Err = err
		return err
	}
	if s.Err != nil {
		e.o.Logger.Info("archiving goes on", "failed_for", time.Since(s.Since).Round(time.Millisecond))
	}
	s.Err = nil
	s.Segments++
	e.keep.archived = through
	if err := e.letGo(); err != nil && !errors.Is(err, walstage.ErrClosed) {
		return fmt.Errorf("untorn: archive: %w", err) // the log has failed, which ends the loop
	}
	return nil
}
