package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/untorn/untorn/bench"
)

// progress is one line on a terminal, rewritten in place; elsewhere nothing, but for tests.
func (c *call) progress() (p bench.Progress, done func()) {
	if c.watch != nil || !isTerminal(c.stderr) {
		return c.watch, func() {}
	}
	const width = 24
	p = func(what string, share float64) {
		n := int(max(0, min(share, 1)) * width)
		fmt.Fprintf(c.stderr, "\r\x1b[K[%-*s] %s", width, bar[:n], what)
	}
	return p, func() { fmt.Fprint(c.stderr, "\r\x1b[K") }
}

// measure shows how far f is; a configuration that makes no sense is refused before.
func measure[C interface{ Validate() error }, R any](
	ctx context.Context, c *call, o C, f func(context.Context, C, bench.Progress) (*R, error),
) (*R, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	p, done := c.progress()
	defer done()
	return f(ctx, o, p)
}

const bar = "########################"

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && terminal(f.Fd())
}
