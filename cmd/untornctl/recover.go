package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/inspect"
	"github.com/untorn/untorn/pageimage/codecs"
)

var recoverCommand = command{
	name: "recover", short: "bring a directory back after a crash, or say what that would do",
	run: runRecover,
	help: `
usage: untornctl recover D [-dry-run] [-accept-loss] [-to-lsn N] [-shadow-from S]
                         [-fetch-from DIR] [-json FILE]
       untornctl recover D -salvage DIR [-json FILE]

Opens the engine directory D as its owner would, which recovers it, lists every page that was
touched with source, LSN and reason, and closes it in order.

  -dry-run       only say what would be done; nothing is changed
  -accept-loss   give up pages of which no image may be trusted: they are listed, and marked
                 unreadable until they are written again. Without it such pages stop the recovery
  -shadow-from S files in mode shadow are repaired from "doublewrite" (default) or from the "log"
  -fetch-from DIR ask DIR for pages that are lost: a backup or a replica of this engine, which is only
                 read. A page is used if it is provably the newest, or a newer one of the same log
  -to-lsn N      give a corrupt log up from LSN N on: N is the end of a record before the damage, and
                 the error of a recovery without it names the last one. Everything behind it is
                 erased; pages may be newer than what is left of the log. Look first: with -dry-run
  -salvage DIR   copy what is intact to DIR instead, which must be empty or not be there: every whole
                 group of the log wherever damage lies between, super, doublewrite and data files.
                 Nothing in D changes. The copy is not recovered: dump and recover -to-lsn it
` + whereHelp + `  -json FILE     the report for scripts, "-" for standard output

Exit: 0 recovered (or would be), 1 pages are, or would be, lost, or -salvage could not read all,
2 usage, 3 could not run: in use, not there, or damaged in another way; the message says which.

Examples
  untornctl recover /srv/data -dry-run
  untornctl recover /srv/data
  untornctl recover /srv/data -salvage /srv/saved
  untornctl recover /srv/saved -to-lsn 93232
`}

func runRecover(ctx context.Context, k *call) error {
	var w where
	var dry, accept bool
	var to uint64
	var salvage, from string
	fs := k.flags()
	w.flags(fs)
	fs.BoolVar(&dry, "dry-run", false, "")
	fs.BoolVar(&accept, "accept-loss", false, "")
	fs.Uint64Var(&to, "to-lsn", 0, "")
	fs.StringVar(&salvage, "salvage", "", "")
	fs.StringVar(&from, "fetch-from", "", "")
	var shadow untorn.ShadowSource
	fs.StringVar((*string)(&shadow), "shadow-from", "", "")
	args, err := k.parse(fs, "the directory")
	if err != nil {
		return err
	}
	if dry && accept {
		return usagef("-dry-run changes nothing: -accept-loss does not go with it")
	}
	if salvage != "" && (dry || accept || to != 0 || from != "") {
		return usagef("-salvage copies and recovers nothing: it goes with none of the others")
	}
	d, err := w.open(args[0]) // says what is wrong with a path that is no engine's
	if err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	o := untorn.Options{
		Dir: args[0], WALDir: w.wal, DWBDir: w.dwb, MustExist: true, AcceptLoss: accept, RecoverTo: untorn.LSN(to), ShadowRepair: shadow,
		// Modes are not chosen here: files keep theirs.
		Unsafe: true, ImageCodecs: codecs.All(),
	}
	if from != "" {
		src, err := inspect.Open(untorn.NewLayout(from, "", ""))
		if err != nil {
			return err
		}
		defer src.Close()
		o.FetchPage = src.FetchPage
	}
	if salvage != "" {
		return k.salvage(ctx, o, salvage)
	}
	var report *untorn.Report
	if dry {
		report, err = untorn.DryRun(ctx, o)
	} else {
		report, err = recoverDir(ctx, o)
	}
	if err != nil {
		return advise(err)
	}
	if !k.quiet() {
		if err := report.Table(k.out); err != nil {
			return err
		}
		if n := len(report.Lost); n > 0 && !accept {
			fmt.Fprintf(k.out, "%d pages are lost: restore them from a backup, or give them up with -accept-loss\n",
				n)
		}
	}
	if err := k.writeJSON(report); err != nil {
		return err
	}
	if len(report.Lost) > 0 {
		return errNotSo
	}
	return nil
}

// salvage copies what is intact.
func (k *call) salvage(ctx context.Context, o untorn.Options, to string) error {
	r, err := untorn.Salvage(ctx, o, to)
	if err != nil {
		return advise(err)
	}
	if !k.quiet() {
		fmt.Fprintf(k.out, "verdict     %s\n", r.Verdict)
		fmt.Fprintf(k.out, "log         %d segments, %d groups with %d records\n", r.Segments, r.Groups, r.Records)
		for _, run := range r.Runs {
			fmt.Fprintf(k.out, "  intact    %s\n", run)
		}
		for _, s := range r.SegmentHeaders {
			fmt.Fprintf(k.out, "  remade    the header of segment %s\n", s)
		}
		fmt.Fprintf(k.out, "data        %d files, %d bytes with the doublewrite file\n", r.Files, r.FileBytes)
		for _, p := range r.Elsewhere {
			fmt.Fprintf(k.out, "  not copied: %s lies elsewhere\n", p)
		}
		for _, u := range r.Unread {
			fmt.Fprintf(k.out, "  unreadable: %s\n", u)
		}
		fmt.Fprintf(k.out, "copied to %s; untornctl dump wal %s shows the records\n", r.To, r.To)
		if r.RecoverTo != 0 {
			fmt.Fprintf(k.out, "untornctl recover %s -to-lsn %d brings the copy back to the last record before the damage\n", r.To, r.RecoverTo)
		}
	}
	if err := k.writeJSON(r); err != nil {
		return err
	}
	if len(r.Unread) > 0 {
		return errNotSo
	}
	return nil
}

// recoverDir opens and closes. Where pages are lost it changes nothing and returns what a dry run
// says.
func recoverDir(ctx context.Context, o untorn.Options) (*untorn.Report, error) {
	e, err := untorn.Open(ctx, o)
	if err != nil {
		if errors.Is(err, untorn.ErrPageLost) {
			o.AcceptLoss = false
			return untorn.DryRun(ctx, o)
		}
		return nil, err
	}
	report := *e.Report()
	return &report, e.Close(context.WithoutCancel(ctx))
}

// advise adds what to do next.
func advise(err error) error {
	switch {
	case errors.Is(err, untorn.ErrLocked):
		return fmt.Errorf("%w\nits engine is running; untornctl inspect and verify look at it as it is",
			err)
	case errors.Is(err, untorn.ErrSuper), errors.Is(err, untorn.ErrNoSuper):
		return fmt.Errorf("%w\nuntornctl rebuild-super makes super again from what else is there",
			err)
	case errors.Is(err, untorn.ErrCorrupt):
		return fmt.Errorf("%w\nthe log lost something that had been durable: restore a backup; untornctl dump wal shows what can be read, recover -salvage DIR copies it, and recover -to-lsn N gives up what is behind the damage",
			err)
	case errors.Is(err, untorn.ErrBehind), errors.Is(err, untorn.ErrMissingFile), errors.Is(err,
		untorn.ErrForeign):
		return fmt.Errorf("%w\nrestore the whole directory from one copy", err)
	}
	return err
}
