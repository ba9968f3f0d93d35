package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/blocklog"
	"github.com/untorn/untorn/powercut/tape"
	"github.com/untorn/untorn/pull"
	"github.com/untorn/untorn/vm"
)

// Pulled is the outcome of untornctl pull in a machine that died again and again.
type Pulled struct {
	FS     string `json:"fs"`
	Mode   string `json:"mode"`
	Mutant string `json:"mutant"`
	Seed   uint64 `json:"seed"`
	Deaths int    `json:"kills"`
	// Unflushed is how many writes the power cuts found in the drive's cache, and Landed how much of them
	// the last one kept.
	Unflushed  int          `json:"unflushed_writes"`
	Landed     string       `json:"landed"`
	Violations int          `json:"violations"`
	Last       *pull.Result `json:"last"`
}

// plug is a machine whose plug is pulled.
type plug struct {
	cfg   *config
	parts vm.Parts
	job   tape.Job
	dir   string
	say   func(string)
	rng   *rand.Rand
	out   *Pulled

	l *pull.Listener
}

// death is one way to die.
type death int

const (
	midFlush death = iota // the power goes while the drive flushes a batch, with all it was given meanwhile in its cache
	bySysRq               // the guest reboots at once: the disk keeps its power, and what it was given
	anywhere              // the power goes at any time
)

// deaths come in this order, again and again.
var deaths = []death{midFlush, bySysRq, midFlush, anywhere}

// brokenDeaths is how many times as often a broken variant may die: its first violation ends it, and not
// every death finds one.
const brokenDeaths = 3

func (p *plug) next() death { return deaths[p.out.Deaths%len(deaths)] }

// pullPlug runs untornctl pull in a guest that dies: its machine is killed, and of the writes that were
// not flushed lands what might in a power cut; or it reboots by sysrq-b, where the disk keeps everything.
// Then it boots again, which verifies and goes on.
func (c *config) pullPlug(ctx context.Context, parts vm.Parts, j tape.Job, deaths int) (out *Pulled, err error) {
	dir, err := os.MkdirTemp(c.folder(), "untorn-powercut-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	j.Pull = true
	p := &plug{cfg: c, parts: parts, job: j, dir: dir, rng: rand.New(rand.NewPCG(j.Seed, 9)),
		say: func(s string) { fmt.Fprintf(os.Stderr, "powercut: pull, %s, %s: %s\n", j.FS, modeName(j), s) },
		out: &Pulled{FS: j.FS, Mode: string(j.Mode), Mutant: j.Mutant, Seed: j.Seed}}
	if p.l, err = pull.NewListener("127.0.0.1:0", p.told(), p.say); err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.l.Serve(serving) }()
	defer func() {
		stop()
		err = errors.Join(err, <-done)
	}()
	if j.Mutant != "" {
		deaths *= brokenDeaths
	}
	disk := filepath.Join(dir, "disk")
	if err := makeFile(disk, fsSize(j.FS)); err != nil {
		return nil, err
	}
	if err := vm.Format(ctx, disk, mkfs(j.FS)...); err != nil {
		return nil, err
	}
	for p.out.Deaths < deaths && p.out.Violations == 0 && ctx.Err() == nil {
		if err := p.life(ctx, disk, true); err != nil {
			return p.out, err
		}
		if p.out.Violations > 0 {
			break
		}
		if p.next() == bySysRq {
			p.say("sysrq-b: the disk kept its power, and what it had been given")
		} else if err := p.cut(disk); err != nil {
			return p.out, err
		}
		p.out.Deaths++
	}
	if p.out.Violations == 0 && ctx.Err() == nil {
		err = p.life(ctx, disk, false)
	}
	return p.out, err
}

func modeName(j tape.Job) string {
	return (&Outcome{Mode: string(j.Mode), Mutant: j.Mutant, Recorder: "qemu"}).name()
}

func (p *plug) told() string { return filepath.Join(p.dir, "told") }
func (p *plug) log() string  { return filepath.Join(p.dir, "log") }

