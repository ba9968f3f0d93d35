package explore

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/untorn/untorn"
)

// Options of an exploration. The zero value explores doublewrite for a minute.
type Options struct {
	// Mode of protection of every file. "" = that of the mutant's rule, else doublewrite.
	Mode untorn.Mode
	// Mutant breaks one rule, by name. "" = none.
	Mutant string
	// Seed of the first run; the next runs count up from it. 0 means 1.
	Seed uint64
	// Budget of time. 0 = one minute; negative = until ctx ends.
	Budget time.Duration
	// MaxRuns ends after so many runs. 0 = the budget is the bound.
	MaxRuns int
	// Steady leaves out the seeds whose runs have a timer of the engine's in them: the schedule of the
	// others is the seed's alone, and comes again.
	Steady bool
	// StatesPerRun is about how many power cuts of one run are tried. 0 = 500.
	StatesPerRun int
	// Violations ends the exploration after so many. 0 = 1.
	Violations int
	// Workers is how many states are tried side by side. 0 = one per processor.
	Workers int
	// Corrupt damages every state tried, in one place or in several, after recovery has been right
	// about it, and opens it again: nothing may come back wrong in silence.
	Corrupt bool
	// Soak mixes every fault of the model into the runs, at these rates. nil = no.
	Soak *Rates
	// Only explores one crash state of the first run: a replay.
	Only *Replay
	// Stalled, if set, is called when nothing was tried for two minutes, with the seed of the run and
	// every goroutine's stack.
	Stalled func(seed uint64, stacks []byte)
	// Progress, if set, is called now and then.
	Progress func(Result)
}

// Replay names one power cut of a run.
type Replay struct {
	At     int    // log index
	Choice string // name of the choice
	// Log, if set, is the fingerprint the recorded log must have: recording is repeated for a while
	// until it does.
	Log string
}

// replayTries bounds how often a run is recorded again for a replay.
const replayTries = 30

func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = modeOf(o.Mutant)
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Budget == 0 {
		o.Budget = time.Minute
	}
	if o.StatesPerRun == 0 && o.Soak != nil {
		o.StatesPerRun = 150 // the faults differ from run to run
	}
	if o.StatesPerRun == 0 {
		o.StatesPerRun = 500
	}
	if o.Violations == 0 {
		o.Violations = 1
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	return o
}

// ErrOptions is a mode or a mutant that does not exist.
var ErrOptions = errors.New("explore options")

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch o.Mode {
	case untorn.ModeDoublewrite, untorn.ModeFullpage, untorn.ModeShadow, untorn.ModeAtomic, untorn.ModeDetect, untorn.ModeNone:
	default:
		return fmt.Errorf("%w: unknown mode %q; there are doublewrite, fullpage, shadow, atomic, detect, none", ErrOptions, o.Mode)
	}
	if o.Soak != nil && o.Corrupt {
		return fmt.Errorf("%w: a soak damages what it likes itself", ErrOptions)
	}
	if _, err := findMutant(o.Mutant); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return nil
}
