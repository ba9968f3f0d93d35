package bench

import (
	"context"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/walstage"
)

// target is a way of protecting pages, under test.
type target interface {
	// worker returns what client i uses; clients do not share one.
	worker(i int) worker
	// settle waits until everything accepted is durable.
	settle(ctx context.Context) error
	// reopen closes in order and opens again; workers are void afterwards.
	reopen(ctx context.Context) error
	close(ctx context.Context) error
	// counts says what was done so far; fresh makes its distributions begin anew.
	counts() counts
	fresh()
	// describe fills in what the result says of the target.
	describe(*Result)
}

// worker is one client's access to a target. None of its methods allocates.
type worker interface {
	// take returns memory for a batch of n pages, which put then writes or give returns.
	take(ctx context.Context, n int) ([][]byte, error)
	// put writes the pages taken, in order, and waits for the acknowledgement.
	put(ctx context.Context, nos []page.No) error
	// give returns what was taken without writing it.
	give()
	// get reads pages and shows each to see.
	get(ctx context.Context, nos []page.No, see func(i int, image []byte)) error
}

// counts of a target since it was opened.
type counts struct {
	ring   ring.Stats
	stages []stages.StageStats
	log    *walstage.Stats
	spent  stages.PageTime
	memory aligned.Stats
}
