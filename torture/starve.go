package torture

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/untorn/untorn"
)

// Starve says what children are kept short of. The zero value: of nothing.
type Starve struct {
	// Full is a file system ("ext4" or "xfs") to make in an image beside Dir and mount on Dir for the
	// run. It is full now and then: what needs space then is refused, and nothing else may happen.
	Full string
	// Memory lets a memory limit kill some of the children, in place of the parent.
	Memory bool
}

// starved is what could be had of it.
type starved struct {
	small *smallDisk
	mem   *group
	rlim  bool
}

// Ways in which memory is limited.
const (
	byCgroup = "control group, OOM killer"
	byRlimit = "RLIMIT_AS, failed allocation"
)

const (
	// rlimitRoom is what a child may take beyond what it has mapped at its start, where there is no
	// control group: more than its engine needs.
	rlimitRoom = 512 << 20
	// hogLife bounds the life of a child that its memory is to kill.
	hogLife = 30 * time.Second
)

// starve prepares what was asked for, or says in the result why it cannot be had.
func (r *runner) starve() error {
	r.dir = r.cfg.Dir
	if fs := r.cfg.Full; fs != "" {
		d, err := newSmallDisk(fs, r.cfg.Dir, r.cfg.Keep)
		if err != nil {
			r.res.FullSkipped = err.Error()
		} else {
			r.starved.small, r.dir = d, d.dir
			r.res.FullFS = fs
		}
	}
	if r.cfg.Memory {
		g, err := newMemoryLimit()
		if err == nil {
			r.starved.mem, r.res.MemoryLimit = g, byCgroup
		} else if errors.Is(err, errNoLimits) {
			r.res.MemorySkipped = err.Error()
		} else {
			r.starved.rlim, r.res.MemoryLimit = true, byRlimit+" ("+err.Error()+")"
		}
	}
	return nil
}

// lacking is what this run's children are short of.
func (r *runner) lacking() lacking {
	return lacking{space: r.starved.small != nil, memory: r.starved.mem != nil || r.starved.rlim}
}

// hogs decides whether a child is to die of memory.
func (r *runner) hogs(j *job) {
	if !r.lacking().memory || r.rng.IntN(2) == 0 {
		return
	}
	j.Hog = 1 + r.rng.IntN(600)
	if r.starved.rlim {
		j.HogBytes = rlimitRoom
	}
}

// fillAndRelease keeps the file system full, and gives space back, in turn, until the returned
// function is called.
func (r *runner) fillAndRelease() (end func() error) {
	d := r.starved.small
	if d == nil {
		return func() error { return nil }
	}
	rng := rand.New(rand.NewPCG(r.cfg.Seed, uint64(r.res.Rounds)<<8|uint64(r.rng.IntN(256))))
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			err := pause(stop, time.Duration(rng.IntN(60))*time.Millisecond)
			if err == nil {
				err = d.fill([]uint64{0, 0, 64 << 10, 512 << 10, 2 << 20}[rng.IntN(5)])
			}
			if err == nil {
				err = pause(stop, time.Duration(10+rng.IntN(200))*time.Millisecond)
			}
			if err != nil {
				if errors.Is(err, errStopped) {
					err = nil
				}
				done <- errors.Join(err, d.release())
				return
			}
			if err := d.release(); err != nil {
				done <- err
				return
			}
		}
	}()
	return func() error {
		close(stop)
		return <-done
	}
}

var (
	errStopped  = errors.New("stopped")
	errNoLimits = errors.New("memory is limited on Linux only")
)

func pause(stop <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-stop:
		return errStopped
	}
}

// atomicOf reports whether a mode writes without a second copy where it may.
func atomicOf(m untorn.Mode) bool { return m == untorn.ModeAtomic || m == untorn.ModeAuto }
