package bench

import (
	"time"
)

// schedule says when each call of a client is meant to begin.
type schedule struct {
	start time.Time
	every time.Duration // between two calls of this client; 0 = closed loop
	k     int64
	timer *time.Timer
}

// newSchedule spreads rate pages a second over the clients, taking turns.
func newSchedule(start time.Time, rate float64, batch, client, clients int) schedule {
	if rate <= 0 {
		return schedule{}
	}
	call := float64(batch) / rate * float64(time.Second)
	t := time.NewTimer(time.Hour)
	t.Stop()
	return schedule{
		start: start.Add(time.Duration(call * float64(client))),
		every: max(1, time.Duration(call*float64(clients))),
		timer: t,
	}
}

// next waits for the next call's turn and returns when it was meant to begin. Whoever is late
// begins at once, and is timed from the time it was meant to: a slow call delays those behind it
// and they count the delay.
func (s *schedule) next(stop <-chan struct{}) time.Time {
	if s.every == 0 {
		return time.Now()
	}
	at := s.due()
	if d := time.Until(at); d > 0 {
		s.timer.Reset(d)
		select {
		case <-s.timer.C:
		case <-stop:
		}
	}
	return at
}

// back puts the call that next returned back on the schedule: it did not begin.
func (s *schedule) back() {
	if s.every > 0 {
		s.k--
	}
}

// overdue calls f with how long each call that was due before end, and did not begin, had waited then.
func (s *schedule) overdue(end time.Time, f func(waited time.Duration)) {
	if s.every == 0 {
		return
	}
	for at := s.due(); at.Before(end); at = s.due() {
		f(end.Sub(at))
	}
	s.back()
}

// due is the next call's time; it takes that call off the schedule.
func (s *schedule) due() time.Time {
	at := s.start.Add(time.Duration(s.k) * s.every)
	s.k++
	return at
}
