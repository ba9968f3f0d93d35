package main

import (
	"context"
	"errors"

	"github.com/untorn/untorn/bench"
)

func runLimit(ctx context.Context, c *call) error {
	var o bench.LimitConfig
	var jsonTo string
	c.fs.StringVar(&o.Dir, "dir", "", "")
	c.fs.Var(small{&o.PageBytes}, "page", "")
	c.fs.IntVar(&o.Batch, "batch", 0, "")
	c.fs.IntVar(&o.Depth, "depth", 0, "")
	c.fs.Var(size{&o.SizeBytes}, "size", "")
	c.fs.DurationVar(&o.Duration, "duration", 0, "")
	c.fs.IntVar(&o.Repeat, "repeat", 0, "")
	c.fs.BoolVar(&o.Sync, "sync", false, "")
	c.fs.BoolVar(&o.NoFIO, "no-fio", false, "")
	c.fs.BoolVar(&o.Keep, "keep", false, "")
	c.fs.Uint64Var(&o.Seed, "seed", 1, "")
	c.fs.StringVar(&jsonTo, "json", "", "")
	c.backend(&o.Backend)
	if err := c.parse(0); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	p, done := c.progress()
	r, err := bench.Limit(ctx, o, p)
	done()
	if r == nil {
		return err
	}
	r.Command = c.line
	return errors.Join(err, c.report(jsonTo, r, r.WriteText))
}

func runCompare(_ context.Context, c *call) error {
	var force bool
	c.fs.BoolVar(&force, "force", false, "")
	if err := c.parse(2); err != nil {
		return err
	}
	var docs [2]any
	for i := range docs {
		var err error
		if docs[i], err = bench.Load(c.fs.Arg(i)); err != nil {
			return err
		}
	}
	changes, differ, err := bench.Compare(docs[0], docs[1], force)
	if err != nil {
		return err
	}
	return bench.WriteChanges(c.stdout, changes, differ)
}
