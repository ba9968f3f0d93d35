package main

import (
	"flag"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/inspect"
)

// where are the flags of a directory whose log or doublewrite file lie elsewhere.
type where struct{ wal, dwb string }

const whereHelp = `  -wal-dir W     the log is in W, not in D
  -dwb-dir B     the doublewrite file is in B, not in D
`

func (w *where) flags(fs *flag.FlagSet) {
	fs.StringVar(&w.wal, "wal-dir", "", "")
	fs.StringVar(&w.dwb, "dwb-dir", "", "")
}

func (w *where) layout(dir string) untorn.Layout { return untorn.NewLayout(dir, w.wal, w.dwb) }

func (w *where) open(dir string) (*inspect.Dir, error) { return inspect.Open(w.layout(dir)) }
