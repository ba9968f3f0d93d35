package bench

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn/stages"
)

// evaluate turns two snapshots and the clients' histograms into figures.
func (s *session) evaluate(a, b snapshot, w *watcher) Interval {
	took := b.at.Sub(a.at)
	in := Interval{
		Seconds: took.Seconds(), Pages: b.pages - a.pages, Calls: b.calls - a.calls, ReadPages: b.reads - a.reads,
		Series: w.series,
	}
	pages := float64(in.Pages)
	moved := pages + float64(in.ReadPages)
	in.PagesPerSecond = ratio(pages, in.Seconds)
	in.CPU = ratio(micros(b.cpu-a.cpu), moved)
	in.Allocs = ratio(float64(b.mallocs-a.mallocs), moved)
	written := b.target.ring.BytesWritten - a.target.ring.BytesWritten
	if s.kernelCounts() {
		written = b.device - a.device
	}
	in.DeviceBytes = ratio(float64(written), pages*float64(s.c.PageBytes))
	in.FlushesPerSecond = ratio(float64(b.target.ring.Flushes-a.target.ring.Flushes), in.Seconds)
	in.EntersPerPage = ratio(float64(b.target.ring.Enters-a.target.ring.Enters), moved)
	if h := s.merged(func(k *client) *hdrhistogram.Histogram { return k.writes }); h != nil {
		in.Latency, in.hist = latency(h, true), h
	}
	if h := s.merged(func(k *client) *hdrhistogram.Histogram { return k.reads }); h != nil {
		l := latency(h, true)
		in.ReadLatency = &l
	}
	if h := s.merged(func(k *client) *hdrhistogram.Histogram { return k.lag }); h != nil {
		l := latency(h, false)
		in.StartLag = &l
	}
	in.Stages = s.stages(a, b, w, pages)
	return in
}

// stages compares what the stages said before and after.
func (s *session) stages(a, b snapshot, w *watcher, pages float64) []Stage {
	out := []Stage{} // [] in JSON where there are none
	took := b.at.Sub(a.at).Seconds()
	for i := range b.target.stages {
		to := &b.target.stages[i]
		st := Stage{
			Name: to.Name, InboxCapacity: to.InboxCapacity,
			Service: inMicros(to.ServiceNanos), Batch: plain(to.BatchPages), Flush: inMicros(to.FlushNanos),
		}
		if i < len(a.target.stages) {
			from := &a.target.stages[i]
			// Shares are of the time since the engine opened; their difference is the interval's.
			busy := to.BusyShare*b.at.Sub(s.opened).Seconds() - from.BusyShare*a.at.Sub(s.opened).Seconds()
			st.BusyShare = min(max(ratio(busy, took), 0), 1)
			st.PagesPerFlush = ratio(pages, float64(to.FlushNanos.Count-from.FlushNanos.Count))
		}
		if m := w.inbox[to.Name]; m != nil {
			st.InboxMean = ratio(m.sum, m.n)
		}
		out = append(out, st)
	}
	if to, from := b.target.log, a.target.log; to != nil && from != nil && to.Groups > from.Groups {
		groups := float64(to.Groups - from.Groups)
		out = append(out, Stage{
			Name:          "log",
			BusyShare:     ratio((to.Busy - from.Busy).Seconds(), took),
			PagesPerFlush: ratio(pages, groups),
			Service:       Quantiles{Count: int64(groups), P50: ratio(micros(to.Busy-from.Busy), groups)},
		})
	}
	return out
}

func inMicros(q stages.Quantiles) Quantiles {
	if q.Count == 0 {
		return Quantiles{} // what an empty histogram answers means nothing
	}
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	return Quantiles{q.Count, us(q.P50), us(q.P99), us(q.P999), us(q.Max)}
}

func plain(q stages.Quantiles) Quantiles {
	if q.Count == 0 {
		return Quantiles{}
	}
	return Quantiles{q.Count, float64(q.P50), float64(q.P99), float64(q.P999), float64(q.Max)}
}

// kernelCounts reports whether device bytes are the kernel's count, which has everything in it:
// doublewrite headers, log, super. Through the page cache it counts a whole large folio for every
// write into it, which is not what the device gets, so there the ring's count is taken.
func (s *session) kernelCounts() bool {
	_, told := deviceBytes()
	return told && s.direct
}

// bottleneck names what is short. It is a reading of the figures, in the order in which they
// exclude each other.
func (r *Result) bottleneck() string {
	cores := r.CPU * r.PagesPerSecond / 1e6
	busiest := Stage{}
	for _, st := range r.Stages {
		if st.BusyShare > busiest.BusyShare && st.Name != "log" {
			busiest = st
		}
	}
	switch {
	case r.Config.Rate > 0 && r.PagesPerSecond >= 0.98*r.Config.Rate:
		return "nothing: the rate asked for was reached"
	case r.Efficiency >= 0.85:
		return "the drive: this is what it can do"
	case cores >= 0.9*procs():
		return fmt.Sprintf("CPU: %.1f of %.0f cores busy", cores, procs())
	case busiest.BusyShare >= 0.85:
		return fmt.Sprintf("stage %s: busy %s of the time", busiest.Name, Percent(busiest.BusyShare))
	case !r.Mode.engine():
		return "its own flushes: each caller waits for all of them, one after the other"
	case r.Clients*r.BatchPages < 2*batchesInFlight*engineBatch/r.PageBytes:
		return fmt.Sprintf("waiting: %d pages in flight do not fill the pipeline", r.Clients*r.BatchPages)
	}
	return fmt.Sprintf("waiting for the drive: %.1f of %.0f cores busy, no stage above %s",
		cores, procs(), Percent(busiest.BusyShare))
}

// stampNow is when a run began.
func stampNow() string { return time.Now().UTC().Format(time.RFC3339) }
