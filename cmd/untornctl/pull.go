package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/pull"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

var pullCommand = command{
	name: "pull", short: "pull the plug for real: acknowledgements go to a second host, then the directory is checked", run: runPull,
	help: `
usage: untornctl pull -listen [HOST]:PORT [-out FILE]                     on a machine that stays alive
       untornctl pull -dir D -report HOST:PORT [-mode M] [-duration T]    on the machine that dies
       untornctl pull -verify -dir D -told FILE                          there, after the reboot

A workload of records and pages runs in D. What the engine acknowledges is told to a listener on a
second machine, which writes it to a file and flushes it. Then the power is cut. After the reboot the
directory is opened, which recovers it, and judged by what the listener was told: nothing acknowledged
is lost, no page is torn, none is older than acknowledged, every acknowledged record is there.

The listener
  -listen ADDR   where to listen; without a host only this machine reaches it. There is no password:
                 use a network you trust
  -out FILE      the told file; default told.untorn. It is continued by further rounds
  -json FILE     with every role: the result for scripts, "-" for standard output

The workload
  -dir D         a new or empty directory on the disk to be tried; in further rounds the same one
  -report ADDR   the listener. The workload waits for a slow one, and ends loudly without it
  -mode M        doublewrite (default), atomic; detect or none, where a page that was being written may
                 be damaged, and only such a page
  -override R    mode atomic although hwprobe's rule R says no
  -page N        bytes of a page, in the first round; default 16384
  -pages N       pages of the main file, in the first round; default 2048
  -backend B     auto (default), uring, threads, buffered
  -duration T    end in order after T; default: never. Ctrl-C does that, too
  -mutant NAME   break a rule of the engine on purpose: the verification has to find it

The verification
  -told FILE     a copy of the listener's file

Ways to die, from the most honest to the least
  the power switch, or the plug (with a drive's own cache in play)
  a switched outlet, or the power control of the server's management board: ipmitool power off
  echo b > /proc/sysrq-trigger       the kernel is gone at once; the drive keeps its power and cache
  kill -9 of a virtual machine       loses nothing the guest has written, if the host's page cache
                                     holds it: use cache=none, and cut the host's power
A test can only be as hard as its death: cut it often, under load, at different times.

Exit: 0 fine, 1 a violation (verification) or the engine failed (workload), 2 usage, 3 could not run,
or the listener was lost.

Examples
  witness$ untornctl pull -listen 0.0.0.0:7070 -out told.untorn
  victim#  untornctl pull -dir /srv/data/pull -report witness:7070
  victim#  echo b > /proc/sysrq-trigger
  victim#  scp witness:told.untorn /tmp
  victim#  untornctl pull -verify -dir /srv/data/pull -told /tmp/told.untorn
  victim#  untornctl pull -dir /srv/data/pull -report witness:7070      the next round, same file
  both$    untornctl pull -listen :7070 & untornctl pull -dir p -report localhost:7070 -duration 9s
`}

// pullFlags is the command line of pull.
type pullFlags struct {
	listen, out, told string
	verify            bool
	duration          time.Duration
	page              int
	pages             uint64
	cfg               pull.Config
}

func runPull(ctx context.Context, k *call) error {
	var p pullFlags
	fs := k.flags()
	fs.StringVar(&p.listen, "listen", "", "")
	fs.StringVar(&p.out, "out", "told.untorn", "")
	fs.StringVar(&p.told, "told", "", "")
	fs.BoolVar(&p.verify, "verify", false, "")
	fs.DurationVar(&p.duration, "duration", 0, "")
	fs.IntVar(&p.page, "page", 16<<10, "")
	fs.Uint64Var(&p.pages, "pages", 2048, "")
	fs.StringVar(&p.cfg.Dir, "dir", "", "")
	fs.StringVar(&p.cfg.Report, "report", "", "")
	fs.StringVar((*string)(&p.cfg.Mode), "mode", "doublewrite", "")
	fs.StringVar((*string)(&p.cfg.Backend), "backend", "auto", "")
	fs.StringVar(&p.cfg.Override, "override", "", "")
	fs.StringVar(&p.cfg.Mutant, "mutant", "", "")
	if _, err := k.parse(fs); err != nil {
		return err
	}
	what := 0
	for _, on := range []bool{p.listen != "", p.cfg.Report != "", p.verify} {
		if on {
			what++
		}
	}
	switch {
	case what != 1:
		return usagef("one of -listen, -report and -verify is needed")
	case p.listen != "":
		return pullListen(ctx, k, &p)
	case p.cfg.Dir == "":
		return usagef("-dir is missing")
	case p.verify:
		return pullVerify(k, &p)
	}
	return pullWork(ctx, k, &p)
}

