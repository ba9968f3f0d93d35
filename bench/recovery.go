package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage/codecs"
	"github.com/untorn/untorn/ring"
)

// RecoveryConfig measures how long an open takes after a crash, against the size of the log since the
// last checkpoint. The zero value of a field means its default.
type RecoveryConfig struct {
	Dir        string       `json:"dir"`
	Modes      []Mode       `json:"modes"`      // none = doublewrite and fullpage
	LogBytes   []int64      `json:"log_bytes"`  // none = 32, 128 and 512 MiB
	PageBytes  int          `json:"page_bytes"` // 0 = 16 KiB
	ImageCodec string       `json:"image_codec,omitempty"`
	Backend    ring.Backend `json:"backend"`
	Repeat     int          `json:"repeat"` // opens of the same crash cannot be repeated: new ones; 0 = 1
	Keep       bool         `json:"keep,omitempty"`
}

func (c RecoveryConfig) withDefaults() RecoveryConfig {
	if len(c.Modes) == 0 {
		c.Modes = []Mode{Doublewrite, FullPage}
	}
	if len(c.LogBytes) == 0 {
		c.LogBytes = []int64{32 << 20, 128 << 20, 512 << 20}
	}
	c.PageBytes = cmp.Or(c.PageBytes, untorn.DefaultPageSize)
	c.Repeat = cmp.Or(c.Repeat, 1)
	c.Backend = cmp.Or(c.Backend, ring.Auto)
	return c
}

// Validate returns every complaint, joined; each matches ErrUsage.
func (c RecoveryConfig) Validate() error {
	c = c.withDefaults()
	var bad complaints
	for _, m := range c.Modes {
		if m != Doublewrite && !m.logsImages() && m != Detect {
			bad.add("mode %q: recovery is measured in doublewrite, fullpage, shadow or detect", m)
		}
	}
	for _, n := range c.LogBytes {
		if n < 1<<20 || n > 64<<30 {
			bad.add("a log of %d bytes, want 1 MiB to 64 GiB", n)
		}
	}
	if !page.ValidSize(c.PageBytes) {
		bad.add("page size %d", c.PageBytes)
	}
	if c.Repeat < 1 || c.Repeat > 100 {
		bad.add("repeat %d", c.Repeat)
	}
	bad.backend(c.Backend)
	if _, err := codecs.ByName(c.ImageCodec); err != nil {
		bad.add("%w", err)
	}
	return bad.err()
}

// RecoveryPoint is one crash and the open after it.
type RecoveryPoint struct {
	Mode     Mode    `json:"mode"`
	Asked    int64   `json:"asked_log_bytes"`
	LogBytes int64   `json:"log_bytes"` // from the last checkpoint to the end
	Images   int64   `json:"page_images"`
	Restored int     `json:"pages_written"` // by recovery, of any source
	Records  int64   `json:"records"`       // handed to the caller's replay
	Open     float64 `json:"open_seconds"`
	Recover  float64 `json:"recover_seconds"` // the part of Open that recovering took
	Replay   float64 `json:"replay_seconds"`  // reading the records, without applying them
	LogSpeed float64 `json:"open_log_bytes_per_second"`
	// Read is plain reads of the log's files, and nothing else: what LogSpeed is to be seen beside.
	Read float64 `json:"read_bytes_per_second"`
}

// RecoveryResult is all of them.
type RecoveryResult struct {
	Schema        string `json:"schema"`
	Backend       string `json:"backend"`
	BackendReason string `json:"backend_reason"`
	DirectIO      bool   `json:"direct_io"`
	DirectReason  string `json:"direct_reason,omitempty"`

	Host        Host            `json:"host"`
	Config      RecoveryConfig  `json:"config"`
	Points      []RecoveryPoint `json:"points"`
	Interrupted bool            `json:"interrupted"`
	Command     []string        `json:"command"`
	Meaning     string          `json:"meaning"`
	Started     string          `json:"started"`
}

