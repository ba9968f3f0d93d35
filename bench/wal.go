package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn"
)

// walSession is an engine with appenders, and what the drive is asked beside it.
type walSession struct {
	c       WALConfig
	dir     *scratch
	o       untorn.Options
	e       *untorn.Engine
	d       *logDrive
	bare    *hdrhistogram.Histogram
	clients []*appender
	phase   atomic.Int32
}

// RunWAL measures the log. When ctx is cancelled it returns what was measured so far, with
// Interrupted set, and ctx's error only if that is nothing.
func RunWAL(ctx context.Context, c WALConfig, p Progress) (*WALResult, error) {
	rs, err := runLogs(ctx, []WALConfig{c}, p)
	if len(rs) == 0 {
		return nil, err
	}
	return rs[0], err
}

// runLogs measures several configurations of the log, each with an engine of its own, in turns: every
// repeat goes round all of them. Those of which nothing was measured are left out.
func runLogs(ctx context.Context, cs []WALConfig, p Progress) (out []*WALResult, err error) {
	var ss []*walSession
	defer func() {
		for _, s := range slices.Backward(ss) { // the first one made the directory they share
			err = errors.Join(err, s.close())
		}
	}()
	for i, c := range cs {
		if err := c.Validate(); err != nil {
			return nil, err
		}
		p.say("preparing the log", 0.05*float64(i)/float64(len(cs)))
		s := &walSession{c: c.withDefaults(), bare: newHistogram()}
		ss = append(ss, s)
		if err := s.open(ctx, len(cs)-i); err != nil {
			return nil, err
		}
		r := s.describe()
		if r.Started = stampNow(); i == 0 {
			r.Host = lookAt(ctx, s.dir.Path, untorn.DefaultPageSize)
		} else {
			r.Host = out[0].Host
		}
		out = append(out, r)
	}
	err = logRounds(ctx, ss, out, p)
	interrupted := ctx.Err() != nil
	var measured []*WALResult
	var done []*walSession
	for i, r := range out {
		if len(r.Repeats) > 0 {
			ss[i].finish(r, interrupted)
			measured, done = append(measured, r), append(done, ss[i])
		}
	}
	switch {
	case len(measured) == 0:
		return nil, cmp.Or(err, ErrNothing)
	case interrupted && errors.Is(err, ctx.Err()):
		return measured, nil
	case err != nil:
		return measured, err
	}
	for i, s := range done {
		if !s.c.Verify {
			continue
		}
		p.say("reading back the log", 0.96)
		v, bad := s.verify(ctx)
		if bad != nil && ctx.Err() != nil {
			measured[i].Interrupted = true
			break
		}
		if measured[i].Verify = v; bad != nil {
			err = errors.Join(err, fmt.Errorf("%w: %s: %w", ErrVerify, measured[i].name(), bad))
		}
	}
	return measured, err
}

