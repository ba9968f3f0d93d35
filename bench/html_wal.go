package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// wal fills in what is shown of one measurement of the log.
func (d *reportData) wal(r *WALResult) {
	d.WAL = r.figures()
	label := Count(r.RecordsPerSecond) + "/s" + ofBound(r.Bound, r.Efficiency)
	s := r.Spread.RecordsPerSecond
	d.WALBars = barChart("records per second, with their bound", []bar{{"log", r.RecordsPerSecond, s.Min, s.Max, r.Bound, label, 0}}, 0)
	d.WALCurve = latencyChart("latency of an append by percentile", []curve{
		{name: "a bare DSYNC write", points: latencyPoints(&r.Bare), class: 2, dashed: true}, {name: "log", points: latencyPoints(&r.Latency)},
	})
	var time [][2]float64
	for _, s := range r.Series {
		time = append(time, [2]float64{s.Second, s.RecordsPerSecond})
	}
	if len(time) > 0 {
		d.WALTime = timeChart("records per second over time", "records/s", []curve{boundCurve(r.Bound, r.Series[len(r.Series)-1].Second, 0), {name: "log", points: time}})
	}
	d.WALSpent, d.WALPlaces = spentChart([]spentRow{{"log", walSpent(r.Time)}})
}

// walSpent are a record's places as spentChart takes them.
func walSpent(in []WALSpent) (out []Spent) {
	for _, p := range in {
		out = append(out, Spent{Where: p.Where, Micros: p.Micros, Share: p.Share, Waited: true, Blocked: p.Blocked})
	}
	return out
}

// WriteHTML writes the report: one file with everything in it.
func (r *WALSweepResult) WriteHTML(w io.Writer) error {
	first := r.Points[0].Run
	set, over := walSettingNamed(r.Over)
	d := &reportData{
		Title: "untornbench: the log, " + r.title(), Sub: first.workload(r.varied()...), Meaning: r.Meaning, Of: "record", Method: r.method(),
		Host: hostRows(&first.Host), Config: fieldRows(first.Config), Command: strings.Join(quoted(r.Command), " "), Generated: first.Started,
	}
	set2 := func(field, text string) {
		for i := range d.Config {
			if d.Config[i][0] == field {
				d.Config[i][1] = text
			}
		}
	}
	set2("commit", strings.Join(r.commits(), ", "))
	var lines []sweepLine
	var spent []spentRow
	var bars []bar
	for i, m := range r.commits() {
		l := sweepLine{name: "commit " + m, class: i}
		d.Legend = append(d.Legend, legendEntry{l.name, i})
		points := r.of(m)
		slices.SortStableFunc(points, func(a, b WALPoint) int { return a.Value - b.Value })
		var values []string
		for _, p := range points {
			x := p.Run
			l.points = append(l.points, sweepPoint{float64(p.Value), x.RecordsPerSecond, x.Bound, x.Latency.P50, x.Latency.P99, x.Spread.RecordsPerSecond})
			name := m
			if over {
				name = fmt.Sprintf("%s=%d", r.Over, p.Value)
				if len(r.commits()) > 1 {
					name = fmt.Sprintf("%s, %d", m, p.Value)
				}
			}
			values = append(values, fmt.Sprint(p.Value))
			spent = append(spent, spentRow{name, walSpent(x.Time)})
			s := x.Spread.RecordsPerSecond
			bars = append(bars, bar{name, x.RecordsPerSecond, s.Min, s.Max, x.Bound, Count(x.RecordsPerSecond) + "/s" + ofBound(x.Bound, x.Efficiency), i})
			d.warnOf("commit "+m, x.Interrupted, x.Host.FlushesOff, x.Verify)
		}
		set2(set.field, strings.Join(values, ", "))
		lines = append(lines, l)
	}
	d.Sweep = &sweepData{Over: r.Over, Rate: "Records a second", Call: "an append", Table: r.rows()}
	if over {
		d.Sweep.Over = r.Over + " (" + set.unit + ")"
		d.Sweep.draw(r.Over, set.unit, "records/s", lines)
	} else {
		d.Sweep.Bars = barChart("records per second of each commit policy, with its bound", bars, 0)
	}
	d.Spent, d.Places = spentChart(spent)
	return d.write(w)
}
