package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/pageimage/codecs"
)

var newIDCommand = command{
	name: "new-id", short: "give a clone an identity of its own",
	run: runNewID,
	help: `
usage: untornctl new-id D [-outside] [-json FILE]

Every file of an engine directory carries the directory's id, so that files of two directories are
never mixed. A clone (a backup, a snapshot, a copy made while nothing ran) has the id of its original
until this gives it one of its own. D has to be closed in order. Pages, positions in the log, the
checkpoint and names stay as they are; the log is written anew, and takes that much space meanwhile.

It may be interrupted, by a power cut too: until it has finished, opens of D are refused, and calling
it again goes on. An archive of log segments belongs to one id: give the clone a new one as well.

  -outside       data files outside of D are D's alone, and are changed with it. Without it they are
                 refused: a copy of a directory still names the files of the original
` + whereHelp + `  -json FILE     what was done, for scripts, "-" for standard output

Exit: 0 done, 1 D was not closed in order, or is damaged, 2 usage, 3 could not run: in use, not there.

Examples
  untornctl new-id /backup/monday
`}

func runNewID(ctx context.Context, k *call) error {
	var w where
	var o untorn.NewIDOptions
	fs := k.flags()
	w.flags(fs)
	fs.BoolVar(&o.Outside, "outside", false, "")
	args, err := k.parse(fs, "the directory")
	if err != nil {
		return err
	}
	if err := w.exists(args[0]); err != nil {
		return err
	}
	r, err := untorn.NewID(ctx, untorn.Options{Dir: args[0], WALDir: w.wal, DWBDir: w.dwb, Unsafe: true, ImageCodecs: codecs.All(), LockWait: -1}, o)
	switch {
	case errors.Is(err, untorn.ErrNeedsRecovery):
		return k.notSo("new-id", "%v: untornctl recover %s does that", err, args[0])
	case errors.Is(err, untorn.ErrOptions):
		return fmt.Errorf("%w with -outside", err)
	case errors.Is(err, untorn.ErrForeign), errors.Is(err, untorn.ErrCorrupt), errors.Is(err, untorn.ErrMissingFile):
		return k.notSo("new-id", "%v", err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted; untornctl new-id %s goes on", args[0])
	case err != nil:
		return advise(err)
	}
	if !k.quiet() {
		how := ""
		if r.Resumed {
			how = " (begun by an earlier call)"
		}
		k.sayf("%s: id %s, was %s%s; %d data files and %d log segments were changed", r.Dir, r.NewID, r.OldID, how, r.Files, r.Segments)
	}
	return k.writeJSON(r)
}
