package explore

import (
	"fmt"
	"strings"

	"github.com/untorn/untorn"
)

// actKind is what a client does in one step.
type actKind uint8

const (
	actOpen actKind = iota
	actAppend
	actWait
	actWrite
	actRead
	actSync
	actCheckpoint
	actCreate
	actGrow
	actRename
	actRemove
	actClose
	actMode
	actFollow // a subscriber is handed a record
	actBackup
	actNewID
	actCut
)

var actNames = [...]string{"open", "append", "wait", "write", "read", "sync", "checkpoint", "create",
	"grow", "rename", "remove", "close", "mode", "follow", "backup", "new id", "cut"}

func (k actKind) String() string { return actNames[k] }

// changesCatalog reports whether an act changes which files there are.
func (k actKind) changesCatalog() bool { return k >= actCreate && k <= actRemove }

// act is one call of the workload. What it asks for is fixed before it begins; what it got is set
// before its done mark.
type act struct {
	id, client int
	kind       actKind
	uid        uint64 // of the file
	name, to   string
	pages      uint64      // of a creation or growth
	mode       untorn.Mode // of the file, in a creation, a write, a change of it
	foreign    bool        // a creation: its LSNs are of no log of ours
	nos, vers  []uint64    // of a write
	level      untorn.Level
	lsn        untorn.LSN // of a write, a wait, a cut
	end        untorn.LSN // of a cut: what begins here stays
	recs       []uint64   // ids of records appended
	sizes      []int64    // of them, with their frames
	starts     []untorn.LSN
	ends       []untorn.LSN
	changes    []change // that the last of them names
	redo       untorn.LSN
	payload    uint64
	seen       *observed // of an open
	err        error
	refused    bool // failed with the engine healthy: nothing has been done
}

func (a *act) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "client %d #%d %s", a.client, a.id, a.kind)
	switch a.kind {
	case actAppend:
		fmt.Fprintf(&b, " records %v", a.recs)
	case actWait:
		fmt.Fprintf(&b, " for LSN %d", a.lsn)
	case actWrite:
		fmt.Fprintf(&b, " %s", a.name)
		for i, no := range a.nos {
			fmt.Fprintf(&b, " p%dv%d", no, a.vers[i])
		}
		fmt.Fprintf(&b, " LSN %d, %s", a.lsn, a.level)
	case actFollow:
		fmt.Fprintf(&b, " record %v ending at LSN %d", a.recs, a.lsn)
	case actBackup:
		fmt.Fprintf(&b, " to %s", a.name)
	case actCut:
		fmt.Fprintf(&b, " behind LSN %d", a.lsn)
	case actSync:
		fmt.Fprintf(&b, " %s", a.name)
	case actCheckpoint:
		fmt.Fprintf(&b, " redo %d", a.redo)
	case actCreate, actGrow:
		fmt.Fprintf(&b, " %s, %d pages", a.name, a.pages)
	case actMode:
		fmt.Fprintf(&b, " of %s to %s", a.name, a.mode)
	case actRename:
		fmt.Fprintf(&b, " %s to %s", a.name, a.to)
	case actRemove, actRead:
		fmt.Fprintf(&b, " %s", a.name)
	}
	if a.err != nil {
		fmt.Fprintf(&b, ": %v", a.err)
	}
	return b.String()
}

// phase is how far an act had come when its mark was made.
type phase uint8

const (
	begun phase = iota
	accepted
	done
	failed
)

var phaseNames = [...]string{"begins", "is accepted", "is done", "failed"}

func (p phase) String() string { return phaseNames[p] }

// mark is what the workload puts into the log of the disk, in order with what the disk did. Nothing
// acknowledged before a crash point may be missing after it.
type mark struct {
	a *act
	p phase
}

func (m mark) String() string {
	if m.p == done && m.a.kind == actWrite {
		return fmt.Sprintf("client %d #%d: %s is acknowledged", m.a.client, m.a.id, m.a.level)
	}
	if m.p == done && m.a.kind == actAppend {
		return fmt.Sprintf("client %d #%d: appended, ending at LSN %v", m.a.client, m.a.id, m.a.ends)
	}
	return fmt.Sprintf("%v %v", m.a, m.p)
}
