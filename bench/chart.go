package bench

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// curve is one line of a chart.
type curve struct {
	name   string
	points [][2]float64
	spread [][2]float64 // least and most at each point; nil = none
	class  int          // colour
	dashed bool         // a bound, or the slower of two
	marks  bool         // a dot at each point
}

// axis maps values to a span of pixels.
type axis struct {
	lo, hi   float64
	from, to float64 // pixels
	log      bool
	ticks    []tickMark
	title    string // what it counts, with its unit
}

type tickMark struct {
	at    float64
	label string
}

func (a *axis) pos(v float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		v, lo, hi = math.Log(max(v, a.lo)), math.Log(lo), math.Log(hi)
	}
	if hi == lo {
		return a.from
	}
	return a.from + (v-lo)/(hi-lo)*(a.to-a.from)
}

// linear is an axis from 0 with round ticks.
func linear(hi, from, to float64, label func(float64) string) axis {
	step := math.Pow(10, math.Floor(math.Log10(max(hi, 1e-9))))
	for _, k := range []float64{0.1, 0.2, 0.25, 0.5, 1} {
		if hi/(step*k) <= 6 {
			step *= k
			break
		}
	}
	a := axis{hi: math.Ceil(hi/step) * step, from: from, to: to}
	for v := 0.0; v <= a.hi+step/2; v += step {
		a.ticks = append(a.ticks, tickMark{v, label(v)})
	}
	return a
}

// decades is a logarithmic axis over lo to hi.
func decades(lo, hi, from, to float64, label func(float64) string) axis {
	a := axis{log: true, from: from, to: to}
	a.lo = math.Pow(10, math.Floor(math.Log10(max(lo, 1e-3))))
	a.hi = math.Pow(10, math.Ceil(math.Log10(max(hi, a.lo*10))))
	for v := a.lo; v <= a.hi*1.01; v *= 10 {
		a.ticks = append(a.ticks, tickMark{v, label(v)})
	}
	return a
}

// nines spreads percentiles so that 90, 99, 99.9 stand equally far apart.
func nines(hi, from, to float64) axis {
	a := axis{log: true, lo: 1, hi: nine(hi), from: from, to: to}
	for _, p := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999} {
		if p <= hi && (p > 0 || hi < 99.9) { // the two would stand on each other
			a.ticks = append(a.ticks, tickMark{nine(p), fmt.Sprintf("%v %%", p)})
		}
	}
	return a
}

func nine(p float64) float64 { return 100 / max(100-p, 1e-4) }

// Size of a chart, in units of its own.
const (
	chartWidth, chartHeight             = 720.0, 340.0
	marginLeft, marginRight             = 88.0, 24.0
	marginTop, marginBottom             = 40.0, 60.0
	barHeight, barGap, barLeft, barText = 22.0, 12.0, 150.0, 260.0
)

// drawing builds an SVG.
type drawing struct{ strings.Builder }

func (d *drawing) f(format string, a ...any) { fmt.Fprintf(d, format, a...) }

func (d *drawing) text(x, y float64, class, s string) {
	d.f(`<text x="%.1f" y="%.1f" class="%s">%s</text>`, x, y, class, html.EscapeString(s))
}

// lineChart draws curves over two axes; what is what stands in the legend beside it.
func lineChart(title string, x, y axis, cs []curve) template.HTML {
	var d drawing
	d.f(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(title))
	d.text(4, marginTop-20, "start", y.title)
	d.text(chartWidth-marginRight, chartHeight-8, "end", x.title)
	for _, t := range y.ticks {
		p := y.pos(t.at)
		d.f(`<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, marginLeft, chartWidth-marginRight, p, p)
		d.text(marginLeft-8, p+6, "end", t.label)
	}
	for _, t := range x.ticks {
		p := x.pos(t.at)
		d.f(`<line class="grid" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/>`, p, p, marginTop, chartHeight-marginBottom)
		d.text(p, chartHeight-marginBottom+24, "mid", t.label)
	}
	for _, c := range cs {
		var path strings.Builder
		for i, pt := range c.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "LM"[b2i(i == 0)], x.pos(pt[0]), y.pos(pt[1]))
		}
		dashed := ""
		if c.dashed {
			dashed = " dashed"
		}
		d.f(`<path class="line c%d%s" d="%s"><title>%s</title></path>`, c.class, dashed, path.String(), html.EscapeString(c.name))
		for i, s := range c.spread {
			if s[1] > s[0] {
				d.f(`<path class="range c%d" d="M%.1f %.1fV%.1f"/>`, c.class, x.pos(c.points[i][0]), y.pos(s[0]), y.pos(s[1]))
			}
		}
		if c.marks {
			for _, pt := range c.points {
				d.f(`<circle class="bar c%d" cx="%.1f" cy="%.1f" r="4"><title>%s</title></circle>`, c.class, x.pos(pt[0]), y.pos(pt[1]),
					html.EscapeString(fmt.Sprintf("%s at %v: %s", c.name, pt[0], Count(pt[1]))))
			}
		}
	}
	d.f(`</svg>`)
	return template.HTML(d.String()) // every text in it was escaped above
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// bar is one line of a bar chart.
type bar struct {
	name     string
	value    float64
	min, max float64 // 0 and 0: no spread
	bound    float64 // 0: none
	label    string
	class    int
}

// barChart draws bars from the left; a bound is a mark, and what is missing to it is pale.
func barChart(title string, bars []bar, top float64) template.HTML {
	for _, b := range bars {
		top = max(top, b.value, b.max, b.bound)
	}
	var d drawing
	h := float64(len(bars))*(barHeight+barGap) + barGap
	d.f(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, h, html.EscapeString(title))
	left := barLeft
	for _, b := range bars {
		left = roomFor(b.name, left)
	}
	x := axis{hi: top, from: left, to: chartWidth - barText}
	for i, b := range bars {
		y := barGap + float64(i)*(barHeight+barGap)
		d.text(left-8, y+barHeight*0.7, "end", b.name)
		w := x.pos(b.value) - left
		if b.bound > 0 {
			d.f(`<rect class="pale c%d" x="%g" y="%.1f" width="%.1f" height="%g" rx="2"/>`, b.class, left, y, x.pos(b.bound)-left, barHeight)
		}
		d.f(`<rect class="bar c%d" x="%g" y="%.1f" width="%.1f" height="%g" rx="2"><title>%s</title></rect>`,
			b.class, left, y, max(w, 1), barHeight, html.EscapeString(b.name+": "+b.label))
		if b.bound > 0 {
			p := x.pos(b.bound)
			d.f(`<line class="bound" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, p, p, y-3, y+barHeight+3)
		}
		if b.max > b.min {
			m := y + barHeight/2
			d.f(`<path class="spread" d="M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8"/>`, x.pos(b.min), m, x.pos(b.max), x.pos(b.min), m-4, x.pos(b.max), m-4)
		}
		d.text(max(x.pos(b.value), x.pos(b.bound), x.pos(b.max))+10, y+barHeight*0.7, "start", b.label)
	}
	d.f(`</svg>`)
	return template.HTML(d.String()) // every text in it was escaped above
}

// roomFor widens the column of names where one would not fit, in the letters of a narrow screen.
func roomFor(name string, left float64) float64 { return max(left, 11*float64(len(name))+8) }
