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
}

// sweepLine is one curve of a sweep.
type sweepLine struct {
	name   string
	class  int
	points []sweepPoint // by value
}

type sweepPoint struct {
	value, rate, bound, p50, p99 float64
	spread                       MinMedMax // of the rate
}

// draw makes the two charts.
func (s *sweepData) draw(over, unit, per string, lines []sweepLine) {
	var rate, lat []curve
	top, least, lo, hi := 1.0, 0.0, 0.0, 1.0
	for _, l := range lines {
		solid := curve{name: l.name, class: l.class, marks: true}
		bound := curve{name: l.name + ", bound", class: l.class, dashed: true}
		p50 := curve{name: l.name + ", p50", class: l.class, marks: true}
		p99 := curve{name: l.name + ", p99", class: l.class, dashed: true, marks: true}
		for _, p := range l.points {
			solid.points = append(solid.points, [2]float64{p.value, p.rate})
			solid.spread = append(solid.spread, [2]float64{p.spread.Min, p.spread.Max})
			if p.bound > 0 {
				bound.points = append(bound.points, [2]float64{p.value, p.bound})
			}
			low, high := max(p.p50, 0.1), max(p.p99, 0.1)
			p50.points = append(p50.points, [2]float64{p.value, low})
			p99.points = append(p99.points, [2]float64{p.value, high})
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
	x := valueAxis(over, rate, marginLeft, chartWidth-marginRight)
	x.title = unit
	y := linear(top, chartHeight-marginBottom, marginTop, Count)
	y.title = per
	if least > 0 && top >= 50*least { // or the lower curves would lie on the axis
		y = decades(least, top, chartHeight-marginBottom, marginTop, Count)
		y.title = per + ", logarithmic"
	}
	s.Throughput = lineChart(per+" against "+over, x, y, rate)
	y = decades(lo, hi, chartHeight-marginBottom, marginTop, decadeLabel)
	y.title = "latency"
	s.Latency = lineChart("latency of "+s.Call+" against "+over, x, y, lat)
}

// WriteHTML writes the report: one file with everything in it.
func (r *SweepResult) WriteHTML(w io.Writer) error {
	first := r.Points[0].Run
	set, _ := settingNamed(r.Over)
	d := &reportData{
		Title: "untornbench: sweep over " + r.Over, Sub: first.workload(r.Over), Meaning: r.Meaning, Of: "page", Method: r.method(),
		Host: hostRows(&first.Host), Config: configRows(first), Command: strings.Join(quoted(r.Command), " "), Generated: first.Started,
	}
	for i := range d.Config {
		if d.Config[i][0] == set.field {
			d.Config[i][1] = r.values()
		}
	}
	var lines []sweepLine
	var spent []spentRow
	for i, m := range r.modes() {
		d.Legend = append(d.Legend, legendEntry{string(m), i})
		l := sweepLine{name: string(m), class: i}
		points := r.of(m)
		slices.SortStableFunc(points, func(a, b Point) int { return a.Value - b.Value })
		for _, p := range points {
			x := p.Run
			l.points = append(l.points, sweepPoint{float64(p.Value), x.PagesPerSecond, x.Bound, x.Latency.P50, x.Latency.P99, x.Spread.PagesPerSecond})
			name := fmt.Sprintf("%s=%d", r.Over, p.Value)
			if len(r.modes()) > 1 {
				name = fmt.Sprintf("%s, %d", m, p.Value)
			}
			spent = append(spent, spentRow{name, x.Time})
			d.warn(x)
		}
		lines = append(lines, l)
	}
	d.Sweep = &sweepData{Over: r.Over + " (" + set.unit + ")", Rate: "Pages a second", Call: "a call", Table: r.rows()}
	d.Sweep.draw(r.Over, set.unit, "pages/s", lines)
	d.Spent, d.Places = spentChart(spent)
	return d.write(w)
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
