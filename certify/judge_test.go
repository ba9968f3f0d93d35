package certify

import (
	"strings"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/bench"
	"github.com/untorn/untorn/explore"
	"github.com/untorn/untorn/hwprobe"
	"github.com/untorn/untorn/torture"
)

func untornMode(s string) untorn.Mode { return untorn.Mode(s) }

// sound is a profile with nothing against it.
func sound() *Profile {
	return &Profile{
		Config:   Config{Mode: untorn.ModeDoublewrite},
		Places:   []Place{{Role: "dir", WriteCache: hwprobe.WriteCache{State: hwprobe.FlushesSent}, Atomic: hwprobe.Verdict{Answer: hwprobe.Required, Rule: "3"}}},
		Controls: []Control{{Mutant: "ack-early", Found: true}},
		Explored: []*explore.Result{{States: 5000}},
		Tortured: []Tortured{{"kills", &torture.Result{Kills: 9}}},
		Limits:   &Limits{Flush: bench.Latency{Count: 9, P50: 120}},
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name    string
		do      func(*Profile)
		stopped bool
		verdict string
		says    string // in a reason or reservation
	}{
		{"sound", func(*Profile) {}, false, Certified, "pulling the plug"},
		{"interrupted", func(*Profile) {}, true, Incomplete, "interrupted"},
		{"a step is missing", func(p *Profile) { p.Tortured = nil }, false, Incomplete, "not everything"},
		{"flushes off", func(p *Profile) { p.Places[0].WriteCache.State = hwprobe.FlushesOff }, false, NotCertified, "flushes are off"},
		{"flushes unknown", func(p *Profile) { p.Places[0].WriteCache.State = hwprobe.FlushesUnknown }, false, Certified, "unknown"},
		{"memory", func(p *Profile) {
			p.Places[0].Capture = &hwprobe.Report{Mount: &hwprobe.Mount{FS: hwprobe.Known("tmpfs", "")}}
		}, false, NotCertified, "is memory"},
		{"a blind explorer", func(p *Profile) { p.Controls[0].Found = false }, false, NotCertified, "ack-early was not convicted"},
		{"a violation", func(p *Profile) { p.Explored[0].Violations = 1 }, false, NotCertified, "1 violations"},
		{"a violation, then interrupted", func(p *Profile) { p.Explored[0].Violations = 1 }, true, NotCertified, "1 violations"},
		{"hardly explored", func(p *Profile) { p.Explored[0].States = 10 }, false, NotCertified, "only 10 states"},
		{"a real violation", func(p *Profile) { p.Tortured[0].Result.Violations = 2 }, false, NotCertified, "torture, kills: 2 violations"},
		{"nobody died", func(p *Profile) { p.Tortured[0].Result.Kills = 0 }, false, NotCertified, "no child was killed"},
		{"something skipped", func(p *Profile) { p.Tortured[0].Result.FullSkipped = "needs root" }, false, Certified, "not tried: a full disk: needs root"},
		{"instant flushes", func(p *Profile) { p.Limits.Flush.P50 = 3 }, false, Certified, "somebody swallows flushes"},
		{"instant flushes, no cache", func(p *Profile) {
			p.Limits.Flush.P50, p.Places[0].WriteCache.State = 3, hwprobe.FlushesNeedless
		}, false, Certified, "pulling the plug"},
		{"atomic, not proven", func(p *Profile) { p.Config.Mode = untorn.ModeAtomic }, false, NotCertified, "mode atomic: required by rule 3"},
		{"atomic, overridden", func(p *Profile) {
			p.Config.Mode, p.Config.AtomicOverride = untorn.ModeAtomic, "3"
		}, false, Certified, "was overridden"},
		{"atomic, another rule overridden", func(p *Profile) {
			p.Config.Mode, p.Config.AtomicOverride = untorn.ModeAtomic, "8"
		}, false, NotCertified, "rule 3"},
		{"auto", func(p *Profile) { p.Config.Mode = untorn.ModeAuto }, false, Certified, "mode auto is doublewrite here"},
		{"atomic, proven", func(p *Profile) {
			p.Config.Mode, p.Places[0].Atomic = untorn.ModeAtomic, hwprobe.Verdict{Answer: hwprobe.Relaxed, Kind: hwprobe.Hardware}
		}, false, Certified, "pulling the plug"},
	} {
		p := sound()
		c.do(p)
		stopped := ""
		if c.stopped {
			stopped = "interrupted"
		}
		p.Judge(stopped)
		all := strings.Join(append(p.Reasons, p.Reservations...), "\n")
		if p.Verdict != c.verdict || !strings.Contains(all, c.says) {
			t.Errorf("%s: %s\n%s", c.name, p.Verdict, all)
		}
		if (p.Verdict == Certified) != (len(p.Reasons) == 0) {
			t.Errorf("%s: %s with the reasons %q", c.name, p.Verdict, p.Reasons)
		}
	}
}
