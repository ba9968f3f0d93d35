package walstage

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// readAll takes what a cursor has.
func readAll(t *testing.T, c *Cursor) (all []Record) {
	t.Helper()
	for {
		r, ok, err := c.Next(bg)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		r.Data = append([]byte(nil), r.Data...)
		all = append(all, r)
	}
}

// TestCursorSeesOnlyDurable: a record that is written, and can be read back, but not flushed is not
// there for a cursor (I3).
func TestCursorSeesOnlyDurable(t *testing.T) {
	for _, method := range []Commit{CommitDSync, CommitFlush} {
		t.Run(method.String(), func(t *testing.T) {
			d := newFakeDisk()
			o := small(d)
			o.Commit = method
			l := newLog(t, o)
			_, end := mustAppend(t, l, "first")
			mustWait(t, l, end)
			c := l.Cursor(0)
			if got := readAll(t, c); len(got) != 1 || string(got[0].Data) != "first" {
				t.Fatalf("%v", got)
			}
			kind := ring.DataSync
			if method == CommitDSync {
				kind = ring.Write
			}
			held, goOn := make(chan struct{}), make(chan struct{})
			d.setHook(func(op *ring.Op, name string) error {
				if op.Kind == kind && name == segmentName(1) {
					close(held)
					<-goOn
				}
				return nil
			})
			_, end = mustAppend(t, l, "second")
			done := make(chan error)
			go func() { done <- l.WaitDurable(bg, end) }()
			<-held
			d.setHook(nil)
			if r, ok, err := c.Next(bg); ok || err != nil {
				t.Errorf("%q was handed out before it was durable (%v)", r.Data, err)
			}
			close(goOn)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, c); len(got) != 1 || string(got[0].Data) != "second" {
				t.Errorf("%v", got)
			}
			mustClose(t, l)
		})
	}
}

// TestCursorResumes: from the end of any record, a cursor goes on with the next one, across segments,
// while the log grows and is truncated right behind it.
func TestCursorResumes(t *testing.T) {
	d := newFakeDisk()
	l := newLog(t, small(d))
	var want []Record
	for i := range 120 {
		size := 20 + i*97%9000
		if i%7 == 0 {
			// Ends a segment to the last byte, or leaves a little of it.
			left := int(l.cur.length-l.off) - groupHeaderSize - frameSize
			if left > 8 && left < 12000 {
				size = left - i%2*8
			}
		}
		data := record(i, size)
		start, end := mustAppend(t, l, data)
		if i%3 == 0 {
			mustWait(t, l, end)
		}
		want = append(want, Record{Start: start, End: end, Epoch: 2, Data: []byte(data)})
	}
	mustWait(t, l, l.End())
	for i := 0; i < len(want); i += 7 {
		compare(t, readAll(t, l.Cursor(want[i].Start)), want[i:])
		compare(t, readAll(t, l.Cursor(want[i].End)), want[i+1:])
	}
	if got := readAll(t, l.Cursor(l.End())); got != nil {
		t.Errorf("behind the end: %v", got)
	}
	// Step by step, with everything truncated that has been read.
	c := l.Cursor(want[0].Start)
	for i := range 2 * len(want) {
		if i >= len(want) {
			data := record(i, 3000)
			start, end := mustAppend(t, l, data)
			mustWait(t, l, end)
			want = append(want, Record{Start: start, End: end, Epoch: 2, Data: []byte(data)})
		}
		r, ok, err := c.Next(bg)
		if err != nil || !ok {
			t.Fatal(i, ok, err)
		}
		compare(t, []Record{r}, want[i:i+1])
		if err := l.TruncateBefore(r.End); err != nil {
			t.Fatal(err)
		}
	}
	if l.Oldest() == 0 {
		t.Error("nothing was truncated")
	}
	late := l.Cursor(want[1].Start)
	if _, _, err := late.Next(bg); !errors.Is(err, ErrTruncated) {
		t.Errorf("from what is gone: %v", err)
	}
	stopped, stop := context.WithCancel(bg)
	stop()
	if _, _, err := l.Cursor(l.Oldest()).Next(stopped); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	mustClose(t, l)
}

// TestCursorFallsBehind: what is truncated under a cursor that nobody keeps the log for is an error,
// never a gap.
func TestCursorFallsBehind(t *testing.T) {
	d := newFakeDisk()
	l := newLog(t, small(d))
	write := func(i int) page.LSN {
		_, end := mustAppend(t, l, record(i, 3000))
		mustWait(t, l, end)
		return end
	}
	for i := range 50 {
		write(i)
	}
	c := l.Cursor(0)
	for i := range 3 {
		if r, ok, err := c.Next(bg); !ok || err != nil || string(r.Data) != record(i, 3000) {
			t.Fatal(i, ok, err)
		}
	}
	if err := l.TruncateBefore(l.Durable()); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		write(50 + i)
	}
	if r, ok, err := c.Next(bg); !errors.Is(err, ErrTruncated) {
		t.Errorf("%v %v, want ErrTruncated, got %s", ok, err, fmt.Sprintf("%.12q", r.Data))
	}
	mustClose(t, l)
}
