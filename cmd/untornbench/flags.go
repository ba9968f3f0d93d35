package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/untorn/untorn/bench"
	"github.com/untorn/untorn/ring"
)

// size is a flag in bytes, with KiB, MiB or GiB.
type size struct{ to *int64 }

func (s size) String() string {
	if s.to == nil {
		return ""
	}
	return bench.FormatBytes(*s.to)
}

func (s size) Set(v string) error {
	n, err := bench.ParseBytes(v)
	if err == nil {
		*s.to = n
	}
	return err
}

// small is a size that fits an int.
type small struct{ to *int }

func (s small) String() string {
	if s.to == nil {
		return ""
	}
	return strconv.Itoa(*s.to)
}

func (s small) Set(v string) error {
	n, err := bench.ParseBytes(v)
	if err == nil && n > 1<<30 {
		err = strconv.ErrRange
	}
	if err == nil {
		*s.to = int(n)
	}
	return err
}

// orNone is a duration of which 0 means none at all: no warm-up, no bound. Left out it is the default.
type orNone struct{ to *time.Duration }

func (d orNone) String() string {
	if d.to == nil {
		return ""
	}
	return d.to.String()
}

func (d orNone) Set(v string) error {
	n, err := time.ParseDuration(v)
	if err == nil {
		*d.to = cmp.Or(n, -1)
	}
	return err
}

func (c *call) backend(to *ring.Backend) {
	c.fs.Func("backend", "", func(v string) error {
		*to = ring.Backend(v)
		return (ring.Config{Backend: *to}).Validate()
	})
}

// outputs are where results go.
type outputs struct {
	json, html                  string
	gobench, hgrm, hlog, series string
	profile                     string
}

// ofSweep refuses what only a single run has.
func (o *outputs) ofSweep() error {
	if o.hgrm != "" || o.hlog != "" || o.series != "" || o.profile != "" {
		return fmt.Errorf("%w: a sweep has no -hgrm, -hlog, -series or -cpuprofile: they are of one run", bench.ErrUsage)
	}
	return nil
}

// list is names with commas between them.
func list[T ~string](s string) (out []T) {
	for name := range strings.SplitSeq(s, ",") {
		if name != "" {
			out = append(out, T(name))
		}
	}
	return out
}
