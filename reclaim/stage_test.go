package reclaim

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/stages"
)

type noFrames struct{}

func (noFrames) Put([]aligned.Frame) {}

// TestWatermarkInSuper is I2 and I5: a region is given free only when super carries the watermark; when
// it could not be written the engine stops, and no credit comes.
func TestWatermarkInSuper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		poison, full := stages.NewPoison(), errors.New("full")
		var fails error
		s := NewStage(1, noFrames{}, func(uint64) error { return fails }, poison)
		credits := make(chan stages.Credit, 2)
		s.Connect(credits)
		var g stages.Group
		g.Go("reclaim", func() { s.Run(context.Background()) })
		ask := func(num uint64) int {
			s.Ask() <- num
			synctest.Wait()
			return len(credits)
		}
		if n := ask(3); n != 1 || (<-credits).Durable != 3 || poison.Err() != nil {
			t.Errorf("%d credits, poison %v", n, poison.Err())
		}
		fails = full
		if n := ask(4); n != 0 || !errors.Is(poison.Err(), full) {
			t.Errorf("%d credits for what super does not carry, poison %v", n, poison.Err())
		}
		s.Stop()
		g.Wait()
	})
}
