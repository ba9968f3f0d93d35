package bench

import (
	"io"
	"strings"
	"testing"
)

// TestWithoutABound: a bound that was not measured is in no report, least of all as 0.
func TestWithoutABound(t *testing.T) {
	run := func(m Mode, pages float64) *Result {
		r := result(pages, pages)
		r.Mode, r.BoundKind, r.Engine = m, boundDoublewrite, &Engine{}
		for i := range r.Repeats {
			r.Repeats[i].Bound, r.Repeats[i].Efficiency = 0, 0
		}
		r.Interval, r.Spread = median(r.Repeats), spread(r.Repeats)
		r.Meaning = r.meaning()
		return r
	}
	dw := run(Doublewrite, 50_000)
	log := &WALResult{Commit: "sync", WALInterval: WALInterval{BusyShare: 0.5}, Repeats: []WALInterval{{RecordsPerSecond: 5}, {RecordsPerSecond: 5}}}
	modes := modesOf(dw, run(None, 40_000))
	for name, write := range map[string]func(io.Writer) error{
		"run": dw.WriteText, "modes": modes.WriteText, "wal": log.WriteText, "html": modes.WriteHTML,
		"go": func(w io.Writer) error { return WriteGoBench(w, modes.Runs, log) },
	} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, no := range []string{"  0 %", "0.0000 efficiency", "bound from", "reaches", "upright mark"} {
			if strings.Contains(b.String(), no) {
				t.Errorf("%s: %q is in\n%s", name, no, b.String())
			}
		}
	}
	if s := modes.Meaning; strings.Contains(s, "keeps") || !strings.Contains(s, "costs no speed") {
		t.Error(s)
	}
	dw.Bound = 100_000
	if s := modesOf(dw, run(None, 80_000)).Meaning; !strings.Contains(s, "keeps 62 % of the speed of no protection at all") || !strings.Contains(s, "reaches") {
		t.Error(s)
	}
}
