package torture

import (
	"strings"
	"testing"

	"github.com/untorn/untorn"
)

// page, ack, seen and so on are the events of a short history.
func pg(no uint64, v version, lsn uint64) event {
	return event{kind: evPage, page: no, version: v, a: lsn}
}
func ack(no uint64, v version) event {
	return event{kind: evPageAck, level: uint8(untorn.Protected), page: no, version: v}
}
func seen(no uint64, v version, lsn uint64) event {
	return event{kind: evSeenPage, page: no, version: v, a: lsn}
}
func rec(seq uint64, at, of uint16) event {
	return event{kind: evRecord, page: seq, version: recordID(0, at, of)}
}
func recAck(seq uint64) event { return event{kind: evRecordAck, page: seq} }
func seenRec(seq uint64, at, of uint16) event {
	return event{kind: evSeenRecord, page: seq, version: recordID(0, at, of), a: 100 * (seq + 1), b: 100*(seq+1) + 50}
}
func base(seq uint64) event        { return event{kind: evSeenBase, a: seq} }
func logEnd(seq, lsn uint64) event { return event{kind: evSeenEnd, a: seq, b: lsn} }

var oneFile = []event{{kind: evFile, a: 4}, {kind: evFileAck}}

func TestModel(t *testing.T) {
	survey := func(evs ...event) []event {
		return append([]event{{kind: evSeenFile, a: 4}, {kind: evFilesEnd}, base(0), logEnd(0, 1000)}, evs...)
	}
	for _, c := range []struct {
		name   string
		mode   untorn.Mode
		evs    []event
		accuse string // "" = fine
	}{
		{"the acknowledged version", "", append([]event{pg(1, 7, 0), ack(1, 7)}, survey(seen(1, 7, 0))...), ""},
		{"a later one that was started", "", append([]event{pg(1, 7, 0), ack(1, 7), pg(1, 8, 30), pg(1, 9, 40)}, survey(seen(1, 8, 30))...), ""},
		{"never written", "", survey(seen(1, 0, 0)), ""},
		{"older than acknowledged", "", append([]event{pg(1, 7, 0), pg(1, 8, 0), ack(1, 8)}, survey(seen(1, 7, 0))...), "version 0.8 (LSN 0) had been acknowledged as protected"},
		{"empty again", "", append([]event{pg(1, 7, 0), ack(1, 7)}, survey(seen(1, 0, 0))...), "is version empty"},
		{"never started", "", append([]event{pg(1, 7, 0)}, survey(seen(1, 8, 0))...), "never started"},
		{"another LSN", "", append([]event{pg(1, 7, 30)}, survey(seen(1, 7, 40))...), "has LSN 40; it was written with 30"},
		{"an LSN beyond the log", "", append([]event{pg(1, 7, 3000)}, survey(seen(1, 7, 3000))...), "the log ends at 1000 (I3)"},
		{"an acknowledged LSN beyond the log", "", append([]event{pg(1, 7, 3000), ack(1, 7)}, survey()...), "had been acknowledged (I3)"},
		{"going back after it was seen", "", append(append([]event{pg(1, 7, 0)}, survey(seen(1, 7, 0))...), survey(seen(1, 0, 0))...), "had been seen"},
		{"torn", "", append([]event{pg(1, 7, 0)}, survey(event{kind: evBadPage, page: 1, text: "torn"})...), "not whole: torn"},
		{"torn while written, unprotected", untorn.ModeDetect, append([]event{pg(1, 7, 0)}, survey(event{kind: evBadPage, page: 1})...), ""},
		{"torn at rest, unprotected", untorn.ModeNone, append([]event{pg(1, 7, 0), ack(1, 7)}, survey(event{kind: evBadPage, page: 1})...), "not whole"},

		{"records", "", []event{rec(0, 0, 1), rec(1, 0, 2), rec(2, 1, 2), recAck(0), base(0), seenRec(0, 0, 1), seenRec(1, 0, 2), seenRec(2, 1, 2), logEnd(3, 500)}, ""},
		{"a tail that was not acknowledged", "", []event{rec(0, 0, 1), rec(1, 0, 1), recAck(0), base(0), seenRec(0, 0, 1), logEnd(1, 500)}, ""},
		{"an acknowledged record is gone", "", []event{rec(0, 0, 1), rec(1, 0, 1), recAck(1), base(0), seenRec(0, 0, 1), logEnd(1, 500)}, "through record 1 had been acknowledged"},
		{"half a batch", "", []event{rec(0, 0, 2), rec(1, 1, 2), base(0), seenRec(0, 0, 2), logEnd(1, 500)}, "came back in part"},
		{"a gap", "", []event{rec(0, 0, 1), rec(1, 0, 1), base(0), seenRec(1, 0, 1), logEnd(2, 500)}, "record 1 follows record -1"},
		{"a record of nobody", "", []event{base(0), seenRec(0, 0, 1), logEnd(1, 500)}, "never started"},
		{"another place", "", []event{rec(0, 0, 1), {kind: evRecordAt, page: 0, a: 90, b: 150}, base(0), seenRec(0, 0, 1), logEnd(1, 500)}, "appended at 90 to 150"},
		{"a checkpoint", "", []event{rec(0, 0, 1), {kind: evCkpt, a: 1}, {kind: evCkptAck, a: 1}, base(1), logEnd(1, 500)}, ""},
		{"a checkpoint that was started", "", []event{rec(0, 0, 1), {kind: evCkpt, a: 1}, base(1), logEnd(1, 500)}, ""},
		{"a checkpoint is gone", "", []event{rec(0, 0, 1), {kind: evCkpt, a: 1}, {kind: evCkptAck, a: 1}, base(0), seenRec(0, 0, 1), logEnd(1, 500)}, "names record 0"},

		{"a file that was begun", "", []event{{kind: evFile, tag: 3, a: 2}, {kind: evSeenFile, a: 4}, {kind: evSeenFile, tag: 3, a: 2}, {kind: evFilesEnd}}, ""},
		{"or not", "", []event{{kind: evFile, tag: 3, a: 2}, {kind: evSeenFile, a: 4}, {kind: evFilesEnd}}, ""},
		{"a file is gone", "", []event{{kind: evFilesEnd}}, "main is gone"},
		{"a file of nobody", "", []event{{kind: evSeenFile, a: 4}, {kind: evSeenFile, tag: 3, a: 2}, {kind: evFilesEnd}}, "side-3 is there"},
		{"a removed file is back", "", []event{{kind: evRemove}, {kind: evRemoveAck}, {kind: evSeenFile, a: 4}, {kind: evFilesEnd}}, "main is back"},
		{"an old name", "", []event{{kind: evRename}, {kind: evRenameAck}, {kind: evSeenFile, a: 4}, {kind: evFilesEnd}}, "old name"},
		{"a new name of nobody", "", []event{{kind: evSeenFile, level: 1, a: 4}, {kind: evFilesEnd}}, "nobody gave it"},
		{"shrunk", "", []event{{kind: evGrow, a: 9}, {kind: evGrowAck, a: 9}, {kind: evSeenFile, a: 8}, {kind: evFilesEnd}}, "9 had been acknowledged"},
		{"grown too far", "", []event{{kind: evSeenFile, a: 5}, {kind: evFilesEnd}}, "more than 4"},

		{"torn in mode atomic", untorn.ModeAtomic, append([]event{pg(1, 7, 0)}, survey(event{kind: evBadPage, page: 1})...), "not whole"},
		{"refused, and is not there", "", []event{{kind: evFile, tag: 3, a: 2}, {kind: evRefused, tag: 3, level: uint8(evFile)}, {kind: evSeenFile, a: 4}, {kind: evFilesEnd}}, ""},
		{"refused, and is there", "", []event{{kind: evFile, tag: 3, a: 2}, {kind: evRefused, tag: 3, level: uint8(evFile)}, {kind: evSeenFile, a: 4}, {kind: evSeenFile, tag: 3, a: 2}, {kind: evFilesEnd}}, "side-3 is there"},
		{"a growth refused", "", []event{{kind: evGrow, a: 9}, {kind: evRefused, level: uint8(evGrow)}, {kind: evSeenFile, a: 9}, {kind: evFilesEnd}}, "more than 4"},
		{"a renaming refused", "", []event{{kind: evRename}, {kind: evRefused, level: uint8(evRename)}, {kind: evSeenFile, level: 1, a: 4}, {kind: evFilesEnd}}, "nobody gave it"},
		{"a removal refused", "", []event{{kind: evRemove}, {kind: evRefused, level: uint8(evRemove)}, {kind: evFilesEnd}}, "main is gone"},

		{"the child saw something", "", []event{{kind: evWrong, text: "an odd read"}}, "an odd read"},
		{"the engine failed", "", []event{{kind: evStopped, text: "a bug"}}, "nobody had killed it: a bug"},
		{"clean after a kill", "", []event{{kind: evOpened, level: 1}, {kind: evOpened, level: 1}}, "was killed while running"},
		{"unclean after a close", "", []event{{kind: evOpened, level: 1}, {kind: evClosing}, {kind: evClosed}, {kind: evOpened}}, "found it otherwise"},
		{"either after half a close", "", []event{{kind: evOpened, level: 1}, {kind: evClosing}, {kind: evOpened}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.mode == "" {
				c.mode = untorn.ModeDoublewrite
			}
			m := newModel(c.mode, 1)
			m.emit(oneFile...)
			m.emit(c.evs...)
			v := m.tally.violations
			switch {
			case c.accuse == "" && len(v) > 0:
				t.Errorf("accused of %+v", v)
			case c.accuse != "" && (len(v) != 1 || !strings.Contains(v[0].What, c.accuse)):
				t.Errorf("%+v, want one about %q", v, c.accuse)
			}
		})
	}
}

