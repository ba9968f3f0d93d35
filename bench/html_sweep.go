package bench

import (
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
)

// sweepData is what the template shows of a sweep.
type sweepData struct {
	Over       string
	Rate       string        // what is counted, as a heading: "Pages a second"
	Call       string        // what latency is of: "a call"
	Bars       template.HTML // in place of curves where there is nothing to draw them over
	Throughput template.HTML
	Latency    template.HTML
	Table      [][]string

	over, unit string // the setting
	per        string // "pages/s"
	prefix     string // of a line's name
}

// sweepPoint is what is drawn of a run.
type sweepPoint struct {
	rate, bound, efficiency, p50, p99 float64
	spread                            MinMedMax // of the rate
	time                              []Spent
}

// drawSweep fills in what is drawn of a sweep: curves over the setting, or a bar for each commit
// policy where there is none. warn gets every run.
func drawSweep[R swept](d *reportData, s *sweepData, lines []lineOf[R], warn func(R)) {
	d.Sweep = s
	if s.Over = s.over; s.unit != "" {
		s.Over += " (" + s.unit + ")"
	}
	var spent []spentRow
	var bars []bar
	for i, l := range lines {
		d.Legend = append(d.Legend, legendEntry{s.prefix + l.name, i})
		slices.SortStableFunc(l.points, func(a, b PointOf[R]) int { return a.Value - b.Value })
		for _, p := range l.points {
			name := fmt.Sprintf("%s=%d", s.over, p.Value)
			switch {
			case s.unit == "":
				name = l.name
			case len(lines) > 1:
				name = fmt.Sprintf("%s, %d", l.name, p.Value)
			}
			x := p.Run.drawn()
			spent = append(spent, spentRow{name, x.time})
			bars = append(bars, bar{name, x.rate, x.spread.Min, x.spread.Max, x.bound, Count(x.rate) + "/s" + ofBound(x.bound, x.efficiency), i})
			warn(p.Run)
		}
	}
	d.Spent, d.Places = spentChart(spent)
	if s.unit == "" {
		s.Bars = barChart("records per second of each commit policy, with its bound", bars, 0)
	} else {
		drawCurves(s, lines)
	}
}

// drawCurves makes the two charts over the setting.
func drawCurves[R swept](s *sweepData, lines []lineOf[R]) {
	var rate, lat []curve
	top, least, lo, hi := 1.0, 0.0, 0.0, 1.0
	for i, l := range lines {
		name := s.prefix + l.name
		solid := curve{name: name, class: i, marks: true}
		bound := curve{name: name + ", bound", class: i, dashed: true}
		p50 := curve{name: name + ", p50", class: i, marks: true}
		p99 := curve{name: name + ", p99", class: i, dashed: true, marks: true}
		for _, point := range l.points {
			p, value := point.Run.drawn(), float64(point.Value)
			solid.points = append(solid.points, [2]float64{value, p.rate})
			solid.spread = append(solid.spread, [2]float64{p.spread.Min, p.spread.Max})
			if p.bound > 0 {
				bound.points = append(bound.points, [2]float64{value, p.bound})
			}
			low, high := max(p.p50, 0.1), max(p.p99, 0.1)
			p50.points = append(p50.points, [2]float64{value, low})
			p99.points = append(p99.points, [2]float64{value, high})
			top, hi = max(top, p.rate, p.bound, p.spread.Max), max(hi, high)
			for _, v := range []float64{p.rate, p.spread.Min} {
				if v > 0 && (least == 0 || v < least) {
					least = v
				}
			}
			if lo == 0 || low < lo {
				lo = low
			}
		}
		rate, lat = append(rate, bound, solid), append(lat, p99, p50)
	}
	x := valueAxis(s.over, rate, marginLeft, chartWidth-marginRight)
	x.title = s.unit
	y := linear(top, chartHeight-marginBottom, marginTop, Count)
	y.title = s.per
	if least > 0 && top >= 50*least { // or the lower curves would lie on the axis
		y = decades(least, top, chartHeight-marginBottom, marginTop, Count)
		y.title = s.per + ", logarithmic"
	}
	s.Throughput = lineChart(s.per+" against "+s.over, x, y, rate)
	y = decades(lo, hi, chartHeight-marginBottom, marginTop, decadeLabel)
	y.title = "latency"
	s.Latency = lineChart("latency of "+s.Call+" against "+s.over, x, y, lat)
}

// WriteHTML writes the report: one file with everything in it.
func (r *SweepResult) WriteHTML(w io.Writer) error {
	first := r.Points[0].Run
	set, _ := settingNamed(settings(), r.Over)
	lines := linesOf(r.Points)
	d := &reportData{
		Title: "untornbench: sweep over " + r.Over, Sub: first.workload(r.Over), Meaning: r.Meaning, Of: "page", Method: r.method(),
		Host: hostRows(&first.Host), Config: configRows(first), Command: strings.Join(quoted(r.Command), " "), Generated: first.Started,
	}
	d.configured(set.field, lines[0].values())
	drawSweep(d, &sweepData{
		over: r.Over, unit: set.unit, per: "pages/s", Rate: "Pages a second", Call: "a call", Table: r.rows(),
	}, lines, d.warn)
	return d.write(w)
}

// configured puts all values of a field into its row.
func (d *reportData) configured(field, values string) {
	for i := range d.Config {
		if d.Config[i][0] == field {
			d.Config[i][1] = values
		}
	}
}

// valueAxis has a tick at every value that was measured, as far as the labels leave room; values
// that span much are spread by their logarithm.
func valueAxis(over string, cs []curve, from, to float64) axis {
	var values []float64
	for _, c := range cs {
		for _, p := range c.points {
			if !slices.Contains(values, p[0]) {
				values = append(values, p[0])
			}
		}
	}
	slices.Sort(values)
	const inset = 16
	a := axis{lo: values[0], hi: values[len(values)-1], from: from + inset, to: to - inset}
	a.log = a.lo > 0 && a.hi/a.lo >= 6
	if a.lo == a.hi {
		a.from = (from + to) / 2
	}
	last := -100.0
	for _, v := range values {
		if at := a.pos(v); at-last >= 44 {
			label := Count(v)
			if v < 1000 {
				label = strconv.Itoa(int(v))
			}
			if over == "page" || over == "record" && v >= 1024 {
				label = FormatBytes(int64(v))
			}
			a.ticks, last = append(a.ticks, tickMark{v, label}), at
		}
	}
	return a
}
