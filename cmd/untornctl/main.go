// Command untornctl looks after engine directories: what is in one, whether it is sound, how to
// bring it back, and how to prove all of that on one's own disk. Run it with -h.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/untorn/untorn/torture"
)

// Exit codes, the same for every command.
const (
	exitFine  = 0
	exitNotSo = 1 // the thing asked about is not so: damage, loss, a violation
	exitUsage = 2
	exitFault = 3 // could not run
)

// command is one of untornctl's.
type command struct {
	name  string
	short string // one line for the list
	help  string // usage, flags, examples
	run   func(ctx context.Context, c *call) error
}

// commands in the order they are listed in.
func commands() []command {
	return []command{inspectCommand, dumpCommand, verifyCommand, recoverCommand, rebuildCommand, backupCommand,
		restoreCommand, archiveCommand, newIDCommand, followCommand,
		demoCommand, tortureCommand, pullCommand, exploreCommand, certifyCommand}
}

func main() {
	if torture.IsChild() {
		os.Exit(torture.Child())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errNotSo ends a command with exitNotSo: what was found has been printed.
var errNotSo = errors.New("not so")

// usageError is a complaint about the command line.
type usageError struct{ what string }

func (e *usageError) Error() string { return e.what }

func usagef(format string, a ...any) error { return &usageError{fmt.Sprintf(format, a...)} }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "-h", "-help", "--help", "help":
		list(stdout)
		return exitFine
	case "":
		list(stderr)
		return exitUsage
	}
	for _, c := range commands() {
		if c.name == name {
			return c.exec(ctx, args, stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "untornctl: no command %q\n", name)
	list(stderr)
	return exitUsage
}

func list(w io.Writer) {
	fmt.Fprint(w, "usage: untornctl COMMAND [flags] ...\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-14s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\nuntornctl COMMAND -h says more. Exit: 0 fine, 1 damage or violation found, 2 usage, 3 could not run.\n")
}

func (c *command) exec(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	k := &call{out: stdout, err: stderr, args: args}
	err := c.run(ctx, k)
	var u *usageError
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(stdout, strings.TrimLeft(c.help, "\n"))
		return exitFine
	case errors.Is(err, errNotSo):
		return exitNotSo
	case errors.As(err, &u):
		fmt.Fprintf(stderr, "untornctl %s: %v\n%s", c.name, err, strings.TrimLeft(c.help, "\n"))
		return exitUsage
	}
	fmt.Fprintf(stderr, "untornctl %s: %v\n", c.name, err)
	return exitFault
}
