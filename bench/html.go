package bench

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

//go:embed report.html
var reportText string

// reportData is what the template gets: text and finished drawings.
type reportData struct {
	Title     string
	Sub       string
	Meaning   string
	Warnings  []string
	Of        string // what time and bounds are of: "page", "record"
	Method    string
	Legend    []legendEntry
	TimeNote  string
	Modes     template.HTML
	Bounded   bool // bars have their bounds
	Table     [][]string
	Facts     [][2]string
	Sweep     *sweepData
	Charts    []chartBox
	Tables    []tableBox
	Time      template.HTML
	Latency   template.HTML
	Overload  [][2]string
	Spent     template.HTML
	Places    []legendEntry
	Stages    []stageChart
	WAL       [][2]string
	WALBars   template.HTML
	WALSpent  template.HTML
	WALPlaces []legendEntry
	WALTime   template.HTML
	WALCurve  template.HTML
	Host      [][2]string
	Config    [][2]string
	Command   string
	Generated string
}

type legendEntry struct {
	Name  string
	Class int
}

type stageChart struct {
	Mode  string
	Bars  template.HTML
	Short string
	Held  string
	Rows  [][]string
}

func (d *reportData) write(w io.Writer) error {
	t, err := template.New("report").Parse(reportText)
	if err != nil {
		return err
	}
	return t.Execute(w, d)
}

// WriteHTML writes the report: one file with everything in it.
func (m *ModesResult) WriteHTML(w io.Writer) error {
	d, err := m.report()
	if err != nil {
		return err
	}
	return d.write(w)
}

func (m *ModesResult) report() (*reportData, error) {
	var runs []*Result
	for _, r := range m.Runs {
		if len(r.Repeats) > 0 {
			runs = append(runs, r)
		}
	}
	d := &reportData{Of: "page", Meaning: m.Meaning, Command: strings.Join(quoted(m.Command), " ")}
	switch {
	case len(runs) > 0:
		d.runs(runs)
		d.warnOf("", m.Interrupted, "", nil)
	case m.WAL != nil:
		d.Title = "untornbench: the log"
		d.Sub, d.Method = m.WAL.workload(), m.WAL.method()
		d.Host, d.Config, d.Generated = hostRows(&m.WAL.Host), fieldRows(m.WAL.Config), m.WAL.Started
	default:
		return nil, fmt.Errorf("a report of nothing")
	}
	if m.WAL != nil {
		d.warnOf("the log", m.WAL.Interrupted, m.WAL.Host.FlushesOff, m.WAL.Verify)
		d.wal(m.WAL)
	}
	return d, nil
}

// runs fills in what is shown of runs side by side.
func (d *reportData) runs(runs []*Result) {
	first := runs[0]
	d.Title, d.Sub = "untornbench: "+string(first.Mode), first.workload("")
	d.Table = (&ModesResult{Runs: runs}).rows()
	d.Host, d.Config, d.Generated = hostRows(&first.Host), configRows(first), first.Started
	d.Method = methodOf(runs)
	if len(runs) > 1 {
		d.Title = "untornbench: what protecting pages costs here"
	} else {
		d.Table, d.Facts = nil, first.figures()
	}
	if d.Meaning == "" {
		d.Meaning = first.Meaning
	}
	var bars []bar
	var rate, lat []curve
	var spent []spentRow
	for i, r := range runs {
		d.Legend = append(d.Legend, legendEntry{string(r.Mode), i})
		label := Count(r.PagesPerSecond) + "/s" + ofBound(r.Bound, r.Efficiency)
		s := r.Spread.PagesPerSecond
		d.Bounded = d.Bounded || r.Bound > 0
		bars = append(bars, bar{string(r.Mode), r.PagesPerSecond, s.Min, s.Max, r.Bound, label, i})
		rate = append(rate, curve{name: string(r.Mode), points: throughputPoints(r.Series), class: i})
		lat = append(lat, curve{name: string(r.Mode), points: latencyPoints(&r.Latency), class: i})
		spent = append(spent, spentRow{string(r.Mode), r.Time})
		if len(runs) == 1 {
			rate, lat = d.alone(r, rate, lat)
		}
		d.warn(r)
		if c, ok := stagesOf(r); ok {
			d.Stages = append(d.Stages, c)
		}
	}
	d.Modes = barChart("pages per second of each mode, with its bound", bars, 0)
	d.Time = timeChart("pages per second over time", "pages/s", rate)
	d.Latency = latencyChart("latency of a call by percentile", lat)
	d.Spent, d.Places = spentChart(spent)
	if o := first.Overload; o != nil {
		d.Overload = [][2]string{
			{"offered", fmt.Sprintf("%s pages/s: %.0f %% of the %s pages/s that the same callers did in a closed loop right before", Count(o.Offered), o.Percent, Count(o.Capacity))},
			{"taken", fmt.Sprintf("%s of it: %s of capacity", Percent(o.Taken), Percent(o.OfCapacity))},
			{"callers", fmt.Sprintf("up to %s behind their schedule at the end; latency counts from when a call was meant to begin", Micros(o.Behind))},
			{"blocked", fmt.Sprintf("%s a page, most of it by: %s", Micros(o.Blocked), cmp.Or(o.BlockedBy, "nothing"))},
		}
	}
}

