package bench

import (
	"fmt"
	"strings"

	"github.com/untorn/untorn/stages"
)

// called says which protection the path calls for, by hwprobe's verdict.
func (h *Host) called() string {
	switch h.Atomic {
	case "relaxed":
		return "the drive's own for pages of this size, if every write carries RWF_ATOMIC"
	case "required":
		return "needed"
	}
	return "needed until the drive is proven to write such pages whole (hwprobe)"
}

// flushesOff is what comes before everything else.
func (h *Host) flushesOff() string {
	if h.FlushesOff == "" {
		return ""
	}
	return "Flushes are off on this stack (" + h.FlushesOff + "), so nothing that was measured here survives a power cut. "
}

// meaning is what a run says to somebody who decides: the protection that drive and workload call
// for, what it costs, what it can lose, and the space and log it takes.
func (r *Result) meaning() string {
	mode := r.Mode
	if r.Protection != "" {
		mode = Mode(r.Protection)
	}
	t, _ := mode.trait()
	var b strings.Builder
	fmt.Fprintf(&b, "What it means: %storn-write protection on this path is %s. ", r.Host.flushesOff(), r.Host.called())
	fmt.Fprintf(&b, "Mode %s %s; it costs %.1f us of CPU and %.2f bytes to the device for each byte of a page", mode, t.gives, r.CPU, r.DeviceBytes)
	if r.Bound > 0 && r.Config.Rate == 0 && r.Overload == nil {
		fmt.Fprintf(&b, ", and reaches %s", r.reaches())
	}
	fmt.Fprintf(&b, ". A power cut %s. %s.", r.loses(&t), r.takes())
	return b.String()
}

// reaches is the efficiency in words; above 1 the bound was measured at other moments: nothing
// beats it.
func (r *Result) reaches() string {
	what := Percent(r.Efficiency) + " of what"
	if r.Efficiency > 1 {
		what = "about what"
	}
	what += " this drive can do"
	if r.BoundKind == boundDoublewrite {
		what += " when every page is written twice"
	}
	if r.Config.Reads > 0 {
		what += fmt.Sprintf(" beside %d %% reads", r.Config.Reads)
	}
	return what
}

// loses is what a power cut can do, also to what an acknowledgement before the end leaves open.
func (r *Result) loses(t *trait) string {
	first := t.loses
	if first == losesNothing && (r.Ack == "logged" || r.Ack == "accepted") {
		first = "tears no page"
	}
	switch r.Ack {
	case "protected":
		if r.BoundKind == boundDoublewrite {
			return first + "; pages that it interrupts come back from their copies at the next open"
		}
	case "logged":
		return first + ", but what had only been logged comes back by replaying the log, not by itself"
	case "accepted":
		return first + fmt.Sprintf(", but takes what was accepted and is on its way: up to %s of pages", FormatBytes(r.inFlight()))
	}
	return first
}

// inFlight is how much of what was accepted is not safe at a time: by Little's law, or what the
// engine's memory holds if that is less.
func (r *Result) inFlight() int64 {
	us := 0.0
	for _, p := range r.Time {
		for w := range stages.Wheres {
			if p.Where == w.String() {
				us += p.Micros
			}
		}
	}
	n := int64(us / 1e6 * r.PagesPerSecond * float64(r.PageBytes))
	if e := r.Engine; e != nil {
		n = min(n, e.MemoryBytes)
	}
	return n
}

// takes is the space and the log.
func (r *Result) takes() string {
	e := r.Engine
	if e == nil {
		return fmt.Sprintf("It takes a place for copies of %d pages a caller", r.BatchPages)
	}
	var parts []string
	if r.BoundKind == boundDoublewrite {
		parts = append(parts, FormatBytes(int64(e.Regions)*int64(e.BatchBytes))+" for the doublewrite file")
	}
	parts = append(parts, FormatBytes(e.MemoryBytes+e.LogBuffers)+" of memory")
	log := "no log to speak of"
	if r.LogBytes >= 1 {
		log = fmt.Sprintf("%.0f bytes of log a page (%s a second)", r.LogBytes, FormatBytes(int64(r.LogBytes*r.PagesPerSecond)))
	}
	return "It takes " + strings.Join(parts, ", ") + " and " + log
}

