package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// writer collects the first error, so that a report is written without asking after every line.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) printf(format string, a ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.w, format, a...)
	}
}

// table writes rows in aligned columns, the first to the left and the others to the right.
func (w *writer) table(rows [][]string) {
	if w.err != nil || len(rows) == 0 {
		return
	}
	// tabwriter aligns all columns one way: the first is padded here.
	first := 0
	for _, r := range rows {
		first = max(first, len([]rune(r[0])))
	}
	t := tabwriter.NewWriter(w.w, 0, 1, 2, ' ', tabwriter.AlignRight)
	for _, r := range rows {
		pad := strings.Repeat(" ", first-len([]rune(r[0])))
		fmt.Fprintf(t, "%s%s\t%s\t\n", r[0], pad, strings.Join(r[1:], "\t"))
	}
	w.err = t.Flush()
}

// pairs writes names and values, both to the left.
func (w *writer) pairs(rows [][2]string) {
	if w.err != nil {
		return
	}
	t := tabwriter.NewWriter(w.w, 0, 1, 2, ' ', 0)
	for _, r := range rows {
		if r[1] != "" {
			fmt.Fprintf(t, "  %s\t%s\n", r[0], r[1])
		}
	}
	w.err = t.Flush()
}

// end is what every report ends with.
func (w *writer) end(interrupted bool, meaning string) error {
	if interrupted {
		w.printf("\nINTERRUPTED: partial results\n")
	}
	w.printf("\n%s\n", meaning)
	return w.err
}

func writeHost(w *writer, h *Host) {
	drive := strings.TrimSpace(h.Device + " " + h.Drive)
	if h.WriteCache != "" {
		drive += ", " + h.WriteCache
	}
	w.printf("on %s, %s %s, %d CPUs (%s), load %.1f\n", h.FileSystem, h.OS, h.Kernel, h.CPUs, h.CPU, h.Load)
	w.printf("drive %s; torn-write protection here: %s\n", drive, protectionHere(h))
	if h.LogDevice != "" {
		w.printf("log on %s\n", h.LogDevice)
	}
	if h.CopiesDevice != "" {
		w.printf("copies on %s\n", h.CopiesDevice)
	}
	if h.FlushesOff != "" {
		w.printf("FLUSHES ARE OFF on this stack (%s): no figure below is of durable writes\n", h.FlushesOff)
	}
}

// protectionHere is hwprobe's verdict in a few words.
func protectionHere(h *Host) string {
	switch h.Atomic {
	case "relaxed":
		return "the drive writes these pages whole; see hwprobe"
	case "required":
		return "needed"
	}
	return "needed unless proven otherwise; see hwprobe"
}

// WriteText is the report for a terminal.
func (r *Result) WriteText(out io.Writer) error {
	w := &writer{w: out}
	w.printf("%s: %s\n", r.Mode, r.workload(""))
	writeHost(w, &r.Host)
	w.printf("backend %s (%s)%s\n", r.Backend, r.BackendReason, r.indirect())
	if r.Protection != "" {
		w.printf("%s became %s here\n", r.Mode, r.Protection)
	}
	w.printf("\n")
	w.pairs(r.figures())
	if len(r.Repeats) > 1 {
		s := r.Spread
		w.printf("\nthe median of %d; pages/s from %s to %s", len(r.Repeats), Count(s.PagesPerSecond.Min), Count(s.PagesPerSecond.Max))
		if s.Bound.Max > 0 {
			w.printf(", bound from %s to %s, efficiency from %s to %s",
				Count(s.Bound.Min), Count(s.Bound.Max), Percent(s.Efficiency.Min), Percent(s.Efficiency.Max))
		}
		w.printf("\n")
	}
	if len(r.Time) > 0 {
		w.printf("\n")
		w.table(r.timeRows())
	}
	if len(r.Stages) > 0 {
		w.printf("\n")
		w.table(r.stageRows())
		if held := r.heldText(); held != "" {
			w.printf("held up: %s\n", held)
		}
	}
	if u := r.unsteady(); u != "" {
		w.printf("\n%s\n", u)
	}
	return w.end(r.Interrupted, r.Meaning)
}

func (r *Result) indirect() string { return indirect(r.DirectIO, r.DirectReason) }

func indirect(direct bool, why string) string {
	if direct {
		return ", direct I/O"
	}
	if why != "" {
		return ", through the page cache: " + why
	}
	return ", through the page cache"
}

// boundText is what the bound is of, in words.
func (r *Result) boundText() string {
	s := r.BoundKind
	if r.Config.Reads > 0 {
		s += fmt.Sprintf(", beside %d %% reads", r.Config.Reads)
	}
	if r.Config.Dist == Seq {
		s += ", in each caller's sequence"
	}
	return s
}

