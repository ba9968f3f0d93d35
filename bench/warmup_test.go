package bench

import (
	"context"
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
