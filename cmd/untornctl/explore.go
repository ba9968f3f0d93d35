package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/untorn/untorn/explore"
)

var exploreCommand = command{
	name: "explore", short: "simulated power cuts: every reachable crash state, opened and judged", run: runExplore,
	help: `
usage: untornctl explore [-mode M] [-mutant NAME] [-corrupt | -soak] [-budget 60s] [-seed S] [-runs N]
                         [-steady] [-json FILE]

Runs the engine on a simulated disk, records what reaches the disk and what is acknowledged, and then,
for every point of that record, makes the states that a power cut, a killed process or a failed flush
may leave, recovers each and holds it against what had been acknowledged. Recovery itself is cut off
and run again. No directory is touched.

  -mode M        doublewrite, fullpage, shadow, atomic; detect or none, which are expected to be
                 convicted; default: the mode of the mutant's rule, else doublewrite
  -mutant NAME   break one rule of the protocol on purpose: a counterexample is expected
                 (-mutant help lists them; docs/faults.md says what each teaches)
  -corrupt       damage every state as well, in one place or in several: flipped bits, sectors of
                 zeros, garbage, an older version or another place, sectors that cannot be read;
                 a repair, a report or a refusal must follow, or nothing where nothing counts
  -soak          every fault of the model at once, at stated rates, and in some states what
                 -corrupt does; goes on for -budget, 0 = until interrupted. What a lying or
                 rotting drive is to blame for is counted apart; a torn page returned as good
                 never is
  -rate NAME=P   a rate of a soak, from 0 to 1; may be given again (-rate help lists them)
  -budget D      how long to look; default 60s
  -seed S        begin with this run again; default: a new one, which is printed
  -runs N        end after N runs, of the seeds from S on, or with the budget; default: no bound
  -steady        leave out the seeds whose runs have a timer: the others are the same each time
  -violations N  go on after a violation until there are N; default 1
  -at N -choice NAME -log PRINT
                 only one crash state of the first run: as a violation's story names it
  -json FILE     the result for scripts, "-" for standard output

Exit: 0 no violation, 1 violation found (its story is printed), 2 usage or unknown mutant, 3 could not
run. Interrupt it whenever you like: what has been found by then is reported.

Examples
  untornctl explore
  untornctl explore -mutant reuse-early
  untornctl explore -mode none -budget 10s
  untornctl explore -corrupt -budget 5m
  untornctl explore -soak -budget 0
  untornctl explore -soak -rate lying=0 -rate flush-error=0.01 -budget 10m
  untornctl explore -seed 17 -at 231 -choice "tear 3 front over old" -log 4097b79c4a485819
`}

// exploreMemory is about what an exploration may occupy, in bytes.
const exploreMemory = 512 << 20

