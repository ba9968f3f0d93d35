package torture

import (
	"testing"

	"github.com/untorn/untorn"
)

// TestAppendAfterFailure: once an append has failed for good no caller starts that record again, as
// whether it is in the log is not known.
func TestAppendAfterFailure(t *testing.T) {
	e, err := untorn.Open(t.Context(), untorn.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := newModel(untorn.ModeDoublewrite, 1)
	c := &child{e: e, to: m, j: &job{}}
	for range 2 { // two appenders
		if _, _, err := c.append(1, 1); err == nil {
			t.Fatal("an append to a closed engine went well")
		}
	}
	if len(m.tally.violations) != 0 {
		t.Errorf("%v", m.tally.violations)
	}
}
