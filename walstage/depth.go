package walstage

import "time"

// depth decides how many groups may be written at once. One is best where a write is quick: with
// more, each group carries less and costs as much. Where latency is long (network volumes) more
// pay, as long as the groups do not shrink for it. So it tries one more, looks at what happened to
// the groups, and goes back for a while if they shrank.
type depth struct {
	target, min, max int

	groups   int
	bytes    int64
	took     time.Duration
	before   int64 // mean group size at target-1
	cooldown int   // windows until the next try
}

const (
	depthWindow   = 32 // groups a decision is based on
	depthCooldown = 64 // windows
	longLatency   = time.Millisecond
)

func (d *depth) observe(bytes int, took time.Duration) {
	d.groups++
	d.bytes += int64(bytes)
	d.took += took
	if d.groups < depthWindow {
		return
	}
	size, latency := d.bytes/depthWindow, d.took/depthWindow
	d.groups, d.bytes, d.took = 0, 0, 0
	switch {
	case d.target > max(d.min, 1) && (latency < longLatency/2 || size < d.before*3/4):
		d.target--
		d.before = 0
		d.cooldown = depthCooldown
	case d.cooldown > 0:
		d.cooldown--
	case d.target < d.max && latency >= longLatency:
		d.before = size
		d.target++
	}
}
