package pull

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/torture"
)

// Round is what was told of one round.
type Round struct {
	Round      uint32 `json:"round"`
	Host       string `json:"host"`
	Started    string `json:"started"`
	End        string `json:"end"` // "" = killed
	PageAcks   uint64 `json:"page_acks"`
	RecordAcks uint64 `json:"record_acks"`
}

// Result of a verification. Fields are named as torture's.
type Result struct {
	Schema      int                 `json:"schema"`
	Mode        string              `json:"mode"`
	Mutant      string              `json:"mutant"`
	Seed        uint64              `json:"seed"`
	Dir         string              `json:"dir"`
	Rounds      int                 `json:"rounds"`
	Kills       int                 `json:"kills"` // rounds that ended without a goodbye
	Violations  int                 `json:"violations"`
	PageAcks    uint64              `json:"page_acks_checked"`
	RecordAcks  uint64              `json:"record_acks_checked"`
	PagesSeen   uint64              `json:"pages_verified"`
	RecordsSeen uint64              `json:"records_verified"`
	Installed   uint64              `json:"pages_recovered"`
	Damaged     uint64              `json:"damaged_while_written"`
	ToldCut     bool                `json:"told_cut_off"` // half a frame at the told file's end
	Told        []Round             `json:"told"`
	Stories     []torture.Violation `json:"stories"`
}

// ErrNothing: the told file has no rounds.
var ErrNothing = errors.New("nothing was told")

// Verify opens the directory, which recovers it if it was not closed in order, and judges it by the
// told file of that name. override is FileOptions.AtomicOverride.
func Verify(dir, toldFile, override string) (*Result, error) {
	f, err := os.Open(toldFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	res := &Result{Schema: 1, Dir: dir, Stories: []torture.Violation{}}
	last, j, err := hear(f, res)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", toldFile, err)
	}
	if s := j.Stopped(); s != "" {
		return nil, fmt.Errorf("the workload had no room: %s", s)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: is its file system mounted?", err)
	}
	if !st.IsDir() {
		return nil, fmt.Errorf("%s is no directory", dir)
	}
	// An open would make an engine where there is none.
	if _, err := os.Lstat(filepath.Join(dir, "super")); errors.Is(err, fs.ErrNotExist) {
		res.gone(j)
		return res, nil
	}
	m, err := stages.ParseMutant(last.Mutant)
	if last.Mutant != "" && err != nil {
		return nil, err
	}
	r, err := j.Look(&torture.Work{Dir: dir, Mode: last.Mode, Mutants: m, Seed: last.Seed, Round: last.Round,
		Shape: last.Shape, Override: override})
	if err != nil {
		return nil, err
	}
	res.PageAcks, res.RecordAcks, res.PagesSeen, res.RecordsSeen = r.PageAcks, r.RecordAcks, r.PagesSeen,
		r.RecordsSeen
	res.Installed, res.Damaged = r.Installed, r.Damaged
	res.Violations, res.Stories = r.Violations, r.Stories
	return res, nil
}

// gone judges a directory without an engine, which a crash while it was made may leave.
func (r *Result) gone(j *torture.Judge) {
	r.Stories = append(r.Stories, j.Violations()...)
	var acks uint64
	for _, t := range r.Told {
		acks += t.PageAcks + t.RecordAcks
	}
	if acks > 0 {
		r.Stories = append(r.Stories, torture.Violation{Round: r.Rounds,
			What: fmt.Sprintf("there is no engine in %s; %d acknowledgements had been told", r.Dir, acks)})
	}
	r.Violations = len(r.Stories)
}

// hear gives a judge everything that was told.
func hear(from io.Reader, res *Result) (last Session, j *torture.Judge, err error) {
	var now *Round
	_, err = readTold(from, func(s Session) error {
		if j == nil {
			j = torture.NewJudge(s.Mode, s.Seed, true)
			res.Mode, res.Mutant, res.Seed = string(s.Mode), s.Mutant, s.Seed
		}
		if s.Mode != last.Mode && last.Round > 0 || s.Seed != res.Seed {
			return errors.New("its rounds are not of one directory")
		}
		j.Begin(s.Round)
		last = s
		res.Told = append(res.Told, Round{Round: s.Round, Host: s.Host, Started: s.Started.Format("2006-01-02 15:04:05")})
		now = &res.Told[len(res.Told)-1]
		res.Rounds++
		res.Kills++ // unless it says goodbye
		return nil
	}, func(f frame) error {
		if f.kind == kindEnd {
			now.End = string(f.payload)
			res.Kills--
			return nil
		}
		p, r := torture.Acks(f.payload)
		now.PageAcks += p
		now.RecordAcks += r
		return j.Told(f.payload)
	})
	if errors.Is(err, errCut) {
		res.ToldCut, err = true, nil
	}
	if err == nil && j == nil {
		err = ErrNothing
	}
	return last, j, err
}

// Write writes the result for people.
func (r *Result) Write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "round\tbegan (UTC)\thost\tpage acks\trecord acks\tend\t")
	for _, t := range r.Told {
		end := t.End
		if end == "" {
			end = "killed"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%d\t%d\t%s\t\n", t.Round, t.Started, t.Host, t.PageAcks, t.RecordAcks, end)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	p := func(format string, a ...any) { fmt.Fprintf(w, format+"\n", a...) }
	for _, v := range r.Stories {
		p("VIOLATION after round %d: %s", v.Round, v.What)
	}
	if r.ToldCut {
		p("the told file ends in the middle of a message, which was not counted")
	}
	mode := r.Mode + mutantText(r.Mutant)
	p("mode %s: %d rounds, %d of them killed; %d page and %d record acknowledgements checked; %d pages and %d records read, %d pages recovered",
		mode, r.Rounds, r.Kills, r.PageAcks, r.RecordAcks, r.PagesSeen, r.RecordsSeen, r.Installed)
	if r.Mode == string(untorn.ModeDetect) || r.Mode == string(untorn.ModeNone) {
		p("%d pages were found damaged that were being written when the power went: this mode does not protect them",
			r.Damaged)
	}
	if r.Violations == 0 {
		_, err := fmt.Fprintln(w, "no violations: everything that had been acknowledged is there, whole")
		return err
	}
	_, err := fmt.Fprintf(w, "%d violations. Keep the directory and the told file, and look with untornctl inspect, verify and dump; then ask hwprobe about the drive's cache and the file system's barriers\n",
		r.Violations)
	return err
}
