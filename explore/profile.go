package explore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/hwprobe"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// trouble is what goes wrong in a run besides the power.
type trouble uint8

const (
	noTrouble  trouble = iota
	failFlush          // one flush fails, its pages stay readable and are not durable
	failWrite          // one write fails
	shortWrite         // transfers end early and are to be repeated whole
	failNames          // one change of a directory, or its flush, fails
	diskFull           // the disk is nearly full from the beginning
	failRead           // one read fails
	misdirect          // one write goes to the wrong place and is reported as done
)

var troubleNames = [...]string{"none", "failed flush", "failed write", "short writes", "failed directory", "disk full", "failed read", "misdirected write"}

func (t trouble) String() string { return troubleNames[t] }

// profile is everything a seed decides about a run but its schedule.
type profile struct {
	seed     uint64
	mode     untorn.Mode
	mutant   mutant
	pageSize int
	pages    uint64 // of the file all clients share
	opts     untorn.Options
	disk     sim.Config
	clients  int
	steps    int // of each client in each session
	sessions int
	trouble  trouble
	where    string // in the name of the file the trouble is with
	after    int    // ops that match before it strikes
	abandon  bool   // the last session does not end with a close
	kills    int    // one in so many points is tried with killed processes too; 0 = none
	rot      int    // one in so many states is tried with rot as well
	deep     int    // one in so many is worked on and crashed again
	rotten   []rotKind
	focus    []string      // transitions; empty = all
	modes    []untorn.Mode // files change between these from open to open; none: they do not
	rates    *Rates        // of a soak
	foreign  bool          // some files have LSNs of another log
	follow   int           // whether a subscriber follows the log
	backups  bool          // a client makes copies
	cuts     bool          // a client cuts the log
	newIDs   bool          // between sessions the directory gets another id
	states   int           // at most so many; 0 = as many as the options say
}

// newProfile decides a run. Small geometry, so that everything wraps around soon.
func newProfile(seed uint64, mode untorn.Mode, m mutant) *profile {
	rng := rand.New(rand.NewPCG(seed, 0x70726f66))
	pick := func(of ...int) int { return of[rng.IntN(len(of))] }
	p := &profile{seed: seed, mode: mode, mutant: m}
	p.pageSize = pick(4096, 4096, 8192, 16384)
	p.pages = uint64(pick(12, 16, 24))
	p.clients = pick(2, 3, 3)
	p.steps = pick(8, 12, 18)
	p.sessions = pick(1, 2, 2, 3)
	p.abandon = rng.IntN(3) > 0
	p.disk = sim.Config{Seed: seed, Sector: pick(512, 512, 4096)}
	p.disk.ZombieTicks = pick(24, 300)
	p.disk.Physical = max(p.disk.Sector, pick(512, 512, 4096))
	if mode == untorn.ModeAtomic {
		p.disk.Atomic = pick(64<<10, 64<<10, 4096) // the last refuses larger pages: they take the other way
	}
	batches := pick(1, 2, 2, 3)
	p.opts = untorn.Options{
		Dir: "/db", BatchBytes: 64 << 10, Batches: batches, Unflushed: min(batches, pick(1, 2)),
		SegmentBytes: 64 << 10, Depth: pick(4, 16), LockWait: -time.Second, Unsafe: true,
		Commit:  []walstage.Commit{walstage.CommitFlush, walstage.CommitDSync}[rng.IntN(2)],
		DWBSync: []untorn.DWBSync{untorn.DWBAuto, untorn.DWBFlush, untorn.DWBDSync}[rng.IntN(3)],
		Memory:  int64(batches+4) * 64 << 10, Mutants: m.protocol,
	}
	// A clock in a run makes two schedules of one seed: only some runs have the real one.
	p.opts.IdleFlush = []time.Duration{time.Hour, time.Hour, time.Hour, time.Millisecond}[rng.IntN(4)]
	p.opts.LogGroups = pick(1, 3, 3)
	p.opts.LogDepth = 1 + rng.IntN(p.opts.LogGroups)
	if rng.IntN(4) == 0 {
		p.async(int64(pick(700, 3000)))
	}
	p.opts.LogHeaders = rng.IntN(4) == 0
	p.trouble = trouble(rng.IntN(int(diskFull)+2) % (int(diskFull) + 1)) // none twice as often
	p.where = []string{"/dwb/", "/data/", "/data/", "/wal/", "/super"}[rng.IntN(5)]
	p.after = rng.IntN(12)
	p.kills, p.rot, p.deep = pick(0, 12), pick(0, 12), 100
	p.rotten = []rotKind{rotLog, rotPage, rotAny, rotAny, rotAny}
	if logsImages(mode) {
		p.opts.SegmentBytes = int64(max(16384, 8*p.pageSize)) * 4 // a group holds some images
		p.opts.ShadowRepair = []untorn.ShadowSource{untorn.ShadowDoublewrite, untorn.ShadowLog}[rng.IntN(2)]
	}
	if m.name == unbroken {
		p.dimensions()
		p.calls()
	}
	m.tune(p, rng)
	switch p.trouble {
	case failFlush, failWrite, failNames:
		p.sessions = max(p.sessions, 2)
	case diskFull:
		p.fill(rng)
	}
	return p
}

