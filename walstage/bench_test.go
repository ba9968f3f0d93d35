package walstage

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// benchDir is where benchmarks write: UNTORN_BENCH_DIR, or the test's temporary directory.
func benchDir(b *testing.B) string {
	dir := os.Getenv("UNTORN_BENCH_DIR")
	if dir == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(dir, "walbench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// appender is what the benchmark drives: add one record and wait until it is durable.
type appender interface {
	commit(rec []byte) error
	close() error
}

// BenchmarkAppend is a closed loop: every client appends one record, waits until it is durable, and
// goes on with the next. Beside the log run what a reader would compare it with, on the same ring,
// in zeroed files, with the same way to make a write durable. Read it as ratios within one run.
func BenchmarkAppend(b *testing.B) {
	const record = 1024
	for _, clients := range []int{1, 8, 64} {
		for _, s := range []struct {
			name string
			open func(*testing.B) appender
		}{{"wal", openBenchLog}, {"wal+headers", openBenchRinged}, {"hand", openHand}, {"bare", openBare}} {
			if s.name == "bare" && clients > 1 {
				continue
			}
			b.Run(fmt.Sprintf("clients=%d/record=%d/by=%s", clients, record, s.name),
				func(b *testing.B) { benchAppend(b, s.open(b), clients, record) })
		}
	}
}

func benchAppend(b *testing.B, a appender, clients, record int) {
	rec := make([]byte, record)
	for i := range rec {
		rec[i] = byte(i)
	}
	took := make([][]time.Duration, clients)
	per := b.N/clients + 1
	for c := range took {
		took[c] = make([]time.Duration, 0, per)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for range per {
				begin := time.Now()
				if err := a.commit(rec); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(begin))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(all[len(all)/2])/1e3, "p50-us")
	b.ReportMetric(float64(all[len(all)*99/100])/1e3, "p99-us")
	if w, ok := a.(*benchLog); ok {
		s := w.l.Stats()
		groups := float64(s.Groups - w.before.Groups)
		b.ReportMetric(float64(s.Records-w.before.Records)/groups, "records/group")
		b.ReportMetric(float64(s.Busy-w.before.Busy)/groups/1e3, "write-us")
	}
	if err := a.close(); err != nil {
		b.Error(err)
	}
}

type benchLog struct {
	l      *Log
	n      atomic.Int64
	before Stats
}

func openBenchLog(b *testing.B) appender { return openBench(b, false) }

// openBenchRinged is the log with a ring of headers: a second write for each group.
func openBenchRinged(b *testing.B) appender { return openBench(b, true) }

func openBench(b *testing.B, headers bool) appender {
	r, err := ring.New(ring.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	o := Options{FS: fsys.OS(), Ring: r, Dir: filepath.Join(benchDir(b), "wal"),
		EngineID: [16]byte{1}, Commit: CommitDSync, HeaderRing: headers}
	ctx := context.Background()
	if err := Create(ctx, o, 1); err != nil {
		b.Fatal(err)
	}
	l := start(b, o, 2)
	// A steady log runs in recycled segments: make a few, then keep truncating.
	big := make([]byte, l.MaxRecord())
	for l.Stats().Created < 4 {
		if _, _, err := l.Append(0, big); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.WaitDurable(ctx, l.End()); err != nil {
		b.Fatal(err)
	}
	if err := l.TruncateBefore(l.Durable()); err != nil {
		b.Fatal(err)
	}
	return &benchLog{l: l, before: l.Stats()}
}

func (a *benchLog) commit(rec []byte) error {
	_, end, err := a.l.Append(0, rec)
	if err != nil {
		return err
	}
	if a.n.Add(1)%8192 == 0 {
		if err := a.l.TruncateBefore(a.l.Durable()); err != nil {
			return err
		}
	}
	return a.l.WaitDurable(context.Background(), end)
}

func (a *benchLog) close() error { return a.l.Close(context.Background()) }

// start opens a log and begins an epoch.
func start(t testing.TB, o Options, epoch uint64) *Log {
	t.Helper()
	ctx := context.Background()
	d, err := OpenDir(ctx, o, false)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := d.Scan(ctx, Evidence{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Repair(ctx, tail); err != nil {
		t.Fatal(err)
	}
	l, err := d.Start(ctx, epoch, tail)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// BenchmarkScan reads a log of 256 MiB as an open does, and reports how fast; beside it plain
// sequential reads of the same files at the same depth.
func BenchmarkScan(b *testing.B) {
	r, err := ring.New(ring.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	o := Options{FS: fsys.OS(), Ring: r, Dir: filepath.Join(benchDir(b), "wal"),
		EngineID: [16]byte{1}}
	ctx := context.Background()
	if err := Create(ctx, o, 1); err != nil {
		b.Fatal(err)
	}
	l := start(b, o, 2)
	rec := make([]byte, 1000)
	for l.End() < 256<<20 {
		for range 60 {
			if _, _, err := l.Append(0, rec); err != nil {
				b.Fatal(err)
			}
		}
		if err := l.WaitDurable(ctx, l.End()); err != nil {
			b.Fatal(err)
		}
	}
	end := l.End()
	if err := l.Close(ctx); err != nil {
		b.Fatal(err)
	}
	d, err := OpenDir(ctx, o, true)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	b.Run("op=scan", func(b *testing.B) {
		b.SetBytes(int64(end))
		for b.Loop() {
			ev := Evidence{Known: []Claim{{2, end, "super"}}, Clean: true}
			if tail, err := d.Scan(ctx, ev); err != nil || tail.Last != end {
				b.Fatal(tail, err)
			}
		}
	})
	b.Run("op=replay", func(b *testing.B) {
		b.SetBytes(int64(end))
		for b.Loop() {
			for _, err := range d.Replay(ctx, 0) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("op=read", func(b *testing.B) {
		b.SetBytes(int64(end))
		for b.Loop() {
			w := newWindow(&d.o, readAhead)
			for _, s := range d.segs.list {
				for off := int64(0); off < s.length && s.lsn(off) < end; off += readAhead {
					if _, err := w.bytes(s, off, min(readAhead, s.length-off)); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	})
}

// zeroedFile is what the baselines write into: preallocated, zeroed, used as a circle.
type zeroedFile struct {
	ring ring.Ring
	file fsys.File
	size int64
	off  int64
}

func openZeroed(b *testing.B) *zeroedFile {
	r, err := ring.New(ring.Config{})
	if err != nil {
		b.Fatal(err)
	}
	f, err := fsys.OS().Open(filepath.Join(benchDir(b), "log"),
		fsys.OpenFlags{Create: true, Direct: true})
	if err != nil {
		b.Fatal(err)
	}
	z := &zeroedFile{ring: r, file: f, size: 64 << 20}
	if err := f.Preallocate(0, z.size); err != nil {
		b.Fatal(err)
	}
	zeros := aligned.Alloc(1<<20, 4096)
	for off := int64(0); off < z.size; off += 1 << 20 {
		if err := r.Do(&ring.Op{Kind: ring.Write, File: f, Off: off, Buf: zeros}); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.Do(&ring.Op{Kind: ring.Sync, File: f}); err != nil {
		b.Fatal(err)
	}
	return z
}

func (z *zeroedFile) write(op *ring.Op, buf []byte) error {
	if z.off+int64(len(buf)) > z.size {
		z.off = 0
	}
	*op = ring.Op{Kind: ring.Write, Flags: ring.DSync, File: z.file, Off: z.off, Buf: buf}
	z.off += int64(len(buf))
	return z.ring.Do(op)
}

func (z *zeroedFile) close() error {
	z.ring.Close()
	return z.file.Close()
}

// bare writes each record as one block with RWF_DSYNC and nothing else: the floor for one client.
type bare struct {
	*zeroedFile
	op  ring.Op
	buf []byte
}

func openBare(b *testing.B) appender {
	return &bare{zeroedFile: openZeroed(b), buf: aligned.Alloc(4096, 4096)}
}

func (a *bare) commit(rec []byte) error {
	copy(a.buf, rec)
	return a.write(&a.op, a.buf)
}

// hand is the group commit one would write by hand: a mutex, a condition, two buffers; whoever
// finds nobody flushing flushes for all.
type hand struct {
	*zeroedFile
	mu       sync.Mutex
	cond     sync.Cond
	buf      [2][]byte
	fill     int
	appended uint64
	durable  uint64
	flushing bool
	op       ring.Op
	err      error
}

func openHand(b *testing.B) appender {
	h := &hand{zeroedFile: openZeroed(b)}
	h.cond.L = &h.mu
	h.buf[0], h.buf[1] = aligned.Alloc(1<<20, 4096), aligned.Alloc(1<<20, 4096)
	h.fill = 16
	return h
}

func (h *hand) commit(rec []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.buf[0][h.fill:]
	le.PutUint32(b, uint32(len(rec)))
	copy(b[8:], rec)
	le.PutUint32(b[4:], crc32.Checksum(b[8:8+len(rec)], page.Castagnoli))
	h.fill += 8 + len(rec)
	h.appended++
	mine := h.appended
	for h.durable < mine && h.err == nil {
		if h.flushing {
			h.cond.Wait()
			continue
		}
		h.flushing = true
		buf, size, through := h.buf[0], roundUp(h.fill, 4096), h.appended
		clear(buf[h.fill:size])
		h.buf[0], h.buf[1] = h.buf[1], h.buf[0]
		h.fill = 16
		h.mu.Unlock()
		err := h.write(&h.op, buf[:size])
		h.mu.Lock()
		h.durable, h.flushing, h.err = through, false, err
		h.cond.Broadcast()
	}
	return h.err
}
