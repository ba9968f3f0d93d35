// Command powercut cuts the power of a real file system, thousands of times: in a small virtual machine
// the torture workload runs on ext4 or XFS while qemu, or dm-log-writes in the guest, records what the
// disk is told; then every state that a power cut could have left is rebuilt from the log, mounted,
// opened (recovered), and judged by what had been acknowledged at that place of the log.
//
//	go run ./powercut                              the whole suite: ten minutes
//	go run ./powercut -fs xfs -states 3000         one recording, more states
//	go run ./powercut -fs ext4 -mutant skip-dwb-flush
//	go run ./powercut -fs ext4 -recorder dm        dm-log-writes instead of qemu's log; see docs/powercut.md
//	go run ./powercut -fs ext4 -mutant ack-early -keep K; go run ./powercut -replay K -at 312
//	go run ./powercut -fs xfs -pull 5              untornctl pull in a machine that dies five times
//
// It needs root for loop mounts; qemu and a kernel are fetched as nvmebed does. Where something is
// missing it says SKIP and why, and exits 0. Exit: 0 as it has to be (no violation, broken variants
// convicted), 1 not so, 2 usage, 3 could not run: also where the log is not in the disk's own order.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/powercut/tape"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/torture"
	"github.com/untorn/untorn/vm"
)

// config is the command line.
type config struct {
	from             vm.Source
	fs, mode, mutant string
	recorder, json   string
	seed             uint64
	states, jobs     int
	rounds           int
	life             time.Duration
	timeout          time.Duration
	keep, work       string
	replay           string
	at               int
	deaths           int
}

func main() {
	var c config
	flag.StringVar(&c.from.Cache, "cache", vm.DefaultCache(), "folder for packages and what is unpacked of them")
	flag.BoolVar(&c.from.NoFetch, "no-fetch", false, "fetch nothing; skip if something is missing")
	flag.DurationVar(&c.from.Timeout, "fetch-timeout", 3*time.Minute, "bound on fetching packages")
	flag.StringVar(&c.fs, "fs", "", "ext4 or xfs: one recording; default: the suite, on both")
	flag.StringVar(&c.mode, "mode", "doublewrite", "doublewrite, detect, none")
	flag.StringVar(&c.mutant, "mutant", "", "break a rule of the engine on purpose")
	flag.StringVar(&c.recorder, "recorder", "qemu", "qemu, or dm: dm-log-writes in the guest")
	flag.Uint64Var(&c.seed, "seed", 1, "of workload and states")
	flag.IntVar(&c.states, "states", 1000, "how many states to judge, about, of each recording")
	flag.IntVar(&c.jobs, "jobs", 2, "images judged at a time")
	flag.IntVar(&c.rounds, "rounds", 4, "lives of the engine in a recording; every other one is killed")
	flag.DurationVar(&c.life, "life", 5*time.Second, "of each of them")
	flag.DurationVar(&c.timeout, "timeout", 5*time.Minute, "bound on one guest's run")
	flag.StringVar(&c.keep, "keep", "", "leave log, base image and the disk of the last recording in this folder")
	flag.StringVar(&c.replay, "replay", "", "judge what -keep left in this folder, and record nothing")
	flag.IntVar(&c.at, "at", 0, "with -replay: only the place after this entry, as a violation names it")
	flag.StringVar(&c.work, "work", "", "folder for images; default one in memory (/dev/shm), if there is one")
	flag.IntVar(&c.deaths, "pull", 0, "instead: untornctl pull in a guest that dies so many times")
	flag.StringVar(&c.json, "json", "", `result for scripts, "-" = standard output`)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(exit(run(ctx, c)))
}

// errNotSo: something is not as it has to be; it has been said.
var errNotSo = errors.New("not so")

func exit(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, vm.ErrSkip):
		fmt.Fprintln(os.Stderr, "powercut:", err)
		return 0
	case errors.Is(err, errNotSo):
		return 1
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "powercut:", err)
		return 2
	}
	fmt.Fprintln(os.Stderr, "powercut:", err)
	return 3
}

var errUsage = errors.New("usage")

// shape has batches of more than a lone write may have (which is made durable by DSYNC), so that the
// flushes of the protocol are there to be forgotten.
func shape() torture.Shape {
	return torture.Shape{
		PageSize: 16 << 10, Pages: 160, MaxPages: 320, Batch: 512 << 10, Batches: 4, Unflushed: 2,
		Segment: 1 << 20, LogGroups: 2, Memory: 16 << 20, Depth: 64,
	}
}

