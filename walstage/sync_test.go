package walstage

import (
	"context"
	"errors"
	"testing"
)

// TestAppendSync: the record is durable at return; where the wait ends early the record is in the
// log all the same, and the error says that it may become durable.
func TestAppendSync(t *testing.T) {
	d := newFakeDisk()
	l := newLog(t, small(d))
	start, end, err := l.AppendSync(bg, []byte("one"))
	if err != nil || start >= end || l.Durable() != end {
		t.Fatal(start, end, l.Durable(), err)
	}
	ended, stop := context.WithCancel(bg)
	stop()
	var w *WaitError
	_, second, err := l.AppendSync(ended, []byte("two"))
	if !errors.As(err, &w) || !w.MayBecomeDurable || w.LSN != second || second != l.End() || l.Durable() != end {
		t.Fatal(second, l.End(), l.Durable(), err)
	}
	if start, end, err := l.AppendSync(bg, nil); !errors.Is(err, ErrEmpty) || start != 0 || end != 0 {
		t.Error(start, end, err)
	}
	if start, end, err := l.AppendSync(bg, make([]byte, l.MaxRecord()+1)); !errors.Is(err, ErrTooLarge) || start != 0 || end != 0 {
		t.Error(start, end, err)
	}
	_, third, err := l.AppendSync(bg, []byte("three"))
	if err != nil || l.Durable() != third {
		t.Error(third, l.Durable(), err)
	}
	if got := replayAll(t, l, 0); len(got) != 3 || string(got[2].Data) != "three" {
		t.Errorf("%d records", len(got))
	}
	l.o.Poison.Set(errMedium)
	if _, end, err := l.AppendSync(bg, []byte("four")); !errors.Is(err, errMedium) || end > third && l.Durable() != third {
		t.Error(end, l.Durable(), err)
	}
	_ = l.Abandon(bg)
}
