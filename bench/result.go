package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Names of the documents.
const (
	SchemaRun     = "untorn.bench.run/1"
	SchemaWAL     = "untorn.bench.wal/1"
	SchemaLimit   = "untorn.bench.limit/1"
	SchemaCompare = "untorn.bench.modes/1"
	SchemaSweep   = "untorn.bench.sweep/1"
	// SchemaWALSweep is of a log at several values.
	SchemaWALSweep = "untorn.bench.wal_sweep/1"
	// SchemaRecovery is of opens after a crash, SchemaDifference of two results side by side.
	SchemaRecovery   = "untorn.bench.recovery/1"
	SchemaDifference = "untorn.bench.compare/1"
)

// Result is one run: the median of its intervals, all of them, and what they were measured with.
type Result struct {
	Schema string `json:"schema"`
	Mode   Mode   `json:"mode"`
	// Backend is what submitted I/O went through, BackendReason why that one; DirectIO whether data
	// bypassed the page cache, DirectReason why not.
	Backend       string `json:"backend"`
	BackendReason string `json:"backend_reason"`
	DirectIO      bool   `json:"direct_io"`
	DirectReason  string `json:"direct_reason,omitempty"`
	// Protection is what pages were protected by in the end, where the mode left that open.
	Protection string `json:"protection,omitempty"`
	Ack        string `json:"ack"`
	PageBytes  int    `json:"page_bytes"`
	BatchPages int    `json:"batch_pages"`
	Clients    int    `json:"clients"`

	Interval // the median one by pages_per_second

	// DeviceBytesSource says where device_bytes_per_page_byte is from.
	DeviceBytesSource string `json:"device_bytes_source"`
	// ClientCPU is the part of cpu_us_per_page that fills pages: the client's own work, measured by
	// itself before the run. It is not subtracted.
	ClientCPU float64 `json:"client_cpu_us_per_page"`
	BoundKind string  `json:"bound_kind"`
	// Bottleneck is what was short, as far as the figures tell.
	Bottleneck string `json:"bottleneck"`
	// Meaning is what the figures say to somebody who decides.
	Meaning string     `json:"meaning"`
	Spread  Spread     `json:"spread"`
	Repeats []Interval `json:"repeats"`
	Verify  *Verified  `json:"verify,omitempty"`
	// Interrupted runs keep the intervals that were finished, and the one that was cut short if
	// there is no other.
	Interrupted bool     `json:"interrupted"`
	Host        Host     `json:"host"`
	Config      Config   `json:"config"`
	Engine      *Engine  `json:"engine,omitempty"`
	Command     []string `json:"command"`
	Started     string   `json:"started"`
}

// Interval is one measured interval.
type Interval struct {
	Seconds        float64 `json:"seconds"`
	Pages          uint64  `json:"pages"`
	Calls          uint64  `json:"calls"`
	PagesPerSecond float64 `json:"pages_per_second"`
	// Bound is what the drive could do at most, measured before and after this interval; Efficiency
	// is the share of it that was reached.
	Bound      float64 `json:"bound_pages_per_second"`
	Efficiency float64 `json:"efficiency"`
	Bounds     Bounds  `json:"bounds"`
	// Latency of a call, from when the client wanted to write (open loop: was meant to) to the
	// acknowledgement of its last page.
	Latency Latency `json:"latency_us"`
	// Read latency of a call, where there are reads; ReadPages is how many pages they read.
	ReadLatency *Latency `json:"read_latency_us,omitempty"`
	ReadPages   uint64   `json:"read_pages,omitempty"`
	// StartLag is how late calls of an open loop began.
	StartLag *Latency `json:"start_lag_us,omitempty"`
	// CPU is user and system time of the whole process.
	CPU         float64 `json:"cpu_us_per_page"`
	Allocs      float64 `json:"allocs_per_page"`
	DeviceBytes float64 `json:"device_bytes_per_page_byte"`
	// Flushes a second of the page files and the doublewrite file, and ring system calls a page.
	FlushesPerSecond float64 `json:"flushes_per_second"`
	EntersPerPage    float64 `json:"ring_enters_per_page"`
	// LogBytes went to the log for each page: the records of the calls, and the engine's own.
	LogBytes float64 `json:"log_bytes_per_page"`
	// Overload says what was offered and what became of it, if more was offered than can be done.
	Overload *Overload `json:"overload,omitempty"`
	// Time is where the time of a page goes.
	Time   []Spent  `json:"time"`
	Memory Memory   `json:"memory"`
	Stages []Stage  `json:"stages"`
	Series []Sample `json:"series"`

	hist  *hdrhistogram.Histogram
	rhist *hdrhistogram.Histogram // of reads
	hlog  []byte                  // lines of a HdrHistogram log
	begun time.Time
}