func runExplore(ctx context.Context, k *call) error {
	o := explore.Options{Only: &explore.Replay{At: -1}}
	fs := k.flags()
	fs.StringVar((*string)(&o.Mode), "mode", "", "")
	fs.StringVar(&o.Mutant, "mutant", "", "")
	fs.BoolVar(&o.Corrupt, "corrupt", false, "")
	soak := fs.Bool("soak", false, "")
	rates := rateFlag{rates: explore.DefaultRates()}
	fs.Var(&rates, "rate", "")
	fs.DurationVar(&o.Budget, "budget", time.Minute, "")
	fs.Uint64Var(&o.Seed, "seed", 0, "")
	fs.IntVar(&o.Violations, "violations", 1, "")
	fs.IntVar(&o.MaxRuns, "runs", 0, "")
	fs.BoolVar(&o.Steady, "steady", false, "")
	fs.IntVar(&o.Only.At, "at", -1, "")
	fs.StringVar(&o.Only.Choice, "choice", "", "")
	fs.StringVar(&o.Only.Log, "log", "", "")
	if _, err := k.parse(fs); err != nil {
		return err
	}
	if o.Mutant == "help" {
		k.sayf("%s", strings.Join(explore.Mutants(), "\n"))
		return nil
	}
	if rates.help {
		k.sayf("%s", strings.ReplaceAll(rates.rates.String(), " ", "\n"))
		return nil
	}
	if *soak {
		o.Soak = &rates.rates
	}
	switch {
	case o.Soak != nil && o.Budget == 0:
		o.Budget = -1 // until interrupted
	case o.Budget <= 0 || o.Violations < 1 || o.MaxRuns < 0:
		return usagef("-budget and -violations are more than nothing, and so is -runs")
	case rates.given && o.Soak == nil:
		return usagef("-rate is for -soak")
	}
	switch {
	case o.Only.At >= 0 && (o.Seed == 0 || o.Only.Choice == ""):
		return usagef("-at needs -seed and -choice")
	case o.Only.At < 0:
		o.Only = nil
	}
	for o.Seed == 0 {
		var b [4]byte
		if _, err := rand.Read(b[:]); err != nil {
			return err
		}
		o.Seed = uint64(binary.LittleEndian.Uint32(b[:]))
	}
	if o.Soak != nil && !k.quiet() {
		k.sayf("soak from seed %d; rates: %v", o.Seed, o.Soak)
	}
	o.Stalled = func(seed uint64, stacks []byte) {
		fmt.Fprintf(k.err, "nothing was tried for two minutes in the run of seed %d, which is a bug; every goroutine:\n%s\n", seed, stacks)
	}
	line := progress{w: k.err, on: terminal(k.err)}
	o.Progress = func(r explore.Result) { line.show(exploreLine(&r)) }
	// States are garbage a moment after they were made: collecting seldom is a third faster.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(exploreMemory))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	r, err := explore.Run(ctx, o)
	line.clear()
	if errors.Is(err, explore.ErrOptions) {
		return usagef("%v", err)
	}
	if err != nil {
		return err
	}
	if !k.quiet() {
		tellExplore(k, r)
	}
	if err := k.writeJSON(r); err != nil {
		return err
	}
	if r.Violations > 0 {
		return errNotSo
	}
	return nil
}

func exploreLine(r *explore.Result) string {
	return fmt.Sprintf("seed %d: %d runs, %d states (%d killed), %.0f/s, %d violations", r.Seed, r.Runs, r.States, r.Kills, r.PerSecond, r.Violations)
}

func tellExplore(k *call, r *explore.Result) {
	for _, v := range r.Found {
		k.sayf("%s", v.Story)
		k.sayf("found after %d states, %.1f s\n", v.States, v.Elapsed)
	}
	k.sayf("%s", exploreLine(r))
	tellCounts(k, r.Transitions)
	if len(r.Faults) > 0 {
		k.sayf("faults injected while it ran:")
		tellCounts(k, r.Faults)
	}
	if len(r.Blamed) > 0 {
		k.sayf("after the drive had rotted, lost or misplaced something that explains it:")
		tellCounts(k, r.Blamed)
	}
	if s := r.Shadow; s != nil {
		k.sayf("mode shadow: %d reports; of their pages %d equal, %d log ahead (legal), %d unordered, %d doublewrite ahead (violations)",
			s.Reports, s.Equal, s.LogAhead, s.Unordered, s.DWBAhead)
	}
	switch {
	case r.Violations > 0:
		k.sayf("%d violations", r.Violations)
	case r.Interrupted:
		k.sayf("no violation so far; interrupted after %.0f s", r.Elapsed)
	default:
		k.sayf("no violation")
	}
}

// rateFlag collects -rate.
type rateFlag struct {
	rates       explore.Rates
	given, help bool
}

func (f *rateFlag) String() string { return "" }

func (f *rateFlag) Set(s string) error {
	if f.given = true; s == "help" {
		f.help = true
		return nil
	}
	return f.rates.Set(s)
}

// tellCounts prints counters in order of their names.
func tellCounts(k *call, counts map[string]int64) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		k.sayf("  %8d  %s", counts[name], name)
	}
}
