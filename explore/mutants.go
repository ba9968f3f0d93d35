package explore

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/walstage"
)

// tune bends a profile towards what a mutant breaks: the schedules of the unbroken engine contain
// all of this too, only rarer. A tuning never makes a run unfair: the unbroken engine passes it.
type tune = func(p *profile, rng *rand.Rand)

func leave(*profile, *rand.Rand) {}

// byFlush needs doublewrite batches made durable by a flush.
func byFlush(p *profile, rng *rand.Rand) {
	calm(p, rng)
	p.opts.DWBSync = untorn.DWBFlush
	p.focus = []string{BeforeDWB, AfterDWB, AfterDest, BeforeDest}
}

// calm is a short run in which nothing goes wrong but the power.
func calm(p *profile, rng *rand.Rand) {
	p.trouble, p.kills, p.rot = noTrouble, 0, 0
	p.steps, p.sessions, p.opts.IdleFlush = 10, min(p.sessions, 2), time.Hour
}

// at looks at states of some transitions only.
func at(transitions ...string) tune {
	return func(p *profile, rng *rand.Rand) { calm(p, rng); p.focus = transitions }
}

// flushFails makes a flush of some file fail.
func flushFails(where ...string) tune {
	return func(p *profile, rng *rand.Rand) {
		calm(p, rng)
		p.opts.DWBSync = untorn.DWBFlush
		p.opts.Commit = walstage.CommitFlush
		p.trouble, p.after = failFlush, rng.IntN(6)
		p.focus = []string{Reopening}
		p.steps, p.clients = 12, 3
		p.where = where[rng.IntN(len(where))]
	}
}

var tunings = map[string]tune{
	"skip-dwb-flush":     byFlush,
	"dest-before-flush":  byFlush,
	"flush-not-covering": byFlush,
	"sync-file-range":    at(BeforeDWB, AfterDest, BeforeDest, AfterFlush),
	"reuse-early":        at(BeforeDWB, AfterDest, BeforeDest),
	"watermark-lag":      at(BeforeDWB, AfterDWB),
	"wal-rule-off":       at(LogCommit, BeforeDWB),
	"ack-early":          byFlush,
	"retry-fsync":        retry,
	"reorder-page":       func(p *profile, rng *rand.Rand) { at(AfterDest, AfterFlush)(p, rng); p.states = 60 },
	"stale-copy": func(p *profile, rng *rand.Rand) {
		calm(p, rng)
		p.sessions = 3
		p.rot = 4
		p.rotten = []rotKind{rotPage}
	},
	"unproven-copy":         at(BeforeDWB),
	"recovery-no-flush":     flushFails("/dwb/"),
	"recovery-trusts-reads": flushFails("/data/"),
	"super-all-at-once":     func(p *profile, rng *rand.Rand) { at(SuperUpdate)(p, rng); p.disk.Sector, p.disk.Physical = 512, 512 },
	"truncate-corruption":   func(p *profile, rng *rand.Rand) { calm(p, rng); p.rot = 1; p.rotten = []rotKind{rotLog} },
	"tail-returns":          tailReturns,
	"sub-block-group":       func(p *profile, rng *rand.Rand) { at(LogCommit)(p, rng); p.disk.Sector, p.disk.Physical = 512, 4096 },
	"no-dir-sync":           at(Opening, Growth, Segment, SuperUpdate),
	"zombie-writes":         zombies,
	"lsn-before-checksum":   at(BeforeDest, AfterDest),
	"image-skipped":         images,
	"image-race":            images,
	"async-unbounded": func(p *profile, rng *rand.Rand) {
		at(LogCommit, BeforeDWB)(p, rng)
		p.async(700)
	},
	"follow-early": func(p *profile, rng *rand.Rand) {
		at(LogCommit)(p, rng)
		p.follow, p.opts.Commit = followAuto, walstage.CommitFlush
	},
	"backup-redo":    backups,
	"recover-reuses": func(p *profile, rng *rand.Rand) { calm(p, rng); p.rot, p.rotten = 1, []rotKind{rotAny} },
	LinkedShortWrite: func(p *profile, rng *rand.Rand) { calm(p, rng); p.trouble = shortWrite; p.disk.LinkedShortWrite = true },
}

// LinkedShortWrite is a mutant of the ring, not of the engine: what a short write left out is lost,
// as in a linked chain of write and flush that nobody looks after.
const LinkedShortWrite = "linked-short-write"

// modeOf is the mode a mutant breaks a rule of.
func modeOf(mutant string) untorn.Mode {
	switch mutant {
	case "image-skipped", "image-race":
		return untorn.ModeFullpage
	}
	return untorn.ModeDoublewrite
}

// backups has copies made and opened.
func backups(p *profile, rng *rand.Rand) {
	calm(p, rng)
	p.backups, p.steps, p.clients, p.sessions = true, 24, 3, 1
}

// images looks at destinations under way in mode fullpage.
func images(p *profile, rng *rand.Rand) {
	at(AfterDest, BeforeDest)(p, rng)
	p.steps, p.clients, p.sessions = 24, 3, 1
}

// zombies kills processes whose writes land when their successor is at work.
func zombies(p *profile, rng *rand.Rand) {
	at(AfterDest, LogCommit, BeforeDWB)(p, rng)
	p.kills, p.disk.ZombieTicks = 2, 400
}

// retry makes a flush fail, and looks at what is acknowledged afterwards.
func retry(p *profile, rng *rand.Rand) {
	flushFails("/dwb/", "/data/")(p, rng)
	p.focus = []string{BeforeDWB, AfterDest, BeforeDest, AfterFlush}
}

// tailReturns needs several log groups in flight, and work after a recovery that cut some off.
func tailReturns(p *profile, rng *rand.Rand) {
	at(LogCommit)(p, rng)
	p.opts.LogGroups, p.opts.LogDepth, p.clients, p.deep = 3, 3, 3, 4
}

// unbroken is what the engine is called when it is none.
const unbroken = "none"

// findMutant looks a name up; "" is the unbroken engine.
func findMutant(name string) (mutant, error) {
	if name == "" {
		return mutant{name: unbroken, tune: leave}, nil
	}
	m := mutant{name: name, tune: leave}
	if t := tunings[name]; t != nil {
		m.tune = t
	}
	if name == LinkedShortWrite {
		return m, nil
	}
	p, err := stages.ParseMutant(name)
	if err != nil {
		return m, fmt.Errorf("unknown mutant %q; there are %s", name, strings.Join(Mutants(), ", "))
	}
	m.protocol = p
	return m, nil
}

// Mutants lists the names, sorted.
func Mutants() []string {
	n := append(stages.MutantNames(), LinkedShortWrite)
	sort.Strings(n)
	return n
}
