package bench

import (
	"cmp"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

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
	// Commit is the commit policy. "sync": every append waits until its record is durable; "async": it
	// waits only where more than 1 MiB or 10 ms of records would be at risk; "never": nothing is
	// flushed but for checkpoints, and a crash may take everything since. "" = sync.
	Commit string `json:"commit"`
	// Method is how groups are made durable: "auto", "dsync" or "flush". "" = auto.
	Method string `json:"method"`
	Groups int    `json:"groups_in_flight"` // at most; 0 = the engine's default
	// Rate makes it an open loop of so many records a second in all; Overload one of so many percent of
	// what a closed loop did right before. 0 = closed loop.
	Rate     float64 `json:"rate_records_per_second"`
	Overload float64 `json:"overload_percent"`
	Cores    int     `json:"cores"`         // GOMAXPROCS during the intervals; 0 = as it is
	Zeros    int     `json:"zeros_percent"` // of a record that compress away
	// BoundTime is how long the bound is measured, before and after each interval. 0 = 250 ms;
	// negative = not at all.
	BoundTime time.Duration `json:"bound_ns"`
	Backend   ring.Backend  `json:"backend"`
	Repeat    int           `json:"repeat"` // 0 = 1
	Verify    bool          `json:"verify"`
	Keep      bool          `json:"keep,omitempty"`
	// Profile gets a CPU profile of the last measured interval. nil = none.
	Profile io.Writer `json:"-"`

	label string // in progress lines
	value int    // of the setting that is swept over
}

func (c WALConfig) withDefaults() WALConfig {
	c.RecordBytes = cmp.Or(c.RecordBytes, 1024)
	c.Clients = cmp.Or(c.Clients, 64)
	c.Repeat = cmp.Or(c.Repeat, 1)
	c.Duration = cmp.Or(c.Duration, 10*time.Second)
	c.Warmup = max(cmp.Or(c.Warmup, time.Second), 0)
	c.Commit = cmp.Or(c.Commit, "sync")
	c.Method = cmp.Or(c.Method, "auto")
	c.Backend = cmp.Or(c.Backend, ring.Auto)
	c.BoundTime = cmp.Or(c.BoundTime, 250*time.Millisecond)
	return c
}

var methods = map[string]walstage.Commit{
	"auto": walstage.CommitAuto, "dsync": walstage.CommitDSync, "flush": walstage.CommitFlush,
}

var policies = map[string]walstage.Policy{
	"sync": walstage.PolicySync, "async": walstage.PolicyAsync, "never": walstage.PolicyNever,
}

// Validate returns every complaint, joined; each matches ErrUsage.
func (c WALConfig) Validate() error {
	c = c.withDefaults()
	var bad complaints
	if c.RecordBytes < walHeader || c.RecordBytes > 256<<10 {
		bad.add("record size %d is not from %d to 256 KiB", c.RecordBytes, walHeader)
	}
	bad.within("clients", c.Clients, 1, 4096)
	bad.within("repeat", c.Repeat, 1, 1000)
	if c.Duration < 0 {
		bad.add("duration %v is negative", c.Duration)
	}
	if !(c.Rate >= 0 && c.Rate <= maxRate) || c.Overload != 0 && !(c.Overload >= 1 && c.Overload <= 1000) {
		bad.add("rate is %v and overload %v %%, want a rate up to %v a second, and 1 to 1000 %%", c.Rate, c.Overload, maxRate)
	}
	if c.Rate > 0 && c.Overload > 0 {
		bad.add("overload is of what a closed loop does: it takes no rate")
	}
	bad.within("cores", c.Cores, 0, 4096)
	bad.within("zeros", c.Zeros, 0, 100)
	bad.within("groups in flight", c.Groups, 0, 32)
	if _, ok := policies[c.Commit]; !ok {
		bad.add("unknown commit %q (sync, async, never)", c.Commit)
	}
	if _, ok := methods[c.Method]; !ok {
		bad.add("unknown method %q (auto, dsync, flush)", c.Method)
	}
	bad.backend(c.Backend)
	return bad.err()
}

