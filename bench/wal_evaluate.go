package bench

import (
	"cmp"
	"fmt"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/untorn/untorn/walstage"
)

// walSnapshot is everything that counts up, at one moment.
type walSnapshot struct {
	at         time.Time
	cpu        time.Duration
	mallocs    uint64
	records    uint64
	late, took int64
	log        walstage.Stats
}

func (s *walSession) snapshot() walSnapshot {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	n := walSnapshot{mallocs: m.Mallocs, log: s.e.Stats().Log}
	for _, k := range s.clients {
		n.records += k.done.Load()
		n.late += k.late.Load()
		n.took += k.took.Load()
	}
	n.cpu, n.at = cpuTime(), time.Now()
	return n
}

// evaluate turns two snapshots and the clients' histograms into figures.
func (s *walSession) evaluate(a, b walSnapshot) WALInterval {
	in := WALInterval{Seconds: b.at.Sub(a.at).Seconds(), Records: b.records - a.records, Depth: b.log.Depth}
	in.RiskBytes, in.RiskTime = b.log.AtRisk.MaxBytes, micros(b.log.AtRisk.MaxAge)
	n := float64(in.Records)
	in.RecordsPerSecond = ratio(n, in.Seconds)
	in.BytesPerSecond = in.RecordsPerSecond * float64(s.c.RecordBytes)
	in.CPU = ratio(micros(b.cpu-a.cpu), n)
	in.Allocs = ratio(float64(b.mallocs-a.mallocs), n)
	groups := float64(b.log.Groups - a.log.Groups)
	in.GroupsPerSecond = ratio(groups, in.Seconds)
	in.RecordsPerGroup = ratio(n, groups)
	in.DeviceBytes = ratio(float64(b.log.GroupBytes-a.log.GroupBytes), n*float64(s.c.RecordBytes))
	in.Group, in.GroupRecords = inMicros(b.log.GroupNanos), plain(b.log.GroupRecords)
	in.BlockedPerRecord = ratio(micros(b.log.BlockedTime-a.log.BlockedTime), n)
	in.BusyShare = ratio((b.log.Busy - a.log.Busy).Seconds(), in.Seconds)
	in.hist = merged(s.clients, func(k *appender) *hdrhistogram.Histogram { return k.hist })
	if lag := merged(s.clients, func(k *appender) *hdrhistogram.Histogram { return k.lag }); lag != nil && lag.TotalCount() > 0 {
		l := latency(lag, false)
		in.StartLag = &l
	}
	in.Latency = latency(in.hist, true)
	in.Time = recordTime(s.c.Commit, ratio(float64(b.took-a.took)/1e3, n), ratio(float64(b.late-a.late)/1e3, n), in.BlockedPerRecord, in.Group.Mean)
	return in
}

// WALSpent is how long a record is somewhere on its way, until its caller goes on.
type WALSpent struct {
	Where   string  `json:"where"`
	Micros  float64 `json:"us_per_record"` // the mean
	Share   float64 `json:"share"`
	Blocked bool    `json:"blocked"` // somebody else is in the way
}

// Names of a record's places, beside spentTurn and spentRoom.
const (
	spentBehind = "behind other groups"
	spentGroup  = "its group"
	spentAppend = "the append"
)

// recordTime divides the mean time of a call, in microseconds. The mean group stands for a record's
// own: groups are not told apart by their records.
func recordTime(commit string, mean, late, room, group float64) []WALSpent {
	left := mean
	take := func(v float64) float64 {
		v = max(min(v, left), 0)
		left -= v
		return v
	}
	out := []WALSpent{{Where: spentTurn, Micros: take(late), Blocked: true}, {Where: spentRoom, Micros: take(room), Blocked: true}}
	if commit == "sync" {
		g := take(group)
		out = append(out, WALSpent{Where: spentBehind, Micros: left, Blocked: true}, WALSpent{Where: spentGroup, Micros: g})
	} else {
		out = append(out, WALSpent{Where: spentAppend, Micros: left})
	}
	kept := out[:0]
	for _, p := range out {
		if p.Share = ratio(p.Micros, mean); p.Micros > 0 {
			kept = append(kept, p)
		}
	}
	return kept
}

// bottleneck names what is short: a reading of the figures, in the order in which they exclude each
// other.
func (r *WALResult) bottleneck() string {
	cores, have := r.CPU*r.RecordsPerSecond/1e6, float64(cmp.Or(r.Config.Cores, r.Host.GOMAXPROCS, 1))
	offered := r.Config.Rate
	if r.Overload != nil {
		offered = r.Overload.Offered
	}
	rest := fmt.Sprintf("%.1f of %.0f cores busy, groups were being written %s of the time", cores, have, Percent(min(r.BusyShare, 1)))
	switch {
	case offered > 0 && r.RecordsPerSecond >= 0.98*offered:
		return "nothing: the rate asked for was reached"
	case r.Efficiency >= 0.85:
		return "the drive: this is what it can do with so many callers"
	case cores >= 0.9*have:
		return fmt.Sprintf("CPU: %.1f of %.0f cores busy", cores, have)
	case r.BlockedPerRecord >= 0.2*r.Latency.Mean:
		return fmt.Sprintf("room in the log: an append waits %s for a free group or a segment", Micros(r.BlockedPerRecord))
	case r.Commit == "sync" && r.RecordsPerGroup >= 0.8*float64(r.Clients):
		return "callers: all of them wait for the group that is being written; " + rest
	}
	return "waiting for the drive: " + rest
}
