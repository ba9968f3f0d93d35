package bench

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed report.html
var reportText string

// reportData is what the template gets: text and finished drawings.
type reportData struct {
	Title     string
	Sub       string
	Meaning   string
	Warnings  []string
	Legend    []legendEntry
	Modes     template.HTML
	Table     [][]string
	Sweep     *sweepData
	Time      template.HTML
	Latency   template.HTML
	Overload  [][2]string
	Spent     template.HTML
	Places    []legendEntry
	Stages    []stageChart
	WAL       [][2]string
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
	d := &reportData{Meaning: m.Meaning, Command: strings.Join(quoted(m.Command), " ")}
	switch {
	case len(runs) > 0:
		d.runs(runs)
	case m.WAL != nil:
		d.Title = "untornbench: the log"
		d.Sub = fmt.Sprintf("records of %d bytes, %d clients, commit %s", m.WAL.RecordBytes, m.WAL.Clients, m.WAL.Commit)
		d.Host, d.Config, d.Generated = hostRows(&m.WAL.Host), fieldRows(m.WAL.Config), m.WAL.Started
	default:
		return nil, fmt.Errorf("a report of nothing")
	}
	if m.WAL != nil {
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
	if len(runs) > 1 {
		d.Title = "untornbench: what protecting pages costs here"
	}
	if d.Meaning == "" {
		d.Meaning = first.Meaning
	}
	var bars []bar
	var time, lat []curve
	var spent []spentRow
	for i, r := range runs {
		d.Legend = append(d.Legend, legendEntry{string(r.Mode), i})
		label := Count(r.PagesPerSecond) + " pages/s"
		if r.Bound > 0 {
			label += ", " + Percent(r.Efficiency)
		}
		s := r.Spread.PagesPerSecond
		bars = append(bars, bar{string(r.Mode), r.PagesPerSecond, s.Min, s.Max, r.Bound, label, i})
		time = append(time, curve{name: string(r.Mode), points: throughputPoints(r.Series), class: i})
		lat = append(lat, curve{name: string(r.Mode), points: latencyPoints(&r.Latency), class: i})
		spent = append(spent, spentRow{string(r.Mode), r.Time})
		d.warn(r)
		if c, ok := stagesOf(r); ok {
			d.Stages = append(d.Stages, c)
		}
	}
	d.Modes = barChart("pages per second of each mode, with its bound", bars, 0)
	d.Time = timeChart("pages per second over time", time)
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

func (d *reportData) warn(r *Result) {
	if r.Interrupted && len(d.Warnings) == 0 {
		d.Warnings = append(d.Warnings, "Interrupted: these are partial results.")
	}
	if r.Host.FlushesOff != "" && len(d.Warnings) == 0 {
		d.Warnings = append(d.Warnings, "Flushes are off on this stack ("+r.Host.FlushesOff+"): nothing here was durable.")
	}
	if r.Verify != nil && !r.Verify.OK {
		d.Warnings = append(d.Warnings, fmt.Sprintf("%s: verification failed: %s", r.Mode, strings.Join(r.Verify.Wrong, "; ")))
	}
}

func (d *reportData) wal(r *WALResult) {
	l := r.Latency
	d.WAL = [][2]string{
		{"records", fmt.Sprintf("%s/s of %d bytes from %d clients, %s", Count(r.RecordsPerSecond), r.RecordBytes, r.Clients, r.Commit)},
		{"latency", latencyText(&l)},
		{"a bare DSYNC write", latencyText(&r.Bare)},
		{"groups", fmt.Sprintf("%s/s, %.1f records each, made durable by %s", Count(r.GroupsPerSecond), r.RecordsPerGroup, r.LogCommit)},
		{"CPU, allocations", fmt.Sprintf("%.2f us and %.3f a record", r.CPU, r.Allocs)},
	}
	d.WAL = append(d.WAL,
		[2]string{"making a group durable", fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, max %s", Micros(r.Group.P50), Micros(r.Group.P99), Micros(r.Group.P999), Micros(r.Group.Max))},
		[2]string{"to the device", fmt.Sprintf("%.2f bytes a record byte", r.DeviceBytes)})
	d.WALCurve = latencyChart("latency of an append by percentile", []curve{{name: "log", points: latencyPoints(&l)}})
	var time [][2]float64
	for _, s := range r.Series {
		time = append(time, [2]float64{s.Second, s.RecordsPerSecond})
	}
	if len(time) > 0 {
		d.WALTime = timeChart("records per second over time", []curve{{name: "log", points: time}})
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

func timeChart(title string, cs []curve) template.HTML {
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
	return lineChart(title, x, linear(max(top, 1), chartHeight-marginBottom, marginTop, Count), cs)
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
	return lineChart(title, nines(right, marginLeft, chartWidth-marginRight),
		decades(lo, hi, chartHeight-marginBottom, marginTop, decadeLabel), cs)
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
		{"atomic writes", strings.TrimSpace(h.Atomic + ": " + h.AtomicReason)},
		{"load average at the start", fmt.Sprintf("%.2f", h.Load)},
		{"program", h.Revision + ", " + h.Go},
		{"machine", h.Machine},
	}
	return rows
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
		rows = append(rows, [2]string{fmt.Sprint(k), number(v)})
	}
	return rows
}

func number(v any) string {
	if f, ok := v.(float64); ok {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprint(v)
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
