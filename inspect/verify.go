package inspect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// Severity is what a finding means.
type Severity string

// The severities.
const (
	// Repairable: the next open puts it right, with nothing lost.
	Repairable Severity = "repairable"
	// Damaged: what was there cannot be had back from this directory.
	Damaged Severity = "damaged"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	Where    string   `json:"where"`
	What     string   `json:"what"`
}

// Verdict is the outcome of Verify. OK means that nothing was found.
type Verdict struct {
	Schema   int       `json:"schema"`
	Dir      string    `json:"dir"`
	OK       bool      `json:"ok"`
	Health   string    `json:"health"`
	InUse    bool      `json:"in_use"`
	Findings []Finding `json:"findings"`
	Notes    []string  `json:"notes"`

	Files           int     `json:"files"`
	Pages           uint64  `json:"pages"`
	Bytes           int64   `json:"bytes"`
	Records         int64   `json:"records"`
	PagesRepairable uint64  `json:"pages_repairable"`
	PagesDamaged    uint64  `json:"pages_damaged"` // and not repairable
	Seconds         float64 `json:"seconds"`
}

func (v *Verdict) find(s Severity, where, format string, a ...any) {
	v.Findings = append(v.Findings, Finding{s, where, fmt.Sprintf(format, a...)})
}

// Verify judges the directory as the next open would, and reads every page. progress is told how
// many bytes of how many have been read; nil = nobody is.
func (d *Dir) Verify(ctx context.Context, progress func(done, total int64)) (*Verdict, error) {
	begun := time.Now()
	s, err := d.Look(ctx)
	if err != nil {
		return nil, err
	}
	v := &Verdict{Schema: 1, Dir: s.Dir, Health: s.Health, InUse: s.InUse, Findings: []Finding{},
		Notes: s.Notes}
	for _, p := range s.Problems {
		v.find(Damaged, "directory", "%s", p)
	}
	v.superCopies(s)
	if s.State != nil {
		if err := d.verifyState(ctx, v, progress); err != nil {
			return nil, err
		}
	}
	v.OK = len(v.Findings) == 0
	v.Seconds = time.Since(begun).Seconds()
	return v, nil
}

// superCopies: one or two bad copies are rewritten by the next change of super.
func (v *Verdict) superCopies(s *Summary) {
	for _, c := range s.Super {
		if !c.Valid {
			v.find(Repairable, "super", "copy %d: %s", c.Copy, c.Why)
		}
	}
}

// verifyState goes on from super: log, doublewrite evidence, pages.
func (d *Dir) verifyState(ctx context.Context, v *Verdict, progress func(done, total int64)) error {
	copies, err := d.copies()
	if err != nil {
		v.find(Damaged, "super", "%v", err)
		return nil
	}
	st, _, _ := newest(copies)
	if st == nil {
		return nil // Look has reported
	}
	if log, err := d.peek(ctx, st); err == nil {
		if full, err := catalog(ctx, st, log); err == nil {
			st = full
		}
		if err := log.Close(); err != nil {
			return err
		}
	}
	files := d.openAll(st)
	defer func() {
		for _, f := range files {
			_ = f.io.Close() // only read
		}
	}()
	ev, err := d.judge(ctx, v, st, files)
	if err != nil {
		return err
	}
	p := &pages{d: d, v: v, clean: st.Clean, report: progress}
	if ev != nil {
		p.plan = func() (*recovery.Plan, error) {
			return recovery.MakePlan(ctx, d.input(st, files,
				ev), ev.Evidence)
		}
	}
	return p.verify(ctx, files)
}

// openAll opens the data files that can be opened; Look has reported the others.
func (d *Dir) openAll(st *super.State) []*dataFile {
	var files []*dataFile
	for i := range st.Files {
		if f, err := d.openData(st, &st.Files[i]); err == nil {
			files = append(files, f)
		}
	}
	return files
}

// evidence is what recovery would read of the doublewrite file.
type evidence struct {
	*recovery.Evidence
	dwb fsys.File
}

func (d *Dir) input(st *super.State, files []*dataFile, ev *evidence) recovery.Input {
	return recovery.Input{
		Ring: d.ring, DWB: ev.dwb, Geometry: untorn.DWBGeometry(st), Engine: st.Engine,
		Watermark: st.Watermark,
		File: func(id page.FileID) *stages.File {
			for _, f := range files {
				if f.info.ID == id {
					return f.desc
				}
			}
			return nil
		},
	}
}

