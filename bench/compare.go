package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
)

// ErrDifferent is two results that cannot be compared without being told to.
var ErrDifferent = errors.New("not comparable")

// Change is one figure of two results.
type Change struct {
	What string    `json:"what"`
	Unit string    `json:"unit"`
	A    MinMedMax `json:"a"`
	B    MinMedMax `json:"b"`
	N    [2]int    `json:"repeats"`        // measurements behind each
	More bool      `json:"more_is_better"` // or less is
}

// shown is whether a difference is.
func (c Change) shown() bool { return min(c.N[0], c.N[1]) >= 3 && c.A.Median != 0 && !c.A.overlap(c.B) }

// Verdict says what the two ranges allow to be said.
func (c Change) Verdict() string {
	if c.A.Median == 0 {
		return "-"
	}
	by := c.B.Median/c.A.Median - 1
	word := "worse"
	if (by > 0) == c.More {
		word = "better"
	}
	switch {
	case min(c.N[0], c.N[1]) < 3:
		return fmt.Sprintf("%+.1f %%, from too few repeats to say more", by*100)
	case c.A.overlap(c.B):
		return fmt.Sprintf("%+.1f %%, within the spread: no difference shown", by*100)
	}
	// The least the ranges allow: from the nearest ends.
	least := c.B.Min/c.A.Max - 1
	if by < 0 {
		least = c.B.Max/c.A.Min - 1
	}
	return fmt.Sprintf("%+.1f %% %s, by %.1f %% at least", by*100, word, math.Abs(least)*100)
}

// Compare sets two documents side by side. Different hosts or configurations are ErrDifferent, with
// what differs, unless force is set. The changes are A's figures against B's.
func Compare(a, b any, force bool) (changes []Change, differ []string, err error) {
	unlike := fmt.Errorf("%w: one is %s, the other %s", ErrDifferent, cmp.Or(sideOf(a).Schema, "empty"), cmp.Or(sideOf(b).Schema, "empty"))
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return nil, nil, unlike
	}
	switch x := a.(type) {
	case *Result:
		y := b.(*Result)
		changes, differ = runChanges("", x, y), runDiffers(x, y)
	case *WALResult:
		y := b.(*WALResult)
		changes, differ = logChanges("", x, y), logDiffers(x, y)
	case *LimitResult:
		y := b.(*LimitResult)
		differ = append(askedDiffers(&x.Host, &y.Host, x.Config, y.Config, "sync", "no_fio"),
			became(x.Backend, y.Backend, x.DirectIO, y.DirectIO, "", "")...)
		for _, k := range []string{"random", "random_flushed", "sequential", "sequential_flushed", "both"} {
			changes = append(changes, Change{
				strings.ReplaceAll(k, "_", ", "), "writes/s", x.Spread[k], y.Spread[k],
				[2]int{cmp.Or(x.Rounds, x.Config.Repeat), cmp.Or(y.Rounds, y.Config.Repeat)}, true,
			})
		}
	case *ModesResult:
		y := b.(*ModesResult)
		if len(x.Runs) == 0 || len(y.Runs) == 0 {
			return nil, nil, unlike
		}
		if p, q := x.measured(), y.measured(); p != q {
			differ = append(differ, "modes: "+p+" against "+q)
		}
		for _, r := range x.Runs {
			if o := y.find(r.Mode); o != nil {
				differ = more(differ, runDiffers(r, o)...)
				changes = append(changes, runChanges(string(r.Mode)+": ", r, o)...)
			}
		}
		if x.WAL != nil && y.WAL != nil {
			differ = more(differ, logDiffers(x.WAL, y.WAL)...)
			changes = append(changes, logChanges("log: ", x.WAL, y.WAL)...)
		}
	case *SweepResult:
		y := b.(*SweepResult)
		if len(x.Points) == 0 || len(y.Points) == 0 {
			return nil, nil, unlike
		}
		set, _ := settingNamed(settings(), x.Over) // points are matched by it
		differ = append(pointDiffers(x.Points, y.Points, func(a, b *Result) []string { return runDiffers(a, b, set.field, "mode") }),
			overDiffers(x.Over, y.Over)...)
		changes = pointChanges(x.Over, x.Points, y.Points, runChanges)
	case *WALSweepResult:
		y := b.(*WALSweepResult)
		if len(x.Points) == 0 || len(y.Points) == 0 {
			return nil, nil, unlike
		}
		set, _ := settingNamed(walSettings(), x.Over)
		differ = append(pointDiffers(x.Points, y.Points, func(a, b *WALResult) []string { return logDiffers(a, b, set.field, "commit") }),
			overDiffers(x.Over, y.Over)...)
		changes = pointChanges(x.Over, x.Points, y.Points, logChanges)
	case *RecoveryResult:
		y := b.(*RecoveryResult)
		differ = append(askedDiffers(&x.Host, &y.Host, x.Config, y.Config),
			became(x.Backend, y.Backend, x.DirectIO, y.DirectIO, "", "")...)
		changes = recoveryChanges(x, y)
	default:
		return nil, nil, unlike
	}
	return changes, differ, refuse(differ, force)
}

