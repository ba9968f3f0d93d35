package certify

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Write writes the profile for people.
func (p *Profile) Write(w io.Writer) error {
	var b strings.Builder
	f := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	f("%s: %s, mode %s, pages of %d bytes", strings.ToUpper(p.Verdict), p.Config.Dir, p.Config.Mode, p.Config.PageBytes)
	f("  %s, %.0f s; engine revision %s, %s", p.Started, p.Elapsed, p.Engine.Revision, p.Engine.Go)
	for _, s := range p.Reasons {
		f("  because  %s", s)
	}
	for _, s := range p.Reservations {
		f("  but      %s", s)
	}
	f("\nStack")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, x := range p.Facts {
		if x.Where == "host" && slices.Contains([]string{"kernel", "architecture", "backend"}, x.What) ||
			x.Where != "host" && shown(&x) {
			fmt.Fprintf(t, "  %s\t%s\n", x.name(), x.text())
		}
	}
	t.Flush()
	f("\nTried")
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  WHAT\tMODE\tSTATES\tKILLS\tVIOLATIONS\tSECONDS\tHOW\n")
	for _, c := range p.Controls {
		how := "convicted, as it must be"
		if !c.Found {
			how = "NOT FOUND"
		}
		fmt.Fprintf(t, "  control\t%s\t%d\t-\t-\t%.1f\tbroken variant %s: %s\n", c.Mode, c.States, c.Elapsed, c.Mutant, how)
	}
	for _, x := range p.Explored {
		fmt.Fprintf(t, "  explore\t%s\t%d\t%d\t%d\t%.1f\tsimulated power cuts, %d runs from seed %d\n", x.Mode, x.States, x.Kills, x.Violations,
			x.Elapsed, x.Runs, x.Seed)
	}
	for _, x := range p.Tortured {
		r := x.Result
		how := fmt.Sprintf("%s; %d acknowledgements and %d pages checked", x.What, r.PageAcks+r.RecordAcks, r.PagesSeen)
		if r.MemoryKills > 0 {
			how += fmt.Sprintf("; %d died of memory", r.MemoryKills)
		}
		if n := r.LogFull + r.NoSpace; r.FullFS != "" {
			how += fmt.Sprintf("; %d calls refused for lack of space", n)
		}
		fmt.Fprintf(t, "  torture\t%s\t-\t%d\t%d\t%.1f\t%s\n", r.Mode, r.Kills, r.Violations, r.ElapsedSeconds, how)
	}
	t.Flush()
	if l := p.Limits; l != nil {
		f("\nA lone caller waits, in microseconds")
		f("  %-28s %6s %8s %8s  %s", "WAY", "BYTES", "P50", "P99", "DURABLE")
		for _, s := range l.Sync {
			f("  %-28s %6d %8.0f %8.0f  %v", s.Method, s.Bytes, s.Latency.P50, s.Latency.P99, s.Durable)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shown picks what a person wants to see of a stack; the profile has it all.
func shown(f *Fact) bool {
	switch f.What {
	case "file system", "mount options that matter", "flushes", factStack, "device name", "model", "firmware", "driver",
		"kernel's write cache setting", "volatile write cache (VWC)", "physical block":
		return true
	}
	return strings.HasPrefix(f.What, factAtomic)
}

// WriteChanges writes what Compare found, for people.
func WriteChanges(w io.Writer, p *Profile, cs []Change, now time.Time) error {
	var b strings.Builder
	f := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	age := ""
	if at, err := time.Parse(time.RFC3339, p.Started); err == nil {
		age = fmt.Sprintf(", %.0f days ago", now.Sub(at).Hours()/24)
	}
	f("profile of %s%s: %s, mode %s, pages of %d bytes", p.Started, age, p.Verdict, p.Config.Mode, p.Config.PageBytes)
	for _, c := range cs {
		f("%s", c)
	}
	switch Worst(cs) {
	case "":
		f("nothing has changed: %d facts are as they were", len(p.Facts))
	case Void:
		f("the certificate does not hold for what is there now: certify again")
	case Unread:
		f("it cannot be told whether the certificate holds: run it as the certificate was run (root reads most)")
	default:
		f("the certificate holds; the lines above are for your judgement")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
