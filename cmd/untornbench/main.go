// Command untornbench measures what protecting pages costs on the drive at hand, and how far from
// the drive's own limit that is. See docs/benchmarks.md, or run it with -h.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/untorn/untorn/bench"
)

// Exit statuses.
const (
	exitFine  = 0
	exitNot   = 1 // something was read back that is not what was acknowledged
	exitUsage = 2
	exitError = 3 // could not run
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first interrupt ends the run in order; a second one ends the process.
	go func() { <-ctx.Done(); stop() }()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command is one subcommand.
type command struct {
	name string
	help string
	run  func(ctx context.Context, c *call) error
}

func commands() []command {
	return []command{
		{"run", helpRun, runRun},
		{"sweep", helpSweep, runSweep},
		{"wal", helpWAL, runWAL},
		{"limit", helpLimit, runLimit},
		{"recovery", helpRecovery, runRecovery},
		{"compare", helpCompare, runCompare},
	}
}

// call is one invocation.
type call struct {
	args   []string // after the subcommand
	line   []string // all of it, for the report
	fs     *flag.FlagSet
	stdout io.Writer
	stderr io.Writer
	taken  bool           // standard output has a result: no table
	watch  bench.Progress // of tests, in place of the terminal's
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &call{args: args, line: append([]string{"untornbench"}, args...), stdout: stdout, stderr: stderr}
	cmd := command{"", helpAll, runModes}
	if len(args) > 0 {
		for _, x := range commands() {
			if x.name == args[0] {
				cmd, c.args = x, args[1:]
			}
		}
		if cmd.name == "" && args[0] == "help" {
			fmt.Fprint(stdout, helpAll)
			return exitFine
		}
	}
	c.fs = flag.NewFlagSet("untornbench "+cmd.name, flag.ContinueOnError)
	c.fs.SetOutput(io.Discard)
	err := cmd.run(ctx, c)
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, cmd.help)
		return exitFine
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errors.New("interrupted before anything was measured")
	}
	fmt.Fprintf(stderr, "untornbench: %v\n", err)
	switch {
	case errors.Is(err, bench.ErrUsage):
		fmt.Fprintf(stderr, "\n%s", usage(cmd.help))
		return exitUsage
	case errors.Is(err, bench.ErrVerify):
		return exitNot
	}
	return exitError
}

// parse reads flags; positional is how many other arguments there must be.
func (c *call) parse(positional int) error {
	if err := c.fs.Parse(c.args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", bench.ErrUsage, err)
	}
	if n := c.fs.NArg(); n != positional {
		if n > 0 && positional == 0 {
			return fmt.Errorf("%w: %q is neither a flag nor a subcommand here", bench.ErrUsage, c.fs.Arg(0))
		}
		return fmt.Errorf("%w: %d arguments, want %d", bench.ErrUsage, n, positional)
	}
	if err := c.nonzero(); err != nil {
		return err
	}
	return c.results()
}

// nonzero refuses 0 where it would be taken for the default.
func (c *call) nonzero() (err error) {
	c.fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "page", "size", "duration", "repeat", "clients", "batch", "record", "hot", "checkpoint":
			if v := f.Value.String(); v == "0" || v == "0s" || v == "0B" {
				err = fmt.Errorf("%w: -%s 0", bench.ErrUsage, f.Name)
			}
		}
	})
	return err
}

// results looks at where results are to go, before anything is measured for nothing.
func (c *call) results() error {
	seen := map[string]string{}
	for _, flag := range []string{"json", "html", "gobench", "hgrm", "hlog", "series", "cpuprofile"} {
		f := c.fs.Lookup(flag)
		if f == nil || f.Value.String() == "" {
			continue
		}
		name := f.Value.String()
		if first := seen[name]; first != "" {
			return fmt.Errorf("%w: -%s and -%s go to the same place, %s", bench.ErrUsage, first, flag, name)
		}
		if seen[name] = flag; name == "-" {
			c.taken = true
		} else if err := writable(name); err != nil {
			return fmt.Errorf("-%s: %w", flag, err)
		}
	}
	return nil
}

// writable says whether a file can be written. It leaves everything as it was; what is neither a file
// nor a directory, nor nothing yet, is not touched.
func writable(name string) error {
	if s, err := os.Stat(name); err == nil && !s.Mode().IsRegular() && !s.IsDir() {
		return nil
	}
	_, err := os.Lstat(name)
	fresh := os.IsNotExist(err)
	w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	err = w.Close()
	if fresh {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// write sends a document to a file, or to standard output for "-".
func (c *call) write(name string, f func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	if name == "-" {
		return f(c.stdout)
	}
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f(w), w.Close())
}

// profiled runs f with a writer for its CPU profile, which is nil if none was asked for.
func (c *call) profiled(name string, f func(io.Writer) error) error {
	if name == "" {
		return f(nil)
	}
	return c.write(name, f)
}

// report writes the JSON and then the table, unless standard output is taken. It comes behind all other
// results: whoever reads only the first lines of the table loses none of them.
func (c *call) report(jsonTo string, v any, text func(io.Writer) error) error {
	err := c.write(jsonTo, func(w io.Writer) error { return bench.WriteJSON(w, v) })
	if !c.taken {
		err = errors.Join(err, text(c.stdout))
	}
	return err
}
