package walstage

import (
	"fmt"

	"github.com/untorn/untorn/page"
)

// Claim is a piece of evidence: in this epoch the log had been durable through this LSN. Claims come
// from super, from the page LSNs in doublewrite headers (true by I3), and from group headers.
type Claim struct {
	Epoch  uint64
	LSN    page.LSN
	Source string // who says so, for reports
}

func (c Claim) String() string {
	return fmt.Sprintf("%s says so through LSN %d in epoch %d", c.Source, c.LSN, c.Epoch)
}

// Evidence is what Scan is told from outside the log.
type Evidence struct {
	// Start is where the needed part of the log begins: the checkpoint's redo LSN. It is a claim of
	// its own, in every epoch. 0 = the beginning.
	Start page.LSN
	// Known are claims from super, doublewrite headers and pages. LSN 0 claims nothing.
	Known []Claim
	// Cuts are what super says holds no records.
	Cuts []Cut
	// Clean says that super's clean flag is set. Then a log that ends exactly at the highest claim
	// has nothing behind it that a dead process was still writing.
	Clean bool
}

// finding is what a walk through the log met where it ended.
type finding struct {
	// end is the position after the last good group: where a group is missing or bad.
	end page.LSN
	// epoch is the one of the last good group.
	epoch uint64
	// unreadable is set when a read failed at end or behind it: nobody can tell what is there.
	unreadable bool
}

type verdict uint8

const (
	tornTail   verdict = iota // nothing says that there had been more: the log ends here
	corrupt                   // what is missing had been durable
	unreadable                // it cannot be told
)

func (v verdict) String() string { return [...]string{"torn tail", "corrupt", "unreadable"}[v] }

// judge decides what the end of a walk means (I10). The claims include those of valid group headers
// behind the end. It compares (epoch, LSN), case by case:
//
//	a  the claim is not beyond the end                        satisfied
//	b  beyond the end, from an epoch before the last group's  satisfied: an open between the two
//	                                                          judged it and cut the log, or it is
//	                                                          what a cut-off older tail claimed
//	c  beyond the end, from the last group's epoch or later   corrupt
//	d  no claim is beyond the end, but a read failed          unreadable: evidence may be in there
//	e  no claim is beyond the end                             torn tail
//
// That a whole group stands behind the end is no case: several groups are in flight at once. Of
// several claims that convict, the farthest is returned.
func judge(f finding, claims []Claim) (verdict, Claim) {
	var worst Claim
	for _, c := range claims {
		if c.convicts(f) && c.LSN > worst.LSN {
			worst = c
		}
	}
	switch {
	case worst.LSN != 0:
		return corrupt, worst
	case f.unreadable:
		return unreadable, Claim{}
	default:
		return tornTail, Claim{}
	}
}

func (c Claim) convicts(f finding) bool { return c.LSN > f.end && c.Epoch >= f.epoch }
