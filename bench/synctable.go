package bench

import (
	"context"
	"path/filepath"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// SyncRow is one way to write so many bytes, and how long a lone caller waits for it.
type SyncRow struct {
	Method  string `json:"method"`
	Bytes   int    `json:"bytes"`
	Durable bool   `json:"durable"`
	// Why it is not durable, or what to know about it.
	Note    string  `json:"note,omitempty"`
	Latency Latency `json:"latency_us"`
}

// syncWay makes len(buf) bytes at off durable, or says that it does not.
type syncWay struct {
	name    string
	note    string
	durable bool
	direct  bool
	write   func(r ring.Ring, f fsys.File, off int64, buf []byte) error
}

func viaRing(flags ring.Flags, then ...ring.Kind) func(ring.Ring, fsys.File, int64, []byte) error {
	return func(r ring.Ring, f fsys.File, off int64, buf []byte) error {
		err := r.Do(&ring.Op{Kind: ring.Write, Flags: flags, File: f, Off: off, Buf: buf})
		for _, k := range then {
			if err == nil {
				err = r.Do(&ring.Op{Kind: k, File: f})
			}
		}
		return err
	}
}

// syncWays lists what every platform has; more is in platformSyncWays.
func syncWays() []syncWay {
	const (
		inCache = "in the page cache: gone with the power"
		inDrive = "in the drive's volatile cache, if it has one: gone with the power"
	)
	ways := []syncWay{
		{"direct + DSYNC", "its own bytes only", true, true, viaRing(ring.DSync)},
		{"direct + fdatasync", "", true, true, viaRing(0, ring.DataSync)},
		{"direct + fsync", "", true, true, viaRing(0, ring.Sync)},
		{"buffered + DSYNC", "its own bytes only", true, false, viaRing(ring.DSync)},
		{"buffered + fdatasync", "", true, false, viaRing(0, ring.DataSync)},
		{"buffered + fsync", "", true, false, viaRing(0, ring.Sync)},
		{"direct", inDrive, false, true, viaRing(0)},
		{"buffered", inCache, false, false, viaRing(0)},
	}
	return append(ways, platformSyncWays()...)
}

const syncFileBytes = 32 << 20

// syncTable times every way for every size, in turns.
func syncTable(ctx context.Context, r ring.Ring, dir string, c LimitConfig, flushesOff string) ([]SyncRow, error) {
	var files [2]fsys.File // buffered, direct
	for i := range files {
		f, err := fsys.OS().Open(filepath.Join(dir, []string{"buffered", "direct"}[i]), fsys.OpenFlags{Create: true, Direct: i == 1})
		if err != nil {
			return nil, err
		}
		defer f.Close()
		files[i] = f
		if err := fillFile(ctx, r, f, syncFileBytes, c.Seed); err != nil {
			return nil, err
		}
	}
	var rows []SyncRow
	for _, bytes := range []int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		buf := aligned.Alloc(bytes, 4096)
		newContents(c.Seed, 0).fill(buf[:min(bytes, 64<<10)], 3, 1)
		for _, w := range syncWays() {
			i := 0
			if w.direct {
				if i = 1; !isDirect(files[1]) {
					continue
				}
			}
			h := newHistogram()
			if err := w.time(ctx, r, files[i], buf, c.Duration/4, h); err != nil {
				return rows, err
			}
			row := SyncRow{w.name, bytes, w.durable, w.note, latency(h, false)}
			if w.durable && flushesOff != "" {
				row.Durable, row.Note = false, "flushes are off here: "+flushesOff
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func isDirect(f fsys.File) bool { d, _ := f.Direct(); return d }

func (w *syncWay) time(ctx context.Context, r ring.Ring, f fsys.File, buf []byte, d time.Duration, h *hdrhistogram.Histogram) error {
	n := int64(len(buf))
	off := int64(0)
	for end := time.Now().Add(d); h.TotalCount() < 8 || time.Now().Before(end); {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		if err := w.write(r, f, off, buf); err != nil {
			return err
		}
		record(h, time.Since(start))
		// A prime step: not one behind the other, and the same for every size.
		off = (off + 7*n) % (syncFileBytes / n * n)
	}
	// What this one left in the cache is not the next one's to write.
	return r.Do(&ring.Op{Kind: ring.DataSync, File: f})
}