func overDiffers(x, y string) []string {
	if x == y {
		return nil
	}
	return []string{"over: " + x + " against " + y}
}

// pointDiffers lists what makes the points of two sweeps incomparable, and that they have not the same.
func pointDiffers[R swept](x, y []PointOf[R], differs func(x, y R) []string) (out []string) {
	names := func(in []PointOf[R]) string {
		var s []string
		for _, p := range in {
			s = append(s, fmt.Sprintf("%s %d", p.Run.curve(), p.Value))
		}
		slices.Sort(s)
		return strings.Join(s, ", ")
	}
	if a, b := names(x), names(y); a != b {
		out = append(out, "points: "+a+" against "+b)
	}
	met := false
	for _, a := range x {
		for _, b := range y {
			if a.Value == b.Value && a.Run.curve() == b.Run.curve() {
				met, out = true, more(out, differs(a.Run, b.Run)...)
			}
		}
	}
	if !met {
		out = more(out, differs(x[0].Run, y[0].Run)...)
	}
	return out
}

// pointChanges compares the points that are in both sweeps.
func pointChanges[R swept](over string, x, y []PointOf[R], changes func(prefix string, x, y R) []Change) (out []Change) {
	for _, a := range x {
		name := fmt.Sprintf("%s, %s=%d: ", a.Run.curve(), over, a.Value)
		if over == "commit" { // only the policies are compared
			name = a.Run.curve() + ": "
		}
		for _, b := range y {
			if a.Value == b.Value && a.Run.curve() == b.Run.curve() {
				out = append(out, changes(name, a.Run, b.Run)...)
			}
		}
	}
	return out
}

// runDiffers lists why figures of two runs are not of the same thing: what was asked for, and what
// became of it. Fields named in but may differ.
func runDiffers(x, y *Result, but ...string) []string {
	d := askedDiffers(&x.Host, &y.Host, x.Config, y.Config, append(but, "wal_dir", "dwb_dir", "unsafe", "verify", "seed")...)
	return append(d, became(x.Backend, y.Backend, x.DirectIO, y.DirectIO, x.Protection, y.Protection)...)
}

func logDiffers(x, y *WALResult, but ...string) []string {
	d := askedDiffers(&x.Host, &y.Host, x.Config, y.Config, append(but, "verify")...)
	return append(d, became(x.Backend, y.Backend, x.DirectIO, y.DirectIO, x.LogCommit, y.LogCommit)...)
}

// askedDiffers lists differences of hosts and configurations. Where it ran and how often it was
// repeated does not matter.
func askedDiffers(a, b *Host, c, d any, but ...string) []string {
	return append(a.different(*b), differences(c, d, append(but, "dir", "keep", "repeat")...)...)
}

// became lists differences in what the same configuration came to.
func became(backendA, backendB string, directA, directB bool, madeA, madeB string) (d []string) {
	if backendA != backendB {
		d = append(d, "backend in use: "+backendA+" against "+backendB)
	}
	if directA != directB {
		d = append(d, fmt.Sprintf("direct I/O: %t against %t", directA, directB))
	}
	if madeA != madeB {
		d = append(d, fmt.Sprintf("in use: %q against %q", madeA, madeB))
	}
	return d
}

func logChanges(prefix string, x, y *WALResult) []Change {
	n := [2]int{len(x.Repeats), len(y.Repeats)}
	changes := []Change{
		{prefix + "throughput", "records/s", x.Spread.RecordsPerSecond, y.Spread.RecordsPerSecond, n, true},
		{prefix + "bound", "records/s", x.Spread.Bound, y.Spread.Bound, n, true},
		{prefix + "efficiency", "", x.Spread.Efficiency, y.Spread.Efficiency, n, true},
		{prefix + "latency p50", "us", x.Spread.P50, y.Spread.P50, n, false},
		{prefix + "CPU", "us/record", x.Spread.CPU, y.Spread.CPU, n, false},
	}
	var ls []*Latency
	for _, r := range []*WALResult{x, y} {
		for i := range r.Repeats {
			ls = append(ls, &r.Repeats[i].Latency)
		}
	}
	return append(changes, tails(prefix, ls, n, [2]MinMedMax{x.Spread.P99, y.Spread.P99}, [2]MinMedMax{x.Spread.P999, y.Spread.P999})...)
}