// fill makes the disk nearly full from the beginning.
func (p *profile) fill(rng *rand.Rand) {
	p.trouble, p.newIDs = diskFull, false // a new id needs room for a segment more
	regions := int64(1+p.opts.Batches+p.opts.Unflushed) * int64(p.opts.BatchBytes+3*p.block())
	p.disk.Capacity = super.FileBytes + regions + 3*p.opts.SegmentBytes + int64(p.pages+8)*int64(p.pageSize) + int64(rng.IntN(300<<10))
}

// async has the log's commit policy bound what may be lost. Time is no bound here: there is no clock.
func (p *profile) async(bytes int64) {
	p.opts.Policy, p.opts.LossBytes, p.opts.LossTime = walstage.PolicyAsync, bytes, time.Hour
}

// corrupt makes damage on the medium the one thing besides power cuts that goes wrong.
func (p *profile) corrupt() {
	p.trouble, p.kills, p.rot, p.rotten = noTrouble, 0, 1, []rotKind{rotAny}
	p.disk.Capacity = 0
}

// timed reports whether a timer of the engine's may go off while it runs.
func (p *profile) timed() bool { return p.opts.IdleFlush < time.Minute }

// engineOn are the options of an engine on a disk.
func (p *profile) engineOn(d *sim.Disk) untorn.Options {
	o := p.opts
	o.FS = d.FS()
	o.Probe = p.probe
	o.NewRing = func(string, ring.Config) (ring.Ring, error) { return d.Ring(), nil }
	return o
}

// probe proves what the simulated disk promises: a write with ring.Atomic that it accepts lands whole.
func (p *profile) probe(context.Context, string) (untorn.Probed, error) {
	return untorn.Probed{Flushes: hwprobe.FlushesSent, FlushesWhy: "simulated", Atomic: func(int) untorn.AtomicVerdict {
		return untorn.AtomicVerdict{Relaxed: true, Answer: "relaxed", Kind: "hardware", Rule: "sim", Reason: "the disk is simulated"}
	}}, nil
}

func (p *profile) String() string {
	var more string
	if len(p.modes) > 0 {
		more += fmt.Sprintf(", files change between %v", p.modes)
	}
	if p.opts.WALDir+p.opts.DWBDir != "" {
		more += fmt.Sprintf(", log in %q, copies in %q", p.opts.WALDir, p.opts.DWBDir)
	}
	if p.opts.MaxLogBytes > 0 {
		more += fmt.Sprintf(", log of %d bytes at most", p.opts.MaxLogBytes)
	}
	return fmt.Sprintf("seed %d: mode %s, mutant %s, pages of %d, %d clients, batches %d/%d, log commit %v %v, dwb sync %d, sector %d/%d, trouble: %v %s after %d%s",
		p.seed, p.mode, p.mutant.name, p.pageSize, p.clients, p.opts.Batches, p.opts.Unflushed, p.opts.Commit, p.opts.Policy, p.opts.DWBSync,
		p.disk.Sector, p.disk.Physical, p.trouble, p.where, p.after, more)
}

// mutant is a deliberately broken rule, and where to look for what it breaks.
type mutant struct {
	name     string
	protocol stages.Mutant
	tune     func(p *profile, rng *rand.Rand)
}