// WALResult is one run of the log.
type WALResult struct {
	Schema        string `json:"schema"`
	Backend       string `json:"backend"`
	BackendReason string `json:"backend_reason"`
	DirectIO      bool   `json:"direct_io"`
	DirectReason  string `json:"direct_reason,omitempty"`
	RecordBytes   int    `json:"record_bytes"`
	Clients       int    `json:"clients"`
	Commit        string `json:"commit"`
	LogCommit     string `json:"log_commit"` // how groups were made durable
	WALInterval          // the median one by records_per_second
	// Bare is one DSYNC write of a block by a lone caller, measured in the same directory before and
	// after: what a single appender cannot beat.
	Bare Latency `json:"bare_dsync_us"`
	// Bottleneck is what was short, as far as the figures tell.
	Bottleneck string `json:"bottleneck"`
	// LogFiles is what the log's files took in the end, LogBuffers the memory of its groups, fixed at
	// open.
	LogFiles    int64         `json:"log_file_bytes"`
	LogBuffers  int64         `json:"log_buffer_bytes"`
	Spread      WALSpread     `json:"spread"`
	Repeats     []WALInterval `json:"repeats"`
	Verify      *Verified     `json:"verify,omitempty"`
	Interrupted bool          `json:"interrupted"`
	Host        Host          `json:"host"`
	Config      WALConfig     `json:"config"`
	Command     []string      `json:"command"`
	Meaning     string        `json:"meaning"`
	Started     string        `json:"started"`
}

// WALInterval is one measured interval.
type WALInterval struct {
	Seconds          float64 `json:"seconds"`
	Records          uint64  `json:"records"`
	RecordsPerSecond float64 `json:"records_per_second"`
	BytesPerSecond   float64 `json:"bytes_per_second"`
	WALBound                 // measured before and after the interval
	// Efficiency is the share of the bound that was reached.
	Efficiency float64 `json:"efficiency"`
	Latency    Latency `json:"latency_us"`
	// StartLag is how late appends of an open loop began; Overload what became of what was offered.
	StartLag        *Latency     `json:"start_lag_us,omitempty"`
	Overload        *WALOverload `json:"overload,omitempty"`
	CPU             float64      `json:"cpu_us_per_record"`
	Allocs          float64      `json:"allocs_per_record"`
	RecordsPerGroup float64      `json:"records_per_group"`
	GroupsPerSecond float64      `json:"groups_per_second"`
	// DeviceBytes written to the log for each byte of a record: headers, frames and padding.
	DeviceBytes float64 `json:"device_bytes_per_record_byte"`
	Depth       int     `json:"groups_in_flight"`
	// What a crash could have taken at most, at any moment since the log was opened.
	RiskBytes int64   `json:"at_risk_bytes_max"`
	RiskTime  float64 `json:"at_risk_us_max"`
	// Group is what writing a group and making it durable took; several in flight can make BusyShare
	// more than 1. BlockedPerRecord is how long an append waited for a free group or a segment.
	Group            Quantiles `json:"group_us"`
	GroupRecords     Quantiles `json:"group_records"`
	BusyShare        float64   `json:"busy_share"`
	BlockedPerRecord float64   `json:"blocked_us_per_record"`
	// Time is where the time of a record goes.
	Time   []WALSpent  `json:"time"`
	Series []WALSample `json:"series"`

	hist  *hdrhistogram.Histogram
	hlog  []byte
	begun time.Time
}

// WALSample is one step of a time series.
type WALSample struct {
	Second           float64 `json:"second"` // since the interval began, at the step's end
	RecordsPerSecond float64 `json:"records_per_second"`
	Appends          uint64  `json:"appends"` // that ended in the step
	P50              float64 `json:"latency_us_p50"`
	P99              float64 `json:"latency_us_p99"`
	MaxLatency       float64 `json:"max_latency_us"`
}

// WALSpread over the repeats.
type WALSpread struct {
	RecordsPerSecond MinMedMax `json:"records_per_second"`
	Bound            MinMedMax `json:"bound_records_per_second"`
	Efficiency       MinMedMax `json:"efficiency"`
	P50              MinMedMax `json:"latency_us_p50"`
	P99              MinMedMax `json:"latency_us_p99"`
	P999             MinMedMax `json:"latency_us_p999"`
	CPU              MinMedMax `json:"cpu_us_per_record"`
}
