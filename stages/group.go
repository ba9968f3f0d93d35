package stages

import (
	"context"
	"runtime/pprof"
	"sync"
)

// Group owns the goroutines of a pipeline. Each carries the pprof label "stage".
type Group struct{ wg sync.WaitGroup }

// Go runs one stage's loop and returns what is closed when it has returned.
func (g *Group) Go(name string, loop func()) <-chan struct{} {
	g.wg.Add(1)
	done := make(chan struct{})
	go func() {
		defer g.wg.Done()
		defer close(done)
		pprof.Do(context.Background(), pprof.Labels("stage", name), func(context.Context) { loop() })
	}()
	return done
}

// Wait returns when every loop has returned.
func (g *Group) Wait() { g.wg.Wait() }
