//go:build linux

package main

import (
	"context"
	"sync"

	"github.com/untorn/untorn"
)

type untornLog struct{ e *untorn.Engine }

func openUntornLog(dir string, _ *load) (contender, error) {
	e, err := untorn.Open(context.Background(), untorn.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	return untornLog{e}, nil
}

func (u untornLog) commit(j *job) error {
	_, end, err := u.e.Append(j.vals[0])
	if err != nil {
		return err
	}
	return u.e.WaitDurable(context.Background(), end)
}

func (u untornLog) close() error { return u.e.Close(context.Background()) }

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