func (r *Result) figures() [][2]string {
	l := r.Latency
	rows := [][2]string{
		{"throughput", fmt.Sprintf("%s pages/s (%s/s)", Count(r.PagesPerSecond), FormatBytes(int64(r.PagesPerSecond*float64(r.PageBytes))))},
	}
	if r.Bound > 0 {
		rows = append(rows, [2]string{"bound", fmt.Sprintf("%s pages/s: %s", Count(r.Bound), r.boundText())},
			[2]string{"efficiency", Percent(r.Efficiency)})
	}
	rows = append(rows,
		[2]string{"latency", latencyText(&l) + " a call"},
		[2]string{"CPU", fmt.Sprintf("%.1f us a page, of which %.1f to fill it", r.CPU, r.ClientCPU)},
		[2]string{"allocations", fmt.Sprintf("%.3f a page", r.Allocs)},
		[2]string{"to the device", fmt.Sprintf("%.2f bytes a page byte (%s)", r.DeviceBytes, r.DeviceBytesSource)},
		[2]string{"flushes", Count(r.FlushesPerSecond) + "/s"},
	)
	if r.ReadLatency != nil {
		rows = append(rows, [2]string{"reads", fmt.Sprintf("%s pages/s, %s a call", Count(float64(r.ReadPages)/r.Seconds), latencyText(r.ReadLatency))})
	}
	if r.StartLag != nil {
		rows = append(rows, [2]string{"begun late by", latencyText(r.StartLag)})
	}
	if o := r.Overload; o != nil {
		rows = append(rows, o.rows("page")...)
	}
	if m := r.Memory; m.RSSMax > 0 {
		of := ""
		if m.Frames > 0 {
			of = fmt.Sprintf("; pages in flight took up to %s of the engine's fixed %s", FormatBytes(m.FramesMax), FormatBytes(m.Frames))
		}
		rows = append(rows, [2]string{"memory", fmt.Sprintf("%s resident at the begin, %s at the end%s", FormatBytes(m.RSSBegin), FormatBytes(m.RSSEnd), of)})
	}
	rows = append(rows, [2]string{"short of", r.Bottleneck})
	if v := r.Verify; v != nil {
		what := fmt.Sprintf("%d pages read back, %d written, all as acknowledged", v.Checked, v.Written)
		if !v.OK {
			what = fmt.Sprintf("FAILED: %d of %d pages; %s", v.WrongCount, v.Checked, strings.Join(v.Wrong, "; "))
		}
		rows = append(rows, [2]string{"verified", what})
	}
	return rows
}

func latencyText(l *Latency) string {
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, p99.9 %s, max %s", Micros(l.P50), Micros(l.P90), l.p99(Micros), l.p999(Micros), Micros(l.Max))
}

// timeRows say where the time of a page goes.
func (r *Result) timeRows() [][]string {
	rows := [][]string{{"where a page's time goes", "us a page", "share", "the call waits", "blocked"}}
	yes := func(is bool) string {
		if is {
			return "yes"
		}
		return ""
	}
	for _, p := range r.Time {
		rows = append(rows, []string{p.Where, Count(p.Micros), Percent(p.Share), yes(p.Waited), yes(p.Blocked)})
	}
	return rows
}

// stageRows say what each stage did.
func (r *Result) stageRows() [][]string {
	rows := [][]string{{
		"stage", "busy", "inbox", "batch", "wait us (p99)", "service us (p99)", "flush us (p99, p99.9, max)", "pages/flush", "files/flush",
	}}
	with := func(q Quantiles, more ...float64) string {
		if q.Count == 0 {
			return "-"
		}
		s := Count(q.P50) + " (" + Count(q.P99)
		for _, v := range more {
			s += ", " + Count(v)
		}
		return s + ")"
	}
	for _, s := range r.Stages {
		if s.idle() {
			continue
		}
		inbox, files, pages := "-", "-", dash(s.PagesPerFlush)
		if s.InboxCapacity > 0 {
			inbox = fmt.Sprintf("%.0f/%d", s.InboxMean, s.InboxCapacity)
		}
		if s.FlushFiles.Count > 0 {
			files = fmt.Sprintf("%.1f", s.FlushFiles.Mean)
		}
		rows = append(rows, []string{
			s.Name, Percent(s.BusyShare), inbox, dash(s.Batch.P50), with(s.Wait), with(s.Service),
			with(s.Flush, s.Flush.P999, s.Flush.Max), pages, files,
		})
	}
	return rows
}

// heldText says how often stages were held up, and by what.
func (r *Result) heldText() string {
	var parts []string
	for _, s := range r.Stages {
		for _, cause := range slices.Sorted(maps.Keys(s.Held)) {
			parts = append(parts, fmt.Sprintf("%s by %s %s times", s.Name, cause, times(s.Held[cause])))
		}
	}
	return strings.Join(parts, ", ")
}

// times is a count of whole things.
func times(n uint64) string {
	if n < 10 {
		return fmt.Sprint(n)
	}
	return Count(float64(n))
}

// idle: the stage did nothing that can be shown.
func (s *Stage) idle() bool { return s.Service.Count == 0 && s.Flush.Count == 0 }

// reached is the share of a bound, if there was one.
func reached(bound, efficiency float64) string {
	if bound == 0 {
		return "-"
	}
	return Percent(efficiency)
}

func dash(v float64) string {
	if v == 0 {
		return "-"
	}
	return Count(v)
}
