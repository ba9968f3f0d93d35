package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/walstage"
)

// walSession is an engine with appenders.
type walSession struct {
	c       WALConfig
	dir     *scratch
	o       untorn.Options
	e       *untorn.Engine
	clients []*appender
	phase   atomic.Int32
}

// RunWAL measures the log.
func RunWAL(ctx context.Context, c WALConfig, p Progress) (r *WALResult, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &walSession{c: c.withDefaults()}
	defer func() { err = errors.Join(err, s.close()) }()
	p.say("preparing", 0)
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	in := s.e.Info()
	r = &WALResult{
		Schema: SchemaWAL, Backend: in.Backend, BackendReason: in.BackendReason, RecordBytes: s.c.RecordBytes,
		Clients: s.c.Clients, Commit: s.c.Commit, LogCommit: in.LogCommit, Config: s.c,
		Host: lookAt(ctx, s.dir.Path, untorn.DefaultPageSize), Started: stampNow(),
	}
	bare := newHistogram()
	for i := range s.c.Repeat {
		p.say(fmt.Sprintf("log, %d of %d", i+1, s.c.Repeat), 0.05+0.9*float64(i)/float64(s.c.Repeat))
		var one WALInterval
		if err = s.bareSync(ctx, bare); err == nil {
			var profile io.Writer
			if i == s.c.Repeat-1 {
				profile = s.c.Profile
			}
			one, err = s.interval(ctx, profile)
		}
		if one.Records > 0 && (err == nil || len(r.Repeats) == 0) {
			r.Repeats = append(r.Repeats, one)
		}
		if err != nil {
			break
		}
	}
	if len(r.Repeats) == 0 {
		return nil, cmp.Or(err, ErrNothing)
	}
	r.finish(bare, ctx.Err() != nil)
	if r.Interrupted && errors.Is(err, ctx.Err()) {
		return r, nil
	}
	if err == nil && s.c.Verify {
		p.say("reading back", 0.96)
		if r.Verify, err = s.verify(ctx); err != nil {
			err = fmt.Errorf("%w: %w", ErrVerify, err)
		}
	}
	return r, err
}

func (s *walSession) open(ctx context.Context) error {
	var err error
	if s.dir, err = newScratch(s.c.Dir, s.c.Keep); err != nil {
		return err
	}
	if err := s.dir.room(2*logKept + 512<<20); err != nil {
		return err
	}
	dir, err := s.dir.sub("engine")
	if err != nil {
		return err
	}
	s.o = untorn.Options{
		Dir: dir, Backend: s.c.Backend, Commit: methods[s.c.Method], LogGroups: s.c.Groups,
		Policy: policies[s.c.Commit], Unsafe: s.c.Commit == "never",
	}
	if s.e, err = untorn.Open(ctx, s.o); err != nil {
		return err
	}
	for i := range s.c.Clients {
		s.clients = append(s.clients, newAppender(s.e, i, s.c.RecordBytes))
	}
	return nil
}

func (s *walSession) close() error {
	var errs []error
	if s.e != nil {
		errs = append(errs, s.e.Close(context.Background()))
	}
	if s.dir != nil {
		errs = append(errs, s.dir.remove())
	}
	return errors.Join(errs...)
}

func (r *WALResult) finish(bare *hdrhistogram.Histogram, interrupted bool) {
	of := func(f func(*WALInterval) float64) MinMedMax {
		var v []float64
		for i := range r.Repeats {
			v = append(v, f(&r.Repeats[i]))
		}
		return minMedMax(v)
	}
	r.Spread = WALSpread{
		RecordsPerSecond: of(func(i *WALInterval) float64 { return i.RecordsPerSecond }),
		P50:              of(func(i *WALInterval) float64 { return i.Latency.P50 }),
		P99:              of(func(i *WALInterval) float64 { return i.Latency.P99 }),
		CPU:              of(func(i *WALInterval) float64 { return i.CPU }),
	}
	r.WALInterval = r.Repeats[middle(r.Repeats, func(i WALInterval) float64 { return i.RecordsPerSecond })]
	r.Bare, r.Interrupted = latency(bare, false), interrupted
	r.Meaning = r.meaning()
}

// interval lets all appenders run for warm-up and the duration.
func (s *walSession) interval(ctx context.Context, profile io.Writer) (WALInterval, error) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.phase.Store(warming)
	failed := make(chan error, len(s.clients)+2)
	stop := make(chan struct{})
	var helpers, wg sync.WaitGroup
	helpers.Go(func() { failed <- checkpointLog(s.e, stop, logKept) })
	all := newSteps(s.c.Duration)
	for _, k := range s.clients {
		k.hist = newHistogram()
		k.step.join(all)
		wg.Go(func() {
			if err := k.run(hard, &s.phase); err != nil {
				failed <- err
			}
		})
	}
	err := pass(ctx, s.c.Warmup, failed)
	s.e.ResetDistributions()
	a := s.snapshot()
	s.phase.Store(measuring)
	var series []WALSample
	if err == nil {
		err = profiled(profile, func() (err error) {
			series, err = s.watch(ctx, a, all, failed)
			return err
		})
	}
	b := s.snapshot()
	s.phase.Store(stopping)
	// A caller whose record is never acknowledged must not hang the run for ever.
	guard := time.AfterFunc(stallAfter, cancel)
	wg.Wait()
	guard.Stop()
	close(stop)
	helpers.Wait()
	close(failed)
	for e := range failed {
		if err == nil {
			err = e
		}
	}
	in := s.evaluate(a, b)
	in.Series = finishWAL(all, series)
	in.hlog, in.begun = all.log(a.at, asSamples(in.Series), b.at), a.at
	return in, err
}

