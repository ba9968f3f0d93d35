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
	Throughput template.HTML
	Latency    template.HTML
	Table      [][]string
}

// WriteHTML writes the report: one file with everything in it.
func (r *SweepResult) WriteHTML(w io.Writer) error {
	first := r.Points[0].Run
	set, _ := settingNamed(r.Over)
	d := &reportData{
		Title: "untornbench: sweep over " + r.Over, Sub: first.workload(r.Over), Meaning: r.Meaning,
		Host: hostRows(&first.Host), Config: configRows(first), Command: strings.Join(quoted(r.Command), " "), Generated: first.Started,
	}
	for i := range d.Config {
		if d.Config[i][0] == set.field {
			d.Config[i][1] = r.values()
		}
	}
	var rate, lat []curve
	var spent []spentRow
	for i, m := range r.modes() {
		d.Legend = append(d.Legend, legendEntry{string(m), i})
		solid := curve{name: string(m), class: i, marks: true}
		bound := curve{name: string(m) + ", bound", class: i, dashed: true}
		p50 := curve{name: string(m) + ", p50", class: i, marks: true}
		p99 := curve{name: string(m) + ", p99", class: i, dashed: true, marks: true}
		points := r.of(m)
		slices.SortStableFunc(points, func(a, b Point) int { return a.Value - b.Value })
		for _, p := range points {
			x := float64(p.Value)
			solid.points = append(solid.points, [2]float64{x, p.Run.PagesPerSecond})
			if p.Run.Bound > 0 {
				bound.points = append(bound.points, [2]float64{x, p.Run.Bound})
			}
			p50.points = append(p50.points, [2]float64{x, max(p.Run.Latency.P50, 0.1)})
			p99.points = append(p99.points, [2]float64{x, max(p.Run.Latency.P99, 0.1)})
			name := fmt.Sprintf("%s=%d", r.Over, p.Value)
			if len(r.modes()) > 1 {
				name = fmt.Sprintf("%s, %d", m, p.Value)
			}
			spent = append(spent, spentRow{name, p.Run.Time})
			d.warn(p.Run)
		}
		rate = append(rate, bound, solid)
		lat = append(lat, p99, p50)
	}
	x := valueAxis(r.Over, rate, marginLeft, chartWidth-marginRight)
	lo, hi, top := bounds(lat), 1.0, 1.0
	for _, c := range lat {
		for _, p := range c.points {
			hi = max(hi, p[1])
		}
	}
	for _, c := range rate {
		for _, p := range c.points {
			top = max(top, p[1])
		}
	}
	s := &sweepData{Over: r.Over + " (" + set.unit + ")", Table: r.rows()}
	s.Throughput = lineChart("pages per second against "+r.Over, x, linear(top, chartHeight-marginBottom, marginTop, Count), rate)
	s.Latency = lineChart("latency of a call against "+r.Over, x, decades(lo, hi, chartHeight-marginBottom, marginTop, decadeLabel), lat)
	d.Sweep = s
	d.Spent, d.Places = spentChart(spent)
	return d.write(w)
}

// bounds is the least value of some curves.
func bounds(cs []curve) float64 {
	lo := 0.0
	for _, c := range cs {
		for _, p := range c.points {
			if lo == 0 || p[1] < lo {
				lo = p[1]
			}
		}
	}
	return max(lo, 0.1)
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
			if over == "page" {
				label = FormatBytes(int64(v))
			}
			a.ticks, last = append(a.ticks, tickMark{v, label}), at
		}
	}
	return a
}
