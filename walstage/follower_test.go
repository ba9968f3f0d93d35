package walstage

import (
	"errors"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

func follower(t *testing.T, o Options, from page.LSN) *Follower {
	t.Helper()
	f, err := NewFollower(bg, o, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func poll(t *testing.T, f *Follower, c Claim) (all []Record) {
	t.Helper()
	err := f.Poll(bg, c, nil, func(r Record, _ string) error {
		r.Data = append([]byte(nil), r.Data...)
		all = append(all, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFollowerSeesOnlyDurable: what is written and not flushed is not handed out, nor what is durable
// without anything on the disk that says so.
func TestFollowerSeesOnlyDurable(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	o.Commit = CommitFlush
	l := newLog(t, o)
	_, first := mustAppend(t, l, "first")
	mustWait(t, l, first)
	f := follower(t, o, 0)
	if got := poll(t, f, Claim{}); got != nil {
		t.Errorf("nothing says that %q is durable", got[0].Data)
	}
	held, goOn := make(chan struct{}), make(chan struct{})
	d.setHook(func(op *ring.Op, name string) error {
		if op.Kind == ring.DataSync && name == segmentName(1) {
			close(held)
			<-goOn
		}
		return nil
	})
	_, second := mustAppend(t, l, "second")
	done := make(chan error)
	go func() { done <- l.WaitDurable(bg, second) }()
	<-held
	d.setHook(nil)
	if got := poll(t, f, Claim{}); len(got) != 1 || string(got[0].Data) != "first" {
		t.Errorf("while the second is flushed: %v", got)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := poll(t, f, Claim{1, second, "an older super"}); got != nil {
		t.Errorf("a claim of an earlier epoch was believed: %v", got)
	}
	if got := poll(t, f, Claim{2, second, "super"}); len(got) != 1 || string(got[0].Data) != "second" || f.Next() != second {
		t.Errorf("super says that the second is durable: %v", got)
	}
	mustClose(t, l)
}

// TestFollowerGoesAlong: every record once, in order, across segments that are recycled behind it; one
// that comes too late learns it.
func TestFollowerGoesAlong(t *testing.T) {
	d := newFakeDisk()
	o := small(d)
	l := newLog(t, o)
	f := follower(t, o, 0)
	late := follower(t, o, 0)
	var want, got []Record
	for i := range 200 {
		data := record(i, 500+i*97%5000)
		start, end := mustAppend(t, l, data)
		mustWait(t, l, end)
		want = append(want, Record{Start: start, End: end, Epoch: 2, Data: []byte(data)})
		if i == 0 {
			poll(t, late, Claim{2, end, "super"})
		}
		if i%3 == 0 {
			got = append(got, poll(t, f, Claim{})...)
			if err := l.TruncateBefore(f.Next()); err != nil {
				t.Fatal(err)
			}
		}
	}
	got = append(got, poll(t, f, Claim{2, l.End(), "super"})...)
	compare(t, got, want)
	if l.Stats().Recycled == 0 {
		t.Error("no segment was recycled")
	}
	again := follower(t, o, want[190].End)
	compare(t, poll(t, again, Claim{2, l.End(), "super"}), want[191:])
	err := late.Poll(bg, Claim{2, l.End(), "super"}, nil, func(r Record, _ string) error {
		if string(r.Data) != record(1, 500+97) {
			t.Errorf("too late, and it got the record at %d", r.Start)
		}
		return nil
	})
	for err == nil {
		err = late.Poll(bg, Claim{2, l.End(), "super"}, nil, func(r Record, _ string) error {
			t.Errorf("too late, and it got the record at %d", r.Start)
			return nil
		})
	}
	if !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	if _, err := NewFollower(bg, o, want[0].Start); !errors.Is(err, ErrTruncated) {
		t.Error("from what is gone:", err)
	}
	mustClose(t, l)
}