// life boots the guest, which verifies what it finds and then, if it is to work, works until its end.
func (p *plug) life(ctx context.Context, disk string, work bool) (err error) {
	told, err := os.ReadFile(p.told())
	if err != nil {
		return err
	}
	j := p.job
	j.Report = fmt.Sprintf("10.0.2.2:%d", p.l.Addr().(*net.TCPAddr).Port) // qemu's name for this host
	if !work {
		j.Report = ""
	}
	j.SysRq = p.next() == bySysRq // it kills itself
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	r := vm.Initrd{
		Init: module + "powercut/guest", Modules: append(modules(j), "virtio-net"),
		Programs: map[string]string{"untornctl": module + "cmd/untornctl"},
		Files:    map[string][]byte{"job.json": b, "told": told},
	}
	initrd := filepath.Join(p.dir, "initrd")
	if err := r.Build(ctx, p.parts, initrd); err != nil {
		return err
	}
	if err := makeFile(p.log(), 0); err != nil {
		return err
	}
	if err := copyFile(p.before(), disk); err != nil {
		return err
	}
	slow, socket, err := newSlowDisk(disk, p.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, slow.close()) }()
	rounds := p.l.Rounds()
	in, cancel := context.WithTimeout(ctx, p.cfg.timeout)
	defer cancel()
	cmd := p.parts.Machine(in, initrd, 512,
		"-blockdev", "driver=nbd,node-name=f,server.type=unix,server.path="+socket,
		"-blockdev", "driver=file,node-name=l,filename="+p.log()+",cache.no-flush=on",
		"-blockdev", "driver=blklogwrites,node-name=d,file=f,log=l,log-sector-size=512,log-super-update-interval=1",
		"-device", "virtio-blk-pci,drive=d",
		"-nic", "user,model=virtio-net-pci,restrict=off")
	killed := make(chan bool, 1)
	kill := func() {
		// Once it works and has told, unless it does so itself. Nothing gentler: qemu flushes at its end.
		killed <- p.wait(in, rounds, slow) && !j.SysRq && cmd.Process.Kill() == nil
	}
	if err := p.run(cmd, j, work, kill, killed); err != nil {
		return err
	}
	// What was on the wire is told, too. The next life is judged by it.
	return p.until(in, func() bool { return !p.l.Status().Hearing })
}

// wait returns true when a new round has been told enough, and it is time to die.
func (p *plug) wait(ctx context.Context, rounds int, disk *slowDisk) bool {
	if p.until(ctx, func() bool { s := p.l.Status(); return s.Rounds > rounds && s.PageAcks > 50 }) != nil {
		return false
	}
	// At any time.
	if !sleep(ctx, time.Duration(p.rng.IntN(p.job.Millis))*time.Millisecond) {
		return false
	}
	if p.next() != midFlush {
		return true
	}
	disk.hangInBatch()
	select {
	case <-disk.hung:
	case <-ctx.Done():
		return false
	}
	// The workload goes on until everything in it waits for a flush: then nothing is told any more.
	for told := uint64(0); ; {
		s := p.l.Status()
		if s.PageAcks+s.RecordAcks == told {
			return true
		}
		told = s.PageAcks + s.RecordAcks
		if !sleep(ctx, quiet) {
			return false
		}
	}
}

// quiet is after how long without a word the workload is taken to stand still: many times what an
// acknowledgement needs from the emulated processor to the listener.
const quiet = 3 * time.Second

