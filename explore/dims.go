package explore

import (
	"math/rand/v2"

	"github.com/untorn/untorn"
)

// The dimensions a run may have besides its workload: how many states lay in them is counted.
const (
	ModeChange   = "mode change"
	AfterMode    = "work after a mode change"
	LogFull      = "log full"
	LogPlace     = "log in a directory of its own"
	CopyPlace    = "doublewrite file in a directory of its own"
	ForeignLSNs  = "file with LSNs of another log"
	BoundedLog   = "bounded log"
	SmallOnLarge = "pages smaller than a block"
	SeveralFiles = "three files and more"
	ReadErrors   = "run with a read error"
	Misdirected  = "after a misdirected write"
	Followed     = "with a subscriber"
	CuttingLog   = "cut of the log"
	CutLog       = "log with a cut"
	BackingUp    = "backup"
	Copied       = "backup opened"
	ChangingID   = "new id"
	RecoveredTo  = "log given up from a point on"
)

// dimensions decides what a run of the unbroken engine has on top: on a dice of its own, so that what
// a seed had before it has still.
func (p *profile) dimensions() {
	rng := rand.New(rand.NewPCG(p.seed, 0x64696d73))
	one := func(in int) bool { return rng.IntN(in) == 0 }
	if one(4) {
		p.opts.WALDir = "/log"
	}
	if one(4) {
		p.opts.DWBDir = "/copies"
	}
	p.foreign = one(4)
	if one(6) {
		p.disk.Physical = max(p.disk.Physical, 8192<<rng.IntN(2))
		p.opts.SegmentBytes = max(p.opts.SegmentBytes, int64(8*p.block()))
	}
	if one(5) {
		p.opts.MaxLogBytes = int64(4+rng.IntN(3)) * p.opts.SegmentBytes
	}
	if one(3) {
		switch p.mode {
		case untorn.ModeDoublewrite:
			p.modes = []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeDetect}
			if one(2) {
				p.disk.Atomic = 64 << 10
				p.modes = append(p.modes, untorn.ModeAtomic)
			}
		case untorn.ModeAtomic:
			p.modes = []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeAtomic}
		case untorn.ModeFullpage:
			p.modes = []untorn.Mode{untorn.ModeFullpage, untorn.ModeDoublewrite}
			one(2) // no detect here: what a replay tears of it is not modelled
		case untorn.ModeShadow:
			p.modes = []untorn.Mode{untorn.ModeShadow, untorn.ModeDoublewrite}
			if one(2) {
				p.modes = append(p.modes, untorn.ModeFullpage)
			}
		}
		p.sessions = max(p.sessions, 2)
	}
	if p.replays() { // what a replay of a neighbour tears is not modelled
		p.disk.Physical = max(p.disk.Sector, min(p.disk.Physical, p.pageSize))
	}
	if p.trouble == noTrouble && one(2) {
		p.trouble = failRead + trouble(rng.IntN(2))
		p.sessions = max(p.sessions, 2)
	}
}

// calls decides which of the rarer calls a run makes: on a dice of its own, too.
func (p *profile) calls() {
	rng := rand.New(rand.NewPCG(p.seed, 0x63616c6c))
	p.follow = []int{followNone, followAuto, followManual}[rng.IntN(3)]
	switch rng.IntN(4) {
	case 0:
		p.backups = true
	case 1:
		p.cuts = true
	}
	p.newIDs = rng.IntN(3) == 0
}

// logsImages reports whether pages may be repaired from the log.
func logsImages(m untorn.Mode) bool { return m == untorn.ModeFullpage || m == untorn.ModeShadow }

// block is the protocol block of a run's directory.
func (p *profile) block() int { return max(4096, p.disk.Sector, p.disk.Physical) }

// shared is how many pages lie in one protocol block.
func (p *profile) shared() uint64 { return uint64(max(1, p.block()/p.pageSize)) }

// features are the dimensions a state lies in.
func (r *run) features(exp *expect) (in []string) {
	add := func(on bool, name string) {
		if on {
			in = append(in, name)
		}
	}
	foreign := false
	for _, f := range exp.catalogs[len(exp.catalogs)-1] {
		foreign = foreign || exp.foreign[f.uid]
	}
	add(r.p.opts.WALDir != "", LogPlace)
	add(r.p.opts.DWBDir != "", CopyPlace)
	add(foreign, ForeignLSNs)
	add(r.p.opts.MaxLogBytes > 0, BoundedLog)
	add(exp.shared > 1, SmallOnLarge)
	add(len(exp.catalogs[len(exp.catalogs)-1]) > 2, SeveralFiles)
	add(r.p.trouble == failRead, ReadErrors)
	add(r.p.follow != followNone, Followed)
	add(len(exp.gone) > 0, CutLog)
	add(r.p.trouble == misdirect && len(exp.drive) > 0, Misdirected)
	return in
}

// never reports whether no fault of a drive excuses a complaint: what checksums exist for, and what
// has nothing to do with the drive.
func never(kind string) bool { return kind == Torn || kind == Stuck || kind == Unnamed }

// verdict takes out the complaints that a drive that lost or misplaced something is to blame for. They
// are counted: the contract cannot hold there.
func (r *run) verdict(exp *expect, cs []complaint) (left []complaint) {
	for _, c := range cs {
		if what, ok := blame(exp.drive, c.kind); ok {
			r.x.blame(what + ": " + c.kind)
		} else {
			left = append(left, c)
		}
	}
	return left
}
