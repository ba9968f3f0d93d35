package bench

import (
	"io"
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
	set, _ := settingNamed(walSettings(), r.Over)
	lines := linesOf(r.Points)
	d := &reportData{
		Title: "untornbench: the log, " + r.title(), Sub: first.workload(r.varied()...), Meaning: r.Meaning, Of: "record", Method: r.method(),
		Host: hostRows(&first.Host), Config: fieldRows(first.Config), Command: strings.Join(quoted(r.Command), " "), Generated: first.Started,
	}
	var commits []string
	for _, l := range lines {
		commits = append(commits, l.name)
	}
	d.configured("commit", strings.Join(commits, ", "))
	drawSweep(d, &sweepData{
		over: r.Over, unit: set.unit, per: "records/s", prefix: "commit ", Rate: "Records a second", Call: "an append", Table: r.rows(),
	}, lines, func(x *WALResult) { d.warnOf("commit "+x.Commit, x.Interrupted, x.Host.FlushesOff, x.Verify) })
	d.configured(set.field, lines[0].values())
	return d.write(w)
}
