package reclaim

import (
	"context"
	"fmt"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/stages"
)

// Frames takes memory back.
type Frames interface{ Put([]aligned.Frame) }

// Stage recycles batches whose every page is at S4, and lets super carry the watermark when
// dwbstage asks. It keeps no protocol state: Regions is dwbstage's, which needs F and W at the
// very moment it submits a header.
type Stage struct {
	frames  Frames
	persist func(num uint64) error
	credits chan<- stages.Credit
	poison  *stages.Poison
	done    chan *stages.Batch
	ask     chan uint64
	stop    chan struct{}
	meter   *stages.Meter
	scratch []aligned.Frame
}

// NewStage returns a stage for at most batches batches. persist makes super carry the watermark
// (epoch, num) durably.
func NewStage(batches int, frames Frames, persist func(num uint64) error, poison *stages.Poison) *Stage {
	s := &Stage{
		frames: frames, persist: persist, poison: poison,
		done: make(chan *stages.Batch, batches),
		ask:  make(chan uint64, 1),
		stop: make(chan struct{}),
	}
	s.meter = stages.NewMeter("reclaim", func() (int, int) { return len(s.done), cap(s.done) })
	return s
}

// Done is where datastage sends batches; it has room for all of them.
func (s *Stage) Done() chan<- *stages.Batch { return s.done }

// Ask is where dwbstage asks for a watermark in super.
func (s *Stage) Ask() chan<- uint64 { return s.ask }

// Connect says where credits go, before Run.
func (s *Stage) Connect(credits chan<- stages.Credit) { s.credits = credits }

// Stats is a snapshot of the stage's meter.
func (s *Stage) Stats() stages.StageStats { return s.meter.Snapshot() }

// ResetStats makes the meter's distributions begin anew.
func (s *Stage) ResetStats() { s.meter.Reset() }

// Stop ends Run.
func (s *Stage) Stop() { close(s.stop) }

// Run is the stage's loop.
func (s *Stage) Run(context.Context) {
	for {
		select {
		case b := <-s.done:
			begin := time.Now()
			s.scratch = s.scratch[:0]
			for i := range b.Entries {
				if b.Entries[i].Frame.Buf != nil { // nil: a newer entry of the page took it over
					s.scratch = append(s.scratch, b.Entries[i].Frame)
				}
				b.Entries[i].Frame = aligned.Frame{}
			}
			s.frames.Put(s.scratch)
			n, took := len(b.Entries), time.Since(begin)
			s.meter.Service(took, n) // before the batch is somebody else's
			s.meter.Busy(took)
			s.credits <- stages.Credit{Batch: b}
		case num := <-s.ask:
			begin := time.Now()
			err := s.persist(num)
			s.meter.Flush(time.Since(begin), 0)
			if err != nil {
				s.poison.Set(fmt.Errorf("watermark in super: %w", err)) // I5
				continue
			}
			s.credits <- stages.Credit{Durable: num}
		case <-s.stop:
			return
		}
	}
}
