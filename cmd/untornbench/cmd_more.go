package main

import (
	"context"
	"errors"

	"github.com/untorn/untorn/bench"
)

func runLimit(ctx context.Context, c *call) error {
	var o bench.LimitConfig
	var jsonTo, htmlTo, gobenchTo, depths string
	c.fs.StringVar(&o.Dir, "dir", "", "")
	c.fs.Var(small{&o.PageBytes}, "page", "")
	c.fs.IntVar(&o.Batch, "batch", 0, "")
	c.fs.IntVar(&o.Depth, "depth", 0, "")
	c.fs.StringVar(&depths, "depths", "", "")
	c.fs.Var(size{&o.SizeBytes}, "size", "")
	c.fs.DurationVar(&o.Duration, "duration", 0, "")
	c.fs.IntVar(&o.Repeat, "repeat", 0, "")
	c.fs.BoolVar(&o.Sync, "sync", false, "")
	c.fs.BoolVar(&o.NoFIO, "no-fio", false, "")
	c.fs.BoolVar(&o.Keep, "keep", false, "")
	c.fs.Uint64Var(&o.Seed, "seed", 1, "")
	c.fs.StringVar(&jsonTo, "json", "", "")
	c.fs.StringVar(&htmlTo, "html", "", "")
	c.fs.StringVar(&gobenchTo, "gobench", "", "")
	c.backend(&o.Backend)
	if err := c.parse(0); err != nil {
		return err
	}
	if depths != "" {
		var err error
		if o.Depths, err = bench.ParseValues(depths); err != nil {
			return err
		}
	}
	r, err := measure(ctx, c, o, bench.Limit)
	if r == nil {
		return err
	}
	r.Command = c.line
	return errors.Join(err, c.write(htmlTo, r.WriteHTML), c.write(gobenchTo, r.WriteGoBench), c.report(jsonTo, r, r.WriteText))
}

func runCompare(_ context.Context, c *call) error {
	var force bool
	var jsonTo string
	c.fs.BoolVar(&force, "force", false, "")
	c.fs.StringVar(&jsonTo, "json", "", "")
	if err := c.parse(2); err != nil {
		return err
	}
	r, err := bench.CompareFiles(c.fs.Arg(0), c.fs.Arg(1), force)
	if err != nil {
		return err
	}
	r.Command = c.line
	return c.report(jsonTo, r, r.WriteText)
}
