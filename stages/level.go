package stages

import "fmt"

// Level says what an acknowledgement promises after a power cut (DESIGN, section 1).
type Level uint8

// The levels. The zero value is the strongest.
const (
	// Durable: the destination has been flushed past this write (S4).
	Durable Level = iota
	// Protected: a reopen finds this page image or a newer one (S2; without a doublewrite buffer
	// it waits for the destination flush).
	Protected
	// Logged: the log is durable through the page's LSN; the page itself is not.
	Logged
	// Accepted: nothing is promised.
	Accepted
)

var levelNames = [...]string{"durable", "protected", "logged", "accepted"}

func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// ParseLevel is the inverse of String.
func ParseLevel(s string) (Level, error) {
	for i, n := range levelNames {
		if n == s {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("unknown acknowledgement level %q (durable, protected, logged, accepted)", s)
}
