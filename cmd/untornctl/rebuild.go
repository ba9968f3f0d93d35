package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/untorn/untorn/inspect"
)

var rebuildCommand = command{
	name: "rebuild-super", short: "make super again from evidence, when fewer than two copies are valid",
	run: runRebuild,
	help: `
usage: untornctl rebuild-super D [-dry-run] [-force] [-file PATH]... [-json FILE]

When fewer than two of the four copies of super in the engine directory D are valid, no open goes
ahead. This makes super again: from the one valid copy if there is one, and from the headers of log
segments, groups, doublewrite batches and data files. It is conservative: it never claims that D was
closed in order, takes an epoch above every one seen, and no watermark or durable LSN that nothing
proves. What it concludes, and from what, is printed. Then run untornctl recover. The old super is
kept beside the new one. Make a copy of D first if you can.

  -dry-run       only print the conclusions
  -force         although two copies are valid, or a data file looks older than the others
  -file PATH     a data file outside of D (with no valid copy, nothing else may know of it)
` + whereHelp + `  -json FILE     the conclusions for scripts, "-" for standard output

Exit: 0 done, 1 the evidence does not allow it or two copies are valid (it says which), 2 usage,
3 could not run.

Examples
  untornctl rebuild-super /srv/data -dry-run
  untornctl rebuild-super /srv/data && untornctl recover /srv/data
`}

// pathList is a flag that may be given several times.
type pathList []string

func (p *pathList) String() string { return fmt.Sprint([]string(*p)) }

func (p *pathList) Set(s string) error {
	abs, err := filepath.Abs(s)
	*p = append(*p, abs)
	return err
}

func runRebuild(ctx context.Context, k *call) error {
	var w where
	var o inspect.RebuildOptions
	fs := k.flags()
	w.flags(fs)
	fs.BoolVar(&o.DryRun, "dry-run", false, "")
	fs.BoolVar(&o.Force, "force", false, "")
	fs.Var((*pathList)(&o.Files), "file", "")
	args, err := k.parse(fs, "the directory")
	if err != nil {
		return err
	}
	d, err := w.open(args[0])
	if err != nil {
		return err
	}
	defer d.Close()
	r, err := d.RebuildSuper(ctx, o)
	if len(r.Conclusions) > 0 && !k.quiet() {
		if werr := r.Write(k.out); werr != nil {
			return werr
		}
	}
	if jerr := k.writeJSON(r); jerr != nil {
		return jerr
	}
	if inspect.Inconclusive(err) {
		fmt.Fprintf(k.err, "untornctl rebuild-super: %v\n", err)
		return errNotSo
	}
	if err != nil {
		return advise(err)
	}
	return nil
}
