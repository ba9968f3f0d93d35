package bench

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/untorn/untorn/ring"
)

// DepthRow is what the drive does with so many writes in flight, in medians over the rounds.
type DepthRow struct {
	Depth             int     `json:"depth"`
	RandomFree        float64 `json:"random_free_pages_per_second"`
	RandomFlushed     float64 `json:"random_flushed_pages_per_second"`
	Sequential        float64 `json:"sequential_bytes_per_second"`
	SequentialFlushed float64 `json:"sequential_flushed_bytes_per_second"`
}

// What is measured at each depth.
const (
	depthRandom            = "random"
	depthRandomFlushed     = "random_flushed"
	depthSequential        = "sequential"
	depthSequentialFlushed = "sequential_flushed"
)

func depthKey(n int, what string) string { return fmt.Sprintf("depth_%d_%s", n, what) }

// depths takes every measurement once at each depth.
func (l *limiter) depths(ctx context.Context) error {
	t := max(l.c.Duration/4, time.Millisecond)
	for _, n := range l.c.Depths {
		l.step(fmt.Sprintf("%d in flight", n))
		for _, m := range []struct {
			what string
			s    *stream
		}{
			{depthRandom, l.d.randomAt(n, 0)}, {depthRandomFlushed, l.d.randomAt(n, l.c.Batch)},
			{depthSequential, l.d.sequentialAt(n, 0)}, {depthSequentialFlushed, l.d.sequentialAt(n, 1)},
		} {
			got, err := l.d.run(ctx, t, m.s)
			if err != nil {
				return err
			}
			k := depthKey(n, m.what)
			l.values[k] = append(l.values[k], got.perSecond)
		}
	}
	return nil
}

// randomAt is random with so many writes in flight.
func (d *drive) randomAt(depth, every int) *stream {
	c := d.c
	d.c.depth = depth
	s := d.random(every)
	d.c = c
	return s
}

// sequentialAt is sequential with so many writes in flight: more than there are buffers share them,
// for what is in them does not change.
func (d *drive) sequentialAt(depth, every int) *stream {
	s := d.sequential(every)
	buf, comps := s.free[0], d.comps
	for len(s.free) < depth {
		from := s.free[len(s.free)%batchesInFlight]
		s.free = append(s.free, &ring.Op{Kind: ring.Write, File: s.file, Buf: from.Buf, Fixed: buf.Fixed, Done: comps, Ctx: s})
	}
	s.free = s.free[:depth]
	if every > 0 {
		s.ahead = depth
	}
	return s
}

func (l *limiter) byDepth(r *LimitResult) {
	run := float64(l.c.Batch) * float64(l.c.PageBytes)
	for _, n := range l.c.Depths {
		if _, ok := r.Spread[depthKey(n, depthSequentialFlushed)]; !ok {
			break // an interrupt came before the last of them
		}
		of := func(what string) float64 { return r.Spread[depthKey(n, what)].Median }
		r.ByDepth = append(r.ByDepth, DepthRow{
			n, of(depthRandom), of(depthRandomFlushed), of(depthSequential) * run, of(depthSequentialFlushed) * run,
		})
	}
}

func (r *LimitResult) depthRows() [][]string {
	rows := [][]string{{"in flight", "random pages/s", "flushed every " + fmt.Sprint(r.BatchPages), "sequential/s", "each flushed"}}
	for _, d := range r.ByDepth {
		rows = append(rows, []string{
			fmt.Sprint(d.Depth), Count(d.RandomFree), Count(d.RandomFlushed), FormatBytes(int64(d.Sequential)), FormatBytes(int64(d.SequentialFlushed)),
		})
	}
	return rows
}

// best is what a doublewrite can do at most here.
func (r *LimitResult) best() float64 { return max(r.Flushed, r.Overlapped) }

func (r *LimitResult) meaning() string {
	var b strings.Builder
	fmt.Fprintf(&b, "What it means: %storn-write protection on this path is %s. ", r.Host.flushesOff(), r.Host.called())
	fmt.Fprintf(&b, "This drive writes %s pages/s of %s at random with %d in flight, %s when they are flushed every %d. ",
		Count(r.RandomPages), FormatBytes(int64(r.PageBytes)), r.Depth, Count(r.RandomFlushed), r.BatchPages)
	if r.Flush.Count > 0 {
		fmt.Fprintf(&b, "A flush takes %s%s. ", Micros(r.Flush.P50), r.Flush.atP99())
	}
	fmt.Fprintf(&b, "A doublewrite writes every page twice and can do %s pages/s at most: ", Count(r.best()))
	if share := ratio(r.best(), r.RandomFlushed); share < 1 {
		fmt.Fprintf(&b, "protection by copies costs %s of the speed at the least, whoever makes them. ", Percent(1-share))
	} else {
		b.WriteString("here copies cost no speed that these measurements could show. ")
	}
	b.WriteString("Without it a power cut can tear any page that is being written.")
	return b.String()
}