// Recovery measures opens after crashes. When ctx is cancelled it returns what there is.
func Recovery(ctx context.Context, c RecoveryConfig, p Progress) (*RecoveryResult, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	root, err := newScratch(c.Dir, c.Keep)
	if err != nil {
		return nil, err
	}
	var most int64
	for _, n := range c.LogBytes {
		most = max(most, n)
	}
	if err := root.room(3*most + 256<<20); err != nil {
		return nil, errors.Join(err, root.remove())
	}
	r := &RecoveryResult{Schema: SchemaRecovery, Config: c, Host: lookAt(ctx, root.Path, c.PageBytes), Started: stampNow()}
	done, all := 0, len(c.LogBytes)*len(c.Modes)*c.Repeat
	for _, n := range c.LogBytes {
		for _, m := range c.Modes {
			for range c.Repeat {
				if ctx.Err() != nil {
					r.Interrupted = true
					continue
				}
				p.say(fmt.Sprintf("%s, a log of %s", m, FormatBytes(n)), float64(done)/float64(all))
				done++
				var x RecoveryPoint
				if x, err = c.crash(ctx, root, m, n, r); err != nil {
					if ctx.Err() != nil {
						r.Interrupted = true
						err = nil
						continue
					}
					return nil, errors.Join(err, root.remove())
				}
				r.Points = append(r.Points, x)
			}
		}
	}
	if len(r.Points) == 0 {
		return nil, errors.Join(ctx.Err(), root.remove())
	}
	r.Meaning = r.meaning()
	return r, errors.Join(err, root.remove())
}

// crash fills a log, leaves the directory as a crash would, and opens it.
func (c *RecoveryConfig) crash(ctx context.Context, root *scratch, m Mode, logBytes int64, of *RecoveryResult) (x RecoveryPoint, err error) {
	dir, err := root.sub(fmt.Sprintf("recovery-%d", time.Now().UnixNano()))
	if err != nil {
		return x, err
	}
	if !c.Keep { // or all crashes together would need room
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	o := untorn.Options{Dir: dir, Backend: c.Backend}
	o.ImageCodec, _ = codecs.ByName(c.ImageCodec) // validated
	record := c.PageBytes                         // about what an image takes
	if m.logsImages() {
		record = 128
	}
	pages := uint64(logBytes/int64(c.PageBytes)) + 64
	e, err := untorn.Open(ctx, o)
	if err != nil {
		return x, err
	}
	f, err := e.OpenFile(ctx, dataFile, untorn.FileOptions{Create: true, PageSize: c.PageBytes, Pages: pages, Mode: untorn.Mode(m), SmallPages: true})
	if err == nil {
		err = fillLog(ctx, e, f, record, logBytes)
	}
	crash, stop := context.WithCancel(context.Background())
	stop() // a Close that may not wait leaves the directory as it is: unclean
	closed := e.Close(crash)
	if err != nil {
		return x, err
	}
	if closed == nil {
		return x, errors.New("the directory was closed in order, nothing is to be recovered")
	}
	begun := time.Now()
	e, err = untorn.Open(ctx, o)
	if err != nil {
		return x, err
	}
	r, in := e.Report(), e.Info()
	of.Backend, of.BackendReason, of.DirectIO, of.DirectReason = in.Backend, in.BackendReason, in.DirectIO, in.DirectReason
	x = RecoveryPoint{Mode: m, Asked: logBytes, LogBytes: int64(r.Log.End - r.Log.Start), Images: r.Images, Restored: r.Installed, Open: time.Since(begun).Seconds(), Recover: r.Took.Seconds()}
	x.LogSpeed = ratio(float64(x.LogBytes), x.Open)
	begun = time.Now()
	for _, rerr := range e.Replay(ctx) {
		if rerr != nil {
			err = rerr
			break
		}
		x.Records++
	}
	x.Replay = time.Since(begun).Seconds()
	if err := errors.Join(err, e.Close(context.WithoutCancel(ctx))); err != nil {
		return x, err
	}
	x.Read, err = plainReads(ctx, c.Backend, filepath.Join(dir, "wal"), x.LogBytes)
	return x, err
}

// fillLog writes page after page, each with a record, until the log has grown by so much.
func fillLog(ctx context.Context, e *untorn.Engine, f *untorn.File, record int, logBytes int64) error {
	const batch = 16
	rec := make([]byte, record)
	for i := range rec {
		rec[i] = byte(i * 7)
	}
	bufs, ws := make([][]byte, batch), make([]untorn.PageWrite, batch)
	end := e.EndLSN() + untorn.LSN(logBytes)
	for no := untorn.PageNo(0); e.EndLSN() < end; {
		if err := f.Alloc(ctx, bufs); err != nil {
			return err
		}
		for i := range ws {
			_, lsn, err := e.Append(rec)
			if err != nil {
				return err
			}
			fillNoise(bufs[i][untorn.PageHeader:], uint64(no))
			ws[i] = untorn.PageWrite{No: no, LSN: lsn, Data: bufs[i]}
			no = (no + 1) % untorn.PageNo(f.Pages())
		}
		if err := f.WritePages(ctx, ws, untorn.Protected); err != nil {
			return err
		}
	}
	return e.WaitDurable(ctx, e.EndLSN())
}

// fillNoise makes contents that do not compress.
func fillNoise(b []byte, seed uint64) {
	x := seed*0x9e3779b97f4a7c15 | 1
	for i := 0; i+8 <= len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		for k := range 8 {
			b[i+k] = byte(x >> (8 * k))
		}
	}
}

