package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/torture"
)

var tortureCommand = command{
	name: "torture", short: "kill and recover for real, on this very stack", run: runTorture,
	help: `
usage: untornctl torture -dir D [-rounds N] [-mode M] [-seed S] [-throttle] [-full FS] [-memory]
                         [-page SIZE] [-keep] [-wal-dir W] [-dwb-dir B] [-json FILE]

A child process writes records and pages through an engine in D, grows, makes, renames and
removes files, takes checkpoints, and reports on a pipe what it starts and what is acknowledged. It
is killed (SIGKILL) at random moments, its open and recovery included, and what the next open finds
is compared with what was acknowledged, byte by byte.

  -dir D         the engine directory: new or empty, on the disk to be tried. It is left there,
                 closed in order, for a look with inspect, verify and dump
  -rounds N      children to kill; default 50
  -mode M        doublewrite (default); fullpage, where every write logs an image, so that nothing
                 needs a replay; shadow, repaired from either source in turn; atomic or auto, where
                 every third child writes its pages through the doublewrite buffer instead; detect
                 or none, where a page that was being written when the child died may be damaged,
                 and only such a page
  -atomic-override RULE
                 write atomically although this rule of hwprobe says no ("8": copy on write above a
                 drive that nothing is known of, such as XFS on a loop device)
  -page SIZE     bytes of a page, 4096 to 65536; default: another size for each directory made
  -wal-dir W, -dwb-dir B
                 new or empty directories for the log and the doublewrite file, on other disks
  -seed S        begin with the same random numbers again; default: a new one, which is printed
  -throttle      slow every other child's disk down with a control group, so that its queued writes
                 outlive the kill (I11); the next child, which is quick, would overtake them. Needs
                 root and cgroup io.max or blkio; otherwise it says so
  -full FS       make a small file system (ext4 or xfs) in an image beside D, mount it on D for the
                 run, and fill it again and again: what needs space is refused, and nothing else may
                 happen. Your own file system is not filled. Needs root and mkfs; otherwise it says so
  -memory        let half of the children die of a memory limit: of the OOM killer in a control group,
                 or, where that cannot be had, of an allocation that fails
  -mutant NAME   break a rule of the engine on purpose. What a kill can show it does: a rule about
                 flushes needs untornctl explore, because the kernel keeps what a dead process wrote
  -keep          keep each directory in which a violation was found, beside D
  -json FILE     the result for scripts, "-" for standard output

Exit: 0 no violation, 1 violations (each is told), 2 usage, 3 could not run. Interrupt it whenever
you like: what has been found by then is reported.

Examples
  untornctl torture -dir /srv/data/torture -rounds 200
  untornctl torture -dir /srv/data/torture -rounds 50 -throttle
  untornctl torture -dir /srv/data/torture -rounds 50 -full xfs -memory
  untornctl torture -dir /mnt/xfs/t -mode atomic -atomic-override 8
  untornctl torture -dir /tmp/t -mode detect -rounds 20 -json -
  untornctl torture -dir /tmp/t -mutant wal-rule-off
`}

func runTorture(ctx context.Context, k *call) error {
	cfg := torture.Config{}
	fs := k.flags()
	fs.StringVar(&cfg.Dir, "dir", "", "")
	fs.IntVar(&cfg.Rounds, "rounds", 50, "")
	fs.StringVar((*string)(&cfg.Mode), "mode", string(untorn.ModeDoublewrite), "")
	fs.StringVar(&cfg.Mutant, "mutant", "", "")
	fs.Uint64Var(&cfg.Seed, "seed", 0, "")
	fs.BoolVar(&cfg.Throttle, "throttle", false, "")
	fs.StringVar(&cfg.Full, "full", "", "")
	fs.IntVar(&cfg.PageBytes, "page", 0, "")
	fs.StringVar(&cfg.WALDir, "wal-dir", "", "")
	fs.StringVar(&cfg.DWBDir, "dwb-dir", "", "")
	fs.BoolVar(&cfg.Memory, "memory", false, "")
	fs.StringVar(&cfg.AtomicOverride, "atomic-override", "", "")
	fs.BoolVar(&cfg.Keep, "keep", false, "")
	if _, err := k.parse(fs); err != nil {
		return err
	}
	if cfg.Dir == "" {
		return usagef("-dir is missing")
	}
	if cfg.Mutant != "" {
		m, err := stages.ParseMutant(cfg.Mutant)
		if err != nil {
			return usagef("%v", err)
		}
		cfg.Mutants = m
	}
	if err := cfg.Validate(); err != nil {
		return usagef("%v", err)
	}
	for cfg.Seed == 0 {
		var b [4]byte
		if _, err := rand.Read(b[:]); err != nil {
			return err
		}
		cfg.Seed = uint64(binary.LittleEndian.Uint32(b[:]))
	}
	line := progress{w: k.err, on: terminal(k.err)}
	cfg.Progress = func(r *torture.Result) { line.show(r.Line()) }
	res, err := torture.Run(ctx, cfg)
	line.clear()
	if res == nil {
		return err
	}
	if !k.quiet() {
		if werr := res.Write(k.out); werr != nil {
			return werr
		}
	}
	if jerr := k.writeJSON(res); jerr != nil {
		return jerr
	}
	if err != nil {
		return fmt.Errorf("after %d rounds: %w", res.Rounds, err)
	}
	if res.Violations > 0 {
		return errNotSo
	}
	return nil
}
