//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/untorn/untorn/bench"
)

const help = `rivals runs one workload on untorn and on what a reader would otherwise link.

  rivals [-dir D] [-loads REGEXP] [-only REGEXP] [-rounds N] [-time T] [-json FILE]

  -dir D         directory to work in; its scratch folder is removed at the end (default ".")
  -loads REGEXP  which loads: wal-64, wal-1, pages-16, pages-1 (default all)
  -only REGEXP   which contenders (default all)
  -rounds N      rounds; figures are medians of them (default 5)
  -time T        measured time of a contender in a round (default 2s; half of it goes before, unmeasured)
  -json FILE     every round as JSON, "-" = standard output

Loads: wal-N is N callers that each wait for a record of 1 KiB to be durable; pages-N is N callers
that each wait for a batch of 64 random pages of 16 KiB, of 256 MiB, to be durable and safe from tears.

  rivals                                  all of it: about eight minutes, 2 GiB of disk
  rivals -loads wal-64 -rounds 3          the log alone
  rivals -loads pages -only 'untorn|bbolt'

Exit status: 0 done, 2 usage, 3 could not run.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type options struct {
	dir, json   string
	loads, only *regexp.Regexp
	rounds      int
	time        time.Duration
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, help)
		return 0
	case err != nil:
		fmt.Fprintf(errs, "rivals: %v\nrivals -h shows the usage\n", err)
		return 2
	}
	rep, err := measure(ctx, o, errs)
	if rep != nil {
		rep.Command = append([]string{"rivals"}, args...)
		rep.table(out)
		if o.json != "" {
			err = errors.Join(err, rep.save(o.json, out))
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(errs, "rivals: interrupted; the table has the rounds that were complete")
		return 3
	case err != nil:
		fmt.Fprintf(errs, "rivals: %v\n", err)
		return 3
	}
	return 0
}

func parse(args []string) (options, error) {
	var o options
	var loads, only string
	f := flag.NewFlagSet("rivals", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.dir, "dir", ".", "")
	f.StringVar(&loads, "loads", "", "")
	f.StringVar(&only, "only", "", "")
	f.IntVar(&o.rounds, "rounds", 5, "")
	f.DurationVar(&o.time, "time", 2*time.Second, "")
	f.StringVar(&o.json, "json", "", "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var e1, e2 error
	o.loads, e1 = regexp.Compile(loads)
	o.only, e2 = regexp.Compile(only)
	err := errors.Join(e1, e2)
	if f.NArg() > 0 {
		err = errors.Join(err, fmt.Errorf("what is %q?", f.Arg(0)))
	}
	if o.rounds < 1 || o.time < 100*time.Millisecond {
		err = errors.Join(err, errors.New("-rounds is at least 1, -time at least 100ms"))
	}
	return o, err
}

func loads(d time.Duration) []load {
	const page, set = 16 << 10, 16384
	return []load{
		{name: "wal-64", clients: 64, bytes: 1024, warm: d / 2, time: d},
		{name: "wal-1", clients: 1, bytes: 1024, warm: d / 2, time: d},
		{name: "pages-16", clients: 16, bytes: page, batch: 64, pages: set, warm: d / 2, time: d},
		{name: "pages-1", clients: 1, bytes: page, batch: 64, pages: set, warm: d / 2, time: d},
	}
}

// report is the JSON document.
type report struct {
	Schema  string        `json:"schema"`
	Host    bench.Host    `json:"host"`
	Command []string      `json:"command"`
	Started string        `json:"started"`
	Rounds  int           `json:"rounds"`
	Seconds float64       `json:"seconds"` // of a contender in a round; half of it goes before, unmeasured
	Loads   []*loadReport `json:"loads"`
}

// hostOf looks at the file system of dir, through a directory of our own in it.
func hostOf(ctx context.Context, dir string) (h bench.Host, err error) {
	tmp, err := os.MkdirTemp(dir, "rivals-")
	if err != nil {
		return h, err
	}
	return bench.HostFacts(ctx, tmp, 16<<10), os.Remove(tmp)
}

type loadReport struct {
	Load       string        `json:"load"`
	Clients    int           `json:"clients"`
	Bytes      int           `json:"bytes"`
	Batch      int           `json:"batch_pages,omitempty"`
	Unit       string        `json:"unit"`
	Contenders []*contenders `json:"contenders"`
}

type contenders struct {
	Name   string  `json:"name"`
	About  string  `json:"about"`
	Rounds []round `json:"rounds"`
}

// measure runs every load in turn: round by round, the contenders one after another, in an order
// that rotates.
func measure(ctx context.Context, o options, progress io.Writer) (*report, error) {
	rep := &report{
		Schema: "untorn.rivals/1", Started: time.Now().UTC().Format(time.RFC3339), Rounds: o.rounds, Seconds: o.time.Seconds(),
	}
	var err error
	if rep.Host, err = hostOf(ctx, o.dir); err != nil {
		return nil, err
	}
	for _, l := range loads(o.time) {
		if !o.loads.MatchString(l.name) {
			continue
		}
		list := pages()
		if l.batch == 0 {
			list = records()
		}
		list = slices.DeleteFunc(list, func(e entrant) bool { return !o.only.MatchString(e.name) })
		lr := &loadReport{Load: l.name, Clients: l.clients, Bytes: l.bytes, Batch: l.batch, Unit: l.unit()}
		for _, e := range list {
			lr.Contenders = append(lr.Contenders, &contenders{Name: e.name, About: e.about})
		}
		rep.Loads = append(rep.Loads, lr)
		for r := range o.rounds {
			for i := range list {
				k := (i + r) % len(list)
				fmt.Fprintf(progress, "%s: round %d of %d: %s\n", l.name, r+1, o.rounds, list[k].name)
				x, err := once(ctx, o.dir, &l, list[k])
				if err != nil {
					return rep, fmt.Errorf("%s: %s: %w", l.name, list[k].name, err)
				}
				lr.Contenders[k].Rounds = append(lr.Contenders[k].Rounds, x)
			}
		}
	}
	if len(rep.Loads) == 0 {
		return nil, errors.New("no such load")
	}
	return rep, nil
}

// once opens one contender in a new directory, runs the load, and removes the directory.
func once(ctx context.Context, dir string, l *load, e entrant) (x round, err error) {
	if err := ctx.Err(); err != nil {
		return x, err
	}
	tmp, err := os.MkdirTemp(dir, "rivals-")
	if err != nil {
		return x, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if tmp, err = filepath.Abs(tmp); err != nil {
		return x, err
	}
	c, err := e.open(tmp, l)
	if err != nil {
		return x, err
	}
	x, err = l.run(ctx, c, deviceOf(tmp))
	return x, errors.Join(err, c.close())
}

func (r *report) save(name string, out io.Writer) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if name == "-" {
		_, err = out.Write(b)
		return err
	}
	return os.WriteFile(name, b, 0o600)
}
