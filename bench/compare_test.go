package bench

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

func result(pages ...float64) *Result {
	r := &Result{Schema: SchemaRun, Mode: Doublewrite, Config: Config{}.withDefaults(), Host: Host{Machine: "m", Kernel: "k"}}
	for _, p := range pages {
		r.Repeats = append(r.Repeats, Interval{PagesPerSecond: p, Bound: 2 * p, Efficiency: 0.5, Seconds: 1, CPU: 5})
	}
	r.Interval, r.Spread = median(r.Repeats), spread(r.Repeats)
	return r
}

func TestSpread(t *testing.T) {
	if got := minMedMax([]float64{5, 1, 3}); got != (MinMedMax{1, 3, 5}) {
		t.Error(got)
	}
	if got := minMedMax([]float64{4, 1, 2, 3}); got != (MinMedMax{1, 2.5, 4}) {
		t.Error(got)
	}
	if got := minMedMax(nil); got != (MinMedMax{}) {
		t.Error(got)
	}
	// The median of intervals is one that was.
	if r := result(40, 10, 30, 20); r.PagesPerSecond != 20 {
		t.Errorf("median interval has %v", r.PagesPerSecond)
	}
}

func TestVerdictSaysNoMoreThanTheRangesAllow(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		more bool
		want string
	}{
		{[]float64{100, 101, 102}, []float64{110, 111, 112}, true, "better, by 7.8 % at least"},
		{[]float64{110, 111, 112}, []float64{100, 101, 102}, true, "worse, by 7.3 % at least"},
		{[]float64{110, 111, 112}, []float64{100, 101, 102}, false, "better, by 7.3 % at least"},
		{[]float64{100, 105, 110}, []float64{108, 111, 115}, true, "no difference shown"},
		{[]float64{100, 100}, []float64{200, 200, 200}, true, "too few repeats"},
	} {
		ch := Change{A: minMedMax(c.a), B: minMedMax(c.b), N: [2]int{len(c.a), len(c.b)}, More: c.more}
		if got := ch.Verdict(); !strings.Contains(got, c.want) {
			t.Errorf("%v against %v: %q, want %q in it", c.b, c.a, got, c.want)
		}
	}
}

func TestCompareRefusesWhatIsNotAlike(t *testing.T) {
	a := result(10, 11, 12)
	same := result(20, 21, 22)
	same.Config.Repeat, same.Config.Dir, same.Config.Verify = 9, "elsewhere", true
	if _, differ, err := Compare(a, same, false); err != nil || len(differ) > 0 {
		t.Fatalf("%v, %v", differ, err)
	}
	for what, change := range map[string]func(*Result){
		"machine": func(r *Result) { r.Host.Machine = "other" },
		"kernel":  func(r *Result) { r.Host.Kernel = "7" },
		"mode":    func(r *Result) { r.Config.Mode = None },
		"clients": func(r *Result) { r.Config.Clients = 1 },
		"page":    func(r *Result) { r.Config.PageBytes = 4096 },
	} {
		b := result(20, 21, 22)
		change(b)
		_, differ, err := Compare(a, b, false)
		if !errors.Is(err, ErrDifferent) || len(differ) != 1 || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v, %v", what, differ, err)
		}
		changes, differ, err := Compare(a, b, true)
		if err != nil || len(changes) == 0 || len(differ) != 1 {
			t.Errorf("%s, forced: %v", what, err)
		}
		var out bytes.Buffer
		if err := WriteChanges(&out, changes, differ); err != nil || !strings.Contains(out.String(), "although they differ") {
			t.Errorf("%s: %v\n%s", what, err, out.String())
		}
	}
	if _, _, err := Compare(a, &WALResult{}, true); !errors.Is(err, ErrDifferent) {
		t.Errorf("a run against a log: %v", err)
	}
}

// TestComparedPointsAreNamed: by their curve, and by the value where there is one.
func TestComparedPointsAreNamed(t *testing.T) {
	for over, want := range map[string]string{"commit": "sync: ", "record": "sync, record=100: "} {
		p := []PointOf[*WALResult]{{Value: 100, Run: &WALResult{Commit: "sync"}}}
		s := &WALSweepResult{Over: over, Points: p}
		changes, _, err := Compare(s, s, false)
		if err != nil || len(changes) == 0 || !strings.HasPrefix(changes[0].What, want) {
			t.Errorf("%s: %v, %+v", over, err, changes)
		}
	}
}

