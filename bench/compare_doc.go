package bench

import (
	"fmt"
	"io"
)

// CompareResult is two results side by side.
type CompareResult struct {
	Schema string `json:"schema"`
	A      Side   `json:"a"`
	B      Side   `json:"b"`
	// Differ lists what makes the two incomparable; there is something only if that was forced.
	Differ  []string    `json:"differ"`
	Changes []ChangeDoc `json:"changes"`
	Command []string    `json:"command"`
}

// Side is where one of the two results is from.
type Side struct {
	File        string  `json:"file"`
	Schema      string  `json:"schema"`
	Revision    string  `json:"revision"`
	Started     string  `json:"started"`
	Load        float64 `json:"load_average"`
	Interrupted bool    `json:"interrupted"`
}

// ChangeDoc is one figure of both.
type ChangeDoc struct {
	Change
	Percent float64 `json:"change_percent"` // of the medians
	// Shown is whether the ranges of at least three repeats each do not overlap.
	Shown bool   `json:"difference_shown"`
	Says  string `json:"verdict"`
}

// CompareFiles sets two documents side by side, as Compare does.
func CompareFiles(a, b string, force bool) (*CompareResult, error) {
	var docs [2]any
	r := &CompareResult{Schema: SchemaDifference, Differ: []string{}}
	for i, f := range []struct {
		path string
		side *Side
	}{{a, &r.A}, {b, &r.B}} {
		var err error
		if docs[i], err = Load(f.path); err != nil {
			return nil, err
		}
		*f.side = sideOf(docs[i])
		f.side.File = f.path
	}
	changes, differ, err := Compare(docs[0], docs[1], force)
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return nil, fmt.Errorf("%w: the two have no figure in common", ErrDifferent)
	}
	r.Differ = append(r.Differ, differ...)
	for _, c := range changes {
		r.Changes = append(r.Changes, ChangeDoc{c, 100 * ratio(c.B.Median-c.A.Median, c.A.Median), c.shown(), c.Verdict()})
	}
	return r, nil
}

// sideOf tells where a document is from.
func sideOf(doc any) Side {
	of := func(schema string, h *Host, started string, interrupted bool) Side {
		return Side{Schema: schema, Revision: h.Revision, Started: started, Load: h.Load, Interrupted: interrupted}
	}
	switch x := doc.(type) {
	case *Result:
		return of(x.Schema, &x.Host, x.Started, x.Interrupted)
	case *WALResult:
		return of(x.Schema, &x.Host, x.Started, x.Interrupted)
	case *LimitResult:
		return of(x.Schema, &x.Host, x.Started, x.Interrupted)
	case *RecoveryResult:
		return of(x.Schema, &x.Host, x.Started, x.Interrupted)
	case *ModesResult:
		if len(x.Runs) > 0 {
			return of(x.Schema, &x.Runs[0].Host, x.Runs[0].Started, x.Interrupted || x.Runs[0].Interrupted)
		}
	case *SweepResult:
		if len(x.Points) > 0 {
			return of(x.Schema, &x.Points[0].Run.Host, x.Points[0].Run.Started, x.Interrupted)
		}
	case *WALSweepResult:
		if len(x.Points) > 0 {
			return of(x.Schema, &x.Points[0].Run.Host, x.Points[0].Run.Started, x.Interrupted)
		}
	}
	return Side{}
}

// WriteText is the comparison as a table.
func (r *CompareResult) WriteText(out io.Writer) error {
	w := &writer{w: out}
	for _, s := range []struct {
		name string
		side *Side
	}{{"A", &r.A}, {"B", &r.B}} {
		w.printf("%s: %s, revision %s, begun %s, load %.1f", s.name, s.side.File, s.side.Revision, s.side.Started, s.side.Load)
		if s.side.Interrupted {
			w.printf(", INTERRUPTED: partial results")
		}
		w.printf("\n")
	}
	w.printf("\n")
	if w.err != nil {
		return w.err
	}
	changes := make([]Change, len(r.Changes))
	for i := range r.Changes {
		changes[i] = r.Changes[i].Change
	}
	return WriteChanges(out, changes, r.Differ)
}
