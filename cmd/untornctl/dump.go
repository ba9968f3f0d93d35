package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/untorn/untorn/inspect"
)

var dumpCommand = command{
	name: "dump", short: "the records of the log (dump wal D), or the doublewrite slots (dump dwb D)",
	run: runDump,
	help: `
usage: untornctl dump wal D [-from LSN] [-to LSN] [-kind K] [-file F] [-data N] [-json FILE]
       untornctl dump dwb D [-json FILE]

dump wal lists the records of the log in order, from the beginning of the newest unbroken run of
segments to the last whole group: what is missing or damaged there is said at the end. dump dwb
lists regions, their headers, and every slot with the page it is for and whether its bytes match
the header. Neither takes a lock nor changes anything.

  -from LSN      records that start at or after LSN
  -to LSN        records that start before LSN
  -kind K        user, engine, create, grow, rename, remove, image or cut
  -file F        records about the data file of that name or id (the caller's name none)
  -data N        the first N bytes of each record, as hex; -1 = all
` + whereHelp + `  -json FILE     for scripts, "-" for standard output; dump wal writes one line a record

Exit: 0 fine, 1 nothing sound was found, 2 usage, 3 D is not there or cannot be read.

Examples
  untornctl dump wal /srv/data -from 65536 -data 32
  untornctl dump wal /srv/data -kind engine
  untornctl dump wal /srv/data -json - | jq -r .end_lsn | tail -1
  untornctl dump dwb /srv/data
`}

func runDump(ctx context.Context, k *call) error {
	var w where
	var f inspect.WALFilter
	fs := k.flags()
	w.flags(fs)
	fs.Uint64Var((*uint64)(&f.From), "from", 0, "")
	fs.Uint64Var((*uint64)(&f.To), "to", 0, "")
	fs.StringVar(&f.Kind, "kind", "", "")
	fs.IntVar(&f.Data, "data", 0, "")
	fs.StringVar(&f.File, "file", "", "")
	args, err := k.parse(fs, "what to dump (wal or dwb)", "the directory")
	if err != nil {
		return err
	}
	if err := checkKind(f.Kind); err != nil {
		return err
	}
	if f.To != 0 && f.To <= f.From {
		return usagef("-to %d is not after -from %d", f.To, f.From)
	}
	what := args[0]
	if what != "wal" && what != "dwb" {
		return usagef("dump what? %q is neither wal nor dwb", what)
	}
	d, err := w.open(args[1])
	if err != nil {
		return err
	}
	defer d.Close()
	if what == "wal" {
		return k.dumpWAL(ctx, d, f)
	}
	return k.dumpDWB(ctx, d)
}

// dumpWAL writes records as they are read: a log may be larger than memory.
func (k *call) dumpWAL(ctx context.Context, d *inspect.Dir, f inspect.WALFilter) error {
	if k.json != "" {
		return k.toJSON(func(w io.Writer) error {
			enc := json.NewEncoder(w)
			_, err := d.DumpWAL(ctx, f, func(r *inspect.Record) error { return enc.Encode(r) })
			return err
		})
	}
	fmt.Fprintln(k.out, inspect.RecordHead)
	n := 0
	end, err := d.DumpWAL(ctx, f, func(r *inspect.Record) error {
		n++
		_, err := fmt.Fprintln(k.out, r.Line())
		return err
	})
	if err != nil {
		return err
	}
	if end.Reason == "" {
		end.Reason = "-"
	}
	_, err = fmt.Fprintf(k.out, "%d records; read to LSN %d: %s\n", n, end.EndLSN, end.Reason)
	return err
}

func (k *call) dumpDWB(ctx context.Context, d *inspect.Dir) error {
	s, err := d.DumpDWB(ctx)
	if err != nil {
		return err
	}
	if !k.quiet() {
		if err := s.DWB.Write(k.out); err != nil {
			return err
		}
	}
	err = k.writeJSON(struct {
		Schema int         `json:"schema"`
		Dir    string      `json:"dir"`
		DWB    inspect.DWB `json:"doublewrite"`
	}{1, s.Dir, s.DWB})
	if err == nil && len(s.DWB.Regions) == 0 {
		for _, p := range append(s.Problems, s.Notes...) {
			fmt.Fprintln(k.err, "untornctl dump:", p)
		}
		return errNotSo
	}
	return err
}
