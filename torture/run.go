package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Config of a run. Dir and Rounds are required.
type Config struct {
	// Dir is the engine directory: new, or empty. The run leaves it, closed in order, for a look.
	Dir string
	// WALDir and DWBDir, new or empty as well, take log and doublewrite file; "" = Dir.
	WALDir, DWBDir string
	Rounds         int
	Mode           untorn.Mode // "" = doublewrite
	// PageBytes is the size of every page; 0 = another one for each directory.
	PageBytes int
	Seed      uint64
	// Mutants breaks rules of the engine on purpose.
	Mutants stages.Mutant
	Mutant  string // their name, for the report
	// Keep keeps each directory a violation was found in, beside Dir.
	Keep bool
	// Throttle slows the child's disk down, so that its queued writes outlive the kill (I11). Where
	// that cannot be done Result.ThrottleSkipped says why.
	Throttle bool
	Starve
	// AtomicOverride names the rule of hwprobe that modes atomic and auto override, at every open.
	AtomicOverride string
	// Progress is called after every round. nil = nobody is told.
	Progress func(*Result)
	// Command starts a child; nil = this binary, whose main function asks IsChild.
	Command []string
	Stderr  io.Writer // of children that fail; nil = dropped
}

// Validate returns every complaint, joined.
func (c *Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("a directory is required"))
	}
	if c.Rounds < 1 {
		errs = append(errs, fmt.Errorf("%d rounds: at least 1", c.Rounds))
	}
	switch c.Mode {
	case "", untorn.ModeDoublewrite, untorn.ModeFullpage, untorn.ModeShadow, untorn.ModeAtomic, untorn.ModeAuto, untorn.ModeDetect,
		untorn.ModeNone:
	default:
		errs = append(errs, fmt.Errorf("unknown mode %q (doublewrite, fullpage, shadow, atomic, auto, detect, none)",
			c.Mode))
	}
	if c.PageBytes != 0 && !page.ValidSize(c.PageBytes) {
		errs = append(errs, fmt.Errorf("a page of %d bytes", c.PageBytes))
	}
	if c.Full != "" && (c.WALDir != "" || c.DWBDir != "") {
		errs = append(errs, errors.New("a small file system has everything in one directory"))
	}
	switch c.Full {
	case "", "ext4", "xfs":
		if c.Full != "" && c.Throttle {
			errs = append(errs, errors.New("the loop device of a small file system cannot be throttled"))
		}
	default:
		errs = append(errs, fmt.Errorf("no file system %q to fill (ext4, xfs)", c.Full))
	}
	return errors.Join(errs...)
}

// runner is a run under way.
type runner struct {
	cfg   Config
	rng   *rand.Rand
	shape Shape
	m     *model
	res   *Result
	begun time.Time
	disk  *group // that slows the child's disk down
	dir   string // of the engine
	starved
}

// Run tortures until the rounds are over or ctx is done, which ends it with what there is by then.
// The error is what kept it from running; violations are in the result.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if cfg.Mode == "" {
		cfg.Mode = untorn.ModeDoublewrite
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &runner{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 1)), begun: time.Now(),
		res: &Result{Schema: 1, Mode: string(cfg.Mode), Mutant: cfg.Mutant, Seed: cfg.Seed,
			Dir: cfg.Dir, Stories: []Violation{}},
	}
	if err := r.prepare(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	err := r.rounds(ctx)
	r.tally()
	return r.res, errors.Join(err, r.close())
}

// close takes back what was set up for the run.
func (r *runner) close() error {
	r.disk.close()
	r.mem.close()
	return r.small.close()
}

// prepare makes the directory, or takes an empty one: what is in it would be thrown away.
func (r *runner) prepare() error {
	for _, dir := range r.cfg.dirs() {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		list, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			return fmt.Errorf("%s holds %q: give a new or an empty directory", dir, list[0].Name())
		}
	}
	if r.cfg.Throttle {
		var err error
		if r.disk, err = newThrottle(r.cfg.Dir); err != nil {
			r.res.ThrottleSkipped = err.Error()
		}
		r.res.Throttled = r.disk != nil
	}
	if err := r.starve(); err != nil {
		return err
	}
	return r.anew()
}

