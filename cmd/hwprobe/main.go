// Command hwprobe tells whether doublewrite may be relaxed on a path, for a page size, and why.
// See docs/hwprobe.md, or run it with -h.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/untorn/untorn/hwprobe"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// config is the command line.
type config struct {
	pages   pageList
	from    string
	capture string
	json    string
	all     bool
	live    bool
	verbose bool
	noFile  bool
	serials bool
	policy  hwprobe.Policy
	args    []string
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c config
	switch err := c.parse(args); {
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(stdout, help)
		return hwprobe.ExitRelaxed
	case err != nil:
		fmt.Fprintf(stderr, "hwprobe: %v\n%s", err, usage)
		return hwprobe.ExitUsage
	}
	complain := func(format string, a ...any) { fmt.Fprintf(stderr, "hwprobe: "+format+"\n", a...) }
	var reports []*hwprobe.Report
	var err error
	if c.from != "" {
		reports, err = c.read(stdin)
	} else {
		reports, err = c.probe(ctx, complain)
	}
	if err != nil {
		complain("%v", err)
		return hwprobe.ExitUnknown
	}
	doc := hwprobe.Evaluate(reports, c.pages, c.policy)
	if err := c.write(doc, reports, stdout); err != nil {
		complain("%v", err)
		return hwprobe.ExitUnknown
	}
	return doc.Exit
}

// parse takes flags before, between and after the paths.
func (c *config) parse(args []string) error {
	fs := flag.NewFlagSet("hwprobe", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Var(&c.pages, "page", "")
	fs.StringVar(&c.from, "from", "", "")
	fs.StringVar(&c.capture, "capture", "", "")
	fs.StringVar(&c.json, "json", "", "")
	fs.BoolVar(&c.all, "all", false, "")
	fs.BoolVar(&c.live, "live", false, "")
	fs.BoolVar(&c.verbose, "v", false, "")
	fs.BoolVar(&c.noFile, "no-probe-file", false, "")
	fs.BoolVar(&c.serials, "serials", false, "")
	fs.BoolVar(&c.policy.TrustAWUPF, "trust-awupf", false, "")
	fs.BoolVar(&c.policy.TrustEmulated, "trust-emulated", false, "")
	fs.BoolVar(&c.policy.HardwareOnly, "hardware-only", false, "")
	for rest := args; len(rest) > 0; {
		if err := fs.Parse(rest); err != nil {
			return err
		}
		taken := len(rest) - fs.NArg()
		if taken > 0 && rest[taken-1] == "--" {
			c.args = append(c.args, fs.Args()...)
			break
		}
		rest = fs.Args()
		if len(rest) > 0 {
			c.args, rest = append(c.args, rest[0]), rest[1:]
		}
	}
	if c.pages == nil {
		c.pages = hwprobe.DefaultPages()
	}
	return c.validate()
}

func (c *config) validate() error {
	if c.from != "" {
		c.args = slices.Insert(c.args, 0, c.from)
		if c.all || c.live {
			return errors.New("-from decides from captures: it goes with neither -all nor -live")
		}
	}
	switch {
	case len(c.args) == 0 && !c.all:
		return errors.New("name a path or a device, or give -all")
	case c.json == "-" && c.capture == "-":
		return errors.New("-json - and -capture - cannot share standard output")
	}
	for i, a := range c.args {
		if a == "" {
			return fmt.Errorf("argument %d is empty", i+1)
		}
	}
	return nil
}

// pageList is "4096,16KiB", given once or several times.
type pageList []int

func (p *pageList) String() string { return fmt.Sprint([]int(*p)) }

func (p *pageList) Set(s string) error {
	for one := range strings.SplitSeq(s, ",") {
		n, err := parseSize(strings.TrimSpace(one))
		if err != nil {
			return err
		}
		if !slices.Contains(*p, n) {
			*p = append(*p, n)
		}
	}
	return nil
}

func parseSize(s string) (int, error) {
	num, unit := s, 1
	for _, u := range []struct {
		suffix string
		n      int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"k", 1 << 10}, {"K", 1 << 10}, {"M", 1 << 20}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			num, unit = strings.TrimSpace(rest), u.n
			break
		}
	}
	n, err := strconv.ParseInt(num, 10, 32)
	if err != nil || n < 1 || n*int64(unit) > 1<<30 {
		return 0, fmt.Errorf("page size %q: want bytes, or a number with KiB", s)
	}
	return int(n) * unit, nil
}

// read takes captures from files; "-" is standard input.
func (c *config) read(stdin io.Reader) ([]*hwprobe.Report, error) {
	var out []*hwprobe.Report
	for _, name := range c.args {
		rs, err := readOne(name, stdin)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, r := range rs {
			r.Origin = filepath.Base(name)
		}
		out = append(out, rs...)
	}
	return out, nil
}

func readOne(name string, stdin io.Reader) ([]*hwprobe.Report, error) {
	if name == "-" {
		return hwprobe.ReadCaptures(stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return hwprobe.ReadCaptures(f)
}

// probe looks at every path. One that cannot be looked at is reported and kept as an answer of
// unknown, so that the others' answers and a capture are complete.
func (c *config) probe(ctx context.Context, complain func(string, ...any)) ([]*hwprobe.Report,
	error) {
	paths := c.args
	if c.all {
		devs, err := hwprobe.BlockDevices()
		if err != nil {
			return nil, err
		}
		paths = append(slices.Clone(paths), devs...)
	}
	var out []*hwprobe.Report
	for _, p := range paths {
		r, err := hwprobe.Probe(ctx, p, hwprobe.Options{
			Live: c.live, LivePages: c.pages, NoProbeFile: c.noFile, Serials: c.serials,
		})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			complain("%v", err)
			r = hwprobe.Failed(p, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// write sends the answers where they were asked for. JSON or a capture on standard output takes
// the place of the table.
func (c *config) write(doc hwprobe.Document, reports []*hwprobe.Report, stdout io.Writer) error {
	if c.capture != "" {
		err := to(c.capture, stdout, func(w io.Writer) error { return hwprobe.WriteCaptures(w, reports) })
		if err != nil {
			return err
		}
	}
	if c.json != "" {
		if err := to(c.json, stdout, doc.WriteJSON); err != nil {
			return err
		}
	}
	if c.json == "-" || c.capture == "-" {
		return nil
	}
	fleet := c.all || c.from != "" && len(reports) > 1
	if fleet {
		if err := doc.RenderFleet(stdout); err != nil || !c.verbose {
			return err
		}
		fmt.Fprintln(stdout)
	}
	for _, res := range doc.Results {
		if err := res.Render(stdout, c.verbose); err != nil {
			return err
		}
	}
	return nil
}

func to(name string, stdout io.Writer, f func(io.Writer) error) error {
	if name == "-" {
		return f(stdout)
	}
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f(w), w.Close())
}
