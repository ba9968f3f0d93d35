package bench

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage/codecs"
)

// engineTarget is the engine itself.
type engineTarget struct {
	c    *Config
	o    untorn.Options
	e    *untorn.Engine
	f    *untorn.File
	stop chan struct{} // ends the checkpoints
	idle chan struct{} // closed when they have ended
	err  error         // of a checkpoint; to be read after idle
}

const dataFile = "pages"

// engineOptions for a number of pages in flight.
func engineOptions(c *Config, dir, walDir, dwbDir string) untorn.Options {
	// Twice what all clients have in flight: what was acknowledged early holds memory a while longer.
	batches, bytes := cmp.Or(c.Batches, batchesInFlight), cmp.Or(c.BatchBytes, engineBatch)
	memory := 2*int64(c.Clients)*int64(c.Batch)*int64(c.PageBytes) + int64(batches+8)*int64(bytes)
	t, _ := c.Mode.trait()
	o := untorn.Options{
		Dir: dir, WALDir: walDir, DWBDir: dwbDir, Backend: c.Backend, Depth: c.Depth,
		BatchBytes: c.BatchBytes, DWBSync: dwbSyncs[c.DWBSync], Batches: c.Batches, Unflushed: min(batchesUnflushed, batches),
		Memory: max(memory, 64<<20), Unsafe: t.unsafe,
	}
	o.ImageCodec, _ = codecs.ByName(c.ImageCodec) // validated
	if c.LogBytes == 0 && !t.logsImages {         // little goes into the log: do not zero 64 MiB of it first
		o.SegmentBytes = 8 << 20
	}
	return o
}

func newEngineTarget(ctx context.Context, c *Config, o untorn.Options) (*engineTarget, error) {
	t := &engineTarget{c: c, o: o}
	err := t.open(ctx, untorn.FileOptions{
		Create: true, PageSize: c.PageBytes, Pages: c.pages(), Mode: untorn.Mode(c.Mode), SmallPages: true,
	})
	return t, err
}

func (t *engineTarget) open(ctx context.Context, fo untorn.FileOptions) error {
	e, err := untorn.Open(ctx, t.o)
	if err != nil {
		return err
	}
	f, err := e.OpenFile(ctx, dataFile, fo)
	if err != nil {
		return errors.Join(err, e.Close(ctx))
	}
	t.e, t.f = e, f
	t.stop, t.idle = make(chan struct{}), make(chan struct{})
	go t.checkpoints()
	return nil
}

// logKept is how much log may pile up before a checkpoint lets go of it: segments are recycled, as
// in a service that runs for long.
const logKept = 192 << 20

func (t *engineTarget) checkpoints() {
	defer close(t.idle)
	if m, _ := t.c.Mode.trait(); t.c.LogBytes == 0 && !m.logsImages {
		return
	}
	t.err = checkpointLog(t.e, t.stop, t.c.CheckpointBytes)
}

// checkpointLog keeps a growing log short until stop.
func checkpointLog(e *untorn.Engine, stop <-chan struct{}, kept int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last := e.EndLSN()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
		end := e.EndLSN()
		if end < last+untorn.LSN(kept) {
			continue
		}
		// With commit policy never nothing else makes the log durable.
		err := e.WaitDurable(context.Background(), end)
		if err == nil {
			last = e.DurableLSN()
			err = e.Checkpoint(context.Background(), last, nil)
		}
		if err != nil {
			return err
		}
	}
}

func (t *engineTarget) close(ctx context.Context) error {
	if t.e == nil {
		return nil
	}
	close(t.stop)
	<-t.idle
	err := t.e.Close(ctx)
	t.e = nil
	if t.err != nil {
		return t.err
	}
	return err
}

func (t *engineTarget) reopen(ctx context.Context) error {
	if err := t.close(ctx); err != nil {
		return err
	}
	return t.open(ctx, untorn.FileOptions{})
}

func (t *engineTarget) settle(ctx context.Context) error { return t.f.Sync(ctx) }

func (t *engineTarget) counts() counts {
	s := t.e.Stats()
	return counts{ring: s.Ring, stages: s.Stages, log: &s.Log, spent: s.PageTime, memory: s.Memory}
}

func (t *engineTarget) fresh() { t.e.ResetDistributions() }

func (t *engineTarget) describe(r *Result) {
	in := t.e.Info()
	r.Backend, r.BackendReason = in.Backend, in.BackendReason
	r.DirectIO, r.DirectReason = in.DirectIO, in.DirectReason
	if p := Mode(t.f.Protection()); p != r.Mode {
		r.Protection = string(p)
	}
	r.Engine = &Engine{
		Block: in.Block, Registered: in.Registered, RegisteredReason: in.RegisteredReason,
		LogCommit: in.LogCommit, DWBSync: in.DWBSync, BatchBytes: in.BatchBytes, Regions: in.Regions,
		MemoryBytes: in.MemoryBytes, LogBuffers: in.LogBufferBytes,
	}
}

// engineWorker writes memory of Alloc, which the engine takes over without a copy.
type engineWorker struct {
	t      *engineTarget
	level  untorn.Level
	bufs   [][]byte // taken
	writes []untorn.PageWrite
	reads  []untorn.PageRead
	images []byte
	record []byte
}

func (t *engineTarget) worker(i int) worker {
	w := &engineWorker{t: t, level: levels[t.c.Ack], record: make([]byte, t.c.LogBytes)}
	for k := range w.record {
		w.record[k] = byte(k + i)
	}
	return w
}

func (w *engineWorker) take(ctx context.Context, n int) ([][]byte, error) {
	if cap(w.bufs) < n {
		w.bufs, w.writes = make([][]byte, n), make([]untorn.PageWrite, n)
	}
	w.bufs, w.writes = w.bufs[:n], w.writes[:n]
	return w.bufs, w.t.f.Alloc(ctx, w.bufs)
}

func (w *engineWorker) give() { w.t.f.Free(w.bufs) }

func (w *engineWorker) put(ctx context.Context, nos []page.No) error {
	var lsn untorn.LSN
	if len(w.record) > 0 {
		var err error
		if _, lsn, err = w.t.e.Append(w.record); err != nil {
			return err
		}
	}
	for i, no := range nos {
		w.writes[i] = untorn.PageWrite{No: no, LSN: lsn, Data: w.bufs[i]}
	}
	return w.t.f.WritePages(ctx, w.writes[:len(nos)], w.level)
}

func (w *engineWorker) get(ctx context.Context, nos []page.No, see func(int, []byte)) error {
	ps := w.t.c.PageBytes
	if len(w.reads) < len(nos) {
		w.reads, w.images = make([]untorn.PageRead, len(nos)), make([]byte, len(nos)*ps)
	}
	reads := w.reads[:len(nos)]
	for i, no := range nos {
		reads[i] = untorn.PageRead{No: no, Data: w.images[i*ps : (i+1)*ps]}
	}
	if err := w.t.f.ReadPages(ctx, reads); err != nil {
		return err
	}
	for i := range reads {
		see(i, reads[i].Data)
	}
	return nil
}