// dirs are the directories of the run.
func (c *Config) dirs() []string {
	dirs := []string{c.Dir}
	for _, d := range []string{c.WALDir, c.DWBDir} {
		if d != "" && !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// places are where the engine is, on a file system of its own or not.
func (r *runner) places() []string {
	if r.small != nil {
		return []string{r.dir}
	}
	return r.cfg.dirs()
}

// anew throws the engine directory away and begins another one, of another shape.
func (r *runner) anew() error {
	for _, dir := range r.places() {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if dir != r.dir { // the engine makes its own, and no other place
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
		}
	}
	r.tally()
	r.shape = RandomShape(r.rng)
	if r.cfg.PageBytes != 0 {
		r.shape.PageSize = r.cfg.PageBytes
	}
	if m := r.cfg.Mode; m == untorn.ModeFullpage || m == untorn.ModeShadow {
		r.shape.holdImages()
	}
	r.m = newModel(r.cfg.Mode, r.cfg.Seed)
	r.m.lacks = r.lacking()
	if r.disk == nil && r.small == nil {
		return nil
	}
	// A slow disk takes its time to be filled with zeros, and a directory is not made on a full one:
	// have that done before.
	if err := r.look(); err != nil {
		return err
	}
	r.m.end = endClosed
	return nil
}

// tally moves what the model counted into the result.
func (r *runner) tally() {
	if r.m == nil {
		return
	}
	t := &r.m.tally
	r.res.add(t)
	r.m.tally = tally{}
	r.res.ElapsedSeconds = time.Since(r.begun).Seconds()
}

func (r *runner) rounds(ctx context.Context) error {
	for r.res.Rounds < r.cfg.Rounds && ctx.Err() == nil {
		if err := r.round(ctx); err != nil {
			return err
		}
		if err := r.judge(r.rng.IntN(25) == 0 && r.res.Rounds < r.cfg.Rounds); err != nil {
			return err
		}
		if r.cfg.Progress != nil {
			r.cfg.Progress(r.res)
		}
	}
	r.res.Stopped = ctx.Err() != nil
	if r.m.end == endClosed {
		return nil
	}
	if err := r.look(); err != nil { // an interrupt came before somebody looked
		return err
	}
	return r.judge(false)
}

// judge takes what was found into the result. A directory with a violation is not used any longer.
func (r *runner) judge(anew bool) error {
	if why := r.m.tally.unfit; why != "" {
		return errors.New(why)
	}
	found := r.wrong()
	r.tally()
	if found {
		if err := r.setAside(); err != nil {
			return err
		}
	}
	if found || anew {
		return r.anew()
	}
	return nil
}

// setAside keeps a directory that a violation was found in.
func (r *runner) setAside() error {
	if !r.cfg.Keep {
		return nil
	}
	for _, dir := range r.places() {
		to := fmt.Sprintf("%s.violation-%d", dir, r.res.Rounds)
		kept := to
		if r.small != nil {
			kept = filepath.Base(to) + " in the file system in " + r.small.image
		}
		r.res.Kept = append(r.res.Kept, kept)
		if err := os.Rename(dir, to); err != nil {
			return err
		}
	}
	return nil
}

// round runs one child to its death, perhaps kills a few recoveries, and looks.
func (r *runner) round(ctx context.Context) error {
	r.res.Rounds++
	r.m.round = uint32(r.res.Rounds)
	j := r.job()
	if r.rng.IntN(7) == 0 {
		j.LifeMS = 1 + r.rng.IntN(300)
	}
	life := r.life()
	if r.hogs(j); j.Hog > 0 {
		life = lifetime{of: hogLife}
	}
	if r.disk != nil && r.res.Rounds%2 == 1 {
		// A thread in pwrite keeps its process from ending; a ring does not.
		j.Slow, j.Backend = true, string(ring.Auto)
	}
	if err := r.runChild(ctx, j, life); err != nil || r.wrong() {
		return err
	}
	if j.Slow && r.res.Rounds < r.cfg.Rounds && ctx.Err() == nil && r.rng.IntN(4) > 0 {
		return nil // the next one is quick: it would overtake what this one left queued
	}
	for r.rng.IntN(4) == 0 { // kill the recovery, too
		j := r.job()
		j.Recover = true
		life := lifetime{of: time.Duration(r.rng.IntN(60)) * time.Millisecond}
		if err := r.runChild(ctx, j, life); err != nil || r.wrong() {
			return err
		}
	}
	if r.res.Rounds < r.cfg.Rounds && ctx.Err() == nil && r.rng.IntN(3) == 0 {
		return nil // the next child recovers, looks, and reports
	}
	return r.look()
}

func (r *runner) wrong() bool { return len(r.m.tally.violations) > 0 || r.m.tally.unfit != "" }

func (r *runner) job() *job {
	j := &job{
		Dir: r.dir, WALDir: r.cfg.WALDir, DWBDir: r.cfg.DWBDir, Mode: string(r.cfg.Mode), Mutants: r.cfg.Mutants, Seed: r.cfg.Seed,
		Round: uint32(r.res.Rounds), Shape: r.shape, Override: r.cfg.AtomicOverride,
		Backend: string(backends[r.rng.IntN(len(backends))]), DSync: r.rng.IntN(3) == 0,
		Full: r.small != nil,
	}
	if r.cfg.Mode == untorn.ModeAtomic && ring.Backend(j.Backend) == ring.Buffered {
		j.Backend = string(ring.Threads) // atomic writes are direct: buffered is refused (rule 5)
	}
	return j
}

// life is how long a child lives: sometimes only into its open, now and then long enough for the
// log to be recycled and for a deadlock to show.
func (r *runner) life() lifetime {
	ms, working := int64(0), true
	switch x := r.rng.IntN(20); {
	case x < 4:
		ms, working = r.rng.Int64N(60), false
	case x < 19:
		ms = r.rng.Int64N(400)
	default:
		ms = stallAfter.Milliseconds() + 500
	}
	if r.disk != nil && r.res.Rounds%2 == 1 {
		ms *= 3
	}
	return lifetime{time.Duration(ms) * time.Millisecond, working}
}