// Stage is what one stage of the engine says of itself, in the interval.
type Stage struct {
	Name string `json:"name"`
	// InboxMean and InboxMax are of a few samples.
	InboxMean     float64 `json:"inbox_mean"`
	InboxMax      float64 `json:"inbox_max"`
	InboxCapacity int     `json:"inbox_capacity"`
	BusyShare     float64 `json:"busy_share"`
	// Wait is between a message being sent and being taken up; Service a batch's whole stay.
	Wait    Quantiles `json:"wait_us"`
	Service Quantiles `json:"service_us"`
	// Batch is pages; of stage "log", records in a group.
	Batch Quantiles `json:"batch_pages"`
	Flush Quantiles `json:"flush_us"`
	// FlushPages that one flush covered, FlushFiles that were flushed together.
	FlushPages Quantiles `json:"flush_pages"`
	FlushFiles Quantiles `json:"flush_files"`
	// PagesPerFlush is the pages of the interval over its flushes; 0 for a stage that flushes no pages.
	PagesPerFlush float64 `json:"pages_per_flush"`
	// Held counts the times that the stage was held up, by cause.
	Held map[string]uint64 `json:"held,omitempty"`
}

// Quantiles of a stage's histogram.
type Quantiles struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// Sample is one step of a time series.
type Sample struct {
	Second         float64 `json:"second"` // since the interval began, at the step's end
	PagesPerSecond float64 `json:"pages_per_second"`
	StepLatency            // of calls that write
	// Reads is of the calls that read, in a step that has some.
	Reads *ReadStep `json:"reads,omitempty"`

	readPages float64 // a second
}

// StepLatency is of the calls that ended in a step.
type StepLatency struct {
	Calls      uint64  `json:"calls"`
	P50        float64 `json:"latency_us_p50"`
	P99        float64 `json:"latency_us_p99"`
	MaxLatency float64 `json:"max_latency_us"`
}

// ReadStep is the reading in one step.
type ReadStep struct {
	PagesPerSecond float64 `json:"pages_per_second"`
	StepLatency
}

// Spread over the repeats.
type Spread struct {
	PagesPerSecond MinMedMax `json:"pages_per_second"`
	Bound          MinMedMax `json:"bound_pages_per_second"`
	Efficiency     MinMedMax `json:"efficiency"`
	P50            MinMedMax `json:"latency_us_p50"`
	P99            MinMedMax `json:"latency_us_p99"`
	P999           MinMedMax `json:"latency_us_p999"`
	CPU            MinMedMax `json:"cpu_us_per_page"`
	// Of calls that read, where there are some.
	ReadP50 *MinMedMax `json:"read_latency_us_p50,omitempty"`
	ReadP99 *MinMedMax `json:"read_latency_us_p99,omitempty"`
}

// Verified is the outcome of reading everything back.
type Verified struct {
	OK bool `json:"ok"`
	// Checked is the pages or records read; pages twice, before and after opening again.
	Checked uint64 `json:"checked"`
	// Written is the pages that were ever written, or the records appended.
	Written  uint64 `json:"written"`
	Reopened bool   `json:"reopened"`
	// Wrong lists the first that were not what was acknowledged.
	Wrong      []string `json:"wrong,omitempty"`
	WrongCount uint64   `json:"wrong_count"`
}

// Engine is what the engine said of itself.
type Engine struct {
	Block            int    `json:"block_bytes"`
	Registered       int64  `json:"registered_bytes"`
	RegisteredReason string `json:"registered_reason,omitempty"`
	LogCommit        string `json:"log_commit"`
	DWBSync          string `json:"dwb_sync"`
	BatchBytes       int    `json:"dwb_batch_bytes"`
	Regions          int    `json:"dwb_regions"`
	// MemoryBytes of pages in flight and LogBuffers of the log's groups are fixed at open.
	MemoryBytes int64 `json:"memory_bytes"`
	LogBuffers  int64 `json:"log_buffer_bytes"`
}
