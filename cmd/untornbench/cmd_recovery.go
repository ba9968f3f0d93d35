package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn/bench"
)

func runRecovery(ctx context.Context, c *call) error {
	var o bench.RecoveryConfig
	var jsonTo, htmlTo, gobenchTo, modes, logs string
	c.fs.StringVar(&o.Dir, "dir", "", "")
	c.fs.StringVar(&modes, "mode", "", "")
	c.fs.StringVar(&logs, "logs", "", "")
	c.fs.Var(small{&o.PageBytes}, "page", "")
	c.fs.StringVar(&o.ImageCodec, "image-codec", "", "")
	c.fs.IntVar(&o.Repeat, "repeat", 0, "")
	c.fs.BoolVar(&o.Keep, "keep", false, "")
	c.fs.StringVar(&jsonTo, "json", "", "")
	c.fs.StringVar(&htmlTo, "html", "", "")
	c.fs.StringVar(&gobenchTo, "gobench", "", "")
	c.backend(&o.Backend)
	if err := c.parse(0); err != nil {
		return err
	}
	o.Modes = list[bench.Mode](modes)
	for _, v := range list[string](logs) {
		n, err := bench.ParseBytes(v)
		if err != nil {
			return fmt.Errorf("%w: -logs: %w", bench.ErrUsage, err)
		}
		o.LogBytes = append(o.LogBytes, n)
	}
	r, err := measure(ctx, c, o, bench.Recovery)
	if r == nil {
		return err
	}
	r.Command = c.line
	return errors.Join(err, c.write(htmlTo, r.WriteHTML), c.write(gobenchTo, r.WriteGoBench), c.report(jsonTo, r, r.WriteText))
}