func pullListen(ctx context.Context, k *call, p *pullFlags) error {
	host, port, err := net.SplitHostPort(p.listen)
	if err != nil {
		return usagef("-listen: %v", err)
	}
	if host == "" {
		host = "localhost"
	}
	line := progress{w: k.err, on: terminal(k.err)}
	var mu sync.Mutex
	say := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		line.clear()
		if k.quiet() {
			return
		}
		k.sayf("%s  %s", time.Now().Format("15:04:05"), s)
	}
	l, err := pull.NewListener(net.JoinHostPort(host, port), p.out, say)
	if err != nil {
		return err
	}
	say(fmt.Sprintf("listening on %s; %s holds %d rounds. Ctrl-C ends it", l.Addr(), p.out, l.Rounds()))
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx) }()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			line.clear()
			return errors.Join(err, k.writeJSON(l.Status()))
		case <-tick.C:
		}
		if s := l.Status(); s.Hearing {
			silent := ""
			if s.SilentSeconds > 2 {
				silent = fmt.Sprintf("; SILENT for %.0f s: is it dead?", s.SilentSeconds)
			}
			mu.Lock()
			line.show(fmt.Sprintf("round %d: %d page and %d record acknowledgements told%s", s.Rounds, s.PageAcks,
				s.RecordAcks, silent))
			mu.Unlock()
		}
	}
}

func pullWork(ctx context.Context, k *call, p *pullFlags) error {
	cfg := &p.cfg
	if !slices.Contains(pull.Modes(), cfg.Mode) {
		return usagef("unknown mode %q (%v)", cfg.Mode, pull.Modes())
	}
	switch cfg.Backend {
	case ring.Auto, ring.Uring, ring.Threads, ring.Buffered:
	default:
		return usagef("unknown backend %q (auto, uring, threads, buffered)", cfg.Backend)
	}
	if cfg.Mutant != "" {
		m, err := stages.ParseMutant(cfg.Mutant)
		if err != nil {
			return usagef("%v", err)
		}
		cfg.Mutants = m
	}
	if !slices.Contains([]int{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10}, p.page) {
		return usagef("-page is 4096, 8192, 16384, 32768 or 65536")
	}
	if p.pages < 16 || p.pages > 1<<24 || p.duration < 0 {
		return usagef("-pages is 16 to 16 million, -duration not negative")
	}
	cfg.Shape = pull.DefaultShape()
	cfg.Shape.PageSize, cfg.Shape.Pages, cfg.Shape.MaxPages = p.page, p.pages, p.pages*3/2
	if p.duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, p.duration)
		defer stop()
	}
	line := progress{w: k.err, on: terminal(k.err)}
	slow := false
	cfg.Progress = func(t pull.Telling) {
		if waits := t.Waiting > 2*time.Second; waits != slow {
			slow = waits
			line.clear()
			fmt.Fprintln(k.err, map[bool]string{true: "untornctl pull: the listener is slow: the workload waits for it",
				false: "untornctl pull: the listener has caught up"}[slow])
		}
		line.show(fmt.Sprintf("round %d: %d page and %d record acknowledgements told, %d messages unconfirmed. Cut the power now",
			t.Round, t.PageAcks, t.RecordAcks, t.Unconfirmed))
	}
	t, err := pull.Run(ctx, *cfg)
	line.clear()
	if jerr := k.writeJSON(t); jerr != nil {
		return jerr
	}
	if t.Round > 0 && !k.quiet() {
		k.sayf("round %d: %d page and %d record acknowledgements told", t.Round, t.PageAcks, t.RecordAcks)
	}
	switch {
	case err == nil:
		if !k.quiet() {
			k.sayf("closed in order")
		}
	case errors.Is(err, pull.ErrLost):
		line := strings.Repeat("*", 72)
		fmt.Fprintf(k.err, "%s\nTHE LISTENER IS LOST: nothing more is told, so nothing more is done\n%s\n", line, line)
	case t.Round > 0 && !errors.Is(err, untorn.ErrNoSpace): // the engine failed
		fmt.Fprintf(k.err, "untornctl pull: %v\n", err)
		return errNotSo
	}
	return err
}

func pullVerify(k *call, p *pullFlags) error {
	if p.told == "" {
		return usagef("-told is missing: a copy of the listener's file")
	}
	r, err := pull.Verify(p.cfg.Dir, p.told, p.cfg.Override)
	if err != nil {
		return err
	}
	if !k.quiet() {
		if err := r.Write(k.out); err != nil {
			return err
		}
	}
	if err := k.writeJSON(r); err != nil {
		return err
	}
	if r.Violations > 0 {
		return errNotSo
	}
	return nil
}