// tails compares percentiles that every one of the intervals had enough calls for.
func tails(prefix string, all []*Latency, n [2]int, p99, p999 [2]MinMedMax) (out []Change) {
	few := func(p float64) bool {
		return slices.ContainsFunc(all, func(l *Latency) bool { return !l.reaches(p) })
	}
	if !few(99) {
		out = append(out, Change{prefix + "latency p99", "us", p99[0], p99[1], n, false})
	}
	if !few(99.9) {
		out = append(out, Change{prefix + "latency p99.9", "us", p999[0], p999[1], n, false})
	}
	return out
}

// more adds what is not in a list yet.
func more(to []string, what ...string) []string {
	for _, w := range what {
		if !slices.Contains(to, w) {
			to = append(to, w)
		}
	}
	return to
}

func refuse(differ []string, force bool) error {
	if len(differ) == 0 || force {
		return nil
	}
	return fmt.Errorf("%w (-force compares all the same):\n  %s", ErrDifferent, strings.Join(differ, "\n  "))
}

func runChanges(prefix string, x, y *Result) []Change {
	n := [2]int{len(x.Repeats), len(y.Repeats)}
	changes := []Change{
		{prefix + "throughput", "pages/s", x.Spread.PagesPerSecond, y.Spread.PagesPerSecond, n, true},
		{prefix + "bound", "pages/s", x.Spread.Bound, y.Spread.Bound, n, true},
		{prefix + "efficiency", "", x.Spread.Efficiency, y.Spread.Efficiency, n, true},
		{prefix + "latency p50", "us", x.Spread.P50, y.Spread.P50, n, false},
		{prefix + "CPU", "us/page", x.Spread.CPU, y.Spread.CPU, n, false},
	}
	var ls []*Latency
	for _, r := range []*Result{x, y} {
		for i := range r.Repeats {
			ls = append(ls, &r.Repeats[i].Latency)
		}
	}
	changes = append(changes, tails(prefix, ls, n, [2]MinMedMax{x.Spread.P99, y.Spread.P99}, [2]MinMedMax{x.Spread.P999, y.Spread.P999})...)
	if a, b := &x.Spread, &y.Spread; a.ReadP50 != nil && b.ReadP50 != nil {
		changes = append(changes, Change{prefix + "read p50", "us", *a.ReadP50, *b.ReadP50, n, false},
			Change{prefix + "read p99", "us", *a.ReadP99, *b.ReadP99, n, false})
	}
	return changes
}

// byChance is in how many times one of two sets of measurements of the same thing lies wholly above the
// other; 0 where they are too few to call anything a difference.
func byChance(n [2]int) float64 {
	if min(n[0], n[1]) < 3 {
		return 0
	}
	ways := 1.0 // to choose which of all are those of A
	for i := 1; i <= n[0]; i++ {
		ways *= float64(n[1]+i) / float64(i)
	}
	return ways / 2
}

// WriteChanges writes the comparison as a table.
func WriteChanges(out io.Writer, changes []Change, differ []string) error {
	w := &writer{w: out}
	if len(differ) > 0 {
		w.printf("compared although they differ:\n  %s\n\n", strings.Join(differ, "\n  "))
	}
	rows := [][]string{{"", "A median", "min", "max", "B median", "min", "max", "unit", "B against A"}}
	for _, c := range changes {
		rows = append(rows, []string{
			c.What, Count(c.A.Median), Count(c.A.Min), Count(c.A.Max), Count(c.B.Median), Count(c.B.Min), Count(c.B.Max), c.Unit, c.Verdict(),
		})
	}
	w.table(rows)
	if len(changes) > 0 {
		w.printf("\nA from %d, B from %d repeats. Ranges are the least and the most of them, not an interval of confidence.\n", changes[0].N[0], changes[0].N[1])
		if n := byChance(changes[0].N); n > 0 {
			w.printf("Two sets of so many measurements of the same thing lie apart by chance one time in %s.\n", Count(n))
		}
	}
	return w.err
}
