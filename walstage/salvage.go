package walstage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// Salvaged is what Salvage found intact and copied.
type Salvaged struct {
	Segments        int
	Groups, Records int64
	Bytes           int64 // of groups
	// Runs are stretches of whole groups that follow each other, by LSN: from a group's first byte to the
	// end of the last one's last record.
	Runs []Run
	// Headers are segments whose own header was damaged and was made again from the groups in them.
	Headers []string
	// Failed are reads that failed; what lay there is not in the copy.
	Failed []error
}

// Run is an unbroken stretch of the log.
type Run struct {
	From, To page.LSN
	Records  int64

	chain uint32
}

// Salvage copies every whole group, wherever damage lies between, to the same places of segments of
// the same names in another directory, which must not hold any. What is damaged is zeros there. It
// judges nothing and changes nothing in its own directory. The copy is durable when Salvage returns;
// the directory's own name is the caller's to flush.
func (d *Dir) Salvage(ctx context.Context, to Options) (*Salvaged, error) {
	if names, err := listSegments(&to); err != nil || len(names) > 0 {
		return nil, errors.Join(err, &Error{Op: "salvage to", File: to.Dir, Err: fs.ErrExist})
	}
	if err := d.readHeadersOf(); err != nil {
		return nil, err
	}
	r := &Salvaged{}
	for _, s := range d.segs.list {
		if err := d.salvageSegment(ctx, s, &to, r); err != nil {
			return r, err
		}
	}
	if err := d.salvageHeaders(ctx, &to, r); err != nil {
		return r, err
	}
	if err := to.FS.SyncDir(to.Dir); err != nil {
		return r, &Error{Op: "flush directory", File: to.Dir, Err: err}
	}
	return r, nil
}

// salvageHeaders copies the ring of headers: without it the copy of a log would lose evidence.
func (d *Dir) salvageHeaders(ctx context.Context, to *Options, r *Salvaged) error {
	if d.headers == nil {
		return nil
	}
	if err := d.headers.read(&d.o); err != nil {
		r.Failed = append(r.Failed, err)
	}
	o := *to
	o.Block, o.Buffered = d.o.Block, d.o.Buffered
	ringed, err := makeHeaders(ctx, &o, nil)
	if err != nil {
		return err
	}
	head := make([]byte, groupHeaderSize)
	for i := range d.headers.copies {
		h := &d.headers.copies[i]
		h.header.encode(head)
		if err := ringed.write(&o, CommitFlush, h, head); err != nil {
			return errors.Join(err, ringed.close())
		}
	}
	return ringed.close()
}

// readHeadersOf reads the headers of segments and takes each by itself.
func (d *Dir) readHeadersOf() error {
	buf := aligned.Alloc(d.o.Block, d.o.Block)
	for _, s := range d.segs.list {
		if s.formatted {
			continue
		}
		err := s.readHeader(&d.o, buf)
		var failed *ring.Error
		if errors.As(err, &failed) {
			s.why = err // a header that cannot be read is as good as a damaged one
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) salvageSegment(ctx context.Context, s *segment, to *Options, r *Salvaged) (err error) {
	w := newWalker(&d.o, 0)
	var out *segment
	defer func() {
		if out != nil {
			err = errors.Join(err, out.file.Close())
		}
	}()
	var failed error
	behind := int64(0)
	err = w.search(ctx, place{s, int64(d.o.Block)}, func(p place, h groupHeader) bool {
		if p.off < behind {
			return false // within the last one: what lies there is its payload
		}
		g, err := w.groupAt(p)
		if err != nil {
			if !isDamage(err) {
				r.Failed = append(r.Failed, err)
			}
			return false
		}
		behind = g.next().off
		if out == nil {
			if out, failed = d.salvageInto(s, &h, to, r); failed != nil {
				return true
			}
		}
		failed = d.copyGroup(w, &g, out, to, r)
		return failed != nil
	})
	switch {
	case failed != nil:
		return failed
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.Failed = append(r.Failed, err)
	}
	if out == nil && s.formatted { // empty, and the next one if the log goes on
		out, err = d.salvageInto(s, nil, to, r)
		if err != nil {
			return err
		}
	}
	if out == nil {
		return nil
	}
	return out.flush(to, ring.Sync)
}

// salvageInto makes the copy of a segment, without its groups. A segment without a header of its own
// gets one that says what a group in it says.
func (d *Dir) salvageInto(s *segment, h *groupHeader, to *Options, r *Salvaged) (*segment, error) {
	path := filepath.Join(to.Dir, s.name)
	f, err := to.FS.Open(path, fsys.OpenFlags{Create: true, Direct: !d.o.Buffered})
	if err != nil {
		return nil, &Error{Op: "create", File: path, Err: err}
	}
	out := &segment{file: f, name: s.name, seq: s.seq}
	first, length, epoch := s.first, s.length, s.epoch
	if !s.formatted {
		first, length, epoch = h.lsn-page.LSN(h.off), s.size, h.epoch
		r.Headers = append(r.Headers, s.name)
	}
	out.size = length
	err = f.Preallocate(0, length)
	if err == nil {
		err = out.zero(to, aligned.Zeros(zeroChunk, d.o.Block), 0, length)
	}
	if err == nil {
		o := *to
		o.EngineID, o.Block = d.o.EngineID, d.o.Block
		err = out.writeHeader(&o, aligned.Alloc(o.Block, o.Block), first, length, epoch)
	}
	if err != nil {
		return nil, errors.Join(&Error{Op: "salvage to", File: path, Err: err}, f.Close())
	}
	r.Segments++
	return out, nil
}

func (d *Dir) copyGroup(w *walker, g *foundGroup, out *segment, to *Options, r *Salvaged) error {
	b, err := w.win.bytes(g.at.seg, g.at.off, int64(g.length))
	if err != nil {
		return err
	}
	op := ring.Op{Kind: ring.Write, File: out.file, Off: g.at.off, Buf: b}
	if err := to.Ring.Do(&op); err != nil {
		return &Error{Op: "salvage to", File: filepath.Join(to.Dir, out.name), LSN: g.lsn, Err: err}
	}
	r.Groups++
	r.Records += int64(g.records)
	r.Bytes += int64(g.length)
	last := g.lsn + groupHeaderSize + page.LSN(len(g.payload))
	n := len(r.Runs)
	if n == 0 || g.prev != r.Runs[n-1].chain {
		r.Runs = append(r.Runs, Run{From: g.lsn})
		n++
	}
	run := &r.Runs[n-1]
	run.To, run.chain = last, g.crc
	run.Records += int64(g.records)
	return nil
}

func (r Run) String() string {
	return fmt.Sprintf("LSN %d through %d, %d records", r.From, r.To, r.Records)
}
