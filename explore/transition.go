package explore

import (
	"errors"
	"strings"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
)

// The transitions states are counted for. A state may belong to several.
const (
	BeforeDWB   = "before doublewrite flush"
	AfterDWB    = "after doublewrite flush"
	AfterDest   = "after destination write"
	BeforeDest  = "before destination flush"
	AfterFlush  = "after destination flush"
	LogCommit   = "log commit"
	Checkpoint  = "checkpoint"
	Recovery    = "recovery"
	Segment     = "log segment switch"
	Growth      = "file creation and growth"
	SuperUpdate = "super update"
	Names       = "directory flush"
	Opening     = "open"
	Reopening   = "open after a failure"
	Killed      = "process kill"
	Rotten      = "rot"
	AfterWork   = "work after recovery"
)

// failure is a phase nothing is counted for: an act has failed and the directory was not opened since.
const failure = ""

// transitionsOf says for every index which transitions a crash there belongs to.
func transitionsOf(l *sim.Log) [][]string {
	ts := make([][]string, l.Len()+1)
	phase := map[string]bool{}
	for i := range ts {
		add := func(t string) { ts[i] = append(ts[i], t) }
		if i > 0 {
			prev := l.At(i - 1)
			follow(phase, &prev)
			switch {
			case prev.Kind == sim.FlushDone && strings.Contains(prev.File, "/dwb/"):
				add(AfterDWB)
			case prev.Kind == sim.WriteDone && strings.Contains(prev.File, "/data/"):
				add(AfterDest)
			case prev.Kind == sim.FlushDone && strings.Contains(prev.File, "/data/"):
				add(AfterFlush)
			}
		}
		if i < l.Len() {
			next := l.At(i)
			durable := next.Kind == sim.FlushDone || next.Kind == sim.WriteDone
			switch {
			case next.Kind == sim.SyncDir:
				add(Names)
			case durable && strings.Contains(next.File, "/dwb/"):
				add(BeforeDWB)
			case next.Kind == sim.FlushDone && strings.Contains(next.File, "/data/"):
				add(BeforeDest)
			case durable && strings.Contains(next.File, "/wal/"):
				add(LogCommit)
			case durable && strings.Contains(next.File, "/super"):
				add(SuperUpdate)
			}
		}
		for name, on := range phase {
			if on && name != failure {
				add(name)
			}
		}
	}
	return ts
}

// follow keeps track of what is under way.
func follow(phase map[string]bool, e *sim.Entry) {
	if m, ok := e.Mark.(mark); ok && e.Kind == sim.Mark {
		name := ""
		switch m.a.kind {
		case actCheckpoint:
			name = Checkpoint
		case actCreate, actGrow:
			name = Growth
		case actOpen:
			name = Opening
		case actBackup:
			name = BackingUp
		case actNewID:
			name = ChangingID
		case actCut:
			name = CuttingLog
		}
		if name != "" {
			phase[name] = m.p == begun
		}
		switch m.a.kind {
		case actMode:
			phase[ModeChange], phase[AfterMode] = m.p == begun, m.p == done
		case actClose:
			phase[AfterMode] = false
		case actCheckpoint:
			phase[LogFull] = phase[LogFull] && m.p != done
		}
		if m.p == failed && errors.Is(m.a.err, untorn.ErrLogFull) {
			phase[LogFull] = true
		}
		switch {
		case m.p == failed:
			phase[failure] = true
		case m.a.kind == actOpen:
			phase[Reopening] = m.p == begun && phase[failure]
			phase[failure] = false
		}
		return
	}
	if strings.HasSuffix(e.File, ".wal") && (e.Kind == sim.Create || e.Kind == sim.Rename) {
		phase[Segment] = true
	}
	if e.Kind == sim.SyncDir && strings.HasSuffix(e.File, "/wal") {
		phase[Segment] = false
	}
}
