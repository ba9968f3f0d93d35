package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// plainReads is how many bytes a second the log's files are read with, and nothing else done: 1 MiB at a
// time, four of them in flight, until so many bytes have been.
func plainReads(ctx context.Context, b ring.Backend, dir string, bytes int64) (_ float64, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.wal")) // in their order
	if err != nil {
		return 0, err
	}
	r, err := ring.New(ring.Config{Backend: b})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	comps := make(chan *ring.Op, batchesInFlight)
	var free []*ring.Op
	for range batchesInFlight {
		free = append(free, &ring.Op{Kind: ring.Read, Buf: aligned.Alloc(1<<20, 4096), Done: comps})
	}
	start, done := time.Now(), int64(0)
	for _, name := range names {
		n, err := readFile(ctx, r, name, min(bytes-done, segmentBytes), free, comps)
		if done += n; err != nil {
			return 0, err
		}
	}
	return ratio(float64(done), time.Since(start).Seconds()), nil
}

// readFile reads so many bytes of a file, as many at a time as there are ops, and no less than a whole
// one of them each.
func readFile(ctx context.Context, r ring.Ring, name string, bytes int64, ops []*ring.Op, comps <-chan *ring.Op) (done int64, err error) {
	if bytes <= 0 {
		return 0, nil
	}
	f, err := fsys.OS().Open(name, fsys.OpenFlags{ReadOnly: true, Direct: r.Info().Backend != string(ring.Buffered)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	off, inFlight := int64(0), 0
	for free := ops; ; {
		for ; len(free) > 0 && off < bytes && ctx.Err() == nil && err == nil; inFlight++ {
			op := free[0]
			free = free[1:]
			op.File, op.Off = f, off
			off += int64(len(op.Buf))
			r.Submit(op)
		}
		if inFlight == 0 {
			return done, errors.Join(err, ctx.Err())
		}
		op := <-comps
		if inFlight--; op.Err != nil {
			err = op.Err
		}
		done += int64(len(op.Buf))
		free = append(free[:len(free):len(free)], op)
	}
}

// WriteHTML writes the report: one file with everything in it.
func (r *RecoveryResult) WriteHTML(w io.Writer) error {
	d := &reportData{
		Title: "untornbench: the open after a crash", Meaning: r.Meaning, Command: strings.Join(quoted(r.Command), " "), Generated: r.Started,
		Sub:  "by the log since the last checkpoint, pages of " + FormatBytes(int64(r.Config.PageBytes)),
		Host: hostRows(&r.Host), Config: append([][2]string{{"backend in use", r.Backend + ": " + r.BackendReason}, {"direct I/O", fmt.Sprint(r.DirectIO) + " " + r.DirectReason}}, fieldRows(r.Config)...),
		Method: "Pages and records are written until the log is as large as asked for, the engine is left as a crash leaves it, and opened. " +
			"The same files of the log are then read once more, 1 MiB at a time with four in flight and nothing else done: plain reads.",
	}
	d.warnOf("", r.Interrupted, r.Host.FlushesOff, nil)
	if s := r.cached(); s != "" {
		d.Warnings = append(d.Warnings, s)
	}
	var rows []spentRow
	var bars []bar
	order, by := r.spreads()
	for _, k := range order {
		name := string(by[k][0].Mode) + " " + FormatBytes(by[k][0].Asked)
		p := by[k][middle(by[k], func(p RecoveryPoint) float64 { return p.Open })]
		all := p.Open + p.Replay
		us := func(where string, seconds float64) Spent {
			return Spent{Where: where, Micros: seconds * 1e6, Share: ratio(seconds, all), Waited: true}
		}
		rows = append(rows, spentRow{name, []Spent{
			us(spentRecover, p.Recover), us(spentStart, max(p.Open-p.Recover, 0)), us(spentReplay, p.Replay),
		}})
		speed := spreadOf(by[k], func(p *RecoveryPoint) float64 { return p.LogSpeed })
		bars = append(bars, bar{name, p.LogSpeed, speed.Min, speed.Max, p.Read, FormatBytes(int64(p.LogSpeed)) + "/s" + besideReads(p.LogSpeed, p.Read), 0})
	}
	phases, legend := spentChart(rows)
	d.Charts = []chartBox{
		{
			Title: "Time of an open and of the replay after it", Legend: legend, Blocks: true, Chart: phases,
			Note: "Of several crashes of a kind the one with the median open. Recovering: evidence, decision, repair; starting: everything else until the " +
				"first page can be read; replay: reading the caller's records, without applying them.",
		}, {
			Title: "Log a second, beside plain reads of it", Chart: barChart("bytes of log per second of the open, with plain reads", bars, 0),
			Note: "Solid: the log's size by the time of the open; the thin line is from the least to the most of the crashes. The upright mark is plain reads of " +
				"the same files. An open does more than read: in modes that log images it writes pages, and the time that it takes without any log is in it, too.",
		},
	}
	d.Tables = []tableBox{{"Every crash", r.rows(), ""}}
	return d.write(w)
}

// besideReads goes on after a speed.
func besideReads(speed, read float64) string {
	if read == 0 {
		return ""
	}
	return ", " + Percent(speed/read) + " of reads"
}

// cached says that nothing was read from the drive.
func (r *RecoveryResult) cached() string {
	if r.DirectIO {
		return ""
	}
	return "What was to be recovered lay in the page cache; after a power cut it does not, and an open takes longer."
}
