package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/untorn/untorn/bench"
)

// workload declares the flags that a run and the comparison of all modes share.
func (c *call) workload(o *bench.Config) {
	c.fs.StringVar(&o.Dir, "dir", "", "")
	c.fs.StringVar(&o.WALDir, "wal-dir", "", "")
	c.fs.StringVar(&o.DWBDir, "dwb-dir", "", "")
	c.fs.Var(small{&o.PageBytes}, "page", "")
	c.fs.Var(size{&o.SizeBytes}, "size", "")
	c.fs.DurationVar(&o.Duration, "duration", o.Duration, "")
	c.fs.Var(orNone{&o.Warmup}, "warmup", "")
	c.fs.IntVar(&o.Clients, "clients", o.Clients, "")
	c.fs.IntVar(&o.Batch, "batch", o.Batch, "")
	c.fs.Func("dist", "", func(v string) error { o.Dist = bench.Dist(v); return nil })
	c.fs.IntVar(&o.Hot, "hot", 0, "")
	c.fs.IntVar(&o.Depth, "depth", o.Depth, "")
	c.fs.IntVar(&o.Cores, "cores", 0, "")
	c.fs.IntVar(&o.LogBytes, "log", 0, "")
	c.fs.Var(size{&o.CheckpointBytes}, "checkpoint", "")
	c.fs.StringVar(&o.ImageCodec, "image-codec", "", "")
	c.fs.IntVar(&o.Reads, "reads", 0, "")
	c.fs.IntVar(&o.Zeros, "zeros", 0, "")
	c.fs.Var(small{&o.BatchBytes}, "dwb-batch", "")
	c.fs.IntVar(&o.Batches, "dwb-batches", o.Batches, "")
	c.fs.StringVar(&o.DWBSync, "dwb-sync", "", "")
	c.fs.Uint64Var(&o.Seed, "seed", 1, "")
	c.fs.IntVar(&o.Repeat, "repeat", o.Repeat, "")
	c.fs.BoolVar(&o.Verify, "verify", o.Verify, "")
	c.fs.BoolVar(&o.Keep, "keep", false, "")
	c.fs.Var(orNone{&o.BoundTime}, "bound", "")
	c.backend(&o.Backend)
}

func (c *call) outputs(o *outputs) {
	c.fs.StringVar(&o.json, "json", "", "")
	c.fs.StringVar(&o.html, "html", o.html, "")
	c.fs.StringVar(&o.gobench, "gobench", "", "")
}

// histograms declares the outputs of a single run.
func (c *call) histograms(o *outputs) {
	c.fs.StringVar(&o.hgrm, "hgrm", "", "")
	c.fs.StringVar(&o.hlog, "hlog", "", "")
	c.fs.StringVar(&o.series, "series", "", "")
}

// distributions writes the outputs of a single run.
func (c *call) distributions(to *outputs, r interface {
	WriteHGRM(io.Writer) error
	WriteHLOG(io.Writer) error
	WriteSeries(io.Writer) error
}) error {
	return errors.Join(c.write(to.hgrm, r.WriteHGRM), c.write(to.hlog, r.WriteHLOG), c.write(to.series, r.WriteSeries))
}

func runRun(ctx context.Context, c *call) error {
	o := bench.Config{}
	var to outputs
	c.workload(&o)
	c.outputs(&to)
	var sweep string
	c.fs.StringVar(&sweep, "sweep", "", "")
	c.histograms(&to)
	c.fs.StringVar(&to.profile, "cpuprofile", "", "")
	c.fs.Func("mode", "", func(v string) error { o.Mode = bench.Mode(v); return nil })
	c.fs.BoolVar(&o.Unsafe, "unsafe", false, "")
	c.fs.Float64Var(&o.Rate, "rate", 0, "")
	c.fs.Float64Var(&o.Overload, "overload", 0, "")
	c.fs.StringVar(&o.Ack, "ack", "", "")
	if err := c.parse(0); err != nil {
		return err
	}
	if sweep != "" {
		return c.sweepOf(ctx, o, to, sweep)
	}
	if err := o.Validate(); err != nil { // before a progress line
		return err
	}
	p, done := c.progress()
	var r *bench.Result
	err := c.profiled(to.profile, func(w io.Writer) (err error) {
		o.Profile = w
		r, err = bench.Run(ctx, o, p)
		return err
	})
	done()
	if r == nil || len(r.Repeats) == 0 {
		return err
	}
	r.Command = c.line
	m := &bench.ModesResult{Runs: []*bench.Result{r}, Command: c.line}
	err = errors.Join(err, c.distributions(&to, r))
	if r.HasReads() && to.hgrm != "" && to.hgrm != "-" {
		err = errors.Join(err, c.write(to.hgrm+".reads", r.WriteReadHGRM))
	}
	return errors.Join(err, c.deliver(&to, r, r.WriteText, m.WriteHTML, m.Runs))
}

// deliver writes everything that was asked for of some runs, and of runs of the log.
func (c *call) deliver(
	to *outputs, doc any, text, html func(io.Writer) error, runs []*bench.Result, logs ...*bench.WALResult,
) error {
	return errors.Join(c.write(to.html, html),
		c.write(to.gobench, func(w io.Writer) error { return bench.WriteGoBench(w, runs, logs...) }), c.report(to.json, doc, text))
}

// runModes is the bare command.
func runModes(ctx context.Context, c *call) error {
	o := bench.Config{
		SizeBytes: 128 << 20, Duration: time.Second, Warmup: 250 * time.Millisecond, Repeat: 3,
		Clients: 16, Batch: 64, Verify: true, BoundTime: 200 * time.Millisecond,
	}
	to := outputs{html: "untornbench.html"}
	c.workload(&o)
	c.outputs(&to)
	if err := c.parse(0); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	p, done := c.progress()
	rs, err := bench.CompareModes(ctx, o, bench.Compared(), p)
	m := &bench.ModesResult{Schema: bench.SchemaCompare, Runs: rs, Command: c.line}
	if len(rs) > 0 && len(rs[0].Repeats) > 0 && ctx.Err() == nil && err == nil {
		m.WAL, err = bench.RunWAL(ctx, bench.WALConfig{
			Dir: cmp.Or(o.WALDir, o.Dir), Duration: o.Duration, Warmup: o.Warmup, Backend: o.Backend, Repeat: o.Repeat, Verify: o.Verify,
			Cores: o.Cores, BoundTime: o.BoundTime,
		}, p)
	}
	done()
	if len(rs) == 0 || len(rs[0].Repeats) == 0 {
		return err
	}
	if m.Interrupted = ctx.Err() != nil; m.Interrupted && m.WAL == nil && errors.Is(err, ctx.Err()) {
		err = nil // the modes are what there is
	}
	m.Conclude()
	if e := c.deliver(&to, m, m.WriteText, m.WriteHTML, rs, m.Logs()...); e != nil {
		return errors.Join(err, e)
	}
	if to.html != "" && !c.taken {
		_, e := io.WriteString(c.stdout, "The report is in "+to.html+".\n")
		err = errors.Join(err, e)
	}
	return err
}
