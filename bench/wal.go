package bench

import (
	"context"
	"errors"
	"fmt"
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

// WALConfig is one run of the log alone. The zero value of a field means its default.
type WALConfig struct {
	Dir         string        `json:"dir"`
	RecordBytes int           `json:"record_bytes"` // 0 = 1024
	Clients     int           `json:"clients"`      // 0 = 64
	Duration    time.Duration `json:"duration_ns"`  // 0 = 10 s
	Warmup      time.Duration `json:"warmup_ns"`    // 0 = 1 s; negative = none
	// Commit is "sync": every append waits until its record is durable; or "async": no append waits,
	// and a flush every 10 ms bounds what a crash may take. "" = sync.
	Commit string `json:"commit"`
	// Method is how groups are made durable: "auto", "dsync" or "flush". "" = auto.
	Method  string       `json:"method"`
	Groups  int          `json:"groups_in_flight"` // at most; 0 = the engine's default
	Backend ring.Backend `json:"backend"`
	Repeat  int          `json:"repeat"` // 0 = 1
	Verify  bool         `json:"verify"`
	Keep    bool         `json:"keep,omitempty"`
}

// asyncFlush is how much an asynchronous commit may lose, in time.
const asyncFlush = 10 * time.Millisecond

func (c WALConfig) withDefaults() WALConfig {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.RecordBytes, 1024)
	def(&c.Clients, 64)
	def(&c.Repeat, 1)
	if c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	if c.Warmup == 0 {
		c.Warmup = time.Second
	}
	c.Warmup = max(c.Warmup, 0)
	if c.Commit == "" {
		c.Commit = "sync"
	}
	if c.Method == "" {
		c.Method = "auto"
	}
	if c.Backend == "" {
		c.Backend = ring.Auto
	}
	return c
}

var methods = map[string]walstage.Commit{
	"auto": walstage.CommitAuto, "dsync": walstage.CommitDSync, "flush": walstage.CommitFlush,
}

// Validate returns every complaint, joined; each matches ErrUsage.
func (c WALConfig) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrUsage}, a...)...))
	}
	if c.RecordBytes < walHeader || c.RecordBytes > 256<<10 {
		bad("record size %d is not from %d to 256 KiB", c.RecordBytes, walHeader)
	}
	if c.Clients < 1 || c.Clients > 4096 {
		bad("clients is %d, want 1 to 4096", c.Clients)
	}
	if c.Repeat < 1 || c.Repeat > 1000 {
		bad("repeat is %d, want 1 to 1000", c.Repeat)
	}
	if c.Duration < 0 {
		bad("duration %v is negative", c.Duration)
	}
	if c.Groups < 0 || c.Groups > 32 {
		bad("groups in flight is %d, want 0 to 32", c.Groups)
	}
	if c.Commit != "sync" && c.Commit != "async" {
		bad("unknown commit %q (sync, async)", c.Commit)
	}
	if _, ok := methods[c.Method]; !ok {
		bad("unknown method %q (auto, dsync, flush)", c.Method)
	}
	if err := (ring.Config{Backend: c.Backend}).Validate(); err != nil {
		bad("%v", err)
	}
	return errors.Join(errs...)
}

// WALResult is one run of the log.
type WALResult struct {
	Schema        string `json:"schema"`
	Backend       string `json:"backend"`
	BackendReason string `json:"backend_reason"`
	RecordBytes   int    `json:"record_bytes"`
	Clients       int    `json:"clients"`
	Commit        string `json:"commit"`
	LogCommit     string `json:"log_commit"` // how groups were made durable
	WALInterval          // the median one by records_per_second
	// Bare is one DSYNC write of a block by a lone caller, measured in the same directory before and
	// after: what a single appender cannot beat.
	Bare        Latency       `json:"bare_dsync_us"`
	Spread      WALSpread     `json:"spread"`
	Repeats     []WALInterval `json:"repeats"`
	Verify      *Verified     `json:"verify,omitempty"`
	Interrupted bool          `json:"interrupted"`
	Host        Host          `json:"host"`
	Config      WALConfig     `json:"config"`
	Command     []string      `json:"command"`
	Started     string        `json:"started"`
}

