package bench

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/walstage"
)

// TestSpent: a call's own time counts for each of its pages, the engine's is divided by the pages,
// and what is waited for follows the acknowledgement.
func TestSpent(t *testing.T) {
	for _, c := range []struct {
		mode     Mode
		ack      string
		waited   stages.Where // the last one
		logBytes int
	}{
		{Doublewrite, "durable", stages.InFlush, 0}, {Doublewrite, "protected", stages.InDoublewrite, 0}, {Doublewrite, "accepted", stages.InQueue, 0},
		{Detect, "protected", stages.InFlush, 0}, {Detect, "logged", stages.InQueue, 0}, {Shadow, "protected", stages.InDoublewrite, 0},
		{FullPage, "protected", stages.InQueue, 0}, {FullPage, "protected", stages.InFlush, 100}, {FullPage, "durable", stages.InFlush, 0},
	} {
		s := &session{c: Config{Mode: c.mode, Ack: c.ack, LogBytes: c.logBytes}, kind: boundKind(c.mode, c.ack)}
		a := snapshot{target: counts{log: &walstage.Stats{BlockedTime: time.Second}}}
		b := snapshot{
			calls: 10, pages: 640, time: callTime{late: 10 * 100e3, take: 10 * 30e3, fill: 10 * 20e3, put: 10 * 400e3},
			target: counts{log: &walstage.Stats{BlockedTime: time.Second + 10*5*time.Microsecond}},
		}
		for w := range stages.Wheres {
			b.target.spent[w] = 640 * 10 * time.Duration(w+1) * time.Microsecond
		}
		got := s.spent(&a, &b)
		want := []Spent{
			{spentTurn, 100, 0, true, true}, {spentMemory, 30, 0, true, true}, {spentFill, 20, 0, true, false}, {spentRoom, 5, 0, true, true},
		}
		for w := range stages.Wheres {
			want = append(want, Spent{w.String(), 10 * float64(w+1), 0, w <= c.waited, w < stages.InQueue})
		}
		sum := 0.0
		for i := range got {
			sum += got[i].Share
			got[i].Share = 0
			if i < len(want) && got[i] != want[i] {
				t.Errorf("%s, %s: %+v, want %+v", c.mode, c.ack, got[i], want[i])
			}
		}
		if len(got) != len(want) || math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s, %s: %d places with %v of the time", c.mode, c.ack, len(got), sum)
		}
		// The destination holds a page longest of what is in its way: 40 us. Its turn is not counted.
		if us, most := blocked(got); most.Where != "destination" || us != 30+5+10+20+30+40 {
			t.Errorf("blocked %v us, most by %s", us, most.Where)
		}
	}
}

func TestMeaningByModeAndAck(t *testing.T) {
	for _, c := range []struct {
		mode Mode
		ack  string
		want []string
	}{
		{Doublewrite, "durable", []string{"A power cut loses nothing that was acknowledged. ", "repairs a torn page from its copy", "for the doublewrite file"}},
		{Doublewrite, "protected", []string{"come back from their copies"}},
		{Doublewrite, "logged", []string{"tears no page", "replaying the log"}},
		{Doublewrite, "accepted", []string{"tears no page", "up to 2.3MiB of pages"}},
		{Detect, "accepted", []string{"can tear any page", "takes what was accepted"}},
		{Detect, "durable", []string{"can tear any page that is being written: it is found"}},
		{None, "durable", []string{"no read notices"}},
	} {
		r := full()
		r.Mode, r.Ack, r.Protection, r.Overload = c.mode, c.ack, "", nil
		r.BoundKind = boundKind(c.mode, c.ack)
		r.Time = []Spent{{Where: "write in place", Micros: 5000}, {Where: "memory", Micros: 1e6}}
		r.PagesPerSecond, r.PageBytes = 30_000, 16384
		got := r.meaning()
		for _, w := range append(c.want, "What it means: ", "torn-write protection on this path is needed", "a page", "of memory and") {
			if !strings.Contains(got, w) {
				t.Errorf("%s, %s: %q is not in: %s", c.mode, c.ack, w, got)
			}
		}
		r.Host.FlushesOff = "nobarrier"
		if !strings.Contains(r.meaning(), "nothing that was measured here survives") {
			t.Errorf("%s", r.meaning())
		}
	}
}
