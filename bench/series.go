package bench

import "time"

// series is what an interval does step by step. The last step ends with the interval: nothing of it is
// left out.
type series struct {
	steps       *steps
	samples     []Sample
	length      time.Duration // of the interval
	from, at    time.Time     // of the interval; the end of the last step
	done, reads uint64        // pages or records, until then
}

func (s *series) begin(length time.Duration, at time.Time, done, reads uint64) {
	s.length, s.from, s.at, s.done, s.reads = length, at, at, done, reads
	s.samples = make([]Sample, 0, int(length/stepOf(length))+8)
}

// tick ends a step, unless so little of the interval is left that the step goes on to its end.
func (s *series) tick(now time.Time, done, reads uint64) bool {
	if s.length-now.Sub(s.from) < stepOf(s.length)/2 {
		return false
	}
	s.step(now, done, reads)
	s.steps.now.Store(int32(len(s.samples)))
	return true
}

func (s *series) step(now time.Time, done, reads uint64) {
	took := now.Sub(s.at).Seconds()
	if s.at.IsZero() || took <= 0 { // the interval never began
		return
	}
	s.samples = append(s.samples, Sample{
		Second:         now.Sub(s.from).Seconds(),
		PagesPerSecond: ratio(float64(done-s.done), took),
		readPages:      ratio(float64(reads-s.reads), took),
	})
	s.at, s.done, s.reads = now, done, reads
}
