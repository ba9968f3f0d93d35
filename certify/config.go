package certify

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
)

// Config says what to certify, and how much to spend on it. Only Dir is required.
type Config struct {
	// Dir, WALDir and DWBDir are where the deployment has, or will have, its engine; the last two are
	// "" where they are Dir. Scratch directories are made in them, and removed; nothing else in them
	// is touched.
	Dir    string `json:"dir"`
	WALDir string `json:"wal_dir,omitempty"`
	DWBDir string `json:"dwb_dir,omitempty"`
	// Mode is doublewrite (""), atomic or auto: modes that promise whole pages.
	Mode      untorn.Mode `json:"mode"`
	PageBytes int         `json:"page_bytes"` // 0 = 16 KiB
	// AtomicOverride is FileOptions.AtomicOverride; a certificate then says so.
	AtomicOverride string `json:"atomic_override,omitempty"`

	// Explore bounds the simulated power cuts, in time. 0 = one minute.
	Explore time.Duration `json:"explore_ns"`
	// Rounds of torture. 0 = 50; a fifth as many each for what needs a disk of its own.
	Rounds int    `json:"torture_rounds"`
	Seed   uint64 `json:"seed"` // 0 = 1
	// Quick leaves the limits out.
	Quick bool `json:"quick,omitempty"`

	// Progress is told which step is under way, and how it is going. nil = nobody is told.
	Progress func(step, line string) `json:"-"`
	// Done is told of each step that ended, with what there is of the profile by then.
	Done func(step, line string, p *Profile) error `json:"-"`
	// Command starts a child of torture (see torture.Config).
	Command []string  `json:"-"`
	Stderr  io.Writer `json:"-"`
}

func (c Config) withDefaults() Config {
	if c.Mode == "" {
		c.Mode = untorn.ModeDoublewrite
	}
	if c.PageBytes == 0 {
		c.PageBytes = untorn.DefaultPageSize
	}
	if c.Explore == 0 {
		c.Explore = time.Minute
	}
	if c.Rounds == 0 {
		c.Rounds = 50
	}
	if c.Seed == 0 {
		c.Seed = 1
	}
	return c
}

// Validate returns every complaint, joined.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("a directory is required"))
	}
	switch c.Mode {
	case untorn.ModeDoublewrite, untorn.ModeAtomic, untorn.ModeAuto:
	case untorn.ModeDetect, untorn.ModeNone:
		errs = append(errs, fmt.Errorf("mode %s does not promise whole pages: there is nothing to certify", c.Mode))
	case untorn.ModeFullpage, untorn.ModeShadow:
		errs = append(errs, fmt.Errorf("mode %s cannot be certified: torture does not replay records into pages, as it asks for", c.Mode))
	default:
		errs = append(errs, fmt.Errorf("unknown mode %q (doublewrite, atomic, auto)", c.Mode))
	}
	if !page.ValidSize(c.PageBytes) {
		errs = append(errs, fmt.Errorf("page size %d is not a power of two from 4 KiB to 64 KiB", c.PageBytes))
	}
	if c.Explore < 0 || c.Rounds < 1 {
		errs = append(errs, errors.New("exploring and torturing take more than nothing"))
	}
	return errors.Join(errs...)
}

// place is a directory and what it is for.
type place struct{ role, path string }

func (c *Config) places() []place {
	ps := []place{{"dir", c.Dir}}
	if c.WALDir != "" && c.WALDir != c.Dir {
		ps = append(ps, place{"wal", c.WALDir})
	}
	if c.DWBDir != "" && c.DWBDir != c.Dir {
		ps = append(ps, place{"dwb", c.DWBDir})
	}
	return ps
}
