package certify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/bench"
	"github.com/untorn/untorn/explore"
	"github.com/untorn/untorn/torture"
)

// Run gathers the evidence and judges it. When ctx ends, it returns what there is by then, with the
// verdict "incomplete". An error means that it could not run; what there is of a profile is
// returned with it.
func Run(ctx context.Context, c Config) (*Profile, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	for _, d := range []*string{&c.Dir, &c.WALDir, &c.DWBDir} {
		if *d == "" {
			continue
		}
		abs, err := filepath.Abs(*d)
		if err != nil {
			return nil, err
		}
		*d = abs
	}
	var salt [8]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, err
	}
	r := &runner{c: c, begun: time.Now(), p: &Profile{
		Schema: Schema, Verdict: Incomplete, Reasons: []string{}, Reservations: []string{},
		Started: time.Now().UTC().Format(time.RFC3339), Config: c, Salt: hex.EncodeToString(salt[:]),
		Engine: Engine{Revision: revision(), Go: runtime.Version()}, Controls: []Control{},
		Explored: []*explore.Result{}, Tortured: []Tortured{},
	}}
	err := r.steps(ctx)
	r.p.Elapsed = time.Since(r.begun).Seconds()
	switch {
	case ctx.Err() != nil:
		r.p.Judge("it was interrupted")
	case len(r.p.Facts) == 0: // it did not even begin
		return nil, err
	case err != nil:
		r.p.Judge(err.Error())
	default:
		r.p.Judge("")
		r.p.Finished = time.Now().UTC().Format(time.RFC3339)
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	return r.p, err
}

type runner struct {
	c     Config
	p     *Profile
	begun time.Time
	made  []string // directories that were not there
}