// sleep reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// until waits for what the listener brings about.
func (p *plug) until(ctx context.Context, ok func() bool) error {
	for !ok() {
		select {
		case <-p.l.Changed():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// run shows what the guest says and takes its verdict.
func (p *plug) run(cmd *exec.Cmd, j tape.Job, work bool, kill func(), killed chan bool) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	var g sync.WaitGroup
	if work {
		g.Go(kill)
	}
	failed := ""
	err = eachLine(out, func(string) {}, func(msg string) {
		switch kind, rest, _ := strings.Cut(msg, " "); kind {
		case "RESULT":
			var r pull.Result
			if json.Unmarshal([]byte(rest), &r) == nil {
				p.out.Last, p.out.Violations = &r, r.Violations
				p.say(fmt.Sprintf("verified after %d deaths: %d rounds told, %d page and %d record acknowledgements, %d pages recovered, %d violations",
					p.out.Deaths, r.Rounds, r.PageAcks, r.RecordAcks, r.Installed, r.Violations))
			}
		case "FAIL":
			failed = rest
		default:
			p.say(msg)
		}
	})
	werr := cmd.Wait()
	if work && p.out.Violations == 0 && failed == "" {
		g.Wait()
		if ours := <-killed; !ours && !j.SysRq {
			return fmt.Errorf("the guest ended before it was killed: %w: %s", errors.Join(err, werr), errs.String())
		}
		return nil
	}
	if failed != "" {
		return fmt.Errorf("the guest: %s", failed)
	}
	return errors.Join(err, werr)
}

// cut makes the disk what a power cut at the log's end leaves of it.
func (p *plug) cut(disk string) error {
	log, err := os.Open(p.log())
	if err != nil {
		return err
	}
	defer log.Close()
	st, err := log.Stat()
	if err != nil {
		return err
	}
	l, err := blocklog.Read(log, st.Size())
	if err != nil {
		return err
	}
	// The disk has everything: what is not to have landed is taken back from what it was before.
	base, err := os.OpenFile(p.before(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer base.Close()
	r := &blocklog.Replay{Log: l, Window: blocklog.Window{Len: fsSize(p.job.FS)}, Medium: base}
	for range l.Entries {
		if err := r.Step(); err != nil {
			return err
		}
	}
	cs := blocklog.Choices(r.Pending(), 24, p.rng)
	c := cs[0] // nothing: the first cut takes all that a drive may lose
	if p.out.Deaths > 0 {
		c = cs[p.rng.IntN(len(cs))]
	}
	p.out.Unflushed += len(r.Pending())
	p.out.Landed = c.Name
	p.say(fmt.Sprintf("power cut: of %d unflushed writes landed: %s", len(r.Pending()), c.Name))
	if err := r.Apply(base, c); err != nil {
		return err
	}
	return copyFile(disk, p.before())
}

func (p *plug) before() string { return filepath.Join(p.dir, "before") }

// copyFile copies sparsely.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if err := makeFile(to, st.Size()); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = chunks(in, func(off int64, b []byte) error {
		_, err := out.WriteAt(b, off)
		return err
	})
	return errors.Join(err, out.Close())
}

// plugs pulls the plug of each, and reports.
func (c *config) plugs(ctx context.Context, parts vm.Parts, list []tape.Job) error {
	var all []*Pulled
	wrong := false
	for _, j := range list {
		o, err := c.pullPlug(ctx, parts, j, c.deaths)
		if o != nil {
			all = append(all, o)
			if err == nil && ctx.Err() == nil && (o.Violations > 0) != (o.Mutant != "") {
				wrong = true
				fmt.Fprintf(os.Stderr, "powercut: pull, %s, %s: %d violations\n", o.FS, modeName(j), o.Violations)
			}
		}
		if err != nil {
			return errors.Join(err, c.reportPlugs(all))
		}
	}
	if err := c.reportPlugs(all); err != nil {
		return err
	}
	if wrong {
		return errNotSo
	}
	return nil
}

func (c *config) reportPlugs(all []*Pulled) error {
	return c.tell(map[string]any{"schema": 1, "pulls": all}, func(w io.Writer) {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "fs\tmode, mutant\tdeaths\tunflushed writes\tacks told\tpages recovered\tviolations")
		for _, o := range all {
			var acks, installed uint64
			if o.Last != nil {
				acks, installed = o.Last.PageAcks+o.Last.RecordAcks, o.Last.Installed
			}
			fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", o.FS, modeName(tape.Job{Mode: untorn.Mode(o.Mode), Mutant: o.Mutant}),
				o.Deaths, o.Unflushed, acks, installed, o.Violations)
		}
		tw.Flush()
	})
}