// WriteText is the table for a terminal.
func (r *RecoveryResult) WriteText(out io.Writer) error {
	w := &writer{w: out}
	w.printf("open after a crash, by the log since the last checkpoint: pages of %s\n", FormatBytes(int64(r.Config.PageBytes)))
	writeHost(w, &r.Host)
	w.printf("backend %s (%s)%s\n\n", r.Backend, r.BackendReason, indirect(r.DirectIO, r.DirectReason))
	w.table(r.rows())
	w.printf("\nopen: everything until the first page can be read, recovering the part of it that recovery takes; log/s: the log by the open; " +
		"reads/s: plain reads of the\nsame files; replay: reading the caller's records, without applying them.\n")
	if s := r.cached(); s != "" {
		w.printf("\n%s\n", s)
	}
	return w.end(r.Interrupted, r.Meaning)
}

func (r *RecoveryResult) rows() [][]string {
	rows := [][]string{{"mode", "log", "images", "pages written", "open s", "recovering s", "log/s", "reads/s", "records", "replay s"}}
	for _, p := range r.Points {
		rows = append(rows, []string{
			string(p.Mode), FormatBytes(p.LogBytes), Count(float64(p.Images)), Count(float64(p.Restored)), fmt.Sprintf("%.3f", p.Open), fmt.Sprintf("%.3f", p.Recover),
			FormatBytes(int64(p.LogSpeed)), FormatBytes(int64(p.Read)), Count(float64(p.Records)), fmt.Sprintf("%.3f", p.Replay),
		})
	}
	return rows
}

// meaning is the slowest open, and what would shorten it.
func (r *RecoveryResult) meaning() string {
	worst := slices.MaxFunc(r.Points, func(a, b RecoveryPoint) int { return cmp.Compare(a.Open, b.Open) })
	return fmt.Sprintf("What it means: %safter a crash with %s of log since the last checkpoint an open in mode %s takes %.2f s, %s of log a second, "+
		"and reading the records %.2f s more; a checkpoint every N bytes of log bounds both, and the log that is kept.",
		r.Host.flushesOff(), FormatBytes(worst.LogBytes), worst.Mode, worst.Open, FormatBytes(int64(worst.LogSpeed)), worst.Replay)
}

// spreads are the opens of each mode and size, in the order they come in.
func (r *RecoveryResult) spreads() (order []string, by map[string][]RecoveryPoint) {
	by = map[string][]RecoveryPoint{}
	for _, p := range r.Points {
		k := fmt.Sprintf("%s, %s of log: ", p.Mode, FormatBytes(p.Asked))
		if _, ok := by[k]; !ok {
			order = append(order, k)
		}
		by[k] = append(by[k], p)
	}
	return order, by
}

func recoveryChanges(x, y *RecoveryResult) (changes []Change) {
	order, a := x.spreads()
	_, b := y.spreads()
	for _, k := range order {
		if len(b[k]) == 0 {
			continue
		}
		n := [2]int{len(a[k]), len(b[k])}
		open := func(p *RecoveryPoint) float64 { return p.Open }
		replay := func(p *RecoveryPoint) float64 { return p.Replay }
		changes = append(changes, Change{k + "open", "s", spreadOf(a[k], open), spreadOf(b[k], open), n, false},
			Change{k + "replay", "s", spreadOf(a[k], replay), spreadOf(b[k], replay), n, false})
	}
	return changes
}

// logsImages reports whether a mode's pages go to the log, too.
func (m Mode) logsImages() bool {
	t, _ := m.trait()
	return t.logsImages
}
