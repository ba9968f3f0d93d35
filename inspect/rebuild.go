package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/super"
)

// RebuildOptions of RebuildSuper.
type RebuildOptions struct {
	DryRun bool
	// Force rebuilds although two copies are valid, or although a data file looks older than the rest.
	Force bool
	// Files are data files that lie outside of the directory.
	Files []string
}

// Conclusion is one thing that a rebuilt super says, and from what that follows.
type Conclusion struct {
	What  string `json:"what"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// Rebuilt is the outcome of RebuildSuper.
type Rebuilt struct {
	Schema      int          `json:"schema"`
	Dir         string       `json:"dir"`
	ValidCopies int          `json:"valid_copies"`
	Conclusions []Conclusion `json:"conclusions"`
	Warnings    []string     `json:"warnings"`
	Files       []File       `json:"files"`
	State       *State       `json:"state"`
	Written     bool         `json:"written"`
}

// ErrEnough is a directory whose super needs no rebuilding.
var ErrEnough = errors.New("two or more copies of super are valid: an open repairs the others by itself")

// RebuildSuper makes super again from evidence, when fewer than two copies are valid. It is
// conservative: the result never claims a clean close, an epoch that was used, or more durability
// or a higher watermark than something proves. The next open then recovers as after a crash.
func (d *Dir) RebuildSuper(ctx context.Context, o RebuildOptions) (*Rebuilt, error) {
	r := &Rebuilt{Schema: 1, Dir: d.layout.Dir(), Conclusions: []Conclusion{}, Warnings: []string{},
		Files: []File{}}
	decide := func() (*super.State, error) {
		t, err := d.follow(ctx, o.Files)
		if err != nil {
			return nil, err
		}
		if r.ValidCopies = t.valid; t.valid >= 2 && !o.Force {
			return nil, ErrEnough
		}
		st, err := r.conclude(t, o.Force)
		r.Warnings = append(r.Warnings, t.warnings...)
		return st, err
	}
	if o.DryRun {
		_, err := decide()
		return r, err
	}
	roots := d.layout.Roots()
	opt := untorn.Options{Dir: roots[0], WALDir: d.layout.WALRoot(), DWBDir: d.layout.DWBRoot()}
	err := untorn.ReplaceSuper(ctx, opt, decide)
	r.Written = err == nil
	return r, err
}

func (r *Rebuilt) say(what, from, format string, a ...any) {
	r.Conclusions = append(r.Conclusions, Conclusion{what, fmt.Sprintf(format, a...), from})
}

// conclude turns the trail into a state.
func (r *Rebuilt) conclude(t *trail, force bool) (*super.State, error) {
	var st *super.State
	if t.base != nil {
		st = t.base.Clone()
		r.say("base", "the valid copy", "written in epoch %d", st.Epoch)
	} else {
		st = &super.State{}
		r.say("base", "no copy is valid", "none: everything from the other files")
		t.warn("the caller's checkpoint payload is lost: LastCheckpoint will return none")
		t.warn("cuts of the log are lost: records that TruncateAfter had cut off are there again")
	}
	st.Engine = t.engine
	st.Clean, st.Recoveries, st.Recovering = false, 0, 0
	r.say("engine id", "every header found", "%x", st.Engine)
	r.say("closed in order", "never claimed", "no")
	st.Epoch = t.epoch + 1
	r.say("epoch", "one above the highest seen in super, log, doublewrite and data files", "%d",
		st.Epoch)
	st.Watermark = st.Watermark.Max(t.mark)
	r.say("watermark", "the highest that a header or group proves", "%s", st.Watermark)
	st.NextFile = max(st.NextFile, t.nextID)
	r.say("next file id", "one above the highest seen", "%d", st.NextFile)
	if st.Block = max(st.Block, t.block); st.Block != t.geometry.Block {
		return nil, fmt.Errorf("%w: the log has a protocol block of %d, the doublewrite file one of %d",
			errEvidence, st.Block, t.geometry.Block)
	}
	st.DWBBlock, st.DWBBatch, st.DWBRegions = t.geometry.Block, t.geometry.Batch, t.geometry.Regions
	r.say("doublewrite file", t.shape, "%d regions of %s", st.DWBRegions, size(int64(st.DWBBatch)))
	r.positions(t, st)
	if err := r.catalogue(t, st, force); err != nil {
		return nil, err
	}
	r.State = stateOf(st)
	return st, nil
}

// positions: where replay begins, and how far the log had been durable.
func (r *Rebuilt) positions(t *trail, st *super.State) {
	st.LogSegment = t.log.segment
	if t.base == nil {
		st.Created = time.Now().Unix()
		st.Redo = super.EpochLSN{Epoch: t.log.epoch, LSN: t.log.begin}
		st.Durable = t.log.durable
		// Every engine record of the log is in the catalogue below.
		st.CatalogLSN = t.log.last
		r.say("replay begins", "the start of the log: the checkpoint is not known", "LSN %d",
			st.Redo.LSN)
		r.say("log durable", "the last whole group's own word", "LSN %d in epoch %d",
			st.Durable.LSN, st.Durable.Epoch)
		return
	}
	r.say("replay begins", "the valid copy", "LSN %d", st.Redo.LSN)
	r.say("log durable", "the valid copy", "LSN %d in epoch %d", st.Durable.LSN, st.Durable.Epoch)
	if st.Redo.LSN < t.log.begin {
		t.warn("the valid copy begins replay at LSN %d, but the log only goes back to %d: a later checkpoint must have let go of it",
			st.Redo.LSN, t.log.begin)
		st.Redo.LSN = t.log.begin
	}
	st.CatalogLSN = max(st.CatalogLSN, t.log.begin)
}

// catalogue: with a copy its own, which the next open brings up to date from the log; without one
// the data files' headers, changed by the log's engine records.
func (r *Rebuilt) catalogue(t *trail, st *super.State, force bool) error {
	if t.base == nil {
		if err := r.fromHeaders(t, st, force); err != nil {
			return err
		}
	} else {
		r.say("data files", "the valid copy; the next open applies the log's engine records", "%d",
			len(st.Files))
	}
	for i := range st.Files {
		f := &st.Files[i]
		x := File{ID: uint32(f.ID), Name: f.Name, Path: f.Path, Mode: f.Mode, Format: f.Format,
			PageBytes: f.PageSize, Pages: f.Pages}
		found := false
		for _, h := range t.files {
			if h.head.File.ID == f.ID {
				stamp := h.head.Stamp
				x.Bytes, x.Stamp, found = h.bytes, fmt.Sprintf("%d/%d", stamp.Epoch, stamp.Checkpoint), true
			}
		}
		if !found {
			x.Why = "not found"
			t.warn("data file %s (%d) is not where it was looked for (%q): the next open will miss it; name it with -file",
				f.Name, f.ID, f.Path)
		}
		r.Files = append(r.Files, x)
	}
	return nil
}

func (r *Rebuilt) fromHeaders(t *trail, st *super.State, force bool) error {
	for _, x := range t.files {
		st.Files = append(st.Files, x.head.File)
	}
	created := map[page.FileID]bool{}
	for i := range t.changes {
		created[t.changes[i].File.ID] = created[t.changes[i].File.ID] || t.changes[i].Op == "create"
		t.changes[i].Apply(st)
	}
	names := map[string]page.FileID{}
	for i := range st.Files {
		f := &st.Files[i]
		if o, taken := names[f.Name]; taken {
			was := f.Name
			f.Name = fmt.Sprintf("%s.%d", was, f.ID)
			t.warn("data files %d and %d both have the name %q; the latter is now %q", o, f.ID, was,
				f.Name)
		}
		names[f.Name] = f.ID
	}
	for _, x := range t.files {
		f := st.ByID(x.head.File.ID)
		switch {
		case f == nil: // removed
			continue
		case x.head.Seq <= 2 && !created[f.ID]:
			t.warn("data file %s (%d) may be what an unfinished creation left: it is kept", f.Name,
				f.ID)
		case x.pages < f.Pages:
			t.warn("data file %s has room for %d pages of %d: it was cut, and the next open will refuse it",
				f.Name, x.pages, f.Pages)
		}
	}
	r.say("data files", fmt.Sprintf("%d headers and %d engine records of the log", len(t.files),
		len(t.changes)), "%d", len(st.Files))
	t.warn("modes are those stamped into the files last; pass FileOptions.Mode if one was changed since")
	return r.stamp(t, st, force)
}

// stamp: super's is never ahead of a file's. A checkpoint stamps the files before super, so they
// may differ by one; a file further behind is an old copy.
func (r *Rebuilt) stamp(t *trail, st *super.State, force bool) error {
	var low, high *dataTrail
	for i := range t.files {
		x := &t.files[i]
		if st.ByID(x.head.File.ID) == nil {
			continue
		}
		if low == nil || x.head.Stamp.Before(low.head.Stamp) {
			low = x
		}
		if high == nil || high.head.Stamp.Before(x.head.Stamp) {
			high = x
		}
	}
	if low == nil {
		st.Stamp = super.Stamp{Epoch: t.epoch}
		return nil
	}
	st.Stamp = low.head.Stamp
	r.say("checkpoint", "the lowest stamp of a data file", "number %d in epoch %d",
		st.Stamp.Checkpoint, st.Stamp.Epoch)
	if a, b := low.head.Stamp.Checkpoint, high.head.Stamp.Checkpoint; a+1 < b {
		err := fmt.Errorf("%w: data file %s was stamped last at checkpoint %d, %s at %d: the first was restored from an older copy; -force takes it all the same",
			errEvidence, low.head.File.Name, a, high.head.File.Name, b)
		if !force {
			return err
		}
		t.warn("%v", err)
	}
	return nil
}

// Write writes the conclusions for people.
func (r *Rebuilt) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s: %d of %d copies of super are valid\n\n", r.Dir, r.ValidCopies, super.Copies)
	t := newTable(w, "SUPER SAYS", "VALUE", "FROM")
	for _, c := range r.Conclusions {
		t.row(c.What, c.Value, c.From)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(r.Files) > 0 {
		fmt.Fprintln(w)
		t = newTable(w, "DATA FILE", "ID", "MODE", "PAGE", "PAGES", "SIZE", "STAMP")
		for _, f := range r.Files {
			t.row(f.Name, f.ID, f.Mode, size(int64(f.PageBytes)), f.Pages, size(f.Bytes),
				orDash(f.Stamp))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, x := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", x)
	}
	if r.Written {
		_, err := fmt.Fprintf(w,
			"super was written; the one before is kept as %s. Next: untornctl recover %s\n",
			untorn.ReplacedSuper, r.Dir)
		return err
	}
	_, err := fmt.Fprintln(w, "nothing was changed")
	return err
}

// Inconclusive reports whether RebuildSuper refused for what it found, and not because it could not
// look.
func Inconclusive(err error) bool {
	return errors.Is(err, errEvidence) || errors.Is(err, ErrEnough)
}
