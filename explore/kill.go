package explore

import (
	"context"
	"fmt"

	"github.com/untorn/untorn/sim"
)

// kill tries the death of the process alone: the cache survives, what was queued meets its fate.
func (r *run) kill(ctx context.Context, pt *sim.Point, k sim.KillChoice, d *sim.Disk, exp *expect, buf *buffers) {
	ctx = context.WithoutCancel(ctx)
	d.Record()
	t := r.try(ctx, d, buf)
	r.x.count(true, Killed)
	if lostToTears(t.err, exp) {
		t.leave(d, buf)
		return
	}
	if cs := r.verdict(exp, t.judge(exp, pass{})); len(cs) > 0 {
		t.leave(d, buf)
		r.report(cs, pt, k, fmt.Sprintf("process killed, its writes in flight: %v", k), exp, t.seen, nil)
		return
	}
	if t.err != nil {
		t.leave(d, buf)
		return
	}
	r.again(ctx, d, &t, second{pt: pt, c: sim.Choice{Name: "kill " + k.String()}, exp: exp}, buf)
}