func TestModelNoSpace(t *testing.T) {
	m := newModel(untorn.ModeDoublewrite, 1)
	m.emit(event{kind: evStopped, a: 1, text: "disk full"})
	if m.tally.unfit == "" || len(m.tally.violations) > 0 {
		t.Errorf("%+v", m.tally)
	}
}

// TestStopped: which ends of a child are the engine's fault.
func TestStopped(t *testing.T) {
	for _, c := range []struct {
		name        string
		mode        untorn.Mode
		lacks       lacking
		a, b        uint64
		wrong, full bool
	}{
		{name: "a bug", mode: untorn.ModeDoublewrite, wrong: true},
		{name: "no space, nobody took it", mode: untorn.ModeDoublewrite, a: lackedSpace, full: true},
		{name: "no space, running", mode: untorn.ModeDoublewrite, lacks: lacking{space: true}, a: lackedSpace, wrong: true},
		{name: "no space, copy on write", mode: untorn.ModeAtomic, lacks: lacking{space: true}, a: lackedSpace},
		{name: "no space to open", mode: untorn.ModeDetect, lacks: lacking{space: true}, a: lackedSpace, b: 1},
		{name: "atomic writes unproven", mode: untorn.ModeAtomic, a: lackedProof, full: true},
		{name: "no memory", mode: untorn.ModeDoublewrite, lacks: lacking{memory: true}, a: lackedMemory},
		{name: "no memory, nobody took it", mode: untorn.ModeDoublewrite, a: lackedMemory, wrong: true},
		{name: "a bug, short of all", mode: untorn.ModeAtomic, lacks: lacking{true, true}, wrong: true},
	} {
		m := newModel(c.mode, 1)
		m.lacks = c.lacks
		m.apply(&event{kind: evStopped, a: c.a, b: c.b, text: "x"})
		if wrong, full := len(m.tally.violations) > 0, m.tally.unfit != ""; wrong != c.wrong || full != c.full {
			t.Errorf("%s: violation %v, ends the run %v", c.name, wrong, full)
		}
	}
}