// Conclude sets Meaning: what the figures say to somebody who decides.
func (m *ModesResult) Conclude() { m.Meaning = m.meaning() }

func (m *ModesResult) meaning() string {
	dw, none := m.find(Doublewrite), m.find(None)
	if dw == nil || none == nil {
		return "Not enough was measured to say what it means."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "What it means: %storn-write protection on this path is %s. ", dw.Host.flushesOff(), dw.Host.called())
	if dw.PagesPerSecond < none.PagesPerSecond {
		fmt.Fprintf(&b, "Doublewrite keeps %s of the speed of no protection at all", Percent(ratio(dw.PagesPerSecond, none.PagesPerSecond)))
	} else {
		b.WriteString("Doublewrite costs no speed that these measurements could show")
	}
	fmt.Fprintf(&b, ", writes %.2f bytes a page byte instead of %.2f", dw.DeviceBytes, none.DeviceBytes)
	if dw.Bound > 0 {
		fmt.Fprintf(&b, ", and reaches %s", dw.reaches())
	}
	if nb := m.find(NaiveBatch); nb != nil {
		fmt.Fprintf(&b, "; a plain batched doublewrite does %s of what it does", Percent(ratio(nb.PagesPerSecond, dw.PagesPerSecond)))
	}
	t, _ := Doublewrite.trait()
	n, _ := None.trait()
	fmt.Fprintf(&b, ". With it a power cut %s; without it, it %s. %s.", t.loses, n.loses, dw.takes())
	return b.String()
}

// meaning of a measurement of the log.
func (r *WALResult) meaning() string {
	from := "its append began"
	if r.Config.Rate > 0 || r.Overload != nil {
		from = "its append was meant to begin"
	}
	after := fmt.Sprintf("a record is durable %s after %s at the median%s", Micros(r.Latency.P50), from, r.Latency.atP99())
	if r.Commit != "sync" {
		after = fmt.Sprintf("a record is accepted %s after %s at the median%s, and nobody waits until it is durable",
			Micros(r.Latency.P50), from, r.Latency.atP99())
	} else if r.Bare.P50 > 0 {
		after += fmt.Sprintf(", where a bare DSYNC write takes %s", Micros(r.Bare.P50))
	}
	reaches := ""
	if r.Bound > 0 && r.Config.Rate == 0 && r.Overload == nil {
		reaches = fmt.Sprintf("; %s records/s are %s of what bare writes of them do here", Count(r.RecordsPerSecond), Percent(r.Efficiency))
		if r.Efficiency > 1 {
			reaches = fmt.Sprintf("; %s records/s are about what bare writes of them do here", Count(r.RecordsPerSecond))
		}
	}
	return fmt.Sprintf("What it means: %s%s%s. The log itself needs no protection from torn writes: a group that is torn was never acknowledged, and is cut off at the next open. "+
		"It costs %.2f us of CPU a record and %.2f bytes to the device for each byte of one. %s. %s.",
		r.Host.flushesOff(), after, reaches, r.CPU, r.DeviceBytes, r.loses(), r.takes())
}

// loses is what a power cut can take.
func (r *WALResult) loses() string {
	if r.Commit == "sync" {
		return "With commit sync a power cut " + losesNothing
	}
	return fmt.Sprintf("With commit %s a power cut takes what was not durable yet: up to %s, %s old, in this run", r.Commit, FormatBytes(r.RiskBytes), Micros(r.RiskTime))
}

// takes is the space and the log.
func (r *WALResult) takes() string {
	return fmt.Sprintf("It takes %s of log a second, %s of log files with a checkpoint every %s, and %s of memory for groups",
		FormatBytes(int64(r.BytesPerSecond*r.DeviceBytes)), FormatBytes(r.LogFiles), FormatBytes(logKept), FormatBytes(r.LogBuffers))
}
