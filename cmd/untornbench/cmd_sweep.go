package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/untorn/untorn/bench"
)

func runSweep(ctx context.Context, c *call) error {
	o := bench.Config{SizeBytes: 256 << 20, Duration: 2 * time.Second, Repeat: 3}
	s := bench.SweepConfig{}
	var to outputs
	c.workload(&o)
	c.outputs(&to)
	var modes, values string
	c.fs.StringVar(&s.Over, "over", "", "")
	c.fs.StringVar(&values, "values", "", "")
	c.fs.StringVar(&modes, "mode", "", "")
	c.fs.BoolVar(&o.Unsafe, "unsafe", false, "")
	c.fs.Float64Var(&o.Rate, "rate", 0, "")
	c.fs.Float64Var(&o.Overload, "overload", 0, "")
	c.fs.StringVar(&o.Ack, "ack", "", "")
	if err := c.parse(0); err != nil {
		return err
	}
	if s.Over == "" || values == "" {
		return fmt.Errorf("%w: a sweep takes -over and -values", bench.ErrUsage)
	}
	var err error
	if s.Values, err = bench.ParseValues(values); err != nil {
		return err
	}
	s.Base, s.Modes = o, list[bench.Mode](modes)
	return c.sweep(ctx, s, to)
}

// sweepOf is run -sweep.
func (c *call) sweepOf(ctx context.Context, o bench.Config, to outputs, spec string) error {
	if err := to.ofSweep(); err != nil {
		return err
	}
	s := bench.SweepConfig{Base: o}
	if o.Mode != "" {
		s.Modes = []bench.Mode{o.Mode}
	}
	var err error
	if s.Over, s.Values, err = bench.ParseSweep(spec); err != nil {
		return err
	}
	return c.sweep(ctx, s, to)
}

func (c *call) sweep(ctx context.Context, s bench.SweepConfig, to outputs) error {
	for _, m := range s.Modes {
		if m == bench.None && !s.Base.Unsafe {
			return fmt.Errorf("%w: mode none can lose pages by design; -unsafe allows it", bench.ErrUsage)
		}
	}
	r, err := measure(ctx, c, s, bench.Sweep)
	if r == nil {
		return err
	}
	r.Command = c.line
	return errors.Join(err, c.deliver(&to, r, r.WriteText, r.WriteHTML, r.Runs()))
}
