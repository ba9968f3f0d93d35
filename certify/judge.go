package certify

import (
	"cmp"
	"fmt"
	"time"

	"github.com/untorn/untorn/hwprobe"
)

// leastStates is how many crash states an exploration has to have tried to count for anything.
const leastStates = 1000

// Judge sets verdict, reasons and reservations from the evidence, and from what kept it from being
// complete ("" = nothing did). It is pure but for that.
func (p *Profile) Judge(stopped string) {
	p.Reasons, p.Reservations = []string{}, []string{}
	no := func(format string, a ...any) { p.Reasons = append(p.Reasons, fmt.Sprintf(format, a...)) }
	but := func(format string, a ...any) { p.Reservations = append(p.Reservations, fmt.Sprintf(format, a...)) }

	for i := range p.Places {
		p.Places[i].judge(&p.Config, no, but)
	}
	for _, c := range p.Controls {
		if !c.Found {
			no("control: the broken variant %s was not convicted in %d states: what the explorer does not find says nothing", c.Mutant, c.States)
		}
	}
	for _, r := range p.Explored {
		switch {
		case r.Violations > 0:
			no("explore, mode %s: %d violations; the stories are in the profile", r.Mode, r.Violations)
		case r.States < leastStates && !r.Interrupted:
			no("explore, mode %s: only %d states were tried, at least %d are wanted: a longer -explore", r.Mode, r.States, leastStates)
		}
	}
	for _, t := range p.Tortured {
		r := t.Result
		switch {
		case r.Violations > 0:
			no("torture, %s: %d violations; the stories are in the profile", t.What, r.Violations)
		case r.Kills == 0 && !r.Stopped:
			no("torture, %s: no child was killed", t.What)
		}
		for _, s := range []struct{ what, why string }{
			{"a throttled disk (I/O that outlives its process)", r.ThrottleSkipped},
			{"a full disk", r.FullSkipped}, {"a memory limit", r.MemorySkipped},
		} {
			if s.why != "" {
				but("not tried: %s: %s", s.what, s.why)
			}
		}
	}
	if p.Limits != nil {
		p.Limits.judge(p.Places, but)
	}
	but("a power cut was simulated, not made: whether the drive keeps what it has flushed, only pulling the plug shows (untornctl pull)")
	p.Verdict = Certified
	switch {
	case len(p.Reasons) > 0:
		p.Verdict = NotCertified
	case stopped != "" || len(p.Controls) == 0 || len(p.Explored) == 0 || len(p.Tortured) == 0:
		p.Verdict = Incomplete
		no("not everything was tried: %s", cmp.Or(stopped, "steps are missing"))
	}
}

func (pl *Place) judge(c *Config, no, but func(string, ...any)) {
	switch w := &pl.WriteCache; w.State {
	case hwprobe.FlushesOff:
		no("%s (%s): flushes are off: %s", pl.Role, pl.Path, w.Summary)
	case hwprobe.FlushesUnknown:
		but("%s: what a flush is worth is unknown: %s", pl.Role, w.Summary)
	}
	if pl.Capture != nil && pl.Capture.Mount != nil {
		switch fs := pl.Capture.Mount.FS.Or(""); fs {
		case "tmpfs", "ramfs":
			no("%s (%s): %s is memory: nothing survives a power cut", pl.Role, pl.Path, fs)
		}
	}
	if pl.Role != "dir" || !c.withoutCopy() {
		return
	}
	v := &pl.Atomic
	switch {
	case v.Relaxed():
	case c.AtomicOverride != "" && c.AtomicOverride == v.Rule:
		but("atomic writes are not proven here (%s by rule %s: %s); the rule was overridden", v.Answer, v.Rule, v.Reason)
	case c.Mode == "auto":
		but("mode auto is doublewrite here: %s by rule %s: %s", v.Answer, v.Rule, v.Reason)
	default:
		no("mode atomic: %s by rule %s: %s", v.Answer, v.Rule, v.Reason)
	}
}

// instant is a flush that cannot have gone to a medium.
const instant = 10 * time.Microsecond

// judge notices flushes that cost nothing where a cache would have to be emptied.
func (l *Limits) judge(places []Place, but func(string, ...any)) {
	if len(places) == 0 || l.Flush.Count == 0 || places[0].WriteCache.State == hwprobe.FlushesNeedless {
		return
	}
	if l.Flush.P50 < float64(instant/time.Microsecond) {
		but("a flush after a page takes %.1f us at the median: no medium is that fast; the drive has no volatile cache, or somebody swallows flushes", l.Flush.P50)
	}
}
