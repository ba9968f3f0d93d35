package sim

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/untorn/untorn/ring"
)

// Fault is what shall go wrong with one op. The zero value is nothing.
type Fault struct {
	// Err fails the op. A failed write leaves its first Land bytes readable and the whole of it
	// undecided; a failed flush leaves what it should have covered readable, and clean.
	Err  error
	Land int
	// Short makes the first transfer end after so many bytes. The ring repeats it, unless
	// Config.LinkedShortWrite.
	Short int
	// Lost reports a write as done, and drops it.
	Lost bool
	// Misdirect shifts a read or a write by so many bytes, and reports nothing.
	Misdirect int64
	// Lie reports a flush as done, and does nothing.
	Lie bool
	// Rot flips one bit of the range of a read, for good, before it is read.
	Rot bool
	// Stall delays completion.
	Stall time.Duration
	// Hold keeps the op in flight until Disk.Release.
	Hold bool
}

// merge adds what another hook wants.
func (f Fault) merge(g Fault) Fault {
	if f.Err == nil {
		f.Err, f.Land = g.Err, g.Land
	}
	f.Short = max(f.Short, g.Short)
	f.Lost = f.Lost || g.Lost
	f.Misdirect += g.Misdirect
	f.Lie = f.Lie || g.Lie
	f.Rot = f.Rot || g.Rot
	f.Stall += g.Stall
	f.Hold = f.Hold || g.Hold
	return f
}

// Inject adds a hook that is asked about every op when it is submitted, in order of submission.
// It must not keep the op.
func (d *Disk) Inject(hook func(*ring.Op) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hooks = append(d.hooks[:len(d.hooks):len(d.hooks)], hook)
}

// InjectFS adds a hook that is asked before every operation of the file system ("open", "mkdir",
// "rename", "remove", "readdir", "stat", "syncdir", "mount", "size", "preallocate", "truncate",
// "lock"); its error fails the operation. A SyncDir that failed leaves its directory's changes
// undecided for good.
func (d *Disk) InjectFS(hook func(op, path string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fsHooks = append(d.fsHooks[:len(d.fsHooks):len(d.fsHooks)], hook)
}

// ClearFaults removes all hooks. Rot and unreadable sectors stay, and so do the ops that are held; no op
// will be held that is not by now, also if a hook said so: after ClearFaults and Release none is.
func (d *Disk) ClearFaults() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hooks, d.fsHooks = nil, nil
	d.cleared++
}

// Corrupt flips the bits of mask at off in a file, in the cache and on the medium.
func (d *Disk) Corrupt(name string, off int64, mask ...byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, _, err := d.st.lookup(name)
	if err == nil {
		_, err = d.regular("corrupt", name)
	}
	if err != nil {
		return pathError("corrupt", name, err)
	}
	d.record(Entry{Kind: Rot, File: clean(name), node: id, Off: off, Len: len(mask), data: mask})
	return nil
}

// FailReads makes a range of a file unreadable, in whole sectors, until it is rewritten.
func (d *Disk) FailReads(name string, off int64, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.regular("unreadable", name); err != nil {
		return err
	}
	id, _, _ := d.st.lookup(name) // regular found it
	sector := int64(d.cfg.Sector)
	first := off / sector * sector
	end := (off + int64(n) + sector - 1) / sector * sector
	d.record(Entry{Kind: Unreadable, File: clean(name), node: id, Off: first, Len: int(end - first)})
	return nil
}

// Rates are the probabilities of faults, per op they apply to.
type Rates struct {
	ReadErr, WriteErr, FlushErr float64
	ShortWrite                  float64
	LostWrite, LyingFlush       float64
	MisdirectedRead             float64
	MisdirectedWrite            float64
	Rot                         float64 // per read
	Stall                       float64
	StallFor                    time.Duration
}

// Hook makes a hook for Disk.Inject out of rates. The same seed and the same ops give the same
// faults.
func (r Rates) Hook(seed uint64) func(*ring.Op) Fault {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0x6661756c74))
	return func(op *ring.Op) (f Fault) {
		mu.Lock()
		defer mu.Unlock()
		hit := func(p float64) bool { return p > 0 && rng.Float64() < p }
		if hit(r.Stall) {
			f.Stall = r.StallFor
		}
		switch op.Kind {
		case ring.Read:
			if hit(r.ReadErr) {
				f.Err = syscall.EIO
			}
			if hit(r.MisdirectedRead) {
				f.Misdirect = elsewhere(rng, op)
			}
			f.Rot = hit(r.Rot)
		case ring.Write:
			n := op.Len()
			if hit(r.WriteErr) {
				f.Err = syscall.EIO
				f.Land = rng.IntN(n/512+1) * 512
			}
			if hit(r.ShortWrite) {
				f.Short = rng.IntN(n/512+1) * 512
			}
			if hit(r.MisdirectedWrite) {
				f.Misdirect = elsewhere(rng, op)
			}
			f.Lost = hit(r.LostWrite)
		default:
			if hit(r.FlushErr) {
				f.Err = syscall.EIO
			}
			f.Lie = hit(r.LyingFlush)
		}
		return f
	}
}

// elsewhere is a nearby place that is not the right one.
func elsewhere(rng *rand.Rand, op *ring.Op) int64 {
	shift := int64(1+rng.IntN(8)) * 4096
	if op.Off >= shift && rng.IntN(2) == 0 {
		return -shift
	}
	return shift
}
