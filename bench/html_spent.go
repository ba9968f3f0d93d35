package bench

import (
	"fmt"
	"html"
	"html/template"

	"github.com/untorn/untorn/stages"
)

// spentRow is one line of the chart of where a page's time goes.
type spentRow struct {
	name string
	time []Spent
}

// places are all there can be, in the order of a page's way: what it waits for first.
func places() []string {
	out := []string{spentTurn, spentMemory, spentFill, spentRoom}
	for w := range stages.Wheres {
		out = append(out, w.String())
	}
	return append(out, spentCall, spentBehind, spentGroup, spentAppend, spentRecover, spentStart, spentReplay)
}

// spentChart draws a stacked bar for each row, of the time of a page; legend has the places that
// take any of it. What the call does not wait for is pale.
func spentChart(rows []spentRow) (chart template.HTML, legend []legendEntry) {
	top := 0.0
	used := map[string]bool{}
	for _, r := range rows {
		sum := 0.0
		for _, p := range r.time {
			sum += p.Micros
		}
		for _, p := range r.time {
			used[p.Where] = used[p.Where] || p.Micros >= 0.002*sum
		}
		top = max(top, sum)
	}
	if top == 0 {
		return "", nil
	}
	class := map[string]int{}
	for i, name := range places() {
		class[name] = i
		if used[name] {
			legend = append(legend, legendEntry{name, i})
		}
	}
	var d drawing
	const right = 140.0
	h := float64(len(rows))*(barHeight+barGap) + barGap
	d.f(`<svg viewBox="0 0 %g %g" role="img" aria-label="where the time goes">`, chartWidth, h)
	left := barLeft
	for _, r := range rows {
		left = roomFor(r.name, left)
	}
	x := axis{hi: top, from: left, to: chartWidth - right}
	for i, r := range rows {
		y := barGap + float64(i)*(barHeight+barGap)
		d.text(left-8, y+barHeight*0.7, "end", r.name)
		at := 0.0
		for _, p := range r.time {
			from, to := x.pos(at), x.pos(at+p.Micros)
			at += p.Micros
			pale := ""
			if !p.Waited {
				pale = " pale2"
			}
			d.f(`<rect class="bar s%d%s" x="%.1f" y="%.1f" width="%.1f" height="%g"><title>%s</title></rect>`, class[p.Where], pale,
				from, y, max(to-from, 0), barHeight, html.EscapeString(fmt.Sprintf("%s: %s, %s", p.Where, Micros(p.Micros), Percent(p.Share))))
		}
		d.text(x.pos(at)+8, y+barHeight*0.7, "start", Micros(at))
	}
	d.f(`</svg>`)
	return template.HTML(d.String()), legend // every text in it was escaped above
}