// overtaken is how often in a row a look may be overtaken by a checkpoint.
const overtaken = 10

// judge scans doublewrite headers and log with the rules of an open (I6, I10).
func (d *Dir) judge(ctx context.Context, v *Verdict, st *super.State, files []*dataFile) (*evidence,
	error) {
	type outcome struct {
		ev      *evidence
		found   []Finding
		records int64
	}
	look := func() outcome {
		var o outcome
		bad := func(where string, err error) {
			o.found = append(o.found, Finding{Damaged, where, err.Error()})
		}
		if now, _, _ := d.newestState(); now != nil && now.Epoch == st.Epoch {
			st = now // a checkpoint since may have let go of the log that the older one begins in
		}
		claims := []walstage.Claim{{Epoch: st.Durable.Epoch, LSN: st.Durable.LSN, Source: "super"}}
		if !st.Clean {
			ev, err := d.scanDWB(ctx, st, files)
			if err != nil {
				bad("doublewrite", err)
			} else {
				o.ev = ev
				ev.LSNs(func(epoch uint64, lsn page.LSN, seq reclaim.Seq) {
					claims = append(claims, walstage.Claim{Epoch: epoch, LSN: lsn,
						Source: "doublewrite batch " + seq.String()})
				})
			}
		}
		tail, err := d.scanLog(ctx, st, claims)
		if err != nil {
			bad("log", err)
		} else {
			o.records = tail.Records
			if o.ev != nil {
				o.ev.Raise(reclaim.Seq{Epoch: tail.Mark.Epoch, Num: tail.Mark.Num})
			}
		}
		return o
	}
	o, err := again(ctx, func() (outcome, bool) {
		o := look()
		// A checkpoint that let go of the log while it was read recycled segments under our eyes: that
		// look counts for nothing.
		for range overtaken {
			now, _, _ := d.newestState()
			if len(o.found) == 0 || ctx.Err() != nil || now == nil || now.Redo == st.Redo {
				break
			}
			o = look()
		}
		return o, len(o.found) == 0
	})
	v.Findings = append(v.Findings, o.found...)
	v.Records = o.records
	return o.ev, err
}

func (d *Dir) scanDWB(ctx context.Context, st *super.State, files []*dataFile) (*evidence, error) {
	f, err := d.open(d.layout.DWB(), false)
	if err != nil {
		return nil, err
	}
	// The file stays open for the plan, whose slots Scan has in memory: nothing is read from it.
	defer f.Close()
	ev := &evidence{dwb: f}
	ev.Evidence, err = recovery.Scan(ctx, d.input(st, files, ev))
	return ev, err
}

func (d *Dir) scanLog(ctx context.Context, st *super.State,
	claims []walstage.Claim) (*walstage.Tail, error) {
	log, err := walstage.OpenDir(ctx, walstage.Options{
		FS: d.fs, Ring: d.ring, Dir: d.layout.Log(), EngineID: st.Engine, Block: st.Block,
		SegmentBytes: st.LogSegment,
	}, true)
	if err != nil {
		return nil, err
	}
	tail, err := log.Scan(ctx, walstage.Evidence{Start: min(st.Redo.LSN, st.CatalogLSN),
		Known: claims, Clean: st.Clean, Cuts: untorn.LogCuts(st)})
	return tail, errors.Join(err, log.Close())
}

// Text is the verdict in words, most severe first.
func (v *Verdict) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", v.Dir, v.Health)
	fmt.Fprintf(&b, "%d data files, %d pages (%s), %d log records read, %.1f s\n",
		v.Files, v.Pages, size(v.Bytes), v.Records, v.Seconds)
	for _, n := range v.Notes {
		fmt.Fprintf(&b, "note        %s\n", n)
	}
	for _, s := range []Severity{Damaged, Repairable} {
		for _, f := range v.Findings {
			if f.Severity == s {
				fmt.Fprintf(&b, "%-11s %s: %s\n", f.Severity, f.Where, f.What)
			}
		}
	}
	switch {
	case v.OK:
		b.WriteString("sound: nothing was found\n")
	case v.damaged():
		b.WriteString("damaged: keep a copy of the directory, then see untornctl recover -dry-run for what an open would give up\n")
	default:
		b.WriteString("repairable: the next open puts this right, and so does untornctl recover\n")
	}
	return b.String()
}

func (v *Verdict) damaged() bool {
	for _, f := range v.Findings {
		if f.Severity == Damaged {
			return true
		}
	}
	return false
}
