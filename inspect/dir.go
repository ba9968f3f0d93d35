package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Dir is a directory being looked at.
type Dir struct {
	layout untorn.Layout
	fs     fsys.FS
	ring   ring.Ring
}

// Open begins to look at a directory. One that is not there, or holds nothing of an engine's, is an
// error.
func Open(l untorn.Layout) (*Dir, error) {
	// Reads one at a time, in the goroutine that wants them: threads do, everywhere.
	r, err := ring.New(ring.Config{Backend: ring.Threads, Workers: 4})
	if err != nil {
		return nil, err
	}
	d := &Dir{layout: l, fs: unlocked{fsys.OS()}, ring: r}
	if err := d.recognise(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return d, nil
}

// Close releases what Open took.
func (d *Dir) Close() error { return d.ring.Close() }

// recognise refuses what is no engine directory. One part of it is enough: the rest may be lost.
func (d *Dir) recognise() error {
	root, err := d.fs.Stat(d.layout.Dir())
	if err != nil {
		return err
	}
	if root.Kind != fsys.Dir {
		return wrong(d.layout.Dir(), untorn.ErrNotEngine)
	}
	for _, path := range []string{d.layout.Super(), d.layout.Log(), d.layout.DWB(), d.layout.Data(),
		d.layout.Unfinished()} {
		if _, err := d.fs.Stat(path); err == nil {
			return nil
		}
	}
	return wrong(d.layout.Dir(), untorn.ErrNotEngine)
}

// open opens a file of the directory for reading.
func (d *Dir) open(path string, device bool) (fsys.File, error) {
	return d.fs.Open(path, fsys.OpenFlags{ReadOnly: true, Direct: true, Device: device})
}

// read reads [off, off+n) of an open file, less if the file is shorter. off and n are multiples of
// the largest block there is (1 MiB) or of the file's own.
func (d *Dir) read(f fsys.File, off, n int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	a := max(4096, int64(f.Align().Block))
	n = min(n, size-off) / a * a
	if n <= 0 {
		return nil, nil
	}
	b := aligned.Alloc(int(n), int(a))
	return b, d.ring.Do(&ring.Op{Kind: ring.Read, File: f, Off: off, Buf: b})
}

// copies reads super.
func (d *Dir) copies() ([]super.Copy, error) {
	f, err := d.open(d.layout.Super(), false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := d.read(f, 0, super.FileBytes)
	if err == nil {
		return super.DecodeCopies(b), nil
	}
	// One bad sector must not hide the other copies.
	out := super.DecodeCopies(nil)
	for i := range out {
		b, err := d.read(f, int64(i)*super.Zone, super.Zone)
		if err != nil {
			out[i].Err = err
			continue
		}
		one := super.DecodeCopies(b)[0]
		one.Index = i
		out[i] = one
	}
	return out, nil
}

// newest is the state an open would take, and how many copies are valid.
func newest(copies []super.Copy) (st *super.State, seq uint64, valid int) {
	for _, c := range copies {
		if c.State == nil {
			continue
		}
		valid++
		if c.Seq > seq {
			st, seq = c.State, c.Seq
		}
	}
	return st, seq, valid
}

// peek opens the log. st may be nil.
func (d *Dir) peek(ctx context.Context, st *super.State) (*walstage.Peek, error) {
	o := walstage.Options{FS: d.fs, Ring: d.ring, Dir: d.layout.Log()}
	if st != nil {
		o.EngineID, o.Block = st.Engine, st.Block
	}
	p, err := walstage.OpenPeek(ctx, o)
	if err == nil && st != nil {
		p.SetCuts(untorn.LogCuts(st))
	}
	return p, err
}

// catalog is the state with the engine records of the log applied that it does not have yet.
func catalog(ctx context.Context, st *super.State, log *walstage.Peek) (*super.State, error) {
	st = st.Clone()
	var bad error
	_, _, err := log.Walk(ctx, st.CatalogLSN, func(g *walstage.GroupHead) bool {
		err := g.Each(func(r walstage.Record) bool {
			if r.Kind == 0 || r.Kind == pageimage.Kind || r.Start < st.CatalogLSN {
				return true
			}
			c, err := untorn.ParseCatalogChange(r.Kind, r.Data)
			if err != nil {
				bad = fmt.Errorf("record at LSN %d: %w", r.Start, err)
				return false
			}
			c.Apply(st)
			return true
		})
		bad = errors.Join(bad, err)
		return bad == nil
	})
	return st, errors.Join(bad, err)
}

// again calls f until it finds nothing wrong, a few times: a running engine is caught in the middle
// of things. What is still wrong the last time is.
func again[T any](ctx context.Context, f func() (T, bool)) (T, error) {
	for _, wait := range []time.Duration{20, 100, 300} {
		v, fine := f()
		if fine {
			return v, ctx.Err()
		}
		select {
		case <-time.After(wait * time.Millisecond):
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
	v, _ := f()
	return v, ctx.Err()
}

// gone tells a file that went away while it was looked at.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
