package untorn

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// ReplacedSuper is the name under which ReplaceSuper keeps the first super it replaced.
const ReplacedSuper = "super.replaced"

// ReplaceSuper makes super anew in a directory whose super cannot be used. It locks every file the
// directory has (I11), asks decide for the state, and writes it: a new file, flushed, renamed into
// place. Until then, and when decide fails, nothing has been changed. The old file is kept beside
// it. It is for untornctl rebuild-super; package inspect has the decide for it.
func ReplaceSuper(ctx context.Context, o Options, decide func() (*super.State, error)) (err error) {
	o.MustExist, o.ReadOnly = true, false
	if err := o.Validate(); err != nil {
		return err
	}
	e := newEngine(o.withDefaults())
	p := &e.places
	var held []fsys.File
	defer func() {
		for _, f := range held {
			err = errors.Join(err, f.Close())
		}
		err = errors.Join(err, e.release())
	}()
	if e.page, err = e.newRing("pages"); err != nil {
		return err
	}
	p.ring = e.page
	if err := p.lockRoots(ctx); err != nil {
		return err
	}
	for _, path := range p.everyFile() {
		f, err := openLocked(ctx, &e.o, path, p.flags())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		held = append(held, f)
	}
	st, err := decide()
	if err != nil {
		return err
	}
	kept := filepath.Join(e.o.Dir, ReplacedSuper)
	if _, err := e.o.FS.Stat(kept); errors.Is(err, fs.ErrNotExist) {
		if err := e.o.FS.Rename(p.superPath(), kept); err != nil && !errors.Is(err,
			fs.ErrNotExist) {
			return &Error{Op: "rename", File: p.superPath(), Err: err}
		}
	}
	return p.createSuper(st)
}

// everyFile lists super, log segments, the doublewrite file and the data files in the directory, in
// the order in which an open locks them.
func (p *places) everyFile() []string {
	paths := []string{p.superPath()}
	for _, in := range []struct{ dir, suffix string }{{p.walDir(), walstage.Suffix}, {p.dataDir(),
		dataSuffix}} {
		list, err := p.o.FS.ReadDir(in.dir)
		if err != nil {
			continue // not there: decide says what that means
		}
		for _, x := range list {
			if strings.HasSuffix(x.Name, in.suffix) {
				paths = append(paths, filepath.Join(in.dir, x.Name))
			}
		}
	}
	return append(paths, p.dwbPath())
}
