package hwprobe

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
)

// printer collects text for a person. What a capture holds may come from anywhere: control
// characters never reach a terminal.
type printer struct{ b strings.Builder }

func (p *printer) f(format string, a ...any) { fmt.Fprintf(&p.b, format, a...) }

func (p *printer) flush(w io.Writer) error {
	clean := strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, p.b.String())
	_, err := io.WriteString(w, clean)
	return err
}

// Render writes one Result for a person: the stack as a tree, the verdict for each page size and
// why, what would change it, what it means for other writers. With rules it lists every rule.
func (res Result) Render(w io.Writer, rules bool) error {
	var p printer
	r := res.Capture
	p.f("%s\n", r.label())
	if res.Error != "" {
		p.f("  could not be probed: %s\n", res.Error)
		return p.flush(w)
	}
	if r.Note != "" {
		p.f("  (%s)\n", r.Note)
	}
	p.f("  %s %s %s\n", r.Host.OS, r.Host.Kernel, r.Host.Arch.Or(""))
	p.tree(r)
	p.f("\n")
	p.verdicts(res.Verdicts)
	if rules {
		for _, v := range res.Verdicts {
			p.rules(v)
		}
	}
	p.next(res.Verdicts)
	p.writers(res.Verdicts)
	p.cache(res.WriteCache)
	p.f("\nNotes\n")
	for _, n := range res.Notes {
		p.f("  - %s\n", n)
	}
	p.f("\n")
	return p.flush(w)
}

func (p *printer) verdicts(vs []Verdict) {
	t := tabwriter.NewWriter(&p.b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Page\tDoublewrite, for a writer that uses RWF_ATOMIC\tRule\tWhy\n")
	for _, v := range vs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", size(uint64(max(v.PageBytes, 0))), v.headline(),
			v.Rule, oneLine(v.Reason))
	}
	t.Flush()
	for _, v := range vs {
		for _, a := range v.Accepted {
			p.f("  %s: accepted by policy, not proven: %s\n", size(uint64(v.PageBytes)), a)
		}
	}
}

func (v Verdict) headline() string {
	switch v.Answer {
	case Relaxed:
		return "may be relaxed (" + v.Kind + ")"
	case Required:
		return "required"
	}
	return "unknown: keep it"
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }

func (p *printer) rules(v Verdict) {
	p.f("\nRules for %s\n", size(uint64(max(v.PageBytes, 0))))
	t := tabwriter.NewWriter(&p.b, 0, 0, 2, ' ', 0)
	for _, r := range v.Rules {
		mark := " "
		if r.Rule == v.Rule {
			mark = ">"
		}
		fmt.Fprintf(t, " %s %s\t%s\t%s\t%s\n", mark, r.Rule, r.Outcome, r.Title, oneLine(r.Detail))
	}
	t.Flush()
}

// next groups page sizes that have the same way forward.
func (p *printer) next(vs []Verdict) {
	var order []string
	pages := map[string][]string{}
	for _, v := range vs {
		for _, n := range v.Next {
			if pages[n] == nil {
				order = append(order, n)
			}
			pages[n] = append(pages[n], size(uint64(max(v.PageBytes, 0))))
		}
	}
	if len(order) == 0 {
		return
	}
	p.f("\nWhat would change it\n")
	for _, n := range order {
		p.f("  - %s: %s\n", strings.Join(pages[n], ", "), n)
	}
}

// writers shows what the answers mean for writers without RWF_ATOMIC, once where they agree.
func (p *printer) writers(vs []Verdict) {
	p.f("\nOther writers (never proved from here)\n")
	names := map[string]string{
		WriterDirect:   "whole pages with plain O_DIRECT (InnoDB)",
		WriterBuffered: "through the page cache (PostgreSQL)",
	}
	var said []string
	for _, v := range vs {
		for _, w := range v.Writers {
			if w.Writer == WriterAtomic {
				continue
			}
			line := fmt.Sprintf("  - %s: %s; %s.\n    Can split it: %s. %s.\n",
				names[w.Writer], w.Answer, w.Promise, w.Splits, upperFirst(w.Keep))
			if !slices.Contains(said, line) {
				said = append(said, line)
				p.f("%s", line)
			}
		}
	}
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (p *printer) cache(w WriteCache) {
	p.f("\nWrite cache: %s: %s\n", w.State, w.Summary)
	if fua, ok := w.FUA.Get(); ok {
		what := "not native: a FUA write costs a flush after it (or needs none, with \"write through\")"
		if fua {
			what = "native"
		}
		p.f("  FUA: %s\n", what)
	}
	for _, d := range w.Drives {
		v := "not read: " + d.Volatile.Why()
		if volatile, ok := d.Volatile.Get(); ok {
			v = map[bool]string{true: "yes", false: "no"}[volatile]
		}
		p.f("  %s: volatile cache: %s; the kernel takes it for %q\n", d.Name, v, d.Kernel)
	}
}

// RenderFleet writes one line a Report: what is underneath, and the answer for each page size.
func (d Document) RenderFleet(w io.Writer) error {
	var p printer
	t := tabwriter.NewWriter(&p.b, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "Path\tOn\tKernel")
	for _, pg := range d.PageBytes {
		fmt.Fprintf(t, "\t%s", size(uint64(max(pg, 0))))
	}
	fmt.Fprint(t, "\tWrite cache\n")
	for _, res := range d.Results {
		fmt.Fprintf(t, "%s\t%s\t%s", oneLine(res.Capture.label()), res.Capture.on(),
			res.Capture.Host.Kernel)
		for _, v := range res.Verdicts {
			fmt.Fprintf(t, "\t%s (%s)", v.short(), v.Rule)
		}
		fmt.Fprintf(t, "\t%s\n", res.WriteCache.State)
	}
	t.Flush()
	return p.flush(w)
}

func (v Verdict) short() string {
	if v.Answer == Relaxed && v.Kind == Software {
		return "relaxed, sw"
	}
	return string(v.Answer)
}

// label is the path, with the capture it comes from.
func (r *Report) label() string {
	if r.Origin == "" {
		return r.Path
	}
	return r.Origin + ": " + r.Path
}

// on is the stack in a few words: "xfs, NVMe over pcie, Model".
func (r *Report) on() string {
	if r.Error != "" {
		return "not probed"
	}
	var out []string
	if fs := r.fs().Or(""); fs != "" {
		out = append(out, fs)
	}
	st := r.stack()
	if len(st.leaves) > 1 {
		out = append(out, fmt.Sprintf("%d drives", len(st.leaves)))
	}
	for _, l := range st.leaves {
		if s := l.describe(); !slices.Contains(out, s) && len(out) < 4 {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return r.File.Kind
	}
	return oneLine(strings.Join(out, ", "))
}
