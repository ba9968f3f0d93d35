package dwbstage

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// TestHeldTimeByCause makes pages wait for each cause in turn, on a clock of the test's own: what
// they waited is told, to the nanosecond and by its cause.
func TestHeldTimeByCause(t *testing.T) {
	// through lets every doublewrite and its flush happen.
	through := func(r *rig) {
		for ops := r.ring.take(); len(ops) > 0; ops = r.ring.take() {
			finish(nil, ops...)
		}
	}
	recycle := func(r *rig, b *stages.Batch) {
		r.s.Credits() <- stages.Credit{Batch: b}
		synctest.Wait()
	}
	one := func(r *rig, lsn page.LSN, no page.No) { r.write(stages.Durable, lsn, 1, no) }
	for _, c := range []struct {
		where stages.Where
		want  time.Duration
		wait  func(r *rig)
	}{
		{stages.HeldForLog, 2 * 7 * time.Millisecond, func(r *rig) {
			r.write(stages.Durable, 10, 1, 1, 2)
			time.Sleep(7 * time.Millisecond)
			r.log.reach(10)
		}},
		{stages.HeldForFlush, 5 * time.Millisecond, func(r *rig) {
			one(r, 0, 1)
			ops := r.ring.take() // Unsynced is 1: nothing more before these are flushed
			one(r, 0, 2)
			time.Sleep(5 * time.Millisecond)
			finish(nil, ops...)
			through(r)
		}},
		{stages.HeldForSlots, 3*time.Millisecond + 1*time.Millisecond, func(r *rig) {
			for no := range page.No(2) { // InFlight is 2
				one(r, 0, no)
				through(r)
			}
			first := r.handed()[0]
			one(r, 0, 7)
			time.Sleep(2 * time.Millisecond)
			one(r, 0, 8) // comes later, waits less
			time.Sleep(time.Millisecond)
			recycle(r, first)
			through(r)
		}},
		{stages.HeldForDestination, 9 * time.Millisecond, func(r *rig) {
			r.file = &stages.File{ID: 2, Name: "b", PageSize: 16384, Format: page.Native{}}
			for no := range page.No(4) { // Direct is 2, one more fills, one more is sealed
				one(r, 0, no)
			}
			bs := r.handed()
			if len(bs) != 4 {
				r.t.Fatalf("%d batches handed on", len(bs))
			}
			one(r, 0, 9)
			time.Sleep(9 * time.Millisecond)
			recycle(r, bs[0])
		}},
	} {
		t.Run(c.where.String(), func(t *testing.T) {
			withStage(t, nil, func(r *rig) {
				c.wait(r)
				st := r.s.Stats()
				for w, got := range st.PageTime[:stages.InDoublewrite] {
					want := time.Duration(0)
					if stages.Where(w) == c.where {
						want = c.want
					}
					if got != want {
						t.Errorf("%s: %v, want %v", stages.Where(w), got, want)
					}
				}
				if n := st.Held[c.where]; n != 1 {
					t.Errorf("held up %d times", n)
				}
			})
		})
	}
}

// TestFlushPagesAreWhatTheFlushCovered: a batch that is still being written is not counted.
func TestFlushPagesAreWhatTheFlushCovered(t *testing.T) {
	withStage(t, func(c *Config) { c.Unsynced = 2 }, func(r *rig) {
		r.write(stages.Durable, 0, 1, 1, 2, 3)
		first := r.ring.take()
		r.write(stages.Durable, 0, 1, 4)
		second := r.ring.take()
		finish(nil, first...)
		flush := r.ring.take()
		if len(flush) != 1 || flush[0].Kind != ring.DataSync {
			t.Fatalf("submitted: %s", kinds(flush))
		}
		finish(nil, flush...)
		if q := r.s.Stats().FlushPages; q.Count != 1 || q.Max != 3 {
			t.Errorf("%+v", q)
		}
		finish(nil, second...)
		finish(nil, r.ring.take()...)
		if q := r.s.Stats().FlushPages; q.Count != 2 || q.Max != 3 || q.Mean != 2 {
			t.Errorf("%+v", q)
		}
	})
}
