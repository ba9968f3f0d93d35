package bench

import (
	"cmp"
	"errors"
	"io"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage/codecs"
	"github.com/untorn/untorn/ring"
)

// Mode is a way of protecting pages.
type Mode string

// The modes.
const (
	Doublewrite Mode = "doublewrite"
	Detect      Mode = "detect"
	None        Mode = "none"
	Naive       Mode = "naive"
	NaiveBatch  Mode = "naive-batch"
	// Atomic and Auto are the engine's: every write with RWF_ATOMIC where that is proven to be safe,
	// and otherwise an error (Atomic) or the doublewrite (Auto).
	Atomic Mode = "atomic"
	Auto   Mode = "auto"
	// FullPage is the engine's with the second copy in the log; Shadow has both.
	FullPage Mode = "fullpage"
	Shadow   Mode = "shadow"
)

// ErrUsage is in every error about a configuration that makes no sense.
var ErrUsage = errors.New("usage")

// ErrVerify is in every error about contents that are not what was acknowledged.
var ErrVerify = errors.New("verification failed")

// Config is one run. The zero value of a field means its default.
type Config struct {
	// Dir gets a scratch directory, which is removed at the end; "" = the current one. It is made if
	// it is not there. WALDir and DWBDir put the engine's log and doublewrite file elsewhere.
	Dir    string `json:"dir"`
	WALDir string `json:"wal_dir,omitempty"`
	DWBDir string `json:"dwb_dir,omitempty"`
	Mode   Mode   `json:"mode"`
	// Unsafe allows mode none.
	Unsafe    bool  `json:"unsafe"`
	PageBytes int   `json:"page_bytes"` // 0 = 16 KiB
	SizeBytes int64 `json:"size_bytes"` // of the working set; 0 = 1 GiB
	// Duration of a measured interval, Warmup before each. 0 = 10 s and 1 s; negative Warmup = none.
	Duration time.Duration `json:"duration_ns"`
	Warmup   time.Duration `json:"warmup_ns"`
	Clients  int           `json:"clients"`     // 0 = 32
	Batch    int           `json:"batch_pages"` // pages a call; 0 = 64
	Dist     Dist          `json:"dist"`        // "" = uniform
	// Hot is how many percent of the pages get nine tenths of the calls, with Dist Hot. 0 = 10.
	Hot int `json:"hot_percent"`
	// Rate makes it an open loop of so many pages a second in all. 0 = closed loop.
	Rate float64 `json:"rate_pages_per_second"`
	// Overload makes it an open loop of so many percent of what a closed loop did right before.
	// 0 = not.
	Overload float64 `json:"overload_percent"`
	// Cores is GOMAXPROCS during the intervals. 0 = as it is.
	Cores int `json:"cores"`
	// Ack is the level waited for: durable, protected, logged, accepted. "" = durable.
	Ack string `json:"ack"`
	// LogBytes is the size of a log record each call appends first, whose LSN its pages carry. 0 = no
	// record: mode fullpage then logs an image of every write.
	LogBytes int `json:"log_record_bytes"`
	// CheckpointBytes of log pile up between two checkpoints. 0 = 192 MiB. ImageCodec compresses page
	// images: "lz4", "zstd", or "" for none. Both matter in modes that log images.
	CheckpointBytes int64  `json:"checkpoint_bytes"`
	ImageCodec      string `json:"image_codec,omitempty"`
	// Reads is the share of calls, in percent, that read a batch of the client's own pages, and check
	// that they are what it wrote last.
	Reads   int          `json:"reads_percent"`
	Backend ring.Backend `json:"backend"`
	Depth   int          `json:"depth"` // writes in place in flight; 0 = the engine's default
	// BatchBytes and Batches are the engine's options of these names; 0 = its defaults.
	BatchBytes int `json:"dwb_batch_bytes"`
	Batches    int `json:"dwb_batches"`
	// DWBSync is how doublewrite batches are made durable: "flush" or "dsync"; "" = the engine's
	// default.
	DWBSync string `json:"dwb_sync"`
	// Zeros is how many percent of a page compress away.
	Zeros  int    `json:"zeros_percent"`
	Seed   uint64 `json:"seed"`
	Repeat int    `json:"repeat"` // measured intervals; 0 = 1
	// Verify reads everything back at the end, closes, opens again, and reads everything once more.
	Verify bool `json:"verify"`
	// Keep leaves the scratch directory.
	Keep bool `json:"keep,omitempty"`
	// BoundTime is how long each part of the bound is measured, before and after each interval.
	// 0 = 250 ms; negative = not at all.
	BoundTime time.Duration `json:"bound_ns"`
	// Profile gets a CPU profile of the last measured interval, and of nothing else. nil = none.
	Profile io.Writer `json:"-"`

	name  string // in progress lines, where the mode is not enough
	value int    // of the setting that is swept over
}

// engineBatch is the engine's own size of a doublewrite batch; the bounds flush as much at a time.
// boundDepth is the writes in place they keep in flight: enough for the drives there are.
const (
	engineBatch = 1 << 20
	boundDepth  = 128
)

