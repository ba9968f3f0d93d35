package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/untorn/untorn"
)

// Progress gets a line about what is being done now, and how far it is, from 0 to 1.
type Progress func(what string, share float64)

func (p Progress) say(what string, share float64) {
	if p != nil {
		p(what, share)
	}
}

// ErrNothing is an interval in which no call was acknowledged: it needs more time.
var ErrNothing = errors.New("no call was acknowledged in the measured interval")

// Run measures one mode. When ctx is cancelled it returns what was measured so far, with
// Interrupted set, and ctx's error only if that is nothing.
func Run(ctx context.Context, c Config, p Progress) (*Result, error) {
	rs, err := runAll(ctx, []Config{c}, p)
	if len(rs) == 0 {
		return nil, err
	}
	return rs[0], err
}

// runAll measures several configurations, interleaved: every repeat goes round all of them, so
// that they see the same disk. The bound's files are made once, in the first one's directory.
func runAll(ctx context.Context, cs []Config, p Progress) (out []*Result, err error) {
	var ss []*session
	var ds drives
	late := context.WithoutCancel(ctx)
	defer func() {
		err = errors.Join(err, ds.close())
		for _, s := range slices.Backward(ss) { // the first one made the directory they share
			err = errors.Join(err, s.close(late))
		}
	}()
	for i, c := range cs {
		if err := c.Validate(); err != nil {
			return nil, err
		}
		c = c.withDefaults()
		p.say("preparing "+string(c.Mode), float64(i)/float64(8*len(cs)))
		s, err := newSession(ctx, c)
		if errors.Is(err, untorn.ErrNotAtomic) && len(cs) > 1 {
			continue // one of several: it does not exist here, and the host's verdict says why
		}
		if err != nil {
			return nil, err
		}
		ss = append(ss, s)
		r := &Result{
			Schema: SchemaRun, Mode: c.Mode, Ack: c.Ack, PageBytes: c.PageBytes, BatchPages: c.Batch,
			Clients: c.Clients, Config: c, ClientCPU: s.fillCost, BoundKind: boundKind(c.Mode, c.Ack),
			Host: lookAt(ctx, s.dirs[0].Path, c.PageBytes), Started: stampNow(), DeviceBytesSource: "ring",
		}
		r.Host.LogDevice, r.Host.CopiesDevice = r.Host.beside("log", s.log), r.Host.beside("copies", s.dwb)
		s.t.describe(r)
		if r.Protection != "" {
			r.BoundKind = boundKind(Mode(r.Protection), c.Ack)
		}
		s.kind = r.BoundKind
		if s.direct = r.DirectIO; s.kernelCounts() {
			r.DeviceBytesSource = "kernel"
		}
		out = append(out, r)
	}
	p.say("preparing the bound", 0.12)
	if ds, err = newDrives(ctx, ss); err != nil {
		return nil, err
	}
	m := &measurer{ctx: ctx, ss: ss, out: out, drives: ds, p: p}
	err = m.finish(m.rounds())
	if err == nil {
		err = m.verify()
	}
	return slices.DeleteFunc(out, func(r *Result) bool { return len(r.Repeats) == 0 }), err
}

// measurer goes round the sessions.
type measurer struct {
	ctx    context.Context
	ss     []*session
	out    []*Result
	drives drives
	p      Progress
}