// WALInterval is one measured interval.
type WALInterval struct {
	Seconds          float64 `json:"seconds"`
	Records          uint64  `json:"records"`
	RecordsPerSecond float64 `json:"records_per_second"`
	BytesPerSecond   float64 `json:"bytes_per_second"`
	Latency          Latency `json:"latency_us"`
	CPU              float64 `json:"cpu_us_per_record"`
	Allocs           float64 `json:"allocs_per_record"`
	RecordsPerGroup  float64 `json:"records_per_group"`
	GroupsPerSecond  float64 `json:"groups_per_second"`
	// DeviceBytes written to the log for each byte of a record: headers, frames and padding.
	DeviceBytes float64 `json:"device_bytes_per_record_byte"`
	Depth       int     `json:"groups_in_flight"`
}

// WALSpread over the repeats.
type WALSpread struct {
	RecordsPerSecond MinMedMax `json:"records_per_second"`
	P50              MinMedMax `json:"latency_us_p50"`
	P99              MinMedMax `json:"latency_us_p99"`
	CPU              MinMedMax `json:"cpu_us_per_record"`
}

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
		if err = bareSync(ctx, s.dir.Path, s.c.Backend, bare); err == nil {
			one, err = s.interval(ctx)
		}
		if one.Records > 0 && (err == nil || len(r.Repeats) == 0) {
			r.Repeats = append(r.Repeats, one)
		}
		if err != nil {
			break
		}
	}
	if len(r.Repeats) == 0 {
		return nil, err
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
	s.o = untorn.Options{Dir: dir, Backend: s.c.Backend, Commit: methods[s.c.Method], LogGroups: s.c.Groups}
	if s.e, err = untorn.Open(ctx, s.o); err != nil {
		return err
	}
	for i := range s.c.Clients {
		s.clients = append(s.clients, newAppender(s.e, i, s.c.RecordBytes, s.c.Commit == "sync"))
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
}

// interval lets all appenders run for warm-up and the duration.
func (s *walSession) interval(ctx context.Context) (WALInterval, error) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.phase.Store(warming)
	failed := make(chan error, len(s.clients)+2)
	stop := make(chan struct{})
	var helpers, wg sync.WaitGroup
	helpers.Go(func() { failed <- checkpointLog(s.e, stop) })
	if s.c.Commit == "async" {
		helpers.Go(func() { failed <- flushOften(hard, s.e, stop) })
	}
	for _, k := range s.clients {
		k.hist = newHistogram()
		wg.Go(func() {
			if err := k.run(hard, &s.phase); err != nil {
				failed <- err
			}
		})
	}
	err := pass(ctx, s.c.Warmup, failed)
	a := s.snapshot()
	s.phase.Store(measuring)
	if err == nil {
		err = pass(ctx, s.c.Duration, failed)
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
	return s.evaluate(a, b), err
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
	n := float64(in.Records)
	in.RecordsPerSecond = ratio(n, in.Seconds)
	in.BytesPerSecond = in.RecordsPerSecond * float64(s.c.RecordBytes)
	in.CPU = ratio(micros(b.cpu-a.cpu), n)
	in.Allocs = ratio(float64(b.mallocs-a.mallocs), n)
	groups := float64(b.log.Groups - a.log.Groups)
	in.GroupsPerSecond = ratio(groups, in.Seconds)
	in.RecordsPerGroup = ratio(n, groups)
	in.DeviceBytes = ratio(float64(b.log.GroupBytes-a.log.GroupBytes), n*float64(s.c.RecordBytes))
	all := newHistogram()
	for _, k := range s.clients {
		all.Merge(k.hist)
	}
	in.Latency = latency(all, true)
	return in
}

// flushOften makes everything appended durable every asyncFlush.
func flushOften(ctx context.Context, e *untorn.Engine, stop <-chan struct{}) error {
	t := time.NewTicker(asyncFlush)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return e.WaitDurable(ctx, e.EndLSN())
		case <-t.C:
		}
		if err := e.WaitDurable(ctx, e.EndLSN()); err != nil {
			return err
		}
	}
}

// bareSync adds some DSYNC writes of one block to h.
func bareSync(ctx context.Context, dir string, b ring.Backend, h *hdrhistogram.Histogram) error {
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
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		op.Off = (op.Off + block) % (4 << 20)
		start := time.Now()
		if err := r.Do(&op); err != nil {
			return err
		}
		record(h, time.Since(start))
	}
	return ctx.Err()
}