func (c Config) withDefaults() Config {
	c.PageBytes = cmp.Or(c.PageBytes, untorn.DefaultPageSize)
	c.Clients = cmp.Or(c.Clients, 32)
	c.Batch = cmp.Or(c.Batch, 64)
	c.Repeat = cmp.Or(c.Repeat, 1)
	c.Mode = cmp.Or(c.Mode, Doublewrite)
	c.CheckpointBytes = cmp.Or(c.CheckpointBytes, logKept)
	c.SizeBytes = cmp.Or(c.SizeBytes, 1<<30)
	c.Duration = cmp.Or(c.Duration, 10*time.Second)
	c.Warmup = max(cmp.Or(c.Warmup, time.Second), 0)
	if c.Dist = cmp.Or(c.Dist, Uniform); c.Dist == Hot {
		c.Hot = cmp.Or(c.Hot, 10)
	}
	c.Ack = cmp.Or(c.Ack, "durable")
	c.Backend = cmp.Or(c.Backend, ring.Auto)
	c.BoundTime = cmp.Or(c.BoundTime, 250*time.Millisecond)
	return c
}

// pages is the number of pages in the working set.
func (c *Config) pages() uint64 { return uint64(c.SizeBytes / int64(c.PageBytes)) }

// cadence is the pages the bounds flush at a time, the writes and the batches they keep in flight:
// what the engine could have together at most, given how much its clients have in flight. A lone
// caller that waits for each batch cannot be held to a pipeline of several.
func (c *Config) cadence() (batch, depth, batches int) {
	inFlight := c.Clients * c.Batch
	bytes := cmp.Or(c.BatchBytes, engineBatch)
	batch = max(1, min(bytes/c.PageBytes, inFlight))
	depth = max(1, min(cmp.Or(c.Depth, boundDepth), inFlight))
	return batch, depth, max(1, min(cmp.Or(c.Batches, batchesInFlight), inFlight/batch))
}

// maxRate of an open loop, a second: more than any machine does, and few enough to count all calls that
// never began.
const maxRate = 1e8

// maxSize of a working set: more than any drive has, and few enough pages to count.
const maxSize = 1 << 50

var levels = map[string]untorn.Level{
	"durable": untorn.Durable, "protected": untorn.Protected, "logged": untorn.Logged, "accepted": untorn.Accepted,
}

var dwbSyncs = map[string]untorn.DWBSync{"": untorn.DWBAuto, "flush": untorn.DWBFlush, "dsync": untorn.DWBDSync}

// Validate returns every complaint about the configuration, joined; each matches ErrUsage.
func (c Config) Validate() error {
	c = c.withDefaults()
	var bad complaints
	if !page.ValidSize(c.PageBytes) {
		bad.add("page size %d is not a power of two from 4 KiB to 64 KiB", c.PageBytes)
	} else if c.Clients > 0 && c.Batch > 0 && c.pages() < uint64(c.Clients)*uint64(c.Batch) {
		bad.add("a working set of %s has %d pages, less than the %d of one batch for each client",
			FormatBytes(c.SizeBytes), c.pages(), c.Clients*c.Batch)
	}
	if c.SizeBytes > maxSize {
		bad.add("a working set of %s is more than %s", FormatBytes(c.SizeBytes), FormatBytes(maxSize))
	}
	if _, ok := dwbSyncs[c.DWBSync]; !ok {
		bad.add("unknown way to make doublewrite batches durable %q (flush, dsync)", c.DWBSync)
	}
	bad.within("clients", c.Clients, 1, 4096)
	bad.within("batch", c.Batch, 1, 4096)
	bad.within("depth", c.Depth, 0, 1024)
	bad.within("doublewrite batches", c.Batches, 0, 64)
	bad.within("repeat", c.Repeat, 1, 1000)
	bad.within("reads", c.Reads, 0, 99) // without a write there is nothing to protect
	bad.within("zeros", c.Zeros, 0, 100)
	bad.within("log record", c.LogBytes, 0, 1<<18)
	bad.within("hot", c.Hot, 0, 100)
	if c.CheckpointBytes < 1<<20 || c.CheckpointBytes > 1<<40 {
		bad.add("%d bytes of log between checkpoints are not from 1 MiB to 1 TiB", c.CheckpointBytes)
	}
	if _, err := codecs.ByName(c.ImageCodec); err != nil {
		bad.add("%v", err)
	}
	bad.within("cores", c.Cores, 0, 4096)
	if c.Overload != 0 && !(c.Overload >= 1 && c.Overload <= 1000) { // nor is it NaN
		bad.add("overload is %v %%, want 1 to 1000", c.Overload)
	}
	if c.Overload > 0 && c.Rate > 0 {
		bad.add("overload is of what a closed loop does: it takes no rate")
	}
	if c.Duration < 0 {
		bad.add("duration %v is negative", c.Duration)
	}
	if !(c.Rate >= 0 && c.Rate <= maxRate) {
		bad.add("rate is %v, want up to %v a second", c.Rate, maxRate)
	}
	if _, ok := levels[c.Ack]; !ok {
		bad.add("unknown acknowledgement %q (durable, protected, logged, accepted)", c.Ack)
	}
	if err := c.Dist.validate(); err != nil {
		bad.add("%v", err)
	}
	bad.backend(c.Backend)
	c.validateMode(&bad)
	return bad.err()
}

func (c *Config) validateMode(bad *complaints) {
	t, ok := c.Mode.trait()
	switch {
	case !ok:
		bad.add("unknown mode %q (%v)", string(c.Mode), Modes())
	case t.unsafe && !c.Unsafe:
		bad.add("mode %s can lose pages by design; -unsafe allows it", c.Mode)
	case !t.engine && c.Ack != "durable":
		bad.add("mode %s knows only -ack durable", c.Mode)
	case !t.engine && (c.LogBytes > 0 || c.WALDir != ""):
		bad.add("mode %s has no log", c.Mode)
	}
	if c.Mode == NaiveBatch && c.Backend != ring.Auto && c.Backend != ring.Buffered {
		bad.add("mode %s goes through the page cache: -backend buffered, or auto", c.Mode)
	}
}
