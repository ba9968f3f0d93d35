package certify

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/explore"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/torture"
)

// Config says what to certify, and how much to spend on it. Only Dir is required.
type Config struct {
	// Dir, WALDir and DWBDir are where the deployment has, or will have, its engine; the last two are
	// "" where they are Dir. Scratch directories are made in them, and removed; nothing else in them
	// is touched.
	Dir    string `json:"dir"`
	WALDir string `json:"wal_dir,omitempty"`
	DWBDir string `json:"dwb_dir,omitempty"`
	// Mode is one that promises whole pages; "" = doublewrite.
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

	controls []string // of a test; nil = those of the mode
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
	case untorn.ModeDetect, untorn.ModeNone:
		errs = append(errs, fmt.Errorf("mode %s does not promise whole pages: there is nothing to certify", c.Mode))
	default: // what cannot be tortured or explored cannot be certified
		errs = append(errs, (&torture.Config{Dir: "x", Rounds: 1, Mode: c.Mode}).Validate())
		for _, m := range c.explored() {
			errs = append(errs, explore.Options{Mode: m}.Validate())
		}
	}
	if !page.ValidSize(c.PageBytes) {
		errs = append(errs, fmt.Errorf("page size %d is not a power of two from 4 KiB to 64 KiB", c.PageBytes))
	}
	if c.Explore < 0 || c.Rounds < 1 {
		errs = append(errs, errors.New("exploring and torturing take more than nothing"))
	}
	return errors.Join(errs...)
}

// explored are the modes to explore: auto may come to either.
func (c *Config) explored() []untorn.Mode {
	if c.Mode == untorn.ModeAuto {
		return []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeAtomic}
	}
	return []untorn.Mode{c.Mode}
}

// controlsOf are broken variants of rules that a mode rests on: who finds them would find others.
// docs/faults.md has them all.
func controlsOf(m untorn.Mode) []string {
	all := []string{"dest-before-flush", "ack-early", "reuse-early"}
	if m == untorn.ModeFullpage || m == untorn.ModeShadow {
		all = append(all, "image-skipped")
	}
	return all
}

// withoutCopy reports whether pages may be written without a second copy.
func (c *Config) withoutCopy() bool {
	return c.Mode == untorn.ModeAtomic || c.Mode == untorn.ModeAuto
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
