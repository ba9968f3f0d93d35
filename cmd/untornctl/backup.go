package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/pageimage/codecs"
)

var backupCommand = command{
	name: "backup", short: "a copy of a directory that is not in use, to another place",
	run: runBackup,
	help: `
usage: untornctl backup D TO [-rate BYTES] [-json FILE]

Copies the engine directory D, which was closed in order and is not in use, into the new directory
TO: every page is read and checked, the log is copied from where replay begins, and TO can be opened
when the command has ended well, not before. Data files that lie outside of D become files in TO. A
damaged page ends it, by name. TO/backup.json says what the copy holds.

A running engine is backed up from within: its program calls Engine.Backup, or takes snapshots of
the volume that all of D lies on. TO has the id of D: before both are used, give it one of its own
with untornctl new-id TO. A backup is also where untornctl restore begins.

  -rate BYTES    at most so many bytes a second; 0 = as fast as it goes
` + whereHelp + `  -json FILE     what was copied, for scripts, "-" for standard output

Exit: 0 done, 1 D is damaged or was not closed in order, 2 usage, 3 could not run: D is in use, TO
is not empty, the disk is full.

Examples
  untornctl backup /srv/data /backup/monday
  untornctl backup /srv/data /backup/monday -rate 50000000
`}

func runBackup(ctx context.Context, k *call) error {
	var w where
	var o untorn.BackupOptions
	fs := k.flags()
	w.flags(fs)
	fs.Int64Var(&o.Rate, "rate", 0, "")
	args, err := k.parse(fs, "the directory", "where to copy it")
	if err != nil {
		return err
	}
	if o.Rate < 0 {
		return usagef("-rate %d is negative", o.Rate)
	}
	if err := w.exists(args[0]); err != nil {
		return err
	}
	e, err := untorn.Open(ctx, untorn.Options{Dir: args[0], WALDir: w.wal, DWBDir: w.dwb, MustExist: true,
		ReadOnly: true, Unsafe: true, ImageCodecs: codecs.All(), LockWait: -1})
	switch {
	case errors.Is(err, untorn.ErrNeedsRecovery):
		return k.notSo("backup", "%v: untornctl recover %s does that", err, args[0])
	case errors.Is(err, untorn.ErrLocked):
		return fmt.Errorf("%w\nits engine is running: have its program call Engine.Backup", err)
	case err != nil:
		return advise(err)
	}
	line := progress{w: k.err, on: terminal(k.err)}
	o.Progress = line.bytes()
	b, err := e.Backup(ctx, args[1], o)
	line.clear()
	err = errors.Join(err, e.Close(context.WithoutCancel(ctx)))
	switch {
	case errors.Is(err, untorn.ErrPageDamaged), errors.Is(err, untorn.ErrCorrupt):
		return k.notSo("backup", "%v\nwhat is in %s is no backup; untornctl verify %s lists what is damaged", err, args[1], args[0])
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted; what is in %s is no backup, and no engine opens it", args[1])
	case err != nil:
		return err
	}
	if !k.quiet() {
		k.sayf("%s: %d data files, %d log segments, %s in %.1f s", args[1], len(b.Files), len(b.Segments), mib(b.Bytes), b.Seconds)
		k.sayf("consistent at LSN %d, replay begins at %d; untornctl new-id gives it an id of its own", b.EndLSN, b.RedoLSN)
		if b.LostPages > 0 {
			k.sayf("%d pages had been given up before, and still are", b.LostPages)
		}
	}
	return k.writeJSON(b)
}

// notSo says what is not so on standard error.
func (k *call) notSo(name, format string, a ...any) error {
	fmt.Fprintf(k.err, "untornctl %s: %s\n", name, fmt.Sprintf(format, a...))
	return errNotSo
}

// exists says what is wrong with a path that is no engine's.
func (w *where) exists(dir string) error {
	d, err := w.open(dir)
	if err != nil {
		return err
	}
	return d.Close()
}

// mib writes a number of bytes for people.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
