package dwbstage

import (
	"errors"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// TestCallerRunsTheStep: where its batch is alone, a caller that waits is given the request; one that
// has left is not.
func TestCallerRunsTheStep(t *testing.T) {
	lone := func(c *Config) { c.Lone, c.InFlight, c.Unsynced, c.Geometry.Regions = true, 4, 2, 6 }
	withStage(t, lone, func(r *rig) {
		step := stages.NewStep()
		r.step = step
		c, _ := r.write(stages.Protected, 0, 1, 10)
		if ops := r.ring.take(); len(ops) != 0 {
			t.Fatalf("%s although the caller could run it", kinds(ops))
		}
		op := step.Leave() // offered: it has to be run all the same
		if op == nil || op.Flags&ring.DSync == 0 {
			t.Fatal("nothing was offered, or without DSYNC")
		}
		if c.Finished() || len(r.handed()) != 0 {
			t.Fatal("acknowledged before it was run")
		}
		finish(nil, op)
		if !c.Finished() || len(r.handed()) != 1 {
			t.Fatal("run, and not acknowledged")
		}
		step.Reset()
		step.Leave()
		r.write(stages.Protected, 0, 1, 11)
		left := r.ring.take()
		if len(left) != 1 {
			t.Fatal("the caller has left, and nothing is submitted")
		}
		step.Reset()
		r.write(stages.Protected, 0, 1, 12)
		if len(r.ring.take()) != 1 {
			t.Fatal("with another batch on its way the ring takes it")
		}
		step.Leave()
	})
	withStage(t, lone, func(r *rig) { // I5
		r.step = stages.NewStep()
		c, _ := r.write(stages.Protected, 0, 1, 10)
		finish(errors.New("EIO"), <-r.step.C())
		if r.poison.Err() == nil || c.Finished() || len(r.handed()) != 0 {
			t.Errorf("poison %v, acknowledged %v", r.poison.Err(), c.Finished())
		}
	})
}

// TestStepOfAWriteHalfTaken: a caller runs nothing before all of its pages have been taken, and where they
// are more than there are batches, none would come back for the rest of them.
func TestStepOfAWriteHalfTaken(t *testing.T) {
	withStage(t, func(c *Config) { c.Lone = true }, func(r *rig) {
		r.step = stages.NewStep()
		var nos []page.No
		for no := range page.No(30) { // 4 batches of 4 pages there are
			nos = append(nos, no)
		}
		c, taken := r.write(stages.Protected, 0, 1, nos...)
		for range 30 {
			finish(nil, r.ring.take()...)
			for _, b := range r.handed() {
				r.credit(b)
			}
			if len(taken) == 1 { // from here on it may
				select {
				case op := <-r.step.C():
					finish(nil, op)
				default:
				}
			}
		}
		if len(taken) == 0 || !c.Finished() {
			t.Fatalf("taken %v, acknowledged %v", len(taken) == 1, c.Finished())
		}
	})
}
