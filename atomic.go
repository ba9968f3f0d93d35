package untorn

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/untorn/untorn/hwprobe"
	"github.com/untorn/untorn/stages"
)

// Prober looks at the stack below a regular file or block device. It only reads, and is quick: it
// is asked at open and at every checkpoint. An error means that the stack cannot be seen.
type Prober func(ctx context.Context, path string) (Probed, error)

// Probed is what a Prober found.
type Probed struct {
	// Flushes is what a flush is worth: "sent" down to every drive, "needless" because no drive
	// caches, "off", or "unknown". FlushesWhy says it in words.
	Flushes, FlushesWhy string
	// Atomic answers for one page size; nil means that nothing is known.
	Atomic func(pageSize int) AtomicVerdict
}

// AtomicVerdict says whether pages of one size may be written without a second copy to one file, by
// a writer whose every write carries RWF_ATOMIC (see hwprobe.Verdict).
type AtomicVerdict struct {
	Relaxed bool
	Answer  string   // "relaxed", "required" (a second copy is), or "unknown"
	Kind    string   // of relaxed: "hardware", or "software" (copy on write: whole, but slower)
	Rule    string   // that decided: docs/hwprobe.md lists them
	Reason  string   // in a sentence
	Next    []string // what would change the answer
}

// ErrNotAtomic: mode atomic was asked for where it is not proven. It is a *NotAtomicError.
var ErrNotAtomic = errors.New("untorn writes are not proven here")

// NotAtomicError is an open in mode atomic that was refused.
type NotAtomicError struct {
	PageSize int
	Verdict  AtomicVerdict
}

func (e *NotAtomicError) Error() string {
	v := &e.Verdict
	var b strings.Builder
	fmt.Fprintf(&b, "%v for pages of %d bytes: %s by rule %s of hwprobe: %s", ErrNotAtomic, e.PageSize, v.Answer, v.Rule, v.Reason)
	if len(v.Next) > 0 {
		fmt.Fprintf(&b, ". What would change it: %s", strings.Join(v.Next, "; "))
	}
	fmt.Fprintf(&b, ". Mode auto takes doublewrite here; FileOptions.AtomicOverride %q takes the risk", v.Rule)
	return b.String()
}

// Is makes errors.Is(err, ErrNotAtomic) hold.
func (e *NotAtomicError) Is(target error) bool { return target == ErrNotAtomic }

// probeOS is the Prober of the operating system's file system.
func probeOS(policy hwprobe.Policy) Prober {
	return func(ctx context.Context, path string) (Probed, error) {
		r, err := hwprobe.Probe(ctx, path, hwprobe.Options{})
		if err != nil {
			return Probed{}, err
		}
		c := r.WriteCache()
		return Probed{Flushes: c.State, FlushesWhy: c.Summary, Atomic: func(size int) AtomicVerdict {
			v := r.Decide(size, policy)
			return AtomicVerdict{
				Relaxed: v.Relaxed(), Answer: string(v.Answer), Kind: v.Kind, Rule: v.Rule, Reason: v.Reason, Next: v.Next,
			}
		}}, nil
	}
}

// probeNothing is the Prober of any other file system.
func probeNothing(context.Context, string) (Probed, error) {
	return nothingKnown("it is not the operating system's file system"), nil
}

func nothingKnown(why string) Probed {
	return Probed{Flushes: hwprobe.FlushesUnknown, FlushesWhy: why, Atomic: func(int) AtomicVerdict {
		return AtomicVerdict{Answer: string(hwprobe.Unknown), Rule: "0", Reason: why}
	}}
}

// probe asks the Prober. It fails only when ctx ends: what cannot be seen is unknown.
func (e *Engine) probe(ctx context.Context, path string) (Probed, error) {
	p, err := e.o.Probe(ctx, path)
	if err != nil {
		if ctx.Err() != nil {
			return p, &Error{Op: "probe", File: path, Err: ctx.Err()}
		}
		p = nothingKnown(err.Error())
	}
	if p.Atomic == nil {
		p.Atomic = nothingKnown("the prober says nothing about it").Atomic
	}
	return p, nil
}

// checkFlushes refuses a stack that turns flushes off above a volatile cache, in every mode.
func (e *Engine) checkFlushes(path string, p *Probed) error {
	if p.Flushes != hwprobe.FlushesOff {
		return nil
	}
	if !e.o.AllowFlushesOff {
		return &Error{Op: "probe", File: path, Err: fmt.Errorf("%w: %s; Options.AllowFlushesOff opens it all the same", ErrFlushesOff, p.FlushesWhy)}
	}
	e.o.Logger.Warn("flushes are off; going on, as Options.AllowFlushesOff says", "path", path, "why", p.FlushesWhy)
	return nil
}

