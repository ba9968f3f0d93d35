package bench

import (
	"cmp"
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
		Series: w.series.samples,
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
	if h := merged(s.clients, func(k *client) *hdrhistogram.Histogram { return k.writes }); h != nil {
		in.Latency, in.hist = latency(h, true), h
	}
	if h := merged(s.clients, func(k *client) *hdrhistogram.Histogram { return k.reads }); h != nil {
		l := latency(h, true)
		in.ReadLatency, in.rhist = &l, h
	}
	if h := merged(s.clients, func(k *client) *hdrhistogram.Histogram { return k.lag }); h != nil {
		l := latency(h, false)
		in.StartLag = &l
	}
	in.Stages = s.stages(a, b, w, pages)
	in.Time = s.spent(&a, &b)
	in.Memory = w.memory
	in.Memory.between(&a, &b)
	if to, from := b.target.log, a.target.log; to != nil && from != nil {
		in.LogBytes = ratio(float64(to.GroupBytes-from.GroupBytes), pages)
	}
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
			Wait: inMicros(to.WaitNanos), Service: inMicros(to.ServiceNanos), Batch: plain(to.BatchPages),
			Flush: inMicros(to.FlushNanos), FlushPages: plain(to.FlushPages), FlushFiles: plain(to.FlushFiles),
		}
		if i < len(a.target.stages) {
			from := &a.target.stages[i]
			st.BusyShare = min(ratio((to.Busy-from.Busy).Seconds(), took), 1)
			if to.FlushPages.Count > 0 {
				st.PagesPerFlush = ratio(pages, float64(to.Flushes-from.Flushes))
			}
			for c := range to.Held {
				if n := to.Held[c] - from.Held[c]; n > 0 {
					if st.Held == nil {
						st.Held = map[string]uint64{}
					}
					st.Held[stages.Where(c).String()] = n
				}
			}
		}
		if m := w.inbox[to.Name]; m != nil {
			st.InboxMean, st.InboxMax = ratio(m.sum, m.n), m.most
		}
		out = append(out, st)
	}
	if to, from := b.target.log, a.target.log; to != nil && from != nil && to.Groups > from.Groups {
		groups := float64(to.Groups - from.Groups)
		out = append(out, Stage{
			Name:          "log",
			BusyShare:     ratio((to.Busy - from.Busy).Seconds(), took),
			PagesPerFlush: ratio(pages, groups),
			Flush:         inMicros(to.GroupNanos),
			Batch:         plain(to.GroupRecords),
		})
	}
	return out
}

func inMicros(q stages.Quantiles) Quantiles {
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	return Quantiles{q.Count, q.Mean / 1e3, us(q.P50), us(q.P99), us(q.P999), us(q.Max)}
}

func plain(q stages.Quantiles) Quantiles {
	return Quantiles{q.Count, q.Mean, float64(q.P50), float64(q.P99), float64(q.P999), float64(q.Max)}
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
	moved := r.PagesPerSecond + ratio(float64(r.ReadPages), r.Seconds) // CPU and rate are of both
	cores, have := r.CPU*moved/1e6, float64(r.cores())
	busiest := Stage{}
	for _, st := range r.Stages {
		if st.BusyShare > busiest.BusyShare && st.Name != "log" {
			busiest = st
		}
	}
	offered := r.Config.Rate
	if r.Overload != nil {
		offered = r.Overload.Offered
	}
	switch {
	case offered > 0 && moved >= 0.98*offered:
		return "nothing: the rate asked for was reached"
	case r.Efficiency >= 0.85:
		return "the drive: this is what it can do"
	case cores >= 0.9*have:
		return fmt.Sprintf("CPU: %.1f of %.0f cores busy", cores, have)
	case busiest.BusyShare >= 0.85:
		return fmt.Sprintf("stage %s: busy %s of the time", busiest.Name, Percent(busiest.BusyShare))
	case !r.Mode.engine():
		return "its own flushes: each caller waits for all of them, one after the other"
	case r.Clients*r.BatchPages < 2*batchesInFlight*engineBatch/r.PageBytes:
		return fmt.Sprintf("waiting: %d pages in flight do not fill the pipeline%s", r.Clients*r.BatchPages, r.longest())
	}
	return fmt.Sprintf("waiting for the drive: %.1f of %.0f cores busy, no stage above %s%s",
		cores, have, Percent(busiest.BusyShare), r.longest())
}

// unsteady says that the drive was not the same while the bound was measured: nothing beats a bound
// by more than chance.
func (r *Result) unsteady() string {
	if r.Efficiency <= 1.15 {
		return ""
	}
	return fmt.Sprintf("%s: %s of the bound: the drive was slower while its bound was measured (others at work?). Compare with care; -repeat 5, a longer -bound and a quiet machine help.",
		r.Mode, Percent(r.Efficiency))
}

// longest says where a page is longest of what its call waits for.
func (r *Result) longest() string {
	var most Spent
	for _, p := range r.Time {
		if p.Waited && p.Where != spentTurn && p.Micros > most.Micros {
			most = p
		}
	}
	if most.Micros == 0 {
		return ""
	}
	return fmt.Sprintf("; a page is longest in %s, %s", most.Where, Micros(most.Micros))
}

// cores is how many the run could use.
func (r *Result) cores() int { return cmp.Or(r.Config.Cores, r.Host.GOMAXPROCS, 1) }

// stampNow is when a run began.
func stampNow() string { return time.Now().UTC().Format(time.RFC3339) }
