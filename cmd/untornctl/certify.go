package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/untorn/untorn/certify"
)

var certifyCommand = command{
	name: "certify", short: "all proofs on this very stack, kept as a profile of the deployment", run: runCertify,
	help: `
usage: untornctl certify -dir D -out PROFILE [-wal-dir W] [-dwb-dir B] [-mode M] [-page SIZE]
                         [-explore 60s] [-rounds N] [-json FILE]

Looks at the stack below D (and W, B), shows that the explorer convicts broken variants of the
protocol, explores simulated power cuts, kills a writing process for real in scratch directories in
D (slowed down, short of memory and on a full disk where that can be had), and times how bytes become
durable. Facts, figures and verdict go to PROFILE as JSON, after every step; the text is printed. An
engine in D is left alone. untornctl verify -profile says later what has changed.

  -dir D         where the deployment has, or will have, its engine; made for the run if it is not there
  -out PROFILE   the profile; an older one is replaced
  -mode M        the mode the deployment uses: doublewrite (default), atomic, auto, or another that
                 promises whole pages and that untornctl torture takes
  -atomic-override RULE
                 as FileOptions.AtomicOverride; the certificate then says so
  -page SIZE     bytes of a page; default 16384
  -explore D     how long to explore; default 60s
  -rounds N      children to kill; default 50, and a fifth as many each on a slow and on a full disk
  -seed S        of all random choices; default 1
  -quick         leave the timings out
` + whereHelp + `  -json FILE     the profile on "-" instead of the text; or one more copy

Exit: 0 certified (reservations are printed), 1 not: violations, flushes off, atomic writes unproven,
2 usage, 3 could not run, or interrupted: the profile then says "incomplete".

Run it as root on the machine and the disks of the deployment: it sees and tries most there. It writes
some hundred MiB in all, and no more than 2 GiB at a time.

Examples
  untornctl certify -dir /srv/data -out /etc/untorn/profile.json
  untornctl certify -dir /srv/data -wal-dir /fast/wal -mode auto -page 8192 -out p.json
  untornctl certify -dir /srv/data -explore 10m -rounds 500 -out p.json
  untornctl verify -profile p.json /srv/data
`}

func runCertify(ctx context.Context, k *call) error {
	var c certify.Config
	var out string
	var w where
	fs := k.flags()
	w.flags(fs)
	fs.StringVar(&c.Dir, "dir", "", "")
	fs.StringVar(&out, "out", "", "")
	fs.StringVar((*string)(&c.Mode), "mode", "", "")
	fs.StringVar(&c.AtomicOverride, "atomic-override", "", "")
	fs.IntVar(&c.PageBytes, "page", 0, "")
	fs.DurationVar(&c.Explore, "explore", 0, "")
	fs.IntVar(&c.Rounds, "rounds", 0, "")
	fs.Uint64Var(&c.Seed, "seed", 0, "")
	fs.BoolVar(&c.Quick, "quick", false, "")
	if _, err := k.parse(fs); err != nil {
		return err
	}
	switch {
	case c.Dir == "":
		return usagef("-dir is missing")
	case out == "":
		return usagef("-out is missing: the profile is to be kept")
	}
	c.WALDir, c.DWBDir = w.wal, w.dwb
	if err := c.Validate(); err != nil {
		return usagef("%v", err)
	}
	line := progress{w: k.err, on: terminal(k.err)}
	c.Progress = func(step, l string) { line.show(step + ": " + l) }
	c.Done = func(step, l string, p *certify.Profile) error {
		line.clear()
		fmt.Fprintf(k.err, "%-8s %s\n", step, l)
		return p.Save(out)
	}
	p, err := certify.Run(ctx, c)
	line.clear()
	if p == nil {
		return err
	}
	err = errors.Join(err, p.Save(out))
	if !k.quiet() {
		if werr := p.Write(k.out); werr != nil {
			return werr
		}
		k.sayf("\nkept in %s", out)
	}
	if jerr := k.writeJSON(p); jerr != nil {
		return jerr
	}
	switch {
	case err != nil:
		return err
	case p.Verdict == certify.NotCertified:
		return errNotSo
	case p.Verdict != certify.Certified:
		return errors.New("interrupted: the profile is incomplete")
	}
	return nil
}

// changes is the document of verify -profile.
type changes struct {
	Schema  int              `json:"schema"`
	Profile string           `json:"profile"`
	Verdict string           `json:"profile_verdict"`
	Worst   certify.Severity `json:"worst"` // "" = nothing has changed
	Changes []certify.Change `json:"changes"`
}

// verifyProfile says what has changed since a certificate.
func verifyProfile(ctx context.Context, k *call, file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := certify.Read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	now, err := certify.Now(ctx, p, dir)
	if err != nil {
		return err
	}
	cs := certify.Compare(p, now)
	if cs == nil {
		cs = []certify.Change{}
	}
	if !k.quiet() {
		if err := certify.WriteChanges(k.out, p, cs, time.Now()); err != nil {
			return err
		}
	}
	if err := k.writeJSON(changes{1, file, p.Verdict, certify.Worst(cs), cs}); err != nil {
		return err
	}
	switch {
	case p.Verdict != certify.Certified:
		fmt.Fprintf(k.err, "untornctl verify: %s is %s: nothing is certified\n", file, p.Verdict)
		return errNotSo
	case certify.Worst(cs) == certify.Void:
		return errNotSo
	case certify.Worst(cs) == certify.Unread:
		return errors.New("what could void the certificate cannot be read now")
	}
	return nil
}