// recordings are what is to be recorded.
func (c *config) recordings() ([]tape.Job, error) {
	job := tape.Job{FS: c.fs, Mode: untorn.Mode(c.mode), Mutant: c.mutant, Seed: c.seed, Rounds: c.rounds,
		Shape: shape(), Millis: int(c.life.Milliseconds()), Recorder: c.recorder}
	if c.mutant != "" {
		if _, err := stages.ParseMutant(c.mutant); err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	switch job.Mode {
	case untorn.ModeDoublewrite, untorn.ModeDetect, untorn.ModeNone:
	default:
		return nil, fmt.Errorf("%w: mode %q (doublewrite, detect, none)", errUsage, c.mode)
	}
	switch {
	case c.recorder != "qemu" && c.recorder != "dm":
		return nil, fmt.Errorf("%w: recorder %q (qemu, dm)", errUsage, c.recorder)
	case c.deaths < 0 || c.deaths > 0 && (c.recorder != "qemu" || c.replay != ""):
		return nil, fmt.Errorf("%w: -pull takes a number of deaths, and goes with neither -recorder dm nor -replay", errUsage)
	case c.states < 8 || c.jobs < 1 || c.jobs > 16 || c.rounds < 1 || c.rounds > 100 || job.Millis < 100:
		return nil, fmt.Errorf("%w: at least 8 states and 100 ms, 1 to 16 jobs, 1 to 100 rounds", errUsage)
	case c.fs == "ext4", c.fs == "xfs":
		return []tape.Job{job}, nil
	case c.fs != "":
		return nil, fmt.Errorf("%w: file system %q (ext4, xfs)", errUsage, c.fs)
	}
	type variant struct {
		mode             untorn.Mode
		mutant, recorder string
	}
	suite := []variant{
		{"doublewrite", "", "qemu"},
		{"none", "", "qemu"},
		{"doublewrite", "skip-dwb-flush", "qemu"},
		{"doublewrite", "dest-before-flush", "qemu"},
		{"doublewrite", "ack-early", "qemu"},
	}
	if c.deaths > 0 {
		suite = []variant{{"doublewrite", "", "qemu"}, {"doublewrite", "ack-early", "qemu"}}
	}
	var out []tape.Job
	for _, fs := range []string{"ext4", "xfs"} {
		for _, v := range suite {
			if c.deaths == 0 && fs == "xfs" && v.mutant != "" && v.mutant != "skip-dwb-flush" {
				continue // the rule they break is the engine's, not the file system's
			}
			j := job
			j.FS, j.Mode, j.Mutant, j.Recorder = fs, v.mode, v.mutant, v.recorder
			out = append(out, j)
		}
	}
	return out, nil
}

func run(ctx context.Context, c config) error {
	list, err := c.recordings()
	if err != nil {
		return err
	}
	if err := canMount(); err != nil && c.deaths == 0 {
		return vm.Skip("%v", err)
	}
	if c.replay != "" {
		return c.again(ctx)
	}
	parts, err := c.from.Find(ctx, func(s string) { fmt.Fprintln(os.Stderr, "powercut:", s) })
	if err != nil {
		return err
	}
	if c.deaths > 0 {
		return c.plugs(ctx, parts, list)
	}
	var all []*Outcome
	wrong := false
	for _, j := range list {
		o, err := c.one(ctx, parts, j)
		if o != nil {
			all = append(all, o)
			if bad := o.wrong(); bad != "" {
				wrong = true
				fmt.Fprintf(os.Stderr, "powercut: %s, %s: %s\n", o.FS, o.name(), bad)
			}
		}
		if err != nil {
			return errors.Join(err, c.report(all))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err := c.report(all); err != nil {
		return err
	}
	if wrong {
		return errNotSo
	}
	return nil
}

// one records and replays.
func (c *config) one(ctx context.Context, p vm.Parts, j tape.Job) (*Outcome, error) {
	dir, err := os.MkdirTemp(c.folder(), "untorn-powercut-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	what := fmt.Sprintf("%s, %s", j.FS, (&Outcome{Mode: string(j.Mode), Mutant: j.Mutant, Recorder: j.Recorder}).name())
	say := func(s string) { fmt.Fprintf(os.Stderr, "powercut: %s: %s\n", what, s) }
	begun := time.Now()
	say("recording")
	in, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	rec, err := record(in, p, j, dir, say)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		return nil, err
	}
	say(fmt.Sprintf("recorded in %.0f s, replaying", time.Since(begun).Seconds()))
	o, err := c.judge(ctx, rec, dir, say)
	if c.keep != "" {
		err = errors.Join(err, keep(rec, c.keep))
	}
	return o, err
}

// again judges a recording that was kept.
func (c *config) again(ctx context.Context) error {
	rec := recordingIn(c.replay, tape.Job{})
	b, err := os.ReadFile(filepath.Join(c.replay, "job.json"))
	if err == nil {
		err = json.Unmarshal(b, &rec.job)
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.folder(), "untorn-powercut-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o, err := c.judge(ctx, rec, dir, func(s string) { fmt.Fprintln(os.Stderr, "powercut:", s) })
	if o == nil || err != nil {
		return err
	}
	if err := c.report([]*Outcome{o}); err != nil {
		return err
	}
	if bad := o.wrong(); bad != "" && (c.at == 0 || o.Violations > 0) {
		fmt.Fprintln(os.Stderr, "powercut:", bad)
		return errNotSo
	}
	return nil
}

// judge replays a recording.
func (c *config) judge(ctx context.Context, rec *recording, dir string, say func(string)) (*Outcome, error) {
	begun := time.Now()
	last := begun
	o, err := replay(ctx, rec, c.states, c.at, c.jobs, dir, func(done, of int) {
		if time.Since(last) > 5*time.Second {
			last = time.Now()
			say(fmt.Sprintf("%d of %d states, %.1f a second", done, of, float64(done)/time.Since(begun).Seconds()))
		}
	})
	if o != nil {
		if o.Order.Moved > 0 {
			say(fmt.Sprintf("of the log %d writes were put into the disk's order", o.Order.Moved))
		}
		say(fmt.Sprintf("%d states in %.0f s: %d violations", o.States, time.Since(begun).Seconds(), o.Violations))
	}
	return o, err
}

func (c *config) folder() string {
	if c.work != "" {
		return c.work
	}
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func keep(r *recording, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range []string{r.base, r.log, r.disk, r.order} {
		if err := copyFile(filepath.Join(dir, filepath.Base(name)), name); err != nil {
			return err
		}
	}
	b, err := json.Marshal(r.job)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "job.json"), b, 0o600)
}

// name is the variant under test.
func (o *Outcome) name() string {
	s := o.Mode
	if o.Mutant != "" {
		s += ", " + o.Mutant
	}
	if o.Recorder != "qemu" {
		s += ", dm-log-writes"
	}
	return s
}

// wrong says what is not as it has to be: the engine loses nothing, and whoever is broken, or
// unprotected, is convicted.
func (o *Outcome) wrong() string {
	switch {
	case o.Stopped:
		return ""
	case o.Mutant != "" && o.Violations == 0:
		return "the broken variant was not convicted"
	case o.Mutant == "" && o.Violations > 0:
		return fmt.Sprintf("%d violations", o.Violations)
	case o.Mutant == "" && o.Mode != string(untorn.ModeDoublewrite) && o.Torn == 0:
		return "no page was found torn without protection: the cuts are not hard enough"
	}
	return ""
}

// report writes the table and the JSON.
func (c *config) report(all []*Outcome) error {
	return c.tell(map[string]any{"schema": 1, "runs": all}, func(w io.Writer) { write(w, all) })
}

func (c *config) tell(result any, table func(io.Writer)) error {
	if c.json != "-" {
		table(os.Stdout)
	}
	if c.json == "" {
		return nil
	}
	w := os.Stdout
	if c.json != "-" {
		f, err := os.OpenFile(c.json, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		w = f
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(result)
}

func write(w io.Writer, all []*Outcome) {
	for _, o := range all {
		for _, s := range o.Stories {
			fmt.Fprintf(w, "%s, %s: after entry %d, landed: %s\n    %s\n", o.FS, o.name(), s.At, s.State, s.What)
		}
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "fs\tmode, mutant\tflushes\tcut points\tstates\tacks checked\tpages recovered\tviolations\tstates convicted\tstates with torn pages\tnot mountable")
	for _, o := range all {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", o.FS, o.name(), o.Flushes, o.CutPoints, o.States,
			o.PageAcks+o.RecordAcks, o.Installed, o.Violations, o.Convicted, o.Torn, o.Unmountable)
	}
	tw.Flush()
}
