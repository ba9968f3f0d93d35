package hwprobe

import "time"

// DefaultPages are the page sizes asked about where nobody says which.
func DefaultPages() []int { return []int{4096, 8192, 16384, 32768, 65536} }

// Options say how to probe. The zero value reads everything that can be read, writes nothing, and
// masks serial numbers.
type Options struct {
	// Live runs the live probe (rule 13): RWF_ATOMIC writes to a nameless scratch file beside the
	// path. It is the only thing that writes.
	Live bool
	// LivePages are the page sizes the live probe tries; nil means DefaultPages.
	LivePages []int
	// NoProbeFile keeps Probe from making an empty, nameless file in a directory it is asked about;
	// it then looks at a file that is there.
	NoProbeFile bool
	// Serials keeps serial numbers and unique ids in the Report.
	Serials bool

	// root is where /sys, /proc and /dev are: tests lay out their own.
	root string
}

func (o Options) withDefaults() Options {
	if o.LivePages == nil {
		o.LivePages = DefaultPages()
	}
	if o.root == "" {
		o.root = "/"
	}
	return o
}

func stamp() string { return time.Now().UTC().Format(time.RFC3339) }