// checkStacks holds every stack the engine stands on against its mount and its drives, at each
// checkpoint: a remount, or a write to sysfs, can turn flushes off under a running engine. Files in
// mode atomic are judged again, too: the kernel does not notice a drive that was formatted anew.
func (e *Engine) checkStacks(ctx context.Context) error {
	for _, d := range e.places.roots() {
		if _, err := checkStack(&e.o, d); err != nil {
			return err
		}
		if _, err := e.checkPlace(ctx, filepath.Join(d, lockName)); err != nil {
			return err
		}
	}
	seen := map[string]Probed{} // by directory: its files share a stack
	for _, f := range e.fileList() {
		atomic := f.desc.Atomic && f.desc.Moved.Load() == nil
		if f.info.Path == "" && !atomic {
			continue
		}
		path := e.dataPath(&f.info)
		key := filepath.Dir(path)
		if f.info.Device {
			key = path
		}
		p, ok := seen[key]
		if !ok {
			if _, err := checkStack(&e.o, key); err != nil {
				return err
			}
			var err error
			if p, err = e.checkPlace(ctx, path); err != nil {
				return err
			}
			seen[key] = p
		}
		if !atomic {
			continue
		}
		if v := f.judge(&p); !v.Relaxed && v.Rule != f.override {
			if err := e.leaveAtomic(ctx, f, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPlace probes the stack below a file and refuses it if its flushes are off.
func (e *Engine) checkPlace(ctx context.Context, file string) (Probed, error) {
	p, err := e.probe(ctx, file)
	if err == nil {
		err = e.checkFlushes(file, &p)
	}
	return p, err
}

// judge is the verdict on a file as this engine has it open.
func (f *File) judge(p *Probed) AtomicVerdict {
	if direct, why := f.io.Direct(); !direct {
		reason := "the engine has the file open through the page cache"
		if why != nil {
			reason += ": " + why.Error()
		}
		return AtomicVerdict{Answer: string(hwprobe.Required), Rule: "5", Reason: reason}
	}
	return p.Atomic(f.desc.PageSize)
}

// protection is what became of the mode that was asked for.
type protection struct {
	doublewrite, atomic bool
	images              *pageImages
	verdict             *AtomicVerdict // nil: not asked
	override            string         // the rule that was overridden
}

// protect decides how a file that nobody has written to yet is protected. The watermark is durable
// past every batch that names it, so its first write may take any path (I7).
func (e *Engine) protect(ctx context.Context, f *File, mode Mode, override string) (protection, error) {
	pr := protection{doublewrite: mode == ModeDoublewrite || mode == ModeShadow, images: f.newImages(mode)}
	if pr.images != nil {
		return pr, e.checkImages(f)
	}
	if mode != ModeAtomic && mode != ModeAuto {
		return pr, nil
	}
	path := e.dataPath(&f.info)
	p, err := e.checkPlace(ctx, path)
	if err != nil {
		return pr, err
	}
	v := f.judge(&p)
	pr.verdict = &v
	// Copy on write in the file system is proof enough for who asks for it, but several times slower
	// than a doublewrite buffer: auto leaves it alone.
	taken := v.Relaxed && (mode == ModeAtomic || v.Kind != hwprobe.Software)
	if !taken && override == v.Rule && override != "" {
		pr.override = override
	}
	pr.atomic = taken || pr.override != ""
	pr.doublewrite = !pr.atomic
	if !pr.atomic && mode == ModeAtomic {
		return pr, &NotAtomicError{PageSize: f.desc.PageSize, Verdict: v}
	}
	use := ModeDoublewrite
	if pr.atomic {
		use = ModeAtomic
	}
	line := []any{"file", f.info.Name, "mode", mode, "in_use", use, "page_size", f.desc.PageSize,
		"verdict", strings.TrimSpace(v.Answer + " " + v.Kind), "rule", v.Rule, "reason", v.Reason}
	if pr.override != "" && !v.Relaxed {
		e.o.Logger.Warn("atomic writes are not proven here; going on, as FileOptions.AtomicOverride says", line...)
	} else {
		e.o.Logger.Info("protection of a data file", line...)
	}
	return pr, nil
}

// set makes a decision the file's. The caller holds e.mu, or nobody else knows f.
func (f *File) set(pr protection) {
	f.desc.Doublewrite, f.desc.Atomic = pr.doublewrite, pr.atomic
	f.verdict, f.override = pr.verdict, pr.override
	f.images.Store(pr.images)
}

// leaveAtomic moves a file to the doublewrite buffer because its stack is no longer what it was.
func (e *Engine) leaveAtomic(ctx context.Context, f *File, v AtomicVerdict) error {
	m := &stages.Move{File: f.desc, Why: &NotAtomicError{PageSize: f.desc.PageSize, Verdict: v}}
	select {
	case e.dwb.Inbox() <- stages.Msg{Move: m}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.poison.C():
		return e.Err()
	}
}

// moved is told when a file leaves mode atomic for the doublewrite buffer, by datastage.
func (e *Engine) moved(f *stages.File, why error) {
	e.o.Logger.Warn("a file leaves atomic writes for the doublewrite buffer, until it is opened again", "file", f.Name, "why", why)
}

// Protection is what a file's pages are protected by right now: its Mode, or what became of auto
// and atomic. "" = not decided yet: the file has not been opened for writing.
func (f *File) Protection() Mode {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	return f.protectionLocked()
}

func (f *File) protectionLocked() Mode {
	if im := f.images.Load(); im != nil && im.left.Load() != nil {
		return ModeDoublewrite
	}
	switch m := Mode(f.info.Mode); {
	case m != ModeAtomic && m != ModeAuto:
		return m
	case f.verdict == nil:
		return ""
	case f.desc.Atomic && f.desc.Moved.Load() == nil:
		return ModeAtomic
	}
	return ModeDoublewrite
}

func (e *Engine) fileList() []*File {
	e.mu.Lock()
	defer e.mu.Unlock()
	var l []*File
	for _, f := range e.files {
		if f.io != nil {
			l = append(l, f)
		}
	}
	return l
}
