package untorn

import (
	"context"
	"slices"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/super"
)

// loggedImages reads the page images of the log that count: of files in a mode that logs them, and
// from where the catalogue says. The catalogue has been brought up to the end of the log. nil =
// there is no such file.
//
// From redo on is far enough: images that count start at or after the Checkpoint call that moved
// redo there, and no call's redo is beyond the log's end at that time.
func (e *Engine) loggedImages(ctx context.Context, st *super.State) (*recovery.Logged, error) {
	files := map[page.FileID]*super.File{}
	from := page.LSN(0)
	for i := range st.Files {
		f := &st.Files[i]
		if !Mode(f.Mode).logsImages() || f.Images == super.NoImages {
			continue
		}
		if len(files) == 0 || f.Images < from {
			from = f.Images
		}
		files[f.ID] = f
	}
	if len(files) == 0 {
		return nil, nil
	}
	l := &recovery.Logged{Codecs: e.codecs()}
	var at page.LSN
	counts := func(id page.FileID) (bool, bool) {
		f := files[id]
		return f != nil && at >= f.Images, f != nil && Mode(f.Mode) == ModeShadow
	}
	err := e.records(ctx, max(from, st.Redo.LSN), func(start page.LSN, kind uint8, data []byte) error {
		if kind != pageimage.Kind {
			return nil
		}
		at = start
		if err := l.Add(start, data, counts); err != nil {
			return &Error{Op: "recover", File: e.places.walDir(), LSN: start, Err: err}
		}
		return nil
	})
	return l, err
}

// shadowed tells the files in mode shadow.
func shadowed(st *super.State) func(page.FileID) bool {
	return func(id page.FileID) bool {
		f := st.ByID(id)
		return f != nil && Mode(f.Mode) == ModeShadow && f.Images != super.NoImages
	}
}

// codecs are what this program can read.
func (e *Engine) codecs() pageimage.Codecs {
	c := slices.Clone(e.o.ImageCodecs)
	if e.o.ImageCodec != nil {
		c = append(c, e.o.ImageCodec)
	}
	return c
}

// records is recovery.Records.
func (e *Engine) records(ctx context.Context, from page.LSN, each func(start page.LSN, kind uint8, data []byte) error) error {
	for r, err := range e.walDir.Replay(ctx, from) {
		if err != nil {
			return &Error{Op: "recover", LSN: r.Start, Err: err}
		}
		if err := each(r.Start, r.Kind, r.Data); err != nil {
			return err
		}
	}
	return nil
}
