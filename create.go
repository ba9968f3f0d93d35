package untorn

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// create makes a new engine directory, closed and clean. Super comes last, by rename: a directory
// with a super is whole. Until then a marker says that what is there may be thrown away.
func (p *places) create(ctx context.Context) error {
	o := p.o
	st, err := p.newState()
	if err != nil {
		return err
	}
	if err := errors.Join(geometry(st).Validate(), p.walOptions(st).Validate()); err != nil {
		return &Error{Op: "create", File: o.Dir, Err: fmt.Errorf("%w: %w", ErrOptions, err)}
	}
	for _, d := range p.roots() {
		if err := p.makeEmpty(marker(d)); err != nil {
			return err
		}
		if err := o.FS.SyncDir(d); err != nil {
			return &Error{Op: "flush directory", File: d, Err: err}
		}
	}
	for _, d := range p.folders() {
		if err := p.emptyDir(d); err != nil {
			return err
		}
	}
	if err := p.createDWB(ctx, st); err != nil {
		return err
	}
	if err := walstage.Create(ctx, p.walOptions(st), st.Epoch); err != nil {
		return err
	}
	for _, d := range p.roots() {
		if err := o.FS.SyncDir(d); err != nil {
			return &Error{Op: "flush directory", File: d, Err: err}
		}
		// The parent is outside of the place, and may be reached through a symlink: "/." follows it.
		if err := o.FS.SyncDir(filepath.Dir(d) + "/."); err != nil && !errors.Is(err, fs.ErrPermission) {
			return &Error{Op: "flush directory", File: filepath.Dir(d), Err: err}
		}
	}
	if err := p.createSuper(st); err != nil {
		return err
	}
	return p.unmark()
}

func (p *places) makeEmpty(path string) error {
	f, err := p.o.FS.Open(path, fsys.OpenFlags{Create: true})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return &Error{Op: "create", File: path, Err: err}
	}
	return f.Close()
}

// emptyDir makes a directory, or throws away what an unfinished creation left in it.
func (p *places) emptyDir(dir string) error {
	if err := p.o.FS.Mkdir(dir); err != nil {
		return &Error{Op: "make directory", File: dir, Err: err}
	}
	list, err := p.o.FS.ReadDir(dir)
	if err != nil {
		return &Error{Op: "list", File: dir, Err: err}
	}
	for _, x := range list {
		path := filepath.Join(dir, x.Name)
		if err := p.o.FS.Remove(path); err != nil {
			return &Error{Op: "remove", File: path, Err: err}
		}
	}
	return nil
}

// newState is the state of a directory without files. The protocol block is that of the place that
// needs the largest, found on a scratch file in each.
func (p *places) newState() (*super.State, error) {
	o := p.o
	st := &super.State{
		Created: time.Now().Unix(), Block: 4096, Epoch: 1, Clean: true,
		Stamp: super.Stamp{Epoch: 1}, Watermark: reclaim.Seq{Epoch: 1}, NextFile: 1,
	}
	if _, err := rand.Read(st.Engine[:]); err != nil {
		return nil, err
	}
	for _, d := range p.roots() {
		block, err := p.blockOf(d)
		if err != nil {
			return nil, err
		}
		st.Block = max(st.Block, block)
	}
	st.LogSegment = o.SegmentBytes
	if st.LogSegment == 0 {
		st.LogSegment = 64 << 20
	}
	st.DWBBlock, st.DWBBatch, st.DWBRegions = st.Block, o.BatchBytes, o.Batches+o.Unflushed
	return st, nil
}

func (p *places) blockOf(dir string) (int, error) {
	path := filepath.Join(dir, "probe")
	if err := p.o.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, &Error{Op: "remove", File: path, Err: err}
	}
	f, err := p.o.FS.Open(path, fsys.OpenFlags{Create: true, Direct: p.direct()})
	if err != nil {
		return 0, &Error{Op: "create", File: path, Err: err}
	}
	block := f.Align().Block
	if err := errors.Join(f.Close(), p.o.FS.Remove(path)); err != nil {
		return 0, &Error{Op: "probe", File: path, Err: err}
	}
	return block, nil
}

func geometry(st *super.State) dwbstage.Geometry {
	return dwbstage.Geometry{Block: st.DWBBlock, Batch: st.DWBBatch, Regions: st.DWBRegions}
}

