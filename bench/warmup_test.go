package bench

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestInterruptedWarmUpIsNoInterval: what is done between two looks at the clock is no figure.
func TestInterruptedWarmUpIsNoInterval(t *testing.T) {
	c := WALConfig{Dir: t.TempDir(), Clients: 16, RecordBytes: 100, Commit: "never"}
	log := &walSession{c: c.withDefaults(), bare: newHistogram()}
	defer func() {
		if err := log.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := log.open(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	p := little(t, Doublewrite)
	p.Ack, p.Batch = "accepted", 1
	pages, err := newSession(t.Context(), p.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pages.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	for range 20 {
		l := loadOf{warm: time.Minute, measured: time.Minute}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		in, err := log.interval(ctx, l)
		if err == nil || in.Records > 0 {
			t.Errorf("%v, %d records in %v s", err, in.Records, in.Seconds)
		}
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
		run, err := pages.interval(ctx, l)
		if err == nil || run.Pages > 0 {
			t.Errorf("%v, %d pages in %v s", err, run.Pages, run.Seconds)
		}
		cancel()
	}
}

// TestCutShortIsCalledThat: the report of a run that was interrupted says what it is of.
func TestCutShortIsCalledThat(t *testing.T) {
	r := result(10)
	w := &WALResult{Config: WALConfig{}.withDefaults(), Interrupted: true, Repeats: []WALInterval{{}}, WALInterval: WALInterval{Seconds: 1.5}}
	r.Interrupted, r.Seconds = true, 1.5
	for _, s := range []string{methodOf([]*Result{r}), w.method()} {
		if !strings.HasPrefix(s, "One interval of 1.5s.") || !strings.Contains(s, "cut short") || strings.Contains(s, "before and after") {
			t.Error(s)
		}
	}
	r.Seconds = 9.99 // interrupted behind it
	if s := methodOf([]*Result{r}); !strings.HasPrefix(s, "One interval of 10s.") || strings.Contains(s, "cut short") {
		t.Error(s)
	}
}
