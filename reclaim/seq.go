package reclaim

import "fmt"

// Seq numbers doublewrite batches: numbers are dense within an epoch, start at 1, and epochs only
// grow, so a Seq exceeds every Seq ever written to the directory before it (I7).
type Seq struct {
	Epoch uint64
	Num   uint64
}

// LE reports whether s is at or before t.
func (s Seq) LE(t Seq) bool { return s.Epoch < t.Epoch || s.Epoch == t.Epoch && s.Num <= t.Num }

// Max returns the later of the two.
func (s Seq) Max(t Seq) Seq {
	if s.LE(t) {
		return t
	}
	return s
}

func (s Seq) String() string { return fmt.Sprintf("(%d,%d)", s.Epoch, s.Num) }
