package torture

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/untorn/untorn"
)

// seenPage is what a survey found of a page.
type seenPage struct {
	version version
	lsn     untorn.LSN
	bad     bool
}

// survey tells sink everything that an opened directory holds, checking every byte on the way. It
// returns the record to go on with and the pages of every file.
func survey(ctx context.Context, e *untorn.Engine, j *job, to sink) (next uint64,
	pages map[uint32][]seenPage, err error) {
	pages = map[uint32][]seenPage{}
	tags := map[uint32]bool{} // whether renamed
	for _, name := range e.Files() {
		tag, moved, ok := parseName(name)
		if !ok {
			to.emit(event{kind: evWrong,
				text: fmt.Sprintf("there is a data file %q that nobody made", name)})
			continue
		}
		f, err := e.OpenFile(ctx, name, j.opening())
		if err != nil {
			return 0, nil, err
		}
		tags[tag] = moved
		ev := event{kind: evSeenFile, tag: tag, a: f.Pages()}
		if moved {
			ev.level = 1
		}
		to.emit(ev)
	}
	to.emit(event{kind: evFilesEnd})
	if next, err = surveyLog(ctx, e, j, to); err != nil {
		return 0, nil, err
	}
	order := make([]uint32, 0, len(tags))
	for tag := range tags {
		order = append(order, tag)
	}
	sort.Slice(order, func(i, k int) bool { return order[i] < order[k] })
	for _, tag := range order {
		f, err := e.OpenFile(ctx, fileName(tag, tags[tag]), j.opening())
		if err == nil {
			pages[tag], err = surveyFile(ctx, f, tag, j, to)
		}
		if err != nil {
			return 0, nil, err
		}
	}
	to.emit(event{kind: evSeenAll})
	return next, pages, nil
}

// surveyLog replays the log from the last checkpoint, whose payload names the record it begins at.
func surveyLog(ctx context.Context, e *untorn.Engine, j *job, to sink) (next uint64, err error) {
	_, payload := e.LastCheckpoint()
	if len(payload) == 8 {
		next = le.Uint64(payload)
	} else if len(payload) != 0 {
		to.emit(event{kind: evWrong,
			text: fmt.Sprintf("the checkpoint's payload has %d bytes, not 8", len(payload))})
	}
	to.emit(event{kind: evSeenBase, a: next})
	var evs []event
	for r, err := range e.Replay(ctx) {
		if err != nil {
			return 0, err
		}
		got, err := readRecord(r.Data, j.Seed)
		if err != nil {
			to.emit(append(evs, event{kind: evWrong, text: fmt.Sprintf("record at LSN %d: %v",
				r.Start, err)})...)
			return 0, fmt.Errorf("replay: %w", err)
		}
		evs = append(evs, event{
			kind: evSeenRecord, page: got.seq, version: recordID(got.round, got.at, got.of),
			a: uint64(r.Start), b: uint64(r.End),
		})
		next = got.seq + 1
		if len(evs) == 64 {
			to.emit(evs...)
			evs = evs[:0]
		}
	}
	to.emit(append(evs, event{kind: evSeenEnd, a: next, b: uint64(e.EndLSN())})...)
	return next, nil
}

func recordID(round uint32, at, of uint16) version {
	return version(round)<<32 | version(at)<<16 | version(of)
}

func surveyFile(ctx context.Context, f *untorn.File, tag uint32, j *job, to sink) ([]seenPage,
	error) {
	seen := make([]seenPage, f.Pages())
	var reads []untorn.PageRead
	for i := range min(32, len(seen)) {
		reads = append(reads, untorn.PageRead{No: untorn.PageNo(i), Data: make([]byte,
			f.PageSize())})
	}
	for at := 0; at < len(seen); at += len(reads) {
		reads = reads[:min(len(reads), len(seen)-at)]
		for i := range reads {
			reads[i].No = untorn.PageNo(at + i)
		}
		err := f.ReadPages(ctx, reads)
		if err != nil && !errors.Is(err, untorn.ErrPageDamaged) && !errors.Is(err,
			untorn.ErrPageLost) {
			return nil, err
		}
		evs := make([]event, len(reads))
		for i := range reads {
			seen[at+i], evs[i] = judgePage(&reads[i], tag, j)
		}
		to.emit(evs...)
	}
	return seen, nil
}

// judgePage checks one image that was read.
func judgePage(r *untorn.PageRead, tag uint32, j *job) (seenPage, event) {
	v, err := readPage(r.Data, j.Seed, tag, uint64(r.No))
	if r.Err != nil {
		err = r.Err
	}
	if err != nil {
		return seenPage{bad: true}, event{kind: evBadPage, tag: tag, page: uint64(r.No),
			text: err.Error()}
	}
	return seenPage{version: v, lsn: r.LSN}, event{
		kind: evSeenPage, tag: tag, page: uint64(r.No), version: v, a: uint64(r.LSN),
	}
}
