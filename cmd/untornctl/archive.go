package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/untorn/untorn/archive"
)

var archiveCommand = command{
	name: "archive", short: "keep finished log segments in an archive, or check one (archive -verify A)",
	run: runArchive,
	help: `
usage: untornctl archive D A [-partial] [-json FILE]
       untornctl archive -verify A [-json FILE]

Copies the finished segments of D's log into the archive A, a directory, that it does not have yet.
Each is checked, flushed, and never written over. A service does the same as it runs, with
Options.Archive, and then lets no segment go that is not in the archive; this command is for the
rest, of a directory that was closed. On a running engine it takes what it finds, and nothing keeps
that from being recycled before the next time.

With -verify it reads A: every segment's checksums and engine id, and that each follows the one
before, which alone shows that a segment lost its end.

  -partial       the last segment too, as far as it goes; D must not be in use
  -verify        check the archive A and change nothing
` + whereHelp + `  -json FILE     for scripts, "-" for standard output

Exit: 0 done, or sound, 1 damage, a gap, or a segment of another history, 2 usage, 3 could not run.

Examples
  untornctl archive /srv/data /archive/data -partial
  untornctl archive -verify /archive/data
`}

func runArchive(ctx context.Context, k *call) error {
	var w where
	var partial, verify bool
	fs := k.flags()
	w.flags(fs)
	fs.BoolVar(&partial, "partial", false, "")
	fs.BoolVar(&verify, "verify", false, "")
	names := []string{"the directory", "the archive"}
	for _, a := range k.args { // says how many arguments there are
		if a == "-verify" || a == "--verify" || a == "-verify=true" {
			names = []string{"the archive"}
		}
	}
	args, err := k.parse(fs, names...)
	if err != nil {
		return err
	}
	line := progress{w: k.err, on: terminal(k.err)}
	visit := func(name string) { line.show(name) }
	if verify {
		if partial || w != (where{}) {
			return usagef("-verify goes with no other flag")
		}
		r, err := archive.Verify(ctx, args[0], visit)
		line.clear()
		if err != nil {
			return err
		}
		return k.archiveReport(r)
	}
	d, err := w.open(args[0])
	if err != nil {
		return err
	}
	s, err := d.Look(ctx)
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	if partial && s.InUse {
		return fmt.Errorf("%s is in use: its last segment is being written; without -partial the finished ones are archived", args[0])
	}
	a, err := archive.Open(args[1])
	if err != nil {
		return err
	}
	r, err := a.PutDir(ctx, w.layout(args[0]).Log(), partial, visit)
	line.clear()
	switch {
	case errors.Is(err, archive.ErrConflict), errors.Is(err, archive.ErrChain):
		return k.notSo("archive", "%v", err)
	case err != nil:
		return err
	}
	if !k.quiet() {
		k.sayf("%s: %d finished segments%s; it reaches LSN %d", args[1], r.Segments, and(r.Partial), r.EndLSN)
	}
	return k.writeJSON(r)
}

func and(part string) string {
	if part == "" {
		return ""
	}
	return " and " + part
}

func (k *call) archiveReport(r *archive.Report) error {
	if !k.quiet() {
		k.sayf("%s: engine %s, %d segments, %d records, %s, LSN %d to %d", r.Dir, orNone(r.EngineID), r.Segments, r.Records,
			mib(r.Bytes), r.FirstLSN, r.LastLSN)
		for _, p := range r.Problems {
			k.sayf("damaged     %s: %s", p.Segment, p.What)
		}
		switch {
		case !r.OK:
			k.sayf("no restore gets beyond LSN %d; make a new backup", r.LastLSN)
		default:
			k.sayf("sound: nothing was found")
		}
	}
	if err := k.writeJSON(r); err != nil {
		return err
	}
	if !r.OK {
		return errNotSo
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

var restoreCommand = command{
	name: "restore", short: "make a directory from a backup and archived segments, up to an LSN",
	run: runRestore,
	help: `
usage: untornctl restore BACKUP TO [-archive A] [-to LSN] [-keep-id] [-json FILE]

Makes the engine directory TO from a backup (untornctl backup, Engine.Backup) and the segments that
were archived since. Every segment is checked, by itself and against the one before it, and that LSN
can be reached, before anything is made. TO is opened once, so it is known that it opens; the program
that owns it then replays from the redo LSN, as after any crash.

The log ends with the last group of records that ends at or before LSN, so a batch is there whole or
not at all. An LSN before the backup's end is refused: pages of the backup may be newer. What pages
got without a record in the log (LSN 0) is as it was in the backup.

TO gets an id of its own, so that it and the original can never be mixed, and an archive of its own
has to be used with it.

  -archive A     of segments; without it only what the backup has
  -to LSN        0 = as far as it goes (default)
  -keep-id       TO takes the place of the original, which is gone for good
  -json FILE     what was made, for scripts, "-" for standard output

Exit: 0 done, 1 it cannot be done: LSN out of reach, damage, no backup (it says what there is),
2 usage, 3 could not run: TO is not empty, the disk is full.

Examples
  untornctl restore /backup/monday /srv/new -archive /archive/data
  untornctl restore /backup/monday /srv/new -archive /archive/data -to 73400320
`}

func runRestore(ctx context.Context, k *call) error {
	var o archive.RestoreOptions
	fs := k.flags()
	fs.StringVar(&o.Archive, "archive", "", "")
	fs.Uint64Var((*uint64)(&o.LSN), "to", 0, "")
	fs.BoolVar(&o.KeepID, "keep-id", false, "")
	args, err := k.parse(fs, "the backup", "the directory to make")
	if err != nil {
		return err
	}
	o.Backup, o.To = filepath.Clean(args[0]), filepath.Clean(args[1])
	line := progress{w: k.err, on: terminal(k.err)}
	o.Progress = line.bytes()
	r, err := archive.Restore(ctx, o)
	line.clear()
	switch {
	case errors.Is(err, archive.ErrTooEarly), errors.Is(err, archive.ErrTooFar), errors.Is(err, archive.ErrNoBackup):
		return k.notSo("restore", "%v", err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted; what is in %s is no engine's directory: remove it", o.To)
	case err != nil:
		return err
	}
	if !k.quiet() {
		k.sayf("%s: engine %s, %d log segments (%d from the archive), %s", r.Dir, r.EngineID, len(r.Segments), r.Archived, mib(r.Bytes))
		k.sayf("the backup went to LSN %d; the log goes to %d; replay begins at %d", r.BackupEndLSN, r.EndLSN, r.RedoLSN)
		if r.Stopped != "" {
			k.sayf("it ends there because %s", r.Stopped)
		}
	}
	return k.writeJSON(r)
}