// watch lets the interval pass and takes the time series.
func (s *walSession) watch(ctx context.Context, from walSnapshot, all *steps, failed <-chan error) ([]WALSample, error) {
	over := time.NewTimer(s.c.Duration)
	defer over.Stop()
	tick := time.NewTicker(stepOf(s.c.Duration))
	defer tick.Stop()
	series := make([]WALSample, 0, len(all.hists))
	last, at := from.records, from.at
	for {
		select {
		case <-over.C:
			return series, nil
		case <-ctx.Done():
			return series, ctx.Err()
		case err := <-failed:
			return series, err
		case <-tick.C:
		}
		now, n := time.Now(), uint64(0)
		for _, k := range s.clients {
			n += k.done.Load()
		}
		series = append(series, WALSample{
			Second: now.Sub(from.at).Seconds(), RecordsPerSecond: ratio(float64(n-last), now.Sub(at).Seconds()),
		})
		all.now.Store(int32(len(series)))
		last, at = n, now
	}
}

// finishWAL puts each step's latencies beside its throughput.
func finishWAL(all *steps, series []WALSample) []WALSample {
	s := asSamples(series)
	all.finish(s)
	for i := range series {
		series[i].Appends, series[i].P50, series[i].P99, series[i].MaxLatency = s[i].Calls, s[i].P50, s[i].P99, s[i].MaxLatency
	}
	return series
}

func asSamples(series []WALSample) []Sample {
	s := make([]Sample, len(series))
	for i := range s {
		s[i].Second = series[i].Second
	}
	return s
}

// pass waits for d, ctx or a failure.
func pass(ctx context.Context, d time.Duration, failed <-chan error) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		return err
	}
}

type walSnapshot struct {
	at      time.Time
	cpu     time.Duration
	mallocs uint64
	records uint64
	log     walstage.Stats
}

func (s *walSession) snapshot() walSnapshot {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	n := walSnapshot{mallocs: m.Mallocs, log: s.e.Stats().Log}
	for _, k := range s.clients {
		n.records += k.done.Load()
	}
	n.cpu, n.at = cpuTime(), time.Now()
	return n
}

func (s *walSession) evaluate(a, b walSnapshot) WALInterval {
	in := WALInterval{Seconds: b.at.Sub(a.at).Seconds(), Records: b.records - a.records, Depth: b.log.Depth}
	in.RiskBytes, in.RiskTime = b.log.AtRisk.MaxBytes, micros(b.log.AtRisk.MaxAge)
	n := float64(in.Records)
	in.RecordsPerSecond = ratio(n, in.Seconds)
	in.BytesPerSecond = in.RecordsPerSecond * float64(s.c.RecordBytes)
	in.CPU = ratio(micros(b.cpu-a.cpu), n)
	in.Allocs = ratio(float64(b.mallocs-a.mallocs), n)
	groups := float64(b.log.Groups - a.log.Groups)
	in.GroupsPerSecond = ratio(groups, in.Seconds)
	in.RecordsPerGroup = ratio(n, groups)
	in.DeviceBytes = ratio(float64(b.log.GroupBytes-a.log.GroupBytes), n*float64(s.c.RecordBytes))
	in.Group, in.GroupRecords = inMicros(b.log.GroupNanos), plain(b.log.GroupRecords)
	in.BlockedPerRecord = ratio(micros(b.log.BlockedTime-a.log.BlockedTime), n)
	in.BusyShare = ratio((b.log.Busy - a.log.Busy).Seconds(), in.Seconds)
	in.hist = newHistogram()
	for _, k := range s.clients {
		in.hist.Merge(k.hist)
	}
	in.Latency = latency(in.hist, true)
	return in
}

// bareSync adds some DSYNC writes of one block to h.
func (s *walSession) bareSync(ctx context.Context, h *hdrhistogram.Histogram) error {
	dir, b := s.dir.Path, s.c.Backend
	r, err := ring.New(ring.Config{Backend: b})
	if err != nil {
		return err
	}
	defer r.Close()
	path := dir + "/bare"
	f, err := fsys.OS().Open(path, fsys.OpenFlags{Create: true, Direct: b != ring.Buffered})
	if err != nil {
		return err
	}
	defer fsys.OS().Remove(path)
	defer f.Close()
	block := int64(f.Align().Block)
	if err := fillFile(ctx, r, f, 4<<20, 1); err != nil {
		return err
	}
	op := ring.Op{Kind: ring.Write, Flags: ring.DSync, File: f, Buf: aligned.Alloc(int(block), int(block))}
	for end := time.Now().Add(min(s.c.Duration, 300*time.Millisecond)); time.Now().Before(end); {
		op.Off = (op.Off + block) % (4 << 20)
		start := time.Now()
		if err := r.Do(&op); err != nil {
			return err
		}
		record(h, time.Since(start))
	}
	return ctx.Err()
}