// alone adds what one run has room for: its bound, and its reads.
func (d *reportData) alone(r *Result, rate, lat []curve) (_, _ []curve) {
	if n := len(r.Series); r.Bound > 0 && n > 0 {
		rate = append([]curve{boundCurve(r.Bound, r.Series[n-1].Second, 0)}, rate...)
		d.TimeNote = " Dashed: the bound."
	}
	if r.ReadLatency == nil {
		return rate, lat
	}
	reads := curve{name: "reads", class: 1}
	for _, s := range r.Series {
		v := 0.0
		if s.Reads != nil {
			v = s.Reads.PagesPerSecond
		}
		reads.points = append(reads.points, [2]float64{s.Second, v})
	}
	d.Legend[0].Name += ", writes"
	d.Legend = append(d.Legend, legendEntry{"reads", 1})
	return append(rate, reads), append(lat, curve{name: "reads", points: latencyPoints(r.ReadLatency), class: 1})
}

// boundCurve is a level over time.
func boundCurve(bound, seconds float64, class int) curve {
	c := curve{name: "bound", class: class, dashed: true}
	if bound > 0 {
		c.points = [][2]float64{{0, bound}, {seconds, bound}}
	}
	return c
}

// ofBound goes on after a rate.
func ofBound(bound, efficiency float64) string {
	if bound == 0 {
		return ""
	}
	return ", " + Percent(efficiency) + " of " + Count(bound)
}

func (d *reportData) warn(r *Result) {
	d.warnOf(string(r.Mode), r.Interrupted, r.Host.FlushesOff, r.Verify)
	if u := r.unsteady(); u != "" {
		d.Warnings = append(d.Warnings, u)
	}
}

// warnOf says once what is the same for all.
func (d *reportData) warnOf(name string, interrupted bool, flushesOff string, v *Verified) {
	once := func(s string) {
		if !slices.Contains(d.Warnings, s) {
			d.Warnings = append(d.Warnings, s)
		}
	}
	if interrupted {
		once("Interrupted: these are partial results.")
	}
	if flushesOff != "" {
		once("Flushes are off on this stack (" + flushesOff + "): nothing here was durable.")
	}
	if v != nil && !v.OK {
		once(fmt.Sprintf("%s: verification failed: %s", name, strings.Join(v.Wrong, "; ")))
	}
}

func throughputPoints(series []Sample) [][2]float64 {
	var p [][2]float64
	for _, s := range series {
		p = append(p, [2]float64{s.Second, s.PagesPerSecond})
	}
	return p
}

func latencyPoints(l *Latency) [][2]float64 {
	var p [][2]float64
	last := 0.0
	for _, c := range l.Curve {
		at := c[0]
		if at >= 100 { // the maximum stands where its only sample puts it
			at = 100 - 100/float64(max(l.Count, 2))
			at = max(at, last)
		}
		last = at
		p = append(p, [2]float64{nine(at), max(c[1], 0.1)})
	}
	return p
}

func timeChart(title, per string, cs []curve) template.HTML {
	var sec, top float64
	for _, c := range cs {
		for _, p := range c.points {
			sec, top = max(sec, p[0]), max(top, p[1])
		}
	}
	x := linear(max(sec, 0.1), marginLeft, chartWidth-marginRight, func(v float64) string { return fmt.Sprintf("%.3g s", v) })
	x.hi = max(sec, 0.1)
	for len(x.ticks) > 0 && x.ticks[len(x.ticks)-1].at > x.hi*1.001 {
		x.ticks = x.ticks[:len(x.ticks)-1]
	}
	x.title = "time since the interval began"
	y := linear(max(top, 1), chartHeight-marginBottom, marginTop, Count)
	y.title = per
	return lineChart(title, x, y, cs)
}