// TestCompareLooksAtEveryPart: one part alike says nothing of the others.
func TestCompareLooksAtEveryPart(t *testing.T) {
	modes := func(change func(*ModesResult)) *ModesResult {
		a, b := result(10, 11, 12), result(20, 21, 22)
		b.Mode = None
		m := &ModesResult{Runs: []*Result{a, b}, WAL: &WALResult{LogCommit: "dsync"}}
		change(m)
		return m
	}
	sweep := func(values ...int) *SweepResult {
		r := &SweepResult{Over: "clients"}
		for _, v := range values {
			r.Points = append(r.Points, Point{Value: v, Run: result(10)})
		}
		return r
	}
	slow := sweep(1, 4)
	slow.Points[1].Run.Backend = "threads"
	same := modes(func(*ModesResult) {})
	for what, c := range map[string]struct {
		a, b any
		says string
	}{
		"a mode's backend": {same, modes(func(m *ModesResult) { m.Runs[1].Backend = "threads" }), "backend in use"},
		"the log":          {same, modes(func(m *ModesResult) { m.WAL.LogCommit = "flush" }), "in use"},
		"a mode less":      {same, modes(func(m *ModesResult) { m.Runs = m.Runs[:1] }), "modes: "},
		"a point's":        {sweep(1, 4), slow, "backend in use"},
		"a point less":     {sweep(1, 4), sweep(1), "points: "},
		"no point":         {sweep(1), sweep(4), "points: "},
	} {
		_, differ, err := Compare(c.a, c.b, false)
		if !errors.Is(err, ErrDifferent) || len(differ) != 1 || !strings.Contains(differ[0], c.says) {
			t.Errorf("%s: %v, %v", what, differ, err)
		}
		if _, differ, err := Compare(c.a, c.a, false); err != nil {
			t.Errorf("%s against itself: %v, %v", what, differ, err)
		}
	}
}

// TestFewCallsHaveNoTail in words and tables either.
func TestFewCallsHaveNoTail(t *testing.T) {
	l := Latency{Count: 99, P50: 1, P99: 2}
	sweep, log := sweepOf(), walSweepOf()
	for _, p := range sweep.Points {
		p.Run.Latency = l
	}
	sweep.Points[4].Run.PagesPerSecond = sweep.Points[6].Run.PagesPerSecond * 0.96
	for _, p := range log.Points {
		p.Run.Latency = l
	}
	limit := limitOf()
	limit.Flush = l
	rows := syncRows([]SyncRow{{Method: "x", Bytes: 4096, Durable: true, Latency: l}})
	for name, s := range map[string]string{
		"sweep": sweep.meaning(), "log": log.meaning(), "limit": limit.meaning(), "sync": strings.Join(rows[1], " "),
	} {
		if strings.Contains(s, "p99") || strings.Contains(s, "(2") {
			t.Errorf("%s: %s", name, s)
		}
	}
	if s := sweep.meaning(); !strings.Contains(s, "95 % of it or more from 4 on") {
		t.Error(s)
	}
}

// TestTailsNeedCalls: the p99.9 of 500 calls is their maximum, and is not shown or compared as more.
func TestTailsNeedCalls(t *testing.T) {
	for n, want := range map[int64]string{50: "--", 99: "--", 100: "x-", 999: "x-", 1000: "xx"} {
		l := Latency{Count: n, P99: 1, P999: 2, Max: 3}
		show := func(float64) string { return "x" }
		if got := l.p99(show) + l.p999(show); got != want {
			t.Errorf("%d calls: %q, want %q", n, got, want)
		}
		r := result(10, 11)
		w := &WALResult{Repeats: []WALInterval{{Latency: l}}}
		for i := range r.Repeats {
			r.Repeats[i].Latency.Count = 5000
		}
		r.Repeats[1].Latency = l
		for _, changes := range [][]Change{runChanges("", r, result(10)), runChanges("", r, r), logChanges("", w, w)} {
			got := ""
			for _, p := range []string{"latency p99", "latency p99.9"} {
				mark := "-"
				for _, c := range changes {
					if c.What == p {
						mark = "x"
					}
				}
				got += mark
			}
			if got != want && len(changes) > 0 && changes[0].N != [2]int{2, 1} || changes[0].N == [2]int{2, 1} && got != "--" {
				t.Errorf("%d calls: %q is compared, want %q (%v repeats)", n, got, want, changes[0].N)
			}
		}
	}
}

func TestByChance(t *testing.T) {
	for n, want := range map[[2]int]float64{{3, 3}: 10, {5, 5}: 126, {3, 5}: 28, {2, 9}: 0} {
		if got := byChance(n); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: one in %v, want %v", n, got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	for name, v := range map[string]any{
		"run": result(1), "wal": &WALResult{Schema: SchemaWAL}, "limit": &LimitResult{Schema: SchemaLimit},
		"modes": &ModesResult{Schema: SchemaCompare, Runs: []*Result{result(1)}},
	} {
		p := filepath.Join(dir, name)
		writeFile(t, p, func(b *bytes.Buffer) error { return WriteJSON(b, v) })
		if _, err := Load(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	crash := filepath.Join(dir, "crash")
	writeFile(t, crash, func(b *bytes.Buffer) error { return WriteJSON(b, recoveryOf()) })
	if r, err := CompareFiles(crash, crash, false); err != nil || len(r.Changes) != 2 || r.Changes[0].Shown || r.Changes[0].Percent != 0 {
		t.Errorf("opens after a crash: %+v, %v", r, err)
	}
	for name, text := range map[string]string{"empty": "", "other": `{"schema":"x"}`, "broken": `{"schema":`} {
		p := filepath.Join(dir, name)
		writeFile(t, p, func(b *bytes.Buffer) error { b.WriteString(text); return nil })
		if _, err := Load(p); !errors.Is(err, ErrSchema) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