// chartBox and tableBox are sections of a report of their own.
type chartBox struct {
	Title  string
	Legend []legendEntry
	Blocks bool // of the legend: parts of bars
	Chart  template.HTML
	Note   string
}

type tableBox struct {
	Title string
	Rows  [][]string
	Note  string
}

// WriteHTML writes the report: one file with everything in it.
func (r *LimitResult) WriteHTML(w io.Writer) error {
	d := &reportData{
		Title: "untornbench: what the drive can do", Meaning: r.Meaning, Command: strings.Join(quoted(r.Command), " "), Generated: r.Started,
		Sub:  fmt.Sprintf("pages of %s, %d in flight, %d a flush", FormatBytes(int64(r.PageBytes)), r.Depth, r.BatchPages),
		Host: hostRows(&r.Host), Config: append([][2]string{{"backend in use", r.Backend + ": " + r.BackendReason}, {"direct I/O", fmt.Sprint(r.DirectIO) + " " + r.DirectReason}}, fieldRows(r.Config)...),
		Method: fmt.Sprintf("Rounds: %d. Every measurement is taken once in each, so that a drive that changes its mind changes all of them; shown are medians. "+
			"Each takes %v, at the several depths %v. Files are written once beforehand: nothing is measured into unwritten space.", r.Rounds, r.Config.Duration, r.Config.Duration/4),
	}
	d.warnOf("", r.Interrupted, r.Host.FlushesOff, nil)
	var bars []bar
	for _, x := range []struct {
		name string
		key  string
		unit float64
	}{
		{"random", "random", 1}, {"fio", "fio_random", 1}, {"random, flushed", "random_flushed", 1}, {"fio, fdatasync", "fio_synced", 1},
		{"sequential", "sequential", float64(r.BatchPages)}, {"seq., flushed", "sequential_flushed", float64(r.BatchPages)}, {"both at once", "both", 1},
	} {
		if s, ok := r.Spread[x.key]; ok {
			v := s.Median * x.unit
			class := 0
			if strings.HasPrefix(x.key, "fio") {
				class = 2
			}
			bars = append(bars, bar{x.name, v, s.Min * x.unit, s.Max * x.unit, 0, Count(v) + " pages/s", class})
		}
	}
	bars = append(bars, bar{"free bound", r.Free, 0, 0, 0, Count(r.Free) + " pages/s", 3}, bar{"flushed bound", r.Flushed, 0, 0, 0, Count(r.Flushed) + " pages/s", 3})
	d.Charts = append(d.Charts, chartBox{
		Title: "Pages a second", Chart: barChart("pages per second of each kind of write", bars, 0),
		Note: "The thin line is from the least to the most of the rounds. Both at once: every batch written in sequence and flushed, then its pages in place and flushed. " +
			"The two bounds are worked out: every page once in sequence and once in place, from one drive's time.",
	})
	if len(r.ByDepth) > 1 {
		d.Charts = append(d.Charts, r.depthChart("Random pages a second against writes in flight", "pages/s", depthRandom, depthRandomFlushed, 1),
			r.depthChart("Sequential pages a second against writes in flight", "pages/s", depthSequential, depthSequentialFlushed, float64(r.BatchPages)))
	}
	if len(r.ByDepth) > 0 {
		d.Tables = append(d.Tables, tableBox{"By writes in flight", r.depthRows(), ""})
	}
	d.Tables = append(d.Tables, tableBox{"Latency in us", r.latencyRows(), "What a flush takes after so many pages, and one page with DSYNC, with nothing else under way."})
	if len(r.SyncTable) > 0 {
		d.Tables = append(d.Tables, tableBox{"Ways to make bytes durable", syncRows(r.SyncTable), ""})
	}
	return d.write(w)
}

func (r *LimitResult) depthChart(title, per, free, flushed string, unit float64) chartBox {
	var cs []curve
	top := 1.0
	for i, k := range []string{free, flushed} {
		c := curve{name: k, class: i, marks: true}
		for _, row := range r.ByDepth {
			s := r.Spread[depthKey(row.Depth, k)]
			c.points = append(c.points, [2]float64{float64(row.Depth), s.Median * unit})
			c.spread = append(c.spread, [2]float64{s.Min * unit, s.Max * unit})
			top = max(top, s.Max*unit)
		}
		cs = append(cs, c)
	}
	x := valueAxis("depth", cs, marginLeft, chartWidth-marginRight)
	x.title = "writes in flight"
	y := linear(top, chartHeight-marginBottom, marginTop, Count)
	y.title = per
	return chartBox{Title: title, Legend: []legendEntry{{"not flushed", 0}, {"flushed", 1}}, Chart: lineChart(title, x, y, cs), Note: "The upright lines are from the least to the most of the rounds."}
}