func logRounds(ctx context.Context, ss []*walSession, out []*WALResult, p Progress) error {
	n := ss[0].c.Repeat
	for round := range n {
		for i, s := range ss {
			share := float64(round*len(ss)+i) / float64(n*len(ss))
			p.say(fmt.Sprintf("%s, %d of %d", cmp.Or(s.c.label, "log"), round+1, n), 0.05+0.9*share)
			var profile io.Writer
			if round == n-1 {
				profile = s.c.Profile
			}
			in, err := s.one(ctx, profile)
			if in.Records > 0 && (err == nil || len(out[i].Repeats) == 0) {
				out[i].Repeats = append(out[i].Repeats, in)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// one is an interval between two measurements of its bound.
func (s *walSession) one(ctx context.Context, profile io.Writer) (WALInterval, error) {
	before, err := s.bound(ctx)
	if err != nil {
		return WALInterval{}, err
	}
	in, err := s.measured(ctx, profile)
	in.WALBound = before
	if err == nil {
		// Nothing of ours may be under way while the drive is asked again.
		if err = s.e.WaitDurable(ctx, s.e.EndLSN()); err == nil {
			var after WALBound
			if after, err = s.bound(ctx); err == nil {
				in.WALBound = before.mean(after)
			}
		}
	}
	in.Efficiency = ratio(in.RecordsPerSecond, in.Bound)
	return in, err
}

// bound asks the drive; a lone durable write is timed in any case.
func (s *walSession) bound(ctx context.Context) (WALBound, error) {
	if err := s.d.bare(ctx, max(min(s.c.Duration/4, 150*time.Millisecond), time.Millisecond), s.bare); err != nil {
		return WALBound{}, err
	}
	if s.c.BoundTime <= 0 {
		return WALBound{}, nil
	}
	return s.d.measure(ctx, &s.c)
}

// open makes directory, engine and appenders; so many sessions still need room.
func (s *walSession) open(ctx context.Context, sessions int) error {
	var err error
	if s.dir, err = newScratch(s.c.Dir, s.c.Keep); err != nil {
		return err
	}
	if err := s.dir.room(int64(sessions)*(logKept+320<<20) + 64<<20); err != nil {
		return err
	}
	dir, err := s.dir.sub("engine")
	if err != nil {
		return err
	}
	s.o = untorn.Options{
		Dir: dir, Backend: s.c.Backend, Commit: methods[s.c.Method], LogGroups: s.c.Groups,
		Policy: policies[s.c.Commit], Unsafe: s.c.Commit == "never", Memory: 16 << 20, // there are no pages
	}
	if s.e, err = untorn.Open(ctx, s.o); err != nil {
		return err
	}
	if s.d, err = newLogDrive(ctx, s.dir.Path, s.c.Backend); err != nil {
		return err
	}
	for i := range s.c.Clients {
		s.clients = append(s.clients, newAppender(s.e, i, &s.c))
	}
	return nil
}

func (s *walSession) close() error {
	var errs []error
	if s.e != nil {
		errs = append(errs, s.e.Close(context.Background()))
	}
	if s.d != nil {
		errs = append(errs, s.d.close())
	}
	if s.dir != nil {
		errs = append(errs, s.dir.remove())
	}
	return errors.Join(errs...)
}

// describe is what there is to say before anything was measured.
func (s *walSession) describe() *WALResult {
	in := s.e.Info()
	return &WALResult{
		Schema: SchemaWAL, Backend: in.Backend, BackendReason: in.BackendReason, RecordBytes: s.c.RecordBytes,
		DirectIO: in.DirectIO, DirectReason: in.DirectReason,
		Clients: s.c.Clients, Commit: s.c.Commit, LogCommit: in.LogCommit, Config: s.c, LogBuffers: in.LogBufferBytes,
	}
}

// finish works out what the repeats come to.
func (s *walSession) finish(r *WALResult, interrupted bool) {
	of := func(f func(*WALInterval) float64) MinMedMax { return spreadOf(r.Repeats, f) }
	r.Spread = WALSpread{
		RecordsPerSecond: of(func(i *WALInterval) float64 { return i.RecordsPerSecond }),
		Bound:            of(func(i *WALInterval) float64 { return i.Bound }),
		Efficiency:       of(func(i *WALInterval) float64 { return i.Efficiency }),
		P50:              of(func(i *WALInterval) float64 { return i.Latency.P50 }),
		P99:              of(func(i *WALInterval) float64 { return i.Latency.P99 }),
		P999:             of(func(i *WALInterval) float64 { return i.Latency.P999 }),
		CPU:              of(func(i *WALInterval) float64 { return i.CPU }),
	}
	r.WALInterval = r.Repeats[middle(r.Repeats, func(i WALInterval) float64 { return i.RecordsPerSecond })]
	r.Bare, r.Interrupted = latency(s.bare, true), interrupted
	log := s.e.Stats().Log
	r.LogFiles = int64(log.Segments+log.Spare) * segmentBytes
	r.Bottleneck = r.bottleneck()
	r.Meaning = r.meaning()
}

// segmentBytes is the engine's default, which is what runs of the log use.
const segmentBytes = 64 << 20

// interval lets all appenders run for warm-up and the time measured.
func (s *walSession) interval(ctx context.Context, l loadOf) (WALInterval, error) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.phase.Store(warming)
	failed := make(chan error, len(s.clients)+2)
	stop, ended := make(chan struct{}), make(chan struct{})
	var helpers, wg sync.WaitGroup
	helpers.Go(func() { failed <- checkpointLog(s.e, ended, logKept) })
	all := newSteps(l.measured)
	begin := time.Now()
	for i, k := range s.clients {
		k.reset(newSchedule(begin, l.rate, 1, i, len(s.clients)), all)
		wg.Go(func() {
			if err := k.run(hard, &s.phase, stop); err != nil {
				failed <- err
			}
		})
	}
	err := every(ctx, l.warm, time.Second, failed, func() error { return nil })
	cold := err != nil
	s.e.ResetDistributions()
	a := s.snapshot()
	s.phase.Store(measuring)
	line := series{steps: all}
	if err == nil {
		err = profiled(l.profile, func() error { return s.watch(ctx, a, l.measured, &line, failed) })
	}
	b := s.snapshot()
	line.step(b.at, b.records, 0)
	s.phase.Store(stopping)
	close(stop)
	// A caller whose record is never acknowledged must not hang the run for ever.
	guard := time.AfterFunc(stallAfter, cancel)
	wg.Wait()
	guard.Stop()
	for _, k := range s.clients {
		k.finish(b.at)
	}
	close(ended)
	helpers.Wait()
	close(failed)
	for e := range failed {
		if err == nil {
			err = e
		}
	}
	if cold { // the interval never began
		return WALInterval{}, err
	}
	in := s.evaluate(a, b)
	all.finish(line.samples)
	in.Series = walSamples(line.samples)
	in.hlog, in.begun = all.log(a.at, line.samples, b.at), a.at
	return in, err
}

// watch lets the interval pass and takes the time series.
func (s *walSession) watch(ctx context.Context, from walSnapshot, d time.Duration, to *series, failed <-chan error) error {
	to.begin(d, from.at, from.records, 0)
	return every(ctx, d, stepOf(d), failed, func() error {
		n := uint64(0)
		for _, k := range s.clients {
			n += k.done.Load()
		}
		to.tick(time.Now(), n, 0)
		return nil
	})
}

// walSamples are a series of records, not of pages.
func walSamples(series []Sample) []WALSample {
	out := make([]WALSample, len(series))
	for i, s := range series {
		out[i] = WALSample{s.Second, s.PagesPerSecond, s.Calls, s.P50, s.P99, s.MaxLatency}
	}
	return out
}
