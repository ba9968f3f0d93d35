package main

import (
	"fmt"
	"io"
	"os"

	"github.com/untorn/untorn/bench"
)

// progress is one line on a terminal, rewritten in place; elsewhere nothing.
func (c *call) progress() (p bench.Progress, done func()) {
	if !isTerminal(c.stderr) {
		return nil, func() {}
	}
	const width = 24
	p = func(what string, share float64) {
		n := int(max(0, min(share, 1)) * width)
		fmt.Fprintf(c.stderr, "\r\x1b[K[%-*s] %s", width, bar[:n], what)
	}
	return p, func() { fmt.Fprint(c.stderr, "\r\x1b[K") }
}

const bar = "########################"

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && terminal(f.Fd())
}
