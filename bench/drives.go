package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn/ring"
)

// drives measure the bounds of several sessions: one for each page size, in the first session's
// directory.
type drives map[int]*drive

// newDrives makes room for the most that any of the sessions keeps in flight.
func newDrives(ctx context.Context, ss []*session) (drives, error) {
	need := map[int]driveConfig{}
	var order []int
	for _, s := range ss {
		if s.c.BoundTime <= 0 {
			continue
		}
		c, ok := need[s.c.PageBytes]
		if !ok {
			order = append(order, s.c.PageBytes)
			c = driveConfig{page: s.c.PageBytes, backend: s.c.Backend, bytes: s.c.SizeBytes, seed: s.c.Seed, seqDir: s.copies}
			if s.c.Mode == NaiveBatch {
				c.backend = ring.Auto // the bound is the drive's, not the page cache's
			}
		}
		batch, depth, batches := s.c.cadence()
		c.batch, c.depth, c.batches = max(c.batch, batch), max(c.depth, depth), max(c.batches, batches)
		need[s.c.PageBytes] = c
	}
	ds := drives{}
	for _, k := range order {
		dir, err := ss[0].dirs[0].sub(fmt.Sprintf("drive-%d", k))
		if err != nil {
			return ds, err
		}
		d, err := newDrive(ctx, dir, need[k])
		if err != nil {
			return ds, err
		}
		ds[k] = d
	}
	return ds, nil
}

// of returns the drive for a session, at that session's cadence; nil if it has no bound.
func (ds drives) of(s *session) *drive {
	d := ds[s.c.PageBytes]
	if d == nil || s.c.BoundTime <= 0 {
		return nil
	}
	d.c.batch, d.c.depth, d.c.batches = s.c.cadence()
	d.c.callers, d.c.call, d.c.reads = 0, s.c.Batch, s.c.Reads
	d.c.reading = min(s.c.Clients*s.c.Batch, maxReads) // the engine has no bound for them
	if s.c.Dist == Seq {
		d.c.callers = s.c.Clients
	}
	return d
}

func (ds drives) close() error {
	var errs []error
	for _, d := range ds {
		errs = append(errs, d.close())
	}
	return errors.Join(errs...)
}

// label tells a configuration from the others of one run.
func (c *Config) label() string { return cmp.Or(c.name, string(c.Mode)) }
