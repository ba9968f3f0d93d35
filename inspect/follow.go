package inspect

import (
	"context"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/walstage"
)

// FollowOptions of Follow.
type FollowOptions struct {
	WALFilter
	// AtEnd begins behind what is known to be durable now; From does not count then.
	AtEnd bool
	// Every is the time between two looks. 0 = 100 ms.
	Every time.Duration
	// Seen is told after each look how far everything was handed out: where to go on. nil = nobody is.
	Seen func(next page.LSN) error
}

// Follow calls visit with every record of the log that becomes known to be durable, in order, until
// ctx ends or visit fails. The directory may be of a running engine, or of none: no lock is taken,
// nothing is changed, and the engine does not wait. A record is known to be durable when a later group
// of the log, or super, says so; the last ones of an engine that has gone idle therefore come late.
// The log is not kept: who falls behind for longer than the engine keeps it gets
// walstage.ErrTruncated. Engine.Subscribe has neither limit.
func (d *Dir) Follow(ctx context.Context, o FollowOptions, visit func(*Record) error) error {
	if o.Every == 0 {
		o.Every = 100 * time.Millisecond
	}
	st, _, _ := d.newestState()
	w := walstage.Options{FS: d.fs, Ring: d.ring, Dir: d.layout.Log()}
	if st != nil {
		w.EngineID, w.Block = st.Engine, st.Block
	}
	f, err := walstage.NewFollower(ctx, w, o.From)
	if err != nil {
		return err
	}
	defer f.Close()
	quiet := o.AtEnd
	names := d.names()
	for {
		claim, cuts := walstage.Claim{}, []walstage.Cut(nil)
		if st, _, _ := d.newestState(); st != nil { // before the log is read
			claim = walstage.Claim{Epoch: st.Durable.Epoch, LSN: st.Durable.LSN, Source: "super"}
			for _, c := range st.Cuts {
				cuts = append(cuts, walstage.Cut(c))
			}
		}
		err := f.Poll(ctx, claim, cuts, func(r walstage.Record, segment string) error {
			x := names.record(r, o.Data)
			x.Segment = segment
			if quiet || !o.takes(x) {
				return nil
			}
			return visit(x)
		})
		if o.Seen != nil {
			if serr := o.Seen(f.Next()); err == nil {
				err = serr
			}
		}
		if err != nil {
			return err
		}
		quiet = false
		select {
		case <-time.After(o.Every):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
