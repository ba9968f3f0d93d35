package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/untorn/untorn/bench"
)

func runWAL(ctx context.Context, c *call) error {
	var o bench.WALConfig
	var to outputs
	var commits, sweep string
	c.fs.StringVar(&o.Dir, "dir", "", "")
	c.fs.Var(small{&o.RecordBytes}, "record", "")
	c.fs.IntVar(&o.Clients, "clients", 0, "")
	c.fs.DurationVar(&o.Duration, "duration", 0, "")
	c.fs.Var(orNone{&o.Warmup}, "warmup", "")
	c.fs.StringVar(&commits, "commit", "", "")
	c.fs.StringVar(&o.Method, "method", "", "")
	c.fs.IntVar(&o.Groups, "groups", 0, "")
	c.fs.Float64Var(&o.Rate, "rate", 0, "")
	c.fs.Float64Var(&o.Overload, "overload", 0, "")
	c.fs.StringVar(&sweep, "sweep", "", "")
	c.fs.IntVar(&o.Cores, "cores", 0, "")
	c.fs.IntVar(&o.Zeros, "zeros", 0, "")
	c.fs.Var(orNone{&o.BoundTime}, "bound", "")
	c.fs.IntVar(&o.Repeat, "repeat", 0, "")
	c.fs.BoolVar(&o.Verify, "verify", false, "")
	c.fs.BoolVar(&o.Keep, "keep", false, "")
	c.outputs(&to)
	c.histograms(&to)
	c.fs.StringVar(&to.profile, "cpuprofile", "", "")
	c.backend(&o.Backend)
	if err := c.parse(0); err != nil {
		return err
	}
	if sweep != "" || strings.Contains(commits, ",") {
		return c.sweepWAL(ctx, o, to, sweep, commits)
	}
	o.Commit = commits
	if err := o.Validate(); err != nil {
		return err
	}
	p, done := c.progress()
	var r *bench.WALResult
	err := c.profiled(to.profile, func(w io.Writer) (err error) {
		o.Profile = w
		r, err = bench.RunWAL(ctx, o, p)
		return err
	})
	done()
	if r == nil {
		return err
	}
	r.Command = c.line
	m := &bench.ModesResult{WAL: r, Meaning: r.Meaning, Command: c.line}
	return errors.Join(err, c.distributions(&to, r), c.deliver(&to, r, r.WriteText, m.WriteHTML, nil, r))
}

// sweepWAL is wal -sweep, and wal with several commit policies.
func (c *call) sweepWAL(ctx context.Context, o bench.WALConfig, to outputs, sweep, commits string) error {
	if err := to.ofSweep(); err != nil {
		return err
	}
	s := bench.WALSweepConfig{Base: o, Commits: list[string](commits)}
	if sweep != "" {
		var err error
		if s.Over, s.Values, err = bench.ParseSweep(sweep); err != nil {
			return err
		}
	}
	r, err := measure(ctx, c, s, bench.SweepWAL)
	if r == nil {
		return err
	}
	r.Command = c.line
	return errors.Join(err, c.deliver(&to, r, r.WriteText, r.WriteHTML, nil, r.Runs()...))
}
