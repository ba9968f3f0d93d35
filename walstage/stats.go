package walstage

import (
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/stages"
)

// Stats counts what a log did since Start, and says how it stands.
type Stats struct {
	Records, RecordBytes uint64        // appended
	Groups, GroupBytes   uint64        // written, with headers and padding
	Busy                 time.Duration // sum of the groups' write times
	Led                  uint64        // groups written by the caller that waited
	Waits                uint64        // calls that slept until somebody else's write
	Blocked              uint64        // appends that waited for a free group or a segment
	BlockedTime          time.Duration // that they waited, in all
	// GroupNanos is what writing a group and making it durable took, GroupRecords how many records
	// were in it; since Start or the last ResetStats.
	GroupNanos, GroupRecords stages.Quantiles

	Created, Recycled, Removed uint64 // segments

	FullWaits uint64 // appends that waited because the log was full
	Slowed    uint64 // appends that FullThrottle delayed

	Pressure    Pressure
	Used        int64 // bytes from the log's beginning to where the next group goes
	Limit       int64 // what the user may fill, 0 = the disk is the bound
	BufferBytes int64 // memory of the groups, fixed at Start

	Segments int      // files in use, without those to be recycled
	Spare    int      // files to be recycled
	Depth    int      // groups that may be written at the same time
	Oldest   page.LSN // where the log begins
	Durable  page.LSN
	End      page.LSN
	Commit   Commit
	Policy   Policy
	AtRisk   AtRisk
}

// Stats returns a snapshot.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Segments, s.Spare = l.segs.count(), len(l.supply.spare)
	if l.supply.next != nil {
		s.Segments++
	}
	s.GroupNanos, s.GroupRecords = stages.QuantilesOf(l.groupNanos), stages.QuantilesOf(l.groupRecords)
	s.FullWaits, s.Slowed, s.Pressure = l.flow.waits, l.flow.pauses, l.flow.now
	s.Used, s.Limit = l.flow.before+l.off, l.flow.limit
	s.Policy, s.AtRisk = l.o.Policy, l.atRisk()
	s.Depth, s.Commit = l.depth.target, l.method
	s.Durable, s.End = l.Durable(), l.End()
	return s
}

// ResetStats makes the distributions begin anew; counters go on.
func (l *Log) ResetStats() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.groupNanos != nil {
		l.groupNanos.Reset()
		l.groupRecords.Reset()
	}
}
