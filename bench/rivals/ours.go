//go:build linux

package main

import (
	"context"
	"sync"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
)

type untornLog struct{ e *untorn.Engine }

func openUntornLog(dir string, _ *load) (contender, error) {
	u := &untornLog{}
	var err error
	u.e, err = untorn.Open(context.Background(), untorn.Options{
		Dir:            dir,
		AutoCheckpoint: &untorn.AutoCheckpoint{LogBytes: logKept, Prepare: u.redo},
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// logKept is what the log grows by between two checkpoints, which let its segments be used again.
// Without one the log would be new files for ever, whose zeroing takes turns with the commits.
const logKept = 128 << 20

// redo says that no record will be asked for again.
func (u *untornLog) redo(context.Context, *untorn.Pace) (page.LSN, []byte, error) {
	return u.e.DurableLSN(), nil, nil
}

func (u *untornLog) commit(j *job) error {
	_, _, err := u.e.AppendSync(context.Background(), j.vals[0])
	return err
}

func (u *untornLog) close() error { return u.e.Close(context.Background()) }

type untornPages struct {
	e    *untorn.Engine
	f    *untorn.File
	free sync.Pool
}

func openUntornPages(dir string, l *load) (contender, error) {
	ctx := context.Background()
	e, err := untorn.Open(ctx, untorn.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	f, err := e.OpenFile(ctx, "pages", untorn.FileOptions{Create: true, PageSize: l.bytes, Pages: l.pages})
	if err != nil {
		return nil, err
	}
	return &untornPages{e: e, f: f}, nil
}

func (u *untornPages) commit(j *job) error {
	ws, _ := u.free.Get().(*[]untorn.PageWrite)
	if ws == nil {
		ws = new([]untorn.PageWrite)
	}
	defer u.free.Put(ws)
	*ws = (*ws)[:0]
	for i, k := range j.keys {
		*ws = append(*ws, untorn.PageWrite{No: untorn.PageNo(k), Data: j.vals[i]})
	}
	return u.f.WritePages(context.Background(), *ws, untorn.Durable)
}

func (u *untornPages) close() error { return u.e.Close(context.Background()) }
