package explore

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"

	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// Rates are how often what goes wrong in a soak: of the faults of an operation the chance that one has
// it, of the others the share of the runs. Powers are cut and processes killed in every run.
type Rates struct {
	ReadError  float64 // EIO
	WriteError float64 // EIO, with anything of old and new on the medium
	FlushError float64 // EIO, the pages dropped from the cache as clean
	NameError  float64 // EIO of a change of a directory, or its flush
	ShortWrite float64
	Stall      float64 // completes long after what was submitted later

	Decaying float64 // share of the runs in which the medium decays:
	Rot      float64 // a bit flips somewhere in the file of an operation
	Latent   float64 // a sector of it cannot be read any more

	Lying            float64 // share of the runs in which the drive does not do what it says:
	LostWrite        float64
	LyingFlush       float64
	MisdirectedWrite float64
	MisdirectedRead  float64

	DiskFull float64 // share of the runs that begin nearly full
}

// DefaultRates give a run of a thousand operations a few faults.
func DefaultRates() Rates {
	return Rates{
		ReadError: 0.002, WriteError: 0.001, FlushError: 0.004, NameError: 0.01, ShortWrite: 0.02, Stall: 0.05,
		Decaying: 0.25, Rot: 0.004, Latent: 0.002,
		Lying: 0.25, LostWrite: 0.003, LyingFlush: 0.01, MisdirectedWrite: 0.002, MisdirectedRead: 0.003,
		DiskFull: 0.1,
	}
}

// rateField is one of the rates by its name.
type rateField struct {
	name string
	v    *float64
}

func (r *Rates) fields() []rateField {
	return []rateField{
		{"read-error", &r.ReadError}, {"write-error", &r.WriteError}, {"flush-error", &r.FlushError},
		{"name-error", &r.NameError}, {"short-write", &r.ShortWrite}, {"stall", &r.Stall},
		{"decaying", &r.Decaying}, {"rot", &r.Rot}, {"latent", &r.Latent},
		{"lying", &r.Lying}, {"lost-write", &r.LostWrite}, {"lying-flush", &r.LyingFlush},
		{"misdirected-write", &r.MisdirectedWrite}, {"misdirected-read", &r.MisdirectedRead},
		{"disk-full", &r.DiskFull},
	}
}

// Set is "name=value", and is for a command line: the value is from 0 to 1.
func (r *Rates) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	v, err := strconv.ParseFloat(value, 64)
	if !ok || err != nil || v < 0 || v > 1 {
		return fmt.Errorf("%w: a rate is NAME=FROM-0-TO-1, not %q", ErrOptions, s)
	}
	for _, f := range r.fields() {
		if f.name == name {
			*f.v = v
			return nil
		}
	}
	return fmt.Errorf("%w: no rate is called %q; there are %s", ErrOptions, name, r.String())
}

func (r *Rates) String() string {
	var b strings.Builder
	for i, f := range r.fields() {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%g", f.name, *f.v)
	}
	return b.String()
}

func (r *Rates) values() map[string]float64 {
	m := map[string]float64{}
	for _, f := range r.fields() {
		m[f.name] = *f.v
	}
	return m
}

// driveFault is a mark: from here on complaints of some kinds are its fault, of all kinds that a drive
// may be to blame for if none are named.
type driveFault struct {
	what  string
	kinds []string
}

func (f driveFault) String() string { return "the drive: " + f.what }

// explains reports whether a complaint may be its fault.
func (f driveFault) explains(kind string) bool {
	if never(kind) {
		return false
	}
	for _, k := range f.kinds {
		if k == kind {
			return true
		}
	}
	return len(f.kinds) == 0
}

// blame finds the fault that explains a complaint.
func blame(fs []driveFault, kind string) (what string, ok bool) {
	for _, f := range fs {
		if f.explains(kind) {
			return f.what, true
		}
	}
	return "", false
}

// soak makes the rates the faults of a run.
func (p *profile) soak(rates Rates) {
	rng := rand.New(rand.NewPCG(p.seed, 0x736f616b))
	p.trouble, p.kills, p.disk.Capacity = noTrouble, 12, 0
	p.opts.MaxRecoveries = 1000
	p.sessions = max(p.sessions, 2)
	if rng.Float64() < rates.DiskFull {
		p.fill(rng)
	}
	switch x := rng.Float64(); {
	case x < rates.Decaying:
		p.rot = 6
		rates.LostWrite, rates.LyingFlush, rates.MisdirectedWrite, rates.MisdirectedRead = 0, 0, 0, 0
	case x < rates.Decaying+rates.Lying:
		p.rot, rates.Rot, rates.Latent = 0, 0, 0
	default:
		p.rot, rates.Rot, rates.Latent = 12, 0, 0
		rates.LostWrite, rates.LyingFlush, rates.MisdirectedWrite, rates.MisdirectedRead = 0, 0, 0, 0
	}
	p.rates = &rates
}

