package explore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/untorn/untorn"
)

// follower is a subscriber of the log, in a goroutine of its own beside the clients. What it is handed
// counts as acknowledged: no crash after it may take it back.
type follower struct {
	w    *world
	sub  *untorn.Subscription
	from untorn.LSN
	got  []record
	over chan struct{}
}

// follow begins to follow the log, for one session.
func (w *world) follow(from untorn.LSN) {
	s, err := w.engine().Subscribe(w.ctx, untorn.SubscribeOptions{Name: "explorer", From: from, Manual: w.p.follow == followManual})
	if err != nil {
		if !w.struck.Load() {
			w.complain(complaint{kind: Failed, text: fmt.Sprintf("subscribe: %v", err), page: -1})
		}
		return
	}
	f := &follower{w: w, sub: s, from: from, over: make(chan struct{})}
	w.follower = f
	go f.loop()
}

func (f *follower) loop() {
	defer close(f.over)
	w := f.w
	for r, err := range f.sub.Records(w.ctx) {
		if err != nil {
			if !errors.Is(err, untorn.ErrClosed) && !errors.Is(err, untorn.ErrPoisoned) && !errors.Is(err, context.Canceled) && !w.struck.Load() {
				w.complain(complaint{kind: Failed, text: fmt.Sprintf("following the log: %v", err), page: -1})
			}
			return
		}
		id, err := readPayload(r.Data)
		if err != nil {
			w.complain(complaint{kind: LostRec, text: fmt.Sprintf("a subscriber was handed, at LSN %d: %v", r.Start, err), page: -1})
		}
		f.got = append(f.got, record{id: id, end: r.End})
		a := w.begin(-1, actFollow)
		a.recs, a.lsn = []uint64{id}, r.End
		w.disk.Mark(mark{a, done})
		if w.p.follow == followManual {
			_ = f.sub.Ack(r.End) // closed meanwhile: Records says so
		}
	}
}

// settle judges what a follower was handed, with everything at rest: every durable record once and in
// order, none else but what was cut off since.
func (f *follower) settle() {
	w := f.w
	if w.engine().Err() != nil {
		return // an append that failed may be there
	}
	durable := w.engine().DurableLSN()
	log := w.disk.Log()
	x := expectAt(log, log.Len(), w.p, nil)
	got := slices.DeleteFunc(slices.Clone(f.got), func(r record) bool { return x.gone[r.id] })
	var want []record
	for _, r := range x.records {
		if r.end > f.from {
			want = append(want, r)
		}
	}
	for i, r := range got {
		if i >= len(want) || want[i].id != r.id || want[i].end != r.end {
			w.complain(complaint{kind: LostRec, text: fmt.Sprintf("a subscriber was handed record %d ending at LSN %d as number %d behind LSN %d, which it is not",
				r.id, r.end, i, f.from), page: -1})
			return
		}
	}
	if n := len(got); n < len(want) && want[n].end <= durable && !w.struck.Load() {
		w.complain(complaint{kind: LostRec, text: fmt.Sprintf("a subscriber was not handed record %d ending at LSN %d; the log is durable through %d, and nothing moves",
			want[n].id, want[n].end, durable), page: -1})
	}
}

// Whether a run has a follower.
const (
	followNone = iota
	followAuto
	followManual // keeps the log until it says that it may go
)