func (p *places) createDWB(ctx context.Context, st *super.State) error {
	g := geometry(st)
	f, err := openLocked(ctx, p.o, p.dwbPath(), fsys.OpenFlags{Create: true, Direct: p.direct()})
	if err != nil {
		return err
	}
	fill := func() error {
		if err := f.Preallocate(0, g.FileBytes()); err != nil {
			return err
		}
		if err := zero(ctx, p.ring, f, 0, g.FileBytes(), g.Block); err != nil {
			return err
		}
		head := aligned.Alloc(g.Block, g.Block)
		dwbstage.EncodeFileHeader(head, g, st.Engine)
		if err := p.ring.Do(&ring.Op{Kind: ring.Write, File: f, Buf: head}); err != nil {
			return err
		}
		if err := p.ring.Do(&ring.Op{Kind: ring.Sync, File: f}); err != nil {
			return err
		}
		return p.o.FS.SyncDir(filepath.Dir(p.dwbPath()))
	}
	if err := errors.Join(fill(), f.Close()); err != nil {
		return &Error{Op: "create", File: p.dwbPath(), Err: err}
	}
	return nil
}

// zero writes zeros over [off, end), both multiples of block, so that later data flushes carry no
// metadata: preallocation alone leaves unwritten extents.
func zero(ctx context.Context, r ring.Ring, f ring.File, off, end int64, block int) error {
	buf := aligned.Zeros(int(min(aligned.MaxZeros, end-off)), block)
	for off < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(int64(len(buf)), end-off)
		if err := r.Do(&ring.Op{Kind: ring.Write, File: f, Off: off, Buf: buf[:n]}); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// createSuper writes all four copies under another name and renames the file into place.
func (p *places) createSuper(st *super.State) error {
	tmp := p.superPath() + ".new"
	if err := p.o.FS.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{Op: "remove", File: tmp, Err: err}
	}
	f, err := openLocked(context.Background(), p.o, tmp, fsys.OpenFlags{Create: true, Direct: p.direct()})
	if err != nil {
		return err
	}
	fill := func() error {
		if err := f.Preallocate(0, super.FileBytes); err != nil {
			return err
		}
		if err := zero(context.Background(), p.ring, f, 0, super.FileBytes, st.Block); err != nil {
			return err
		}
		if err := super.NewStore(p.ring, f, p.o.alloc, st.Block, p.o.Mutants).Write(st); err != nil {
			return err
		}
		return p.ring.Do(&ring.Op{Kind: ring.Sync, File: f})
	}
	if err := errors.Join(fill(), f.Close()); err != nil {
		return &Error{Op: "create", File: tmp, Err: err}
	}
	if err := p.o.FS.Rename(tmp, p.superPath()); err != nil {
		return &Error{Op: "rename", File: tmp, Err: err}
	}
	if err := p.o.FS.SyncDir(p.o.Dir); err != nil {
		return &Error{Op: "flush directory", File: p.o.Dir, Err: err}
	}
	return nil
}

func (p *places) walOptions(st *super.State) walstage.Options {
	block := st.Block
	if p.o.Mutants.Has(stages.SubBlockGroup) {
		block = 512
	}
	return walstage.Options{
		FS: p.o.FS, Ring: p.ring, Dir: p.walDir(), EngineID: st.Engine, Block: block,
		SegmentBytes: st.LogSegment, MaxBytes: p.o.MaxLogBytes, Full: p.o.LogFull, InFlight: p.o.LogGroups, Buffered: !p.direct(),
		Alloc: p.o.Alloc, Commit: p.o.Commit, LockWait: p.o.LockWait, Depth: p.o.LogDepth, Mutants: p.o.Mutants,
		Policy: p.o.Policy, LossBytes: p.o.LossBytes, LossTime: p.o.LossTime, HeaderRing: p.o.LogHeaders, Fetch: p.o.FetchLog,
	}
}

// random64 is a number nobody else has: a file's incarnation. It always has 19 decimal digits, so that
// the record of a creation always has one length and a simulated schedule comes again.
func random64() (uint64, error) {
	var b [8]byte
	_, err := rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])>>4 | 1<<60, err
}
