package bench

import (
	"errors"
	"fmt"

	"github.com/untorn/untorn/ring"
)

// complaints about a configuration; each matches ErrUsage.
type complaints []error

func (c *complaints) add(format string, a ...any) {
	*c = append(*c, fmt.Errorf("%w: "+format, append([]any{ErrUsage}, a...)...))
}

func (c *complaints) within(what string, v, lo, hi int) {
	if v < lo || v > hi {
		c.add("%s is %d, want %d to %d", what, v, lo, hi)
	}
}

func (c *complaints) backend(b ring.Backend) {
	if err := (ring.Config{Backend: b}).Validate(); err != nil {
		c.add("%v", err)
	}
}

// err is all of them, joined.
func (c complaints) err() error { return errors.Join(c...) }