func (m *measurer) rounds() error {
	n := m.ss[0].c.Repeat
	for round := range n {
		for i, s := range m.ss {
			done := float64(round*len(m.ss)+i) / float64(n*len(m.ss))
			m.p.say(fmt.Sprintf("%s, %d of %d", s.c.label(), round+1, n), 0.15+0.8*done)
			var profile io.Writer
			if round == n-1 {
				profile = s.c.Profile
			}
			in, err := m.one(s, profile)
			if in.Pages > 0 {
				m.out[i].Repeats = append(m.out[i].Repeats, in)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// one is an interval between two measurements of its bound.
func (m *measurer) one(s *session, profile io.Writer) (Interval, error) {
	before, err := m.bound(s)
	if err != nil {
		return Interval{}, err
	}
	in, err := s.measured(m.ctx, profile)
	in.Bounds = before
	if err == nil {
		// Nothing of ours may be under way while the drive is asked again.
		if err = s.t.settle(m.ctx); err == nil {
			var after Bounds
			if after, err = m.bound(s); err == nil {
				in.Bounds = before.mean(after)
			}
		}
	}
	in.Bound = in.Bounds.of(s.kind)
	in.Efficiency = ratio(in.PagesPerSecond, in.Bound)
	return in, err
}

func (m *measurer) bound(s *session) (Bounds, error) {
	d := m.drives.of(s)
	if d == nil {
		return Bounds{}, nil
	}
	return d.measure(m.ctx, s.kind, s.c.BoundTime)
}

// finish works out the results. It returns an error if there is nothing to return.
func (m *measurer) finish(err error) error {
	interrupted, early := m.ctx.Err() != nil, err != nil
	for _, r := range m.out {
		if len(r.Repeats) == 0 {
			if err == nil {
				err = ErrNothing
			}
			continue
		}
		// An interval cut short counts only if there is no whole one.
		if n := len(r.Repeats); early && n > 1 && r.Repeats[n-1].Seconds < 0.9*r.Repeats[0].Seconds {
			r.Repeats = r.Repeats[:n-1]
		}
		r.Interrupted = early
		r.Interval = median(r.Repeats)
		r.Spread = spread(r.Repeats)
		r.Bottleneck = r.bottleneck()
		r.Meaning = r.meaning()
	}
	if err != nil && interrupted && len(m.out[0].Repeats) > 0 && errors.Is(err, m.ctx.Err()) {
		return nil
	}
	return err
}

func (m *measurer) verify() error {
	var errs []error
	for i, s := range m.ss {
		if !s.c.Verify {
			continue
		}
		if m.ctx.Err() != nil {
			m.out[i].Interrupted = true
			continue
		}
		m.p.say("reading back "+string(s.c.Mode), 0.96)
		v, err := s.verify(m.ctx)
		m.out[i].Verify = v
		switch {
		case err != nil && m.ctx.Err() != nil: // what was measured is whole, and was not read back
			m.out[i].Verify, m.out[i].Interrupted = nil, true
		case err != nil:
			errs = append(errs, fmt.Errorf("%w: %s: %w", ErrVerify, s.c.Mode, err))
		case !v.OK:
			errs = append(errs, fmt.Errorf("%w: %s: %d of %d pages are wrong; the first: %s",
				ErrVerify, s.c.Mode, v.WrongCount, v.Checked, v.Wrong[0]))
		}
	}
	return errors.Join(errs...)
}

// mean of two measurements of the same bounds.
func (b Bounds) mean(o Bounds) Bounds {
	m := func(x, y float64) float64 { return (x + y) / 2 }
	r := Bounds{
		RandomFree: m(b.RandomFree, o.RandomFree), RandomFlushed: m(b.RandomFlushed, o.RandomFlushed),
		SequentialFree:    m(b.SequentialFree, o.SequentialFree),
		SequentialFlushed: m(b.SequentialFlushed, o.SequentialFlushed),
		Overlapped:        m(b.Overlapped, o.Overlapped),
	}
	r.combine()
	return r
}

// CompareModes measures several modes side by side, interleaved; c is what they have in common.
func CompareModes(ctx context.Context, c Config, modes []Mode, p Progress) ([]*Result, error) {
	cs := make([]Config, 0, len(modes))
	for _, m := range modes {
		one := c
		t, _ := m.trait()
		one.Mode, one.Unsafe = m, c.Unsafe || t.unsafe
		if m == NaiveBatch {
			one.Backend = "auto"
		}
		if !t.engine { // they have no log
			one.LogBytes, one.WALDir = 0, ""
		}
		cs = append(cs, one)
	}
	return runAll(ctx, cs, p)
}
