// Package demo shows in a few seconds what a torn page is and what the engine does about it: real
// engine directories, a real recovery, and one page torn on purpose.
//
// A power cut in the middle of an in-place write leaves some sectors of the new image and some of
// the old one. The demo makes exactly that: it writes a page twice, copies the directory of the
// running engine while the second write is on its way (with doublewrite: the moment it has been
// acknowledged as protected), and makes the page half new, half old. The copy is what the disk
// would have held.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/untorn/untorn"
)

const (
	pageSize = 16 << 10
	pageNo   = 5
	fileName = "accounts"
)

// Run tells the story on w, with directories below dir.
func Run(ctx context.Context, w io.Writer, dir string) error {
	begun := time.Now()
	fmt.Fprintf(w, "A %d KiB page is written in place. The power goes when half of its sectors are on the disk.\n",
		pageSize>>10)
	for i, a := range []act{
		{"with doublewrite (the default)", untorn.ModeDoublewrite, repaired},
		{"the same with checksums only (mode detect)", untorn.ModeDetect, detected},
		{"the same with nothing (mode none)", untorn.ModeNone, silent},
	} {
		fmt.Fprintf(w, "\n%d. %s\n", i+1, a.title)
		if err := a.play(ctx, w, filepath.Join(dir, string(a.mode))); err != nil {
			return fmt.Errorf("%s: %w", a.title, err)
		}
	}
	fmt.Fprintf(w, "\n%.1f s. Try it on your own disk, with real kills: untornctl torture -dir DIR\n",
		time.Since(begun).Seconds())
	return nil
}

// act is one mode.
type act struct {
	title string
	mode  untorn.Mode
	end   func(ctx context.Context, s *scene) error
}

// scene is a directory whose power was cut.
type scene struct {
	w        io.Writer
	dir      string
	mode     untorn.Mode
	old, new []byte // images of the page, engine's header included
}

func (s *scene) say(format string, a ...any) { fmt.Fprintf(s.w, "   "+format+"\n", a...) }

func (a *act) play(ctx context.Context, w io.Writer, dir string) error {
	s := &scene{w: w, dir: filepath.Join(dir, "after-the-cut"), mode: a.mode}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := s.cut(ctx, filepath.Join(dir, "running")); err != nil {
		return err
	}
	return a.end(ctx, s)
}

func (s *scene) options(dir string) untorn.Options {
	return untorn.Options{Dir: dir, SegmentBytes: 1 << 20, Memory: 8 << 20,
		Unsafe: s.mode == untorn.ModeNone}
}

// image is a page full of what it is.
func image(text string) []byte {
	b := make([]byte, pageSize)
	line := []byte(text + "\n")
	for at := untorn.PageHeader; at < len(b); at += len(line) {
		copy(b[at:], line)
	}
	return b
}

// cut writes the page twice and leaves what a power cut during the second in-place write does.
func (s *scene) cut(ctx context.Context, running string) (err error) {
	e, err := untorn.Open(ctx, s.options(running))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close(ctx)) }()
	f, err := e.OpenFile(ctx, fileName, untorn.FileOptions{Create: true, PageSize: pageSize,
		Pages: 16, Mode: s.mode})
	if err != nil {
		return err
	}
	if s.old, err = s.write(ctx, e, f, "balance 100", untorn.Durable, nil); err != nil {
		return err
	}
	snapshot := func() error { return os.CopyFS(s.dir, os.DirFS(running)) }
	if s.mode == untorn.ModeDoublewrite {
		if s.new, err = s.write(ctx, e, f, "balance 250", untorn.Protected, nil); err == nil {
			err = snapshot()
		}
	} else {
		// Without a second copy an acknowledgement waits until the page is whole in its place: what
		// a power cut tears is a write that was never acknowledged, over an image that was.
		s.new, err = s.write(ctx, e, f, "balance 250", untorn.Accepted, snapshot)
	}
	if err != nil {
		return err
	}
	return s.tear()
}

