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
	return nil
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

// report writes the table, unless standard output is taken by the JSON.
func (c *call) report(jsonTo string, v any, text func(io.Writer) error) error {
	err := c.write(jsonTo, func(w io.Writer) error { return bench.WriteJSON(w, v) })
	if err == nil && jsonTo != "-" {
		err = text(c.stdout)
	}
	return err
}
