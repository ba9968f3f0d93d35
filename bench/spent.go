package bench

import (
	"time"

	"github.com/untorn/untorn/stages"
)

// Spent is how long a page is somewhere on its way, from the moment a client wants to write it, or
// was meant to, until it is flushed in place.
type Spent struct {
	Where string `json:"where"`
	// Micros of one page, the mean; Share of all of them.
	Micros float64 `json:"us_per_page"`
	Share  float64 `json:"share"`
	// Waited is whether the call waits for it: an acknowledgement before the end leaves the rest to
	// happen behind its back.
	Waited bool `json:"waited_for"`
	// Blocked is whether it is neither work nor I/O of the page's own: somebody else is in the way.
	Blocked bool `json:"blocked"`
}

// Names of the places before a page is the engine's; the others are stages.Where's.
const (
	spentTurn   = "its turn"
	spentMemory = "memory"
	spentFill   = "filling"
	spentRoom   = "room in the log"
	spentCall   = "writes and flushes"
	// Of an open after a crash.
	spentRecover = "recovering"
	spentStart   = "starting"
	spentReplay  = "replay"
)

// callTime is what clients did with their time, summed over them, in nanoseconds.
type callTime struct{ late, take, fill, put int64 }

func (a callTime) minus(b callTime) callTime {
	return callTime{a.late - b.late, a.take - b.take, a.fill - b.fill, a.put - b.put}
}

// spent works out where the pages of an interval were. Calls are of batch pages each, and a call's
// time is the time of each of its pages.
func (s *session) spent(a, b *snapshot) []Spent {
	calls, pages := float64(b.calls-a.calls), float64(b.pages-a.pages)
	c := b.time.minus(a.time)
	perCall := func(ns int64) float64 { return ratio(float64(ns)/1e3, calls) }
	out := []Spent{
		{Where: spentTurn, Micros: perCall(c.late), Waited: true, Blocked: true},
		{Where: spentMemory, Micros: perCall(c.take), Waited: true, Blocked: true},
		{Where: spentFill, Micros: perCall(c.fill), Waited: true},
	}
	if !s.c.Mode.engine() {
		out = append(out, Spent{Where: spentCall, Micros: perCall(c.put), Waited: true})
		return shares(out)
	}
	if to, from := b.target.log, a.target.log; to != nil && from != nil {
		out = append(out, Spent{
			Where: spentRoom, Micros: perCall(int64(to.BlockedTime - from.BlockedTime)), Waited: true, Blocked: true,
		})
	}
	upTo := s.waitsFor()
	for i := range stages.Wheres {
		d := b.target.spent[i] - a.target.spent[i]
		out = append(out, Spent{
			Where: i.String(), Micros: ratio(micros(time.Duration(d)), pages),
			Waited: i <= upTo, Blocked: i < stages.InQueue,
		})
	}
	return shares(out)
}

// waitsFor is the last place of a page that a call waits for.
func (s *session) waitsFor() stages.Where {
	t, _ := s.c.Mode.trait()
	switch {
	case s.c.Ack == "protected" && t.logsImages && s.kind == boundFlushed && s.c.LogBytes == 0:
		return stages.InQueue // each write logs its image, and the image is durable before the page leaves
	case s.c.Ack == "durable" || s.c.Ack == "protected" && s.kind != boundDoublewrite:
		return stages.InFlush
	case s.c.Ack == "protected":
		return stages.InDoublewrite
	}
	return stages.InQueue // accepted: until there is a batch for it
}

// shares fills in Share and leaves out what is nothing.
func shares(in []Spent) []Spent {
	sum := 0.0
	for _, p := range in {
		sum += p.Micros
	}
	out := in[:0]
	for _, p := range in {
		if p.Share = ratio(p.Micros, sum); p.Micros > 0 {
			out = append(out, p)
		}
	}
	return out
}

// blocked is the time a page is in somebody's way, and the cause that takes most of it.
func blocked(in []Spent) (us float64, most Spent) {
	for _, p := range in {
		if p.Blocked && p.Waited && p.Where != spentTurn {
			if us += p.Micros; p.Micros > most.Micros {
				most = p
			}
		}
	}
	return us, most
}