// write logs a change and writes the page, and returns its image. before is called when the record
// is durable and the page has not been passed on yet.
func (s *scene) write(ctx context.Context, e *untorn.Engine, f *untorn.File, text string,
	level untorn.Level, before func() error) ([]byte, error) {
	_, lsn, err := e.Append([]byte(text))
	if err == nil {
		err = e.WaitDurable(ctx, lsn)
	}
	if err == nil && before != nil {
		err = before()
	}
	if err == nil {
		err = f.WritePages(ctx, []untorn.PageWrite{{No: pageNo, LSN: lsn, Data: image(text)}},
			level)
	}
	if err != nil {
		return nil, err
	}
	p := []untorn.PageRead{{No: pageNo, Data: make([]byte, pageSize)}}
	if err := f.ReadPages(ctx, p); err != nil {
		return nil, err
	}
	if level == untorn.Accepted {
		s.say("page %d of %q: %q, on its way, not acknowledged (LSN %d)", pageNo, fileName, text,
			lsn)
	} else {
		s.say("page %d of %q: %q, acknowledged as %s (LSN %d)", pageNo, fileName, text, level, lsn)
	}
	return p[0].Data, nil
}

// tear puts the first half of the new image and the second half of the old one into the page's
// place in the copied directory.
func (s *scene) tear() error {
	list, err := filepath.Glob(filepath.Join(s.dir, "data", "*.pages"))
	if err != nil || len(list) != 1 {
		return fmt.Errorf("%d data files in the copy, want 1: %w", len(list), err)
	}
	b, err := os.ReadFile(list[0])
	if err != nil {
		return err
	}
	at := len(b) - 16*pageSize + pageNo*pageSize
	copy(b[at:], s.new[:pageSize/2])
	copy(b[at+pageSize/2:at+pageSize], s.old[pageSize/2:])
	s.say("power cut: sectors 0-15 of the page are new, sectors 16-31 are old")
	return os.WriteFile(list[0], b, 0o600)
}

// reopen opens the directory that was cut and reads the page.
func (s *scene) reopen(ctx context.Context) (data []byte, report *untorn.Report, readErr,
	err error) {
	e, err := untorn.Open(ctx, s.options(s.dir))
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, e.Close(ctx)) }()
	f, err := e.OpenFile(ctx, fileName, untorn.FileOptions{})
	if err != nil {
		return nil, nil, nil, err
	}
	p := []untorn.PageRead{{No: pageNo, Data: make([]byte, pageSize)}}
	readErr = f.ReadPages(ctx, p)
	return p[0].Data, e.Report(), readErr, nil
}

var errStory = errors.New("the story went another way")

func repaired(ctx context.Context, s *scene) error {
	dry, err := untorn.DryRun(ctx, s.options(s.dir))
	if err != nil {
		return err
	}
	for _, p := range dry.Pages {
		if p.Page == pageNo && !p.WasWhole {
			s.say("found:    the page fails its checksum")
			s.say("decided:  take it from %s batch %s (LSN %d): %s", p.Source, p.Seq, p.LSN,
				p.Reason)
		}
	}
	data, report, rerr, err := s.reopen(ctx)
	switch {
	case err != nil:
		return err
	case rerr != nil:
		return rerr
	case !bytes.Equal(data, s.new):
		return fmt.Errorf("%w: the page is not the protected image", errStory)
	}
	s.say("repaired: %d page written by recovery in %s; it reads %q, all %d bytes of it",
		report.Installed, report.Took.Round(time.Millisecond), first(data), len(data))
	return nil
}

func detected(ctx context.Context, s *scene) error {
	_, _, rerr, err := s.reopen(ctx)
	switch {
	case err != nil:
		return err
	case !errors.Is(rerr, untorn.ErrPageDamaged):
		return fmt.Errorf("%w: reading the torn page gives %v", errStory, rerr)
	}
	s.say("found:    %v", rerr)
	s.say("not repaired: there is no second copy; %q and %q are both gone, and the first had been acknowledged as durable",
		"balance 100", "balance 250")
	return nil
}

func silent(ctx context.Context, s *scene) error {
	data, _, rerr, err := s.reopen(ctx)
	switch {
	case err != nil:
		return err
	case rerr != nil:
		return fmt.Errorf("%w: reading the torn page gives %v", errStory, rerr)
	}
	a, b := first(data), first(data[pageSize/2:])
	if a == b {
		return fmt.Errorf("%w: the page is not torn", errStory)
	}
	s.say("not found: the read succeeds. The first half says %q, the second half %q", a, b)
	s.say("silently torn: nobody is told")
	return nil
}

// first is the first whole line of a page or a part of one.
func first(b []byte) string {
	i := bytes.Index(b, []byte("balance "))
	if i < 0 {
		return ""
	}
	line, _, _ := bytes.Cut(b[i:], []byte("\n"))
	return string(line)
}