// roll decides what goes wrong with one operation. It runs when the driver has let the operation pass,
// so that the dice fall in the order of the schedule.
func (r *rig) roll(op *ring.Op) (f sim.Fault) {
	x := r.p.rates
	r.dice.Lock()
	defer r.dice.Unlock()
	hit := func(rate float64, what string) bool {
		if rate == 0 || r.fate.Float64() >= rate {
			return false
		}
		r.w.inject(what)
		return true
	}
	name := op.File.Name()
	if hit(x.Rot, "rot") {
		r.decay(name, false)
	}
	if hit(x.Latent, "latent sector error") {
		r.decay(name, true)
	}
	astray := func() int64 {
		s := int64(1+r.fate.IntN(8)) * 4096
		if r.fate.IntN(2) == 0 {
			return -s
		}
		return s
	}
	switch op.Kind {
	case ring.Read:
		switch {
		case hit(x.ReadError, "read error"):
			f.Err = syscall.EIO
			r.w.struck.Store(true)
		case hit(x.MisdirectedRead, "misdirected read"):
			f.Misdirect = astray()
			r.lie("misdirected read")
		}
	case ring.Write:
		switch {
		case hit(x.WriteError, "write error"):
			if f.Err = syscall.EIO; op.Flags&ring.Atomic == 0 {
				f.Land = r.fate.IntN(op.Len()/512+1) * 512
			}
			r.w.struck.Store(true)
		case hit(x.ShortWrite, "short write"):
			f.Short = op.Len() / 2 &^ (r.p.disk.Sector - 1)
		case hit(x.LostWrite, "lost write"):
			f.Lost = true
			r.lie("lost write")
		case hit(x.MisdirectedWrite, "misdirected write"):
			f.Misdirect = astray()
			r.lie("misdirected write")
		}
	default:
		switch {
		case hit(x.FlushError, "flush error"):
			f.Err = syscall.EIO
			r.w.struck.Store(true)
		case hit(x.LyingFlush, "lying flush"):
			f.Lie = true
			r.lie("lying flush")
		}
	}
	if op.Kind != ring.Read && hit(x.Stall, "stall") {
		r.stalled[op] = 8 + r.fate.IntN(60)
	}
	return f
}

// lie notes that the drive did what nobody can make good.
func (r *rig) lie(what string) { r.note(driveFault{what: what}) }

func (r *rig) note(f driveFault) {
	r.w.struck.Store(true)
	r.w.mu.Lock()
	r.w.faults = append(r.w.faults, f)
	r.w.mu.Unlock()
	r.disk.Mark(f)
}

// decay damages a file somewhere. What that excuses depends on the file: nothing silent, but for the
// residuals of the fault model, an unproven tail of the log and the newest unproven copy of a page.
func (r *rig) decay(name string, sector bool) {
	b, err := r.disk.ReadFile(name)
	if err != nil || len(b) == 0 {
		return
	}
	off := r.fate.Int64N(int64(len(b)))
	f := driveFault{what: "rot in super", kinds: []string{Refused, Failed}}
	switch {
	case strings.Contains(name, "/data/"):
		f = driveFault{"rot in a data file", []string{Refused, Damaged, Failed}}
		if r.p.images() {
			// What rots in its place once a checkpoint has let its image go looks, as long as its copy
			// counts, like a copy that was written before its image.
			f.kinds = append(f.kinds, Ahead)
		}
	case strings.Contains(name, "/wal/"):
		f = driveFault{"rot in the log", []string{Refused, LostRec, LossBound, Newer, Failed}}
		if r.p.images() {
			f.kinds = append(f.kinds, Damaged, Older, Ahead) // what the unproven tail had of pages is gone with it
		}
	case strings.Contains(name, "/dwb/"):
		f = driveFault{"rot in the doublewrite file", []string{Refused, Damaged, Older, Failed}}
	}
	if sector {
		f.kinds = append(f.kinds, Differs) // a recovery heals what it writes
		err = r.disk.FailReads(name, off, 1)
	} else {
		err = r.disk.Corrupt(name, off, 1<<r.fate.IntN(8))
	}
	if err == nil {
		r.note(f)
	}
}
