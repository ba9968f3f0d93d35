package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/untorn/untorn/inspect"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/walstage"
)

var followCommand = command{
	name: "follow", short: "the records of the log as they become durable, of a running engine too",
	run: runFollow,
	help: `
usage: untornctl follow D [-from LSN|end] [-resume FILE] [-n N] [-kind K] [-file F] [-data N]
                        [-every D] [-json FILE]

Writes the records of the log in order and goes on as the log grows, until Ctrl-C. D may be in use: no
lock is taken, nothing is changed, and the engine neither knows nor waits. A record is shown once
something on the disk says that it is durable: a later group of the log, or super. The last records of
an engine that has gone idle therefore appear with its next record, checkpoint or close.

Nothing keeps the log for a follower: one that falls behind a checkpoint for too long is told so, and
ends with 1. A program that must not miss anything subscribes from within (Engine.Subscribe).

  -from LSN      records that start at or after LSN; 0 = the beginning of the log (default);
                 end = what comes from now on
  -resume FILE   begin where FILE says, and keep in it how far it went: every record once, whatever
                 ends the command. FILE is made when it is not there; it goes before -from
  -n N           end after N records
  -kind K        user, engine, create, grow, rename, remove, image or cut
  -file F        records about the data file of that name or id (the caller's name none)
  -data N        the first N bytes of each record, as hex; -1 = all
  -every D       time between two looks (default 100ms)
` + whereHelp + `  -json FILE     one line a record, "-" for standard output

Exit: 0 ended by Ctrl-C or -n, 1 the log went away before it was read, or was cut off, 2 usage, 3 D is
not there or cannot be read.

Examples
  untornctl follow /srv/data -from end
  untornctl follow /srv/data -resume /var/lib/ship/at -data -1 -json - | ship
`}

func runFollow(ctx context.Context, k *call) error {
	var w where
	o := inspect.FollowOptions{}
	fs := k.flags()
	w.flags(fs)
	from := fs.String("from", "", "")
	resume := fs.String("resume", "", "")
	n := fs.Int("n", 0, "")
	fs.StringVar(&o.Kind, "kind", "", "")
	fs.StringVar(&o.File, "file", "", "")
	fs.IntVar(&o.Data, "data", 0, "")
	fs.DurationVar(&o.Every, "every", 100*time.Millisecond, "")
	args, err := k.parse(fs, "the directory")
	if err != nil {
		return err
	}
	if err := checkKind(o.Kind); err != nil {
		return err
	}
	switch lsn, err := strconv.ParseUint(*from, 10, 64); {
	case *from == "end":
		o.AtEnd = true
	case *from != "" && err != nil:
		return usagef("-from %q is neither an LSN nor end", *from)
	default:
		o.From = page.LSN(lsn)
	}
	if *n < 0 || o.Every <= 0 {
		return usagef("-n and -every are not negative")
	}
	r := resumeFile(*resume)
	if err := r.load(&o); err != nil {
		return err
	}
	d, err := w.open(args[0])
	if err != nil {
		return err
	}
	defer d.Close()
	end := page.LSN(o.From)
	o.Seen = func(next page.LSN) error {
		end = next
		return r.store(next)
	}
	follow := func(w io.Writer, line func(io.Writer, *inspect.Record) error) error {
		seen := 0
		err := d.Follow(ctx, o, func(x *inspect.Record) error {
			if err := line(w, x); err != nil {
				return err
			}
			if seen++; seen == *n {
				return walstage.ErrEnough
			}
			return nil
		})
		return err
	}
	if k.json != "" {
		err = k.toJSON(func(w io.Writer) error {
			return follow(w, func(w io.Writer, x *inspect.Record) error { return json.NewEncoder(w).Encode(x) })
		})
	} else {
		fmt.Fprintln(k.out, inspect.RecordHead)
		err = follow(k.out, func(w io.Writer, x *inspect.Record) error {
			_, err := fmt.Fprintln(w, x.Line())
			return err
		})
	}
	switch {
	case errors.Is(err, walstage.ErrEnough), errors.Is(err, context.Canceled):
		fmt.Fprintf(k.err, "untornctl follow: go on with -from %d\n", end)
		return nil
	case errors.Is(err, walstage.ErrTruncated), errors.Is(err, walstage.ErrCut):
		return k.notSo("follow", "%v\nwhat it followed has to begin anew from a copy", err)
	}
	return err
}

// checkKind refuses a kind of record there is not.
func checkKind(kind string) error {
	switch kind {
	case "", "user", "engine", "create", "grow", "rename", "remove", "image", "cut":
		return nil
	}
	return usagef("unknown kind %q (user, engine, create, grow, rename, remove, image, cut)", kind)
}

// resumeFile keeps a position; "" keeps none.
type resumeFile string

func (r resumeFile) load(o *inspect.FollowOptions) error {
	if r == "" {
		return nil
	}
	b, err := os.ReadFile(string(r))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lsn, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return fmt.Errorf("%s does not hold an LSN: %w", r, err)
	}
	o.From, o.AtEnd = page.LSN(lsn), false
	return nil
}

// store replaces the file, whole or not at all.
func (r resumeFile) store(lsn page.LSN) error {
	if r == "" {
		return nil
	}
	if b, err := os.ReadFile(string(r)); err == nil && strings.TrimSpace(string(b)) == strconv.FormatUint(uint64(lsn), 10) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(string(r)), ".follow-*")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(tmp, "%d\n", lsn)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), string(r))
	}
	if err != nil {
		err = errors.Join(err, os.Remove(tmp.Name()))
	}
	return err
}
