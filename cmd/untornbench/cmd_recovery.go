package main

import (
	"context"
	"errors"

	"github.com/untorn/untorn/bench"
)

func runRecovery(ctx context.Context, c *call) error {
	var o bench.RecoveryConfig
	var jsonTo, gobenchTo, modes, logs string
	c.fs.StringVar(&o.Dir, "dir", "", "")
	c.fs.StringVar(&modes, "mode", "", "")
	c.fs.StringVar(&logs, "logs", "", "")
	c.fs.Var(small{&o.PageBytes}, "page", "")
	c.fs.StringVar(&o.ImageCodec, "image-codec", "", "")
	c.fs.IntVar(&o.Repeat, "repeat", 0, "")
	c.fs.BoolVar(&o.Keep, "keep", false, "")
	c.fs.StringVar(&jsonTo, "json", "", "")
	c.fs.StringVar(&gobenchTo, "gobench", "", "")
	c.backend(&o.Backend)
	if err := c.parse(0); err != nil {
		return err
	}
	o.Modes = list[bench.Mode](modes)
	if logs != "" {
		values, err := bench.ParseValues(logs)
		if err != nil {
			return err
		}
		for _, v := range values {
			o.LogBytes = append(o.LogBytes, int64(v))
		}
	}
	r, err := measure(ctx, c, o, bench.Recovery)
	if r == nil {
		return err
	}
	r.Command = c.line
	return errors.Join(err, c.report(jsonTo, r, r.WriteText), c.write(gobenchTo, r.WriteGoBench))
}