func latencyChart(title string, cs []curve) template.HTML {
	lo, hi, right := math.Inf(1), 1.0, 90.0
	for _, c := range cs {
		for _, p := range c.points {
			lo, hi, right = min(lo, p[1]), max(hi, p[1]), max(right, 100-100/p[0])
		}
	}
	if math.IsInf(lo, 1) {
		lo = 1
	}
	x, y := nines(right, marginLeft, chartWidth-marginRight), decades(lo, hi, chartHeight-marginBottom, marginTop, decadeLabel)
	x.title, y.title = "share of calls that took no longer", "latency"
	return lineChart(title, x, y, cs)
}

// decadeLabel is a power of ten of microseconds, short.
func decadeLabel(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%.3g s", us/1e6)
	case us >= 1e3:
		return fmt.Sprintf("%.3g ms", us/1e3)
	}
	return fmt.Sprintf("%.3g us", us)
}

func stagesOf(r *Result) (stageChart, bool) {
	var bars []bar
	for i, s := range r.Stages {
		if !s.idle() {
			bars = append(bars, bar{name: s.Name, value: s.BusyShare, label: Percent(s.BusyShare) + " busy", class: i})
		}
	}
	if len(bars) == 0 {
		return stageChart{}, false
	}
	return stageChart{string(r.Mode), barChart("share of the time each stage was busy", bars, 1), r.Bottleneck, r.heldText(), r.stageRows()}, true
}

func hostRows(h *Host) [][2]string {
	rows := [][2]string{
		{"system", h.OS + "/" + h.Arch + ", kernel " + h.Kernel},
		{"CPU", fmt.Sprintf("%d × %s", h.CPUs, h.CPU)},
		{"memory", FormatBytes(h.MemoryBytes)},
		{"file system", h.FileSystem + " (" + strings.Join(h.Mount, ",") + ")"},
		{"drive", strings.TrimSpace(h.Device + " " + h.Drive + " " + h.WriteCache)},
		{"scheduler", h.Scheduler},
		{"log on", h.LogDevice}, {"copies on", h.CopiesDevice},
		{"atomic writes", strings.TrimSpace(h.Atomic + ": " + h.AtomicReason)},
		{"load average at the start", fmt.Sprintf("%.2f", h.Load)},
		{"program", h.Revision + ", " + h.Go},
		{"machine", h.Machine},
	}
	return slices.DeleteFunc(rows, func(r [2]string) bool { return r[1] == "" })
}

// configRows is the configuration and what was in use, by the names of the JSON.
func configRows(r *Result) [][2]string {
	rows := [][2]string{
		{"backend in use", r.Backend + ": " + r.BackendReason}, {"direct I/O", fmt.Sprint(r.DirectIO) + " " + r.DirectReason},
		{"device bytes from", r.DeviceBytesSource},
	}
	return append(rows, fieldRows(r.Config)...)
}

// fieldRows are the fields of a configuration, in their order.
func fieldRows(c any) (rows [][2]string) {
	b, err := json.Marshal(c)
	if err != nil {
		return rows
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	if _, err := dec.Token(); err != nil {
		return rows
	}
	for dec.More() {
		k, _ := dec.Token()
		var v any
		if dec.Decode(&v) != nil {
			break
		}
		rows = append(rows, [2]string{fmt.Sprint(k), fieldText(fmt.Sprint(k), v)})
	}
	return rows
}

// fieldText is a value for people: durations and sizes with their units.
func fieldText(name string, v any) string {
	if all, ok := v.([]any); ok {
		var parts []string
		for _, x := range all {
			parts = append(parts, fieldText(name, x))
		}
		return strings.Join(parts, ", ")
	}
	f, ok := v.(float64)
	switch {
	case !ok:
		return fmt.Sprint(v)
	case strings.HasSuffix(name, "_ns"):
		return time.Duration(f).String()
	case strings.HasSuffix(name, "_bytes") && f >= 1024:
		return FormatBytes(int64(f))
	}
	return fmt.Sprintf("%.0f", f)
}

// quoted makes a command line that a shell takes as it was meant.
func quoted(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if out[i] = a; a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return out
}
