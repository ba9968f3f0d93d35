package prom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/untorn/untorn/stages"
)

// metric is one name and where its values come from.
type metric struct {
	name, help string
	labels     []string
	kind       prometheus.ValueType
	read       func(*snapshot, emitter)
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
	nanos   = 1e-9
)

func one(f func(*snapshot) float64) func(*snapshot, emitter) {
	return func(s *snapshot, e emitter) { e.value(f(s)) }
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// metrics are all there are, by theme.
var metrics = []metric{
	// The log.
	{"wal_records_total", "Records appended.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Log.Records) })},
	{"wal_record_bytes_total", "Bytes of records appended.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Log.RecordBytes) })},
	{"wal_bytes_written_total", "Bytes of groups written, with headers and padding.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Log.GroupBytes) })},
	{"wal_syncs_total", "Groups made durable.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Log.Groups) })},
	{"wal_sync_duration_seconds", "Writing a group and making it durable.", nil, gauge,
		func(s *snapshot, e emitter) { e.summary(s.Log.GroupNanos, nanos) }},
	{"wal_sync_records", "Records in a group.", nil, gauge,
		func(s *snapshot, e emitter) { e.summary(s.Log.GroupRecords, 1) }},
	{"wal_size_bytes", "Bytes of log in use.", nil, gauge,
		one(func(s *snapshot) float64 { return float64(s.Log.Used) })},
	{"wal_limit_bytes", "What the log may hold; 0 = as much as the disk.", nil, gauge,
		one(func(s *snapshot) float64 { return float64(s.Log.Limit) })},
	{"wal_pressure", "0 = none, 1 = high, 2 = full: appends wait or are refused.", nil, gauge,
		one(func(s *snapshot) float64 { return float64(s.Log.Pressure) })},
	{"wal_segments", "Segment files, by state.", []string{"state"}, gauge,
		func(s *snapshot, e emitter) {
			e.value(float64(s.Log.Segments), "used")
			e.value(float64(s.Log.Spare), "spare")
		}},
	{"wal_end_lsn", "The highest LSN issued.", nil, gauge,
		one(func(s *snapshot) float64 { return float64(s.Log.End) })},
	{"wal_durable_lsn", "What the log is durable through.", nil, gauge,
		one(func(s *snapshot) float64 { return float64(s.Log.Durable) })},
	{"wal_at_risk_bytes", "Bytes accepted and not durable (commit policy async).", nil, gauge,
		one(func(s *snapshot) float64 { return float64(s.Log.AtRisk.Bytes) })},
	{"wal_at_risk_age_seconds", "Age of the oldest record that is not durable.", nil, gauge,
		one(func(s *snapshot) float64 { return s.Log.AtRisk.Age.Seconds() })},

	// Who keeps the log.
	{"oldest_transaction_age_seconds", "Age of the oldest hold on the log; 0 = there is none.", nil, gauge,
		one(func(s *snapshot) float64 {
			var age time.Duration
			for i := range s.Retention.Holders {
				age = max(age, s.Retention.Holders[i].Age)
			}
			return age.Seconds()
		})},
	{"holder_lag_bytes", "Log kept for a hold or a subscriber.", []string{"holder", "kind"}, gauge,
		func(s *snapshot, e emitter) {
			// Names need not differ: of equal ones the one that keeps most, which comes first, counts.
			seen := map[[2]string]bool{}
			for i := range s.Retention.Holders {
				h := &s.Retention.Holders[i]
				kind := "hold"
				if h.Subscriber {
					kind = "subscriber"
				}
				if k := [2]string{h.Name, kind}; !seen[k] {
					seen[k] = true
					e.value(float64(h.Bytes), h.Name, kind)
				}
			}
		}},
	{"holders_evicted_total", "Holds that had to go.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Retention.Evicted) })},
	{"archive_lag_bytes", "Durable log that is not in the archive.", nil, gauge,
		func(s *snapshot, e emitter) {
			if a := s.Retention.Archive; a != nil {
				e.value(float64(a.Lag))
			}
		}},
	{"archive_failures_total", "Tries to archive a segment that failed.", nil, counter,
		func(s *snapshot, e emitter) {
			if a := s.Retention.Archive; a != nil {
				e.value(float64(a.Failures))
			}
		}},
	{"archive_segments_total", "Segments archived.", nil, counter,
		func(s *snapshot, e emitter) {
			if a := s.Retention.Archive; a != nil {
				e.value(float64(a.Segments))
			}
		}},

	// Checkpoints and recovery.
	{"checkpoints_total", "Checkpoints, by outcome.", []string{"outcome"}, counter,
		func(s *snapshot, e emitter) {
			e.value(float64(s.Checkpoints.Done), "done")
			e.value(float64(s.Checkpoints.Failed), "failed")
			e.value(float64(s.Checkpoints.Skipped), "skipped")
		}},
	{"checkpoint_duration_seconds", "How long the last checkpoint took.", nil, gauge,
		func(s *snapshot, e emitter) {
			if c := s.Checkpoints.Last; c != nil {
				e.value(c.Took.Seconds())
			}
		}},
	{"checkpoint_log_bytes", "Log written between the beginnings of the last two checkpoints.", nil, gauge,
		func(s *snapshot, e emitter) {
			if c := s.Checkpoints.Last; c != nil {
				e.value(float64(c.LogBytes))
			}
		}},
	{"checkpoint_backlog_pages", "Pages doublewritten and not yet safe in place when the last checkpoint began.", nil, gauge,
		func(s *snapshot, e emitter) {
			if c := s.Checkpoints.Last; c != nil {
				e.value(float64(c.Backlog))
			}
		}},
	{"checkpoint_running_seconds", "How long the checkpoint under way has taken; 0 = there is none.", nil, gauge,
		one(func(s *snapshot) float64 {
			if c := s.Checkpoints.Now; c != nil {
				return time.Since(c.Began).Seconds()
			}
			return 0
		})},
	{"recovery_bytes", "What an open would read after a crash now.", nil, gauge,
		one(func(s *snapshot) float64 { return float64(s.Recovery.Bytes) })},
	{"recovery_estimated_seconds", "How long that would take, at the rate of this directory's last recovery.", nil, gauge,
		func(s *snapshot, e emitter) {
			if s.Recovery.Rate > 0 {
				e.value(s.Recovery.Time.Seconds())
			}
		}},

	// Pages.
	{"page_images_total", "Page images logged, of the files that are open.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Images) })},
	{"page_image_bytes_total", "Bytes of their records.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.ImageBytes) })},
	{"atomic_refusals_total", "Atomic writes that the kernel refused.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Refused) })},
	{"stage_pages_total", "Pages that went through a stage.", []string{"stage"}, counter,
		stage(func(x *stages.StageStats, e emitter) { e.value(float64(x.Pages), x.Name) })},
	{"stage_busy_seconds_total", "Time a stage's goroutine worked.", []string{"stage"}, counter,
		stage(func(x *stages.StageStats, e emitter) { e.value(x.Busy.Seconds(), x.Name) })},
	{"stage_inbox_messages", "Messages waiting for a stage.", []string{"stage"}, gauge,
		stage(func(x *stages.StageStats, e emitter) { e.value(float64(x.InboxDepth), x.Name) })},
	{"flush_duration_seconds", "A flush of a stage.", []string{"stage"}, gauge,
		stage(func(x *stages.StageStats, e emitter) { e.summary(x.FlushNanos, nanos, x.Name) })},
	{"flush_pages", "Pages covered by one flush: of the doublewrite file, or of a data file.", []string{"stage"}, gauge,
		stage(func(x *stages.StageStats, e emitter) { e.summary(x.FlushPages, 1, x.Name) })},
	{"flush_files", "Data files flushed together.", []string{"stage"}, gauge,
		stage(func(x *stages.StageStats, e emitter) { e.summary(x.FlushFiles, 1, x.Name) })},
	{"batch_pages", "Pages in a batch.", []string{"stage"}, gauge,
		stage(func(x *stages.StageStats, e emitter) { e.summary(x.BatchPages, 1, x.Name) })},
	{"slot_waits_total", "Times that no doublewrite region was free.", nil, counter,
		one(func(s *snapshot) (n float64) {
			for i := range s.Stages {
				n += float64(s.Stages[i].Held[stages.ForSlots])
			}
			return n
		})},
	{"doublewrite_backlog_pages", "Pages doublewritten and not yet safe in place: what a checkpoint now waits for.", nil, gauge,
		one(func(s *snapshot) (n float64) {
			for i := range s.Stages {
				n += float64(s.Stages[i].PagesInFlight)
			}
			return n
		})},
	{"page_seconds_total", "Time pages spent, by where, summed over the pages.", []string{"where"}, counter,
		func(s *snapshot, e emitter) {
			for w, d := range s.PageTime {
				e.value(d.Seconds(), stages.Where(w).String())
			}
		}},
	{"blocked_seconds_total", "Time callers were held back before their call was accepted, by cause.", []string{"cause"}, counter,
		func(s *snapshot, e emitter) {
			e.value(s.Memory.WaitTime.Seconds(), "memory")
			e.value(s.Log.BlockedTime.Seconds(), "log")
		}},

	// The drive and the engine's health.
	{"device_written_bytes_total", "Bytes of doublewrite batches and pages written.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Ring.BytesWritten) })},
	{"device_read_bytes_total", "Bytes of pages read.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Ring.BytesRead) })},
	{"device_flushes_total", "Flushes of the doublewrite file and of data files.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Ring.Flushes) })},
	{"io_in_flight", "Requests for pages and doublewrite batches on their way.", nil, gauge,
		one(func(s *snapshot) float64 { return max(0, float64(s.Ring.Submitted)-float64(s.Ring.Completed)) })},
	{"io_resubmitted_total", "Short, interrupted or refused-for-now requests submitted again.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.Ring.Resubmitted) })},
	{"io_stuck_seconds", "For how long nothing has come back from the drive, once that is too long.", nil, gauge,
		one(func(s *snapshot) float64 { return s.SlowIO.Since.Seconds() })},
	{"io_stuck_total", "Times that nothing came back for too long.", nil, counter,
		one(func(s *snapshot) float64 { return float64(s.SlowIO.Episodes) })},
	{"memory_bytes", "Memory of pages in flight.", []string{"state"}, gauge,
		func(s *snapshot, e emitter) {
			e.value(float64(s.Memory.InUse), "used")
			e.value(float64(s.Memory.Bytes-s.Memory.InUse), "free")
		}},
	{"poisoned", "1 = a write or flush failed and the engine has stopped for good: reopen it.", nil, gauge,
		one(func(s *snapshot) float64 { return flag(s.poisoned) })},
}

// stage reads every stage.
func stage(f func(*stages.StageStats, emitter)) func(*snapshot, emitter) {
	return func(s *snapshot, e emitter) {
		for i := range s.Stages {
			f(&s.Stages[i], e)
		}
	}
}