func (r *runner) steps(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, r.unmake()) }()
	if err := r.make(); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"stack", r.look}, {"control", r.control}, {"explore", r.explore}, {"torture", r.torture}, {"limits", r.limits},
	} {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.say(step.name, "")
		line, err := step.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		r.p.Elapsed = time.Since(r.begun).Seconds()
		if r.c.Done != nil && line != "" {
			if err := r.c.Done(step.name, line, r.p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *runner) say(step, line string) {
	if r.c.Progress != nil {
		r.c.Progress(step, line)
	}
}

// make makes the places that are not there yet: a deployment may come later.
func (r *runner) make() error {
	for _, p := range r.c.places() {
		switch st, err := os.Stat(p.path); {
		case err == nil && !st.IsDir():
			return fmt.Errorf("%s is not a directory", p.path)
		case err == nil:
			continue
		}
		if err := os.Mkdir(p.path, 0o700); err != nil {
			return err
		}
		r.made = append(r.made, p.path)
	}
	return nil
}

func (r *runner) unmake() error {
	var errs []error
	for _, d := range r.made {
		errs = append(errs, os.Remove(d))
	}
	return errors.Join(errs...)
}

func (r *runner) look(ctx context.Context) (string, error) {
	var err error
	r.p.Places, r.p.Facts, err = look(ctx, r.c, r.p.Salt)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d facts; flushes: %s; atomic writes of %d bytes: %s", len(r.p.Facts), r.p.Places[0].WriteCache.State,
		r.c.PageBytes, r.p.Places[0].Atomic.Answer), nil
}

// controlBudget is many times what a control takes: a second or two, with images ten.
const controlBudget = 2 * time.Minute

func (r *runner) control(ctx context.Context) (string, error) {
	states, controls := int64(0), r.c.controls
	if controls == nil {
		controls = controlsOf(r.c.Mode)
	}
	for _, m := range controls {
		x, err := explore.Run(ctx, explore.Options{Mutant: m, Seed: r.c.Seed, Budget: controlBudget})
		if err != nil {
			return "", err
		}
		if x.Interrupted {
			return "", ctx.Err()
		}
		states += x.States
		r.p.Controls = append(r.p.Controls, Control{Mutant: m, Mode: x.Mode, Found: x.Violations > 0, States: x.States, Elapsed: x.Elapsed})
		r.say("control", m)
	}
	return fmt.Sprintf("%d broken variants, found within %d states", len(controls), states), nil
}

func (r *runner) explore(ctx context.Context) (string, error) {
	modes := r.c.explored()
	var states, violations int64
	for _, m := range modes {
		x, err := explore.Run(ctx, explore.Options{Mode: m, Seed: r.c.Seed, Budget: r.c.Explore / time.Duration(len(modes)),
			Progress: func(x explore.Result) {
				r.say("explore", fmt.Sprintf("mode %s: %d states, %d violations", m, x.States, x.Violations))
			}})
		if err != nil {
			return "", err
		}
		r.p.Explored = append(r.p.Explored, x)
		states, violations = states+x.States, violations+int64(x.Violations)
		if x.Interrupted {
			return "", ctx.Err()
		}
	}
	return fmt.Sprintf("%d crash states, %d violations", states, violations), nil
}

// torture runs the engine in scratch directories of every place: as it is, on a throttled disk, and
// on a small file system of its own that is full now and then. Some children die of memory.
func (r *runner) torture(ctx context.Context) (string, error) {
	if v := &r.p.Places[0].Atomic; r.c.Mode == untorn.ModeAtomic && !v.Relaxed() && r.c.AtomicOverride != v.Rule {
		return "not run: the engine refuses mode atomic here, by rule " + v.Rule, nil
	}
	fewer := max(2, r.c.Rounds/5)
	kills, violations := 0, 0
	fs := r.p.Places[0].Capture.Mount
	full := "ext4"
	if fs != nil && fs.FS.Or("") == "xfs" {
		full = "xfs"
	}
	for _, t := range []struct {
		what   string
		rounds int
		own    bool // everything on a file system of its own
		set    func(*torture.Config)
	}{
		{"kills and a memory limit", r.c.Rounds, false, func(c *torture.Config) { c.Memory = true }},
		{"a throttled disk", fewer, false, func(c *torture.Config) { c.Throttle = true }},
		{"a full disk", fewer, true, func(c *torture.Config) { c.Full = full }},
	} {
		res, err := r.tortureOnce(ctx, t.what, t.rounds, t.own, t.set)
		if res != nil {
			r.p.Tortured = append(r.p.Tortured, Tortured{t.what, res})
			kills, violations = kills+res.Kills, violations+res.Violations
		}
		if err != nil {
			return "", err
		}
		if res.Stopped {
			return "", ctx.Err()
		}
	}
	return fmt.Sprintf("%d kills survived, %d violations", kills, violations), nil
}

func (r *runner) tortureOnce(ctx context.Context, what string, rounds int, own bool, set func(*torture.Config)) (res *torture.Result, err error) {
	dirs := map[string]string{}
	defer func() {
		for _, d := range dirs {
			err = errors.Join(err, os.RemoveAll(d))
		}
	}()
	for _, p := range r.c.places() {
		if own && p.role != "dir" {
			continue
		}
		if dirs[p.role], err = os.MkdirTemp(p.path, "untornctl-certify-"); err != nil {
			return nil, err
		}
	}
	in := func(role string) string {
		if dirs[role] == "" {
			return ""
		}
		return filepath.Join(dirs[role], "engine")
	}
	c := torture.Config{
		Dir: in("dir"), WALDir: in("wal"), DWBDir: in("dwb"), Rounds: rounds, Mode: r.c.Mode, PageBytes: r.c.PageBytes,
		Seed: r.c.Seed, AtomicOverride: r.c.AtomicOverride, Command: r.c.Command, Stderr: r.c.Stderr,
		Progress: func(x *torture.Result) { r.say("torture", what+": "+x.Line()) },
	}
	if own && r.c.withoutCopy() {
		c.Mode, c.AtomicOverride = untorn.ModeAuto, "" // a loop device proves nothing, whatever this place does
	}
	set(&c)
	return torture.Run(ctx, c)
}

// limits times what it takes to make bytes durable.
func (r *runner) limits(ctx context.Context) (string, error) {
	if r.c.Quick {
		return "", nil
	}
	l, err := bench.Limit(ctx, bench.LimitConfig{
		Dir: r.c.Dir, PageBytes: r.c.PageBytes, SizeBytes: 64 << 20, Duration: 100 * time.Millisecond, Repeat: 1, Sync: true, NoFIO: true,
	}, func(what string, _ float64) { r.say("limits", what) })
	if err != nil || l == nil {
		return "", err
	}
	r.p.Limits = &Limits{Flush: l.Flush, DSync: l.DSync}
	for _, row := range l.SyncTable {
		if row.Bytes == 4096 || row.Bytes == r.c.PageBytes {
			r.p.Limits.Sync = append(r.p.Limits.Sync, row)
		}
	}
	return fmt.Sprintf("a flush after one page: p50 %.0f us, p99 %.0f us", l.Flush.P50, l.Flush.P99), nil
}
