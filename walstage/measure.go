package walstage

import (
	"context"
	"time"

	"github.com/untorn/untorn/aligned"
)

// measureRounds is how many writes of each kind chooseCommit times.
const measureRounds = 8

// chooseCommit times both ways to make a block durable, alternating, where the log is about to
// write anyway, and takes the one with the quicker middle. What it writes are zeros where nothing is
// but zeros or a recycled segment's older life. Without room to measure it takes CommitDSync.
func chooseCommit(ctx context.Context, o *Options, at place) (Commit, error) {
	b := int64(o.Block)
	if o.Policy == PolicyNever {
		return commitLater, nil
	}
	if o.Commit != CommitAuto {
		return o.Commit, nil
	}
	if at.off+measureRounds*b > at.seg.length {
		return CommitDSync, nil
	}
	g := group{buf: aligned.Alloc(o.Block, o.Block), seg: at.seg, size: o.Block}
	var took [2][]time.Duration
	for i := range int64(measureRounds) {
		g.off = at.off + i*b
		for m, method := range []Commit{CommitDSync, CommitFlush} {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			d, err := g.write(o, method)
			if err != nil {
				return 0, err
			}
			took[m] = append(took[m], d)
		}
	}
	if middle(took[1]) < middle(took[0]) {
		return CommitFlush, nil
	}
	return CommitDSync, nil
}

func middle(d []time.Duration) time.Duration {
	for i := range d { // insertion sort: there are eight
		for j := i; j > 0 && d[j] < d[j-1]; j-- {
			d[j], d[j-1] = d[j-1], d[j]
		}
	}
	return d[len(d)/2]
}
