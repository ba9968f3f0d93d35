package explore

import (
	"fmt"
	"strings"

	"github.com/untorn/untorn/sim"
)

// Bounds of a story.
const (
	storyEvents = 40
	storyLines  = 40
)

func (r *run) violation(c complaint, at int, choice, path string, pt *sim.Point, ch fmt.Stringer, seen *observed) *Violation {
	v := &Violation{Kind: c.kind, What: c.text, Seed: r.p.seed, At: at, Choice: choice, Path: path, Log: r.print}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n%v\ncrash point %d, choice %q: %s\n", c.kind, c.text, r.p, at, choice, path)
	if pt != nil {
		fmt.Fprintf(&b, "again with: -seed %d -at %d -choice %q -log %s\n", r.p.seed, at, choice, r.print)
	}
	fmt.Fprintf(&b, "\nwhat had happened (the last of it):\n")
	tell(&b, r.log, at, c)
	if cut, ok := ch.(sim.Choice); ok && pt != nil {
		fmt.Fprintf(&b, "\nwhat the crash left:\n%s", clip(pt.Describe(cut)))
	}
	if seen != nil && seen.report != nil {
		fmt.Fprintf(&b, "\nwhat recovery did:\n")
		var t strings.Builder
		if err := seen.report.Table(&t); err == nil {
			b.WriteString(clip(t.String()))
		}
	}
	if c.stacks != nil {
		fmt.Fprintf(&b, "\nthe goroutines:\n%s", c.stacks)
	}
	v.Story = b.String()
	return v
}

// tell prints the entries before a crash point that matter to a complaint: what the clients did,
// what was flushed, and what was written.
func tell(b *strings.Builder, log *sim.Log, at int, c complaint) {
	from, n := at, 0
	for from > 0 && n < storyEvents {
		from--
		if interesting(log.At(from)) {
			n++
		}
	}
	for i := from; i < at; i++ {
		if e := log.At(i); interesting(e) {
			fmt.Fprintf(b, "  %v\n", e)
		}
	}
}

func interesting(e sim.Entry) bool {
	switch e.Kind {
	case sim.Open, sim.Close, sim.Lock:
		return false
	}
	return true
}

func clip(s string) string {
	lines := strings.SplitAfter(s, "\n")
	if len(lines) <= storyLines {
		return s
	}
	return strings.Join(lines[:storyLines], "") + fmt.Sprintf("  ... %d more lines\n", len(lines)-storyLines)
}

// reportAgain tells of a second crash.
func (r *run) reportAgain(cs []complaint, s second, log *sim.Log, at int, p2 *sim.Point, c2 *sim.Choice, t, t2 *tried) {
	path := fmt.Sprintf("then the power went a second time, at operation %d of %d of the recovery and the work after it", at, log.Len())
	if c2 == nil {
		path = "then, in the work after recovery"
	}
	if s.path != "" {
		path = s.path + "; " + path
	}
	v := r.violation(cs[0], s.pt.Index, s.c.Name, path, s.pt, s.c, t.seen)
	var b strings.Builder
	fmt.Fprintf(&b, "\nthe recovery, and what came after it:\n")
	tell(&b, log, at, cs[0])
	if p2 != nil {
		fmt.Fprintf(&b, "\nwhat the second crash left, choice %q:\n%s", c2.Name, clip(p2.Describe(*c2)))
	}
	if t2.seen != nil && t2.seen.report != nil {
		fmt.Fprintf(&b, "\nwhat the second recovery did:\n")
		var t strings.Builder
		if err := t2.seen.report.Table(&t); err == nil {
			b.WriteString(clip(t.String()))
		}
	}
	for _, more := range cs[1:min(len(cs), 6)] {
		fmt.Fprintf(&b, "also: %s\n", more.text)
	}
	v.Story += b.String()
	r.x.found(v)
}
