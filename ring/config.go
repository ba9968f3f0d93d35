package ring

import (
	"errors"
	"fmt"
	"math/bits"
)

// Backend names a way to do I/O.
type Backend string

// The backends New makes. The zero value is Auto.
const (
	Auto    Backend = "auto"    // Uring where it works, else Threads
	Uring   Backend = "uring"   // io_uring, or an error
	Threads Backend = "threads" // a bounded set of goroutines in pread, pwrite, pwritev2
	// Buffered is Threads under another name in Info: whether I/O bypasses the page cache is
	// decided where a file is opened (fsys.OpenFlags.Direct), and nothing in here depends on it.
	Buffered Backend = "buffered"
)

// FlushBy says how the io_uring backend runs DataSync and Sync.
type FlushBy uint8

// The values of FlushBy.
const (
	FlushAuto   FlushBy = iota // what measured best: see the package comment
	FlushWorker                // fdatasync(2) in a goroutine
	FlushRing                  // IORING_OP_FSYNC, which the kernel runs in a worker thread of its own
)

// Config says how to make a ring. The zero value is a good one.
type Config struct {
	Backend Backend // Auto if empty
	// Entries is the most ops in flight, and queued in the threaded backends; a Submit beyond
	// waits. Rounded up to a power of two; 0 = 256, at most 16384.
	Entries int
	// Workers is the most goroutines, each occupying a thread while its call lasts, of the
	// threaded backends: their queue depth. 0 = 32. The io_uring backend uses a few for flushes.
	Workers int
	// Group is the most entries handed to the kernel by one system call: 0 = 4. More saves system
	// calls, but the block layer then plugs the group and loses more than was saved.
	Group int
	// FlushBy is for the io_uring backend only.
	FlushBy FlushBy
}

const (
	defaultEntries = 256
	maxEntries     = 16384
	defaultWorkers = 32
	maxWorkers     = 1024
	defaultGroup   = 4
)

func (c Config) withDefaults() Config {
	if c.Backend == "" {
		c.Backend = Auto
	}
	if c.Entries == 0 {
		c.Entries = defaultEntries
	}
	if c.Workers == 0 {
		c.Workers = defaultWorkers
	}
	if c.Group == 0 {
		c.Group = defaultGroup
	}
	if c.FlushBy == FlushAuto {
		c.FlushBy = FlushWorker
	}
	return c
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	switch c.Backend {
	case Auto, Uring, Threads, Buffered:
	default:
		errs = append(errs, fmt.Errorf("ring: unknown backend %q", string(c.Backend)))
	}
	bad := func(what string, v, limit int) {
		if v < 1 || v > limit {
			errs = append(errs, fmt.Errorf("ring: %s is %d, want 1 to %d", what, v, limit))
		}
	}
	bad("Entries", c.Entries, maxEntries)
	bad("Workers", c.Workers, maxWorkers)
	bad("Group", c.Group, maxEntries)
	if c.FlushBy > FlushRing {
		errs = append(errs, fmt.Errorf("ring: FlushBy is %d", c.FlushBy))
	}
	return errors.Join(errs...)
}

// New makes a ring. With Auto it never fails for lack of io_uring; Info().Reason says what was
// taken and why.
func New(cfg Config) (Ring, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	cfg.Entries = 1 << bits.Len(uint(cfg.Entries-1))
	switch cfg.Backend {
	case Threads, Buffered:
		return newThreads(cfg, string(cfg.Backend)+" asked for"), nil
	case Uring:
		r, err := newUring(cfg, "uring asked for")
		if err != nil {
			return nil, fmt.Errorf("ring: io_uring: %w", err)
		}
		return r, nil
	default:
		r, err := newUring(cfg, "io_uring works here")
		if err != nil {
			cfg.Backend = Threads
			return newThreads(cfg, "no io_uring: "+err.Error()), nil
		}
		return r, nil
	}
}
